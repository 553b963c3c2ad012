"""Our layer in a GeoPackage: a new file, or one layer of a file that holds more.

What else is in the file stays: layers, tables, styles, QGIS projects. A program that has it open
sees the old content or the new, and a kill at any moment leaves the old:

- a file in SQLite's ordinary journal mode is copied, the copy is changed, and takes its place
  under a lock that keeps other writers out; who reads it goes on reading the old file;
- in WAL mode, in which QGIS keeps a file that it edits, others hold on to the log beside the file.
  It is changed where it is, in one transaction, and so is their view of it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from lanner.core.errors import Argument, OutputError
from lanner.core.files import SQLITE_ENDINGS, replace, temporary
from postprocess.gpkg_layer import (
    Database,
    identifier,
    only_our_style,
    put_layer,
    put_style,
    rows,
    tables,
)

LAYER = "objects"
"""The layer where nobody is known to have found them; earlier versions named every layer so."""

_OUT = Argument("path")

OURS = frozenset({"id", "detector", "label", "confidence", "decision", "weights_sha256"})
"""Columns by which a layer that Lanner wrote is known."""

_NOTHING_FOUND = {"fid", "geom", "id"}
"""All columns of a layer of an empty result."""

_EVERY = frozenset(
    {
        "gpkg_contents",
        "gpkg_extensions",
        "gpkg_geometry_columns",
        "gpkg_ogr_contents",
        "gpkg_spatial_ref_sys",
        "gpkg_tile_matrix",
        "gpkg_tile_matrix_set",
        "sqlite_sequence",
    }
)
"""Tables that GDAL makes in every GeoPackage."""

_STYLES = "layer_styles"

LOOK_S, WRITE_S = 2.0, 30.0
"""Seconds that another program's lock is waited for, before the work and after it."""


@dataclass(frozen=True)
class Room:
    """Where our layer goes in a GeoPackage that is there.

    `layer` is its name and `there` says whether that is replaced; `others` counts the layers that
    stay; `alone` says that the file holds nothing but what Lanner wrote and now writes anew.
    """

    layer: str
    there: bool
    others: int
    alone: bool


def check_geopackage(path: Path, layer: str) -> None:
    """Make sure that a layer of that name can be put into a file, whether or not it is there.

    Raises:
        OutputError: it is a database and no GeoPackage, is damaged, is being written by another
            program, or its layer of that name is not Lanner's; or its folder takes no database.
    """
    with _spoken(path), _opened(path, LOOK_S) as db:
        if db is None:
            _try(path)
            return
        _room(path, db, layer)
        db.execute("BEGIN IMMEDIATE")
        db.execute("ROLLBACK")


def put(
    path: Path, layer: str, make: Callable[[Path, str], object], style: bytes | None
) -> str | None:
    """Write our layer to a GeoPackage, beside what else is in it.

    Args:
        path: the file; a link has been followed. It need not exist.
        layer: its name, which is that of the detector where it holds what one found. In a file
            that is there `LAYER` is replaced where it is that detector's.
        make: writes a new GeoPackage with one layer to a path, under a name.
        style: the QGIS style of the layer, kept in the file.

    Returns:
        One line on what was added or replaced, None for a file that holds our layer alone.

    Raises:
        OutputError: as `check_geopackage`, or the file cannot be written.
    """
    with _spoken(path):
        while True:
            with _locked(path, layer) as db:
                if db is not None:
                    return _put_into(path, db, layer, make, style)
                with temporary(path, _OUT) as beside:
                    make(beside, layer)
                    _keep_style(beside, layer, style)
                    if _is_new(path):
                        for left in (f"{path}{ending}" for ending in SQLITE_ENDINGS):
                            if os.path.lexists(left):  # of a file that is gone
                                os.unlink(left)
                        replace(beside, path)
                        return None
            # Another process has put a GeoPackage there in the meantime: join it.


def _put_into(
    path: Path,
    db: Database,
    layer: str,
    make: Callable[[Path, str], object],
    style: bytes | None,
) -> str | None:
    """Write to a GeoPackage that is there and locked."""
    room = _room(path, db, layer)
    in_place = _in_wal(db)
    with temporary(path, _OUT) as fresh:
        make(fresh, room.layer)
        if room.alone and not in_place:
            _keep_style(fresh, room.layer, style)
            replace(fresh, path)
            return None
        if in_place:
            _merge(db, fresh, room, style)
            # Moved into the file as far as nobody reads it, for those who copy that alone.
            with suppress(sqlite3.OperationalError):
                db.execute("PRAGMA busy_timeout=0")
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        else:
            with temporary(path, _OUT) as copy:
                _copy(path, copy)
                with closing(_connect(copy, LOOK_S)) as changed:
                    changed.execute("BEGIN IMMEDIATE")
                    _merge(changed, fresh, room, style)
                replace(copy, path)
    return None if room.alone else _what_was_done(path, room)


def _keep_style(path: Path, layer: str, style: bytes | None) -> None:
    """Put a style into a new GeoPackage, where there is one."""
    if style is not None:
        with closing(_connect(path, LOOK_S)) as db:
            db.execute("BEGIN IMMEDIATE")
            put_style(db, layer, style)
            db.execute("COMMIT")


def _merge(db: Database, fresh: Path, room: Room, style: bytes | None) -> None:
    """Put the layer of a new GeoPackage into one with a transaction begun, and commit it."""
    with closing(_connect(fresh, LOOK_S)) as source:
        put_layer(source, db, room.layer)
    if style is not None:
        put_style(db, room.layer, style)
    db.execute("COMMIT")


def _copy(path: Path, copy: Path) -> None:
    """Copy a database that this process holds a lock of.

    By SQLite, for another handle on the file would drop the lock when it is closed.
    """
    with closing(_connect(path, LOOK_S)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)


def _what_was_done(path: Path, room: Room) -> str:
    action = f"replaced layer {room.layer} in" if room.there else f"added layer {room.layer} to"
    if not room.others:
        beside = "; the rest of the file is as it was"
    else:
        beside = f" beside {room.others} other layer{'s' if room.others > 1 else ''}"
    return f"{action} {path.name}{beside}"


def _room(path: Path, db: Database, wanted: str) -> Room:
    """Where our layer goes, which is to have a name.

    Raises:
        OutputError: this is no GeoPackage, or a layer of that name is not ours.
    """
    there = tables(db)
    if not there:
        return Room(wanted, False, 0, True)
    if "gpkg_contents" not in there:
        raise OutputError(
            _OUT, path, "is an SQLite database and no GeoPackage", "choose another name"
        )
    layers = {
        name.lower(): kind
        for name, kind in db.execute("SELECT table_name, data_type FROM gpkg_contents")
    }
    layer = wanted
    if LAYER in there and _ours(db, LAYER, layers) and _detectors(db) <= {wanted}:
        layer = LAYER
    if layer.lower() in there and not _ours(db, layer, layers):
        raise OutputError(
            _OUT,
            path,
            f"holds a layer {layer!r} that Lanner did not write",
            "rename that layer, or choose another file",
        )
    index = f"rtree_{layer}_geom".lower()
    rest = {name for name in there if name not in _EVERY and not name.startswith(index)}
    others = layers.keys() - {layer.lower(), _STYLES}
    ours = {layer.lower()} | ({_STYLES} if only_our_style(db, layer) else set())
    return Room(layer, layer.lower() in there, len(others), rest <= ours and not others)


def _ours(db: Database, layer: str, layers: dict[str, str]) -> bool:
    """Whether Lanner wrote a layer: nobody else's is replaced."""
    if layers.get(layer.lower()) != "features":
        return False
    columns = {row["name"] for row in rows(db, f"PRAGMA table_info({identifier(layer)})")}
    if columns == _NOTHING_FOUND:
        return db.execute(f"SELECT 1 FROM {identifier(layer)} LIMIT 1").fetchone() is None
    return columns >= OURS


def _detectors(db: Database) -> set[str]:
    """Who found what is in the layer `LAYER`."""
    columns = {row["name"] for row in rows(db, f"PRAGMA table_info({LAYER})")}
    if "detector" not in columns:
        return set()
    return {name for (name,) in db.execute(f"SELECT DISTINCT detector FROM {LAYER}")}


def _is_new(path: Path) -> bool:
    """Whether a file may be written over: it is not there, empty, or no database."""
    with _opened(path, LOOK_S) as db:
        return db is None


def _try(path: Path) -> None:
    """Write a small database beside `path`, and take it away again.

    Raises:
        OutputError: SQLite cannot lock or write it, as on some network file systems.
    """
    try:
        with temporary(path, _OUT) as trial, closing(sqlite3.connect(trial, timeout=LOOK_S)) as db:
            db.execute("CREATE TABLE trial (number INTEGER)")
    except sqlite3.Error as error:
        raise OutputError(
            _OUT,
            path,
            f"is in a folder that takes no SQLite database ({error})",
            "choose another format, or a folder on a local disk with room",
        ) from error


@contextmanager
def _locked(path: Path, layer: str) -> Iterator[Database | None]:
    """The database at `path` with a transaction begun; None where there is none."""
    while True:
        before = _identity(path)
        with _opened(path, WRITE_S) as db:
            if db is not None:
                if _in_wal(db) and _room(path, db, layer).alone:
                    _leave_wal(db)
                db.execute("BEGIN IMMEDIATE")
                if _identity(path) != before:
                    continue  # it was replaced while the lock was waited for
            yield db
            return


@contextmanager
def _opened(path: Path, wait_s: float) -> Iterator[Database | None]:
    """The database at `path`, as a crash of another program left it made whole; None for none."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        size = 0
    if not size:
        yield None
        return
    with closing(_connect(path, wait_s)) as db:
        yield db if _is_database(db) else None


def _is_database(db: Database) -> bool:
    try:
        db.execute("PRAGMA schema_version").fetchone()
    except sqlite3.DatabaseError as error:
        if _code(error) == sqlite3.SQLITE_NOTADB:
            return False
        raise
    return True


def _connect(path: Path, wait_s: float) -> Database:
    where = f"file:{quote(str(path.absolute()))}?mode=rw"
    return sqlite3.connect(where, uri=True, timeout=wait_s, isolation_level=None)


def _leave_wal(db: Database) -> None:
    """Fold the log of a file into it, where nobody else has it open.

    A file of ours alone is then replaced as if it had never been in WAL mode: equal results are
    equal bytes.
    """
    with suppress(sqlite3.OperationalError):
        db.execute("PRAGMA busy_timeout=100")
        db.execute("PRAGMA journal_mode=DELETE")
    db.execute(f"PRAGMA busy_timeout={int(1000 * WRITE_S)}")


def _in_wal(db: Database) -> bool:
    return bool(db.execute("PRAGMA journal_mode").fetchone()[0] == "wal")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        facts = path.stat()
    except FileNotFoundError:
        return None
    return facts.st_dev, facts.st_ino


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


@contextmanager
def _spoken(path: Path) -> Iterator[None]:
    """SQLite's errors in our words."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            _OUT, path, f"cannot be written ({error.strerror or error})", "choose another folder"
        ) from error
    except sqlite3.Error as error:
        problem, remedy = f"cannot be written ({error})", "free some space or choose another folder"
        if _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL):
            problem = f"is being written by another program ({error})"
            remedy = "end its edits there, or choose another name"
        elif _code(error) == sqlite3.SQLITE_CORRUPT:
            problem, remedy = f"is damaged ({error})", "mend or remove it, or choose another name"
        raise OutputError(_OUT, path, problem, remedy) from error
