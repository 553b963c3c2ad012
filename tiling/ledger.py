"""What has been done, a row each, safe against being killed at any moment."""

from __future__ import annotations

import sqlite3
import threading
import time
from math import inf
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Generic, Self, TypeVar

from lanner.core.errors import OutputError

BATCH, BATCH_S = 32, 0.5
"""Most puts of one transaction of a `NamedLedger`, and seconds after which the next put ends it."""

_WORK = (
    "CREATE TABLE IF NOT EXISTS work (one INTEGER PRIMARY KEY CHECK (one = 1), key TEXT NOT NULL)"
)

Name = TypeVar("Name", int, str)


class _Rows(Generic[Name]):
    """Payloads by name in one SQLite file.

    With a write-ahead log and synchronous=NORMAL a power cut may lose the last transactions, never
    corrupt the file. One process at a time.

    Args:
        path: the file; its folder must exist.
        key: checksum of all that defines the work; under another key the rows are dropped and
            the work starts afresh.

    Raises:
        OutputError: not a ledger, cannot be written, or in use by another process.
    """

    table: ClassVar[str]
    """Name of the table; of its columns `number` or `name` tells rows apart."""
    column: ClassVar[str]
    """That column, as SQL defines it."""

    def __init__(self, path: Path | str, key: str) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()
        self._name = self.column.partition(" ")[0]
        try:
            self._db = sqlite3.connect(
                self._path, timeout=1, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise self._failed(error) from error
        try:
            self._done: set[Name] = self._begin(key)
        except sqlite3.Error as error:
            self._db.close()
            raise self._failed(error) from error

    def _begin(self, key: str) -> set[Name]:
        # An exclusive log needs no shared memory file and keeps a second process out.
        self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute(_WORK)
        self._db.execute(
            f"CREATE TABLE IF NOT EXISTS {self.table} "
            f"({self.column} PRIMARY KEY, payload BLOB NOT NULL)"
        )
        if self._db.execute("SELECT key FROM work").fetchone() != (key,):
            self._db.execute(f"DELETE FROM {self.table}")
            self._db.execute("INSERT OR REPLACE INTO work VALUES (1, ?)", (key,))
        self._db.execute("COMMIT")
        return {name for (name,) in self._db.execute(f"SELECT {self._name} FROM {self.table}")}

    def __len__(self) -> int:
        return len(self._done)

    def done(self, name: Name) -> bool:
        """Whether it has been put."""
        return name in self._done

    def put(self, name: Name, payload: bytes) -> None:
        """Record a payload; a second put replaces it.

        Raises:
            OutputError: the ledger cannot be written (disk full).
        """
        with self._lock:
            try:
                self._insert(name, payload)
            except sqlite3.Error as error:
                raise self._failed(error) from error
            self._done.add(name)

    def get(self, name: Name) -> bytes:
        """The payload of what has been put.

        Raises:
            KeyError: it has not been put.
            OutputError: the ledger cannot be read.
        """
        with self._lock:
            try:
                row = self._db.execute(
                    f"SELECT payload FROM {self.table} WHERE {self._name} = ?", (name,)
                ).fetchone()
            except sqlite3.Error as error:
                raise self._failed(error) from error
        if row is None:
            raise KeyError(name)
        return bytes(row[0])

    def close(self) -> None:
        """Fold the log into the file and close it.

        Raises:
            OutputError: the last puts cannot be written (disk full).
        """
        with self._lock:
            try:
                if self._db.in_transaction:
                    self._db.execute("COMMIT")
            except sqlite3.Error as error:
                raise self._failed(error) from error
            finally:
                self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _insert(self, name: Name, payload: bytes) -> None:
        self._db.execute(f"INSERT OR REPLACE INTO {self.table} VALUES (?, ?)", (name, payload))

    def _failed(self, error: sqlite3.Error) -> OutputError:
        busy = "locked" in str(error)
        return OutputError(
            "ledger",
            self._path,
            "is in use by another run" if busy else f"cannot be used ({error})",
            "wait for it, or choose another run folder"
            if busy
            else "free space, or delete it to start afresh",
        )


class Ledger(_Rows[int]):
    """Finished tiles by their number.

    Every `put` is a transaction of its own: killed anywhere, the file holds the puts that returned,
    each whole, and perhaps the one under way, whole too.
    """

    table, column = "tile", "number INTEGER"


class NamedLedger(_Rows[str]):
    """Finished pieces of work by name, of which there may be hundreds a second.

    Puts share transactions: killed anywhere, the file holds each put whole but for the last ones,
    fewer than `BATCH` or those of the last `BATCH_S` seconds. `close` loses none.
    """

    table, column = "piece", "name TEXT"
    _waiting, _written = 0, -inf

    def _insert(self, name: str, payload: bytes) -> None:
        if not self._db.in_transaction:
            self._db.execute("BEGIN")
            self._waiting = 0
        super()._insert(name, payload)
        self._waiting += 1
        now = time.monotonic()
        if self._waiting >= BATCH or now - self._written >= BATCH_S:
            self._db.execute("COMMIT")
            self._written = now
