"""The ledger of a batch: a row a scene and detector, in one SQLite file, safe against a kill."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lanner.archives.records import BatchRecord, ErrorFacts, Outcome, SceneFacts, State
from lanner.archives.scenes import SceneRef
from lanner.core.errors import Argument, OutputError
from lanner.core.folders import check_sqlite

_OUT = Argument("path")

FILE = "batch.sqlite"
"""Its name in the folder of a batch."""

FORMAT = "2"
"""Of the tables below; a folder of another one is refused."""

SETTINGS, ARCHIVE = "settings", "archive"
"""Facts of a batch: what all rows have in common, and how many features its own files have."""

CONFIG = "config"
"""Before the checksum of a configuration that is kept."""

_TABLES = """
CREATE TABLE IF NOT EXISTS batch (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS jobs (
    scene TEXT NOT NULL, detector TEXT NOT NULL, ref TEXT NOT NULL, state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, started TEXT, ended TEXT,
    work TEXT, facts TEXT, outcome TEXT, summary TEXT, error TEXT,
    PRIMARY KEY (scene, detector)
);
"""


# A summary is larger than the rest of a row, and is read of one row at a time.
_RECORDS = (
    "SELECT scene, detector, ref, state, attempts, started, ended, facts, outcome, error FROM jobs"
)


class BatchLedger:
    """Rows by scene and detector. One process at a time writes; any may read.

    Args:
        path: the file; its folder must exist.
        settings: what all its rows have in common, such as formats; those of a ledger that is
            there must be the same. None: whatever they are.

    Raises:
        OutputError: another batch's ledger, none, in use, or it cannot be written.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any] | None) -> None:
        self._path = path
        if settings is None and not path.is_file():
            raise OutputError(
                _OUT,
                path.parent,
                "holds no batch",
                "give the folder that a batch wrote to",
            )
        check_sqlite(_OUT, path)
        with self._spoken():
            self._db = sqlite3.connect(path, timeout=10, isolation_level=None)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_TABLES)
            self._check(settings)

    def _check(self, settings: Mapping[str, Any] | None) -> None:
        known = dict(self._db.execute("SELECT name, value FROM batch").fetchall())
        wanted = {"format": FORMAT}
        if settings is not None:
            wanted[SETTINGS] = _text(settings)
        for name, value in wanted.items():
            if known.setdefault(name, value) != value:
                raise OutputError(
                    _OUT,
                    self._path.parent,
                    f"is the folder of another batch ({_difference(known[name], value)})",
                    "name a new folder, or give the same options again",
                )
            self._db.execute("INSERT OR IGNORE INTO batch VALUES (?, ?)", (name, value))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._db.close()

    @property
    def settings(self) -> dict[str, Any]:
        """What all rows have in common."""
        return dict(self.fact(SETTINGS) or {})

    def add(self, scenes: Sequence[SceneRef], detectors: Sequence[str]) -> None:
        """Put scenes in that are not there yet; what a catalogue says of others is renewed."""
        with self._transaction() as db:
            for scene in scenes:
                for detector in detectors:
                    db.execute(
                        "INSERT INTO jobs (scene, detector, ref, state) VALUES (?, ?, ?, 'waiting')"
                        " ON CONFLICT DO UPDATE SET ref = excluded.ref",
                        (scene.name, detector, _text(asdict(scene))),
                    )

    def drop(self, scene: str) -> None:
        """Take a scene out."""
        with self._transaction() as db:
            db.execute("DELETE FROM jobs WHERE scene = ?", (scene,))

    def keep_fact(self, name: str, value: Any) -> None:
        """Keep a fact of the whole batch."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO batch VALUES (?, ?)", (name, _text(value)))

    def fact(self, name: str) -> Any:
        """A fact of the whole batch; None where it was not kept."""
        with self._spoken():
            row = self._db.execute("SELECT value FROM batch WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def work_of(self, scene: str, detector: str) -> tuple[State, dict[str, Any]]:
        """State of a row, and what it was done from."""
        with self._spoken():
            row = self._db.execute(
                "SELECT state, work FROM jobs WHERE scene = ? AND detector = ?", (scene, detector)
            ).fetchone()
        return row["state"], json.loads(row["work"]) if row["work"] else {}

    def works(self) -> dict[tuple[str, str], tuple[State, dict[str, Any]]]:
        """The same of every row, by scene and detector."""
        with self._spoken():
            rows = self._db.execute("SELECT scene, detector, state, work FROM jobs").fetchall()
        return {
            (row["scene"], row["detector"]): (
                row["state"],
                json.loads(row["work"]) if row["work"] else {},
            )
            for row in rows
        }

    def put(
        self,
        scene: str,
        detector: str,
        state: State,
        *,
        facts: SceneFacts | None = None,
        outcome: Outcome | None = None,
        summary: Mapping[str, Any] | None = None,
        error: ErrorFacts | None = None,
        work: Mapping[str, Any] | None = None,
    ) -> None:
        """Say what became of a row.

        `summary` is the run's, as `lanner detect --json` prints it; `work` is what it was done
        from; `facts` stay where None.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        starts = state == "running"
        with self._transaction() as db:
            db.execute(
                "UPDATE jobs SET state = ?, attempts = attempts + ?,"
                " started = CASE WHEN ? THEN ? ELSE started END,"
                " ended = CASE WHEN ? THEN NULL ELSE ? END,"
                " facts = COALESCE(?, facts), outcome = ?, summary = ?, error = ?, work = ?"
                " WHERE scene = ? AND detector = ?",
                (
                    state,
                    int(starts),
                    starts,
                    now,
                    starts,
                    now,
                    None if facts is None else _text(asdict(facts)),
                    None if outcome is None else _text(asdict(outcome)),
                    None if summary is None else _text(summary),
                    None if error is None else _text(asdict(error)),
                    None if work is None else _text(work),
                    scene,
                    detector,
                ),
            )

    def record(self, scene: str, detector: str) -> BatchRecord:
        """One row."""
        with self._spoken():
            row = self._db.execute(
                f"{_RECORDS} WHERE scene = ? AND detector = ?", (scene, detector)
            ).fetchone()
        return _record(row)

    def records(self) -> list[BatchRecord]:
        """Every row, by scene and detector."""
        with self._spoken():
            rows = self._db.execute(f"{_RECORDS} ORDER BY scene, detector").fetchall()
        return [_record(row) for row in rows]

    def summary(self, scene: str, detector: str) -> dict[str, Any]:
        """Of a row that is done: the run's, as `lanner detect --json` prints it."""
        with self._spoken():
            row = self._db.execute(
                "SELECT summary FROM jobs WHERE scene = ? AND detector = ?", (scene, detector)
            ).fetchone()
        found: dict[str, Any] = json.loads(row["summary"])
        return found

    def keep_config(self, sha256: str, config: Mapping[str, Any]) -> None:
        """Keep a configuration as plain data, under its checksum."""
        self.keep_fact(f"{CONFIG} {sha256}", config)

    def config(self, sha256: str) -> dict[str, Any] | None:
        """The configuration of a checksum; None where it was not kept."""
        found: dict[str, Any] | None = self.fact(f"{CONFIG} {sha256}")
        return found

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._spoken():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _spoken(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise OutputError(
                _OUT,
                self._path,
                f"cannot be read or written ({error})",
                "free some space, or wait until no other program uses it; then run it again",
            ) from error


def _record(row: sqlite3.Row) -> BatchRecord:
    ref = json.loads(row["ref"])
    bounds = ref.pop("bounds")
    return BatchRecord(
        SceneRef(**ref, bounds=None if bounds is None else tuple(bounds)),
        row["detector"],
        row["state"],
        row["attempts"],
        row["started"],
        row["ended"],
        None if row["facts"] is None else _facts(json.loads(row["facts"])),
        None if row["outcome"] is None else _outcome(json.loads(row["outcome"])),
        None if row["error"] is None else ErrorFacts(**json.loads(row["error"])),
    )


def _facts(facts: dict[str, Any]) -> SceneFacts:
    ring = facts.pop("footprint")
    found = SceneFacts(**{**facts, "bands": tuple(facts["bands"])}, footprint=None)
    return found if ring is None else replace(found, footprint=tuple((x, y) for x, y in ring))


def _outcome(facts: dict[str, Any]) -> Outcome:
    lists = {name: tuple(facts[name]) for name in ("outputs", "notes", "scores")}
    return Outcome(**{**facts, **lists})


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _difference(one: str, other: str) -> str:
    """Names of the settings that differ."""
    try:
        a, b = json.loads(one), json.loads(other)
        names = sorted(name for name in {*a, *b} if a.get(name) != b.get(name))
    except (ValueError, TypeError, AttributeError):
        return "of another version of Lanner"
    return "other " + ", ".join(names)
