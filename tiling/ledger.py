"""What has been done, a row a tile, safe against being killed at any moment."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from types import TracebackType

from lanner.core.errors import OutputError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS work (one INTEGER PRIMARY KEY CHECK (one = 1), key TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS tile (number INTEGER PRIMARY KEY, payload BLOB NOT NULL);
"""


class Ledger:
    """Finished tiles and their payloads in one SQLite file.

    Every `put` is a transaction in a write-ahead log: killed anywhere, the file holds the puts
    that returned, each whole, and perhaps the one under way, whole too. With synchronous=NORMAL
    a power cut may lose the last puts, never corrupt the file. One process at a time.

    Args:
        path: the file; its folder must exist.
        key: checksum of all that defines the work; under another key the rows are dropped and
            the work starts afresh.

    Raises:
        OutputError: not a ledger, cannot be written, or in use by another process.
    """

    def __init__(self, path: Path | str, key: str) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(
                self._path, timeout=1, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise self._failed(error) from error
        try:
            self._done = self._begin(key)
        except sqlite3.Error as error:
            self._db.close()
            raise self._failed(error) from error

    def _begin(self, key: str) -> set[int]:
        # An exclusive log needs no shared memory file and keeps a second process out.
        self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.strip().splitlines():
            self._db.execute(statement)
        if self._db.execute("SELECT key FROM work").fetchone() != (key,):
            self._db.execute("DELETE FROM tile")
            self._db.execute("INSERT OR REPLACE INTO work VALUES (1, ?)", (key,))
        self._db.execute("COMMIT")
        return {number for (number,) in self._db.execute("SELECT number FROM tile")}

    def __len__(self) -> int:
        return len(self._done)

    def done(self, index: int) -> bool:
        """Whether the tile has been put."""
        return index in self._done

    def put(self, index: int, payload: bytes) -> None:
        """Record a tile's payload; on return it survives a kill. A second put replaces it.

        Raises:
            OutputError: the ledger cannot be written (disk full).
        """
        with self._lock:
            try:
                self._db.execute("INSERT OR REPLACE INTO tile VALUES (?, ?)", (index, payload))
            except sqlite3.Error as error:
                raise self._failed(error) from error
            self._done.add(index)

    def get(self, index: int) -> bytes:
        """The payload of a finished tile.

        Raises:
            KeyError: the tile has not been put.
            OutputError: the ledger cannot be read.
        """
        with self._lock:
            try:
                row = self._db.execute(
                    "SELECT payload FROM tile WHERE number = ?", (index,)
                ).fetchone()
            except sqlite3.Error as error:
                raise self._failed(error) from error
        if row is None:
            raise KeyError(index)
        return bytes(row[0])

    def close(self) -> None:
        """Fold the log into the file and close it."""
        with self._lock:
            self._db.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

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
