"""One layer of a GeoPackage, copied from a file of its own into one that holds more.

Rows are read from one connection and written to the other, inside the transaction that the caller
began: nothing of a file is changed before it is committed.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Iterator
from typing import Any

from postprocess.style import is_unedited

Database = sqlite3.Connection
Row = dict[str, Any]

SRS = "gpkg_spatial_ref_sys"
CONTENTS = "gpkg_contents"
STYLES = "layer_styles"
GEOMETRY = "geom"

_ABOUT_A_LAYER = ("gpkg_extensions", "gpkg_geometry_columns", "gpkg_ogr_contents", CONTENTS)
"""Tables with rows about a layer, each by `table_name`; the last is what the others refer to."""

_STYLES_SQL = f"""CREATE TABLE "{STYLES}" (
"id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, "f_table_catalog" TEXT(256),
"f_table_schema" TEXT(256), "f_table_name" TEXT(256), "f_geometry_column" TEXT(256),
"styleName" TEXT(30), "styleQML" TEXT, "styleSLD" TEXT, "useAsDefault" BOOLEAN,
"description" TEXT, "owner" TEXT(30), "ui" TEXT(30),
"update_time" DATETIME DEFAULT CURRENT_TIMESTAMP)"""
"""As QGIS makes it."""


def identifier(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def rows(db: Database, sql: str, values: Iterable[Any] = ()) -> Iterator[Row]:
    """What a query finds, by the names of its columns."""
    found = db.execute(sql, tuple(values))
    names = [one[0] for one in found.description or ()]
    for row in found:
        yield dict(zip(names, row, strict=True))


def tables(db: Database) -> set[str]:
    """Names of all tables and views in small letters: SQLite tells no others apart."""
    found = db.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
    return {name.lower() for (name,) in found}


def put_layer(source: Database, target: Database, layer: str) -> None:
    """Copy a layer, in the place of one of the same name, with its spatial index and its CRS.

    Args:
        source: a GeoPackage that GDAL wrote, with `layer` alone.
        target: a GeoPackage, in a transaction that is committed by the caller.
        layer: name of the layer.

    Raises:
        sqlite3.Error: the target cannot be changed.
    """
    _remove(target, layer)
    index = f"rtree_{layer}_{GEOMETRY}"
    for name in ("gpkg_extensions", "gpkg_ogr_contents"):  # both are optional
        if name not in tables(target):
            _make(source, target, name)
    srs = _put_srs(source, target)
    for name in (layer, index):
        _make(source, target, name)
    _fill(source, target, layer, srs)
    _fill(source, target, index, {})
    for name in reversed(_ABOUT_A_LAYER):
        for row in rows(source, f"SELECT * FROM {name} WHERE table_name = ?", [layer]):
            _insert(target, name, _fitted(target, name, row, srs))
    # Last of all, so that they do not fire for what has been copied.
    for (sql,) in source.execute(
        "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?", [layer]
    ):
        target.execute(sql)


def only_our_style(db: Database, layer: str) -> bool:
    """Whether a file keeps no style but that of a layer, as Lanner wrote it."""
    if STYLES not in tables(db):
        return True
    held = db.execute(f"SELECT f_table_name, styleQML FROM {STYLES}").fetchall()
    return all(
        name.lower() == layer.lower() and is_unedited((text or "").encode()) for name, text in held
    )


def put_style(db: Database, layer: str, qml: bytes) -> None:
    """Keep a QGIS style for a layer in the file; one that somebody made stays.

    A style file beside would be that of every layer.

    Args:
        db: a GeoPackage, in a transaction.
        layer: name of the layer.
        qml: the style, as `postprocess.style.style` gives it.
    """
    if STYLES not in tables(db):
        db.execute(_STYLES_SQL)
        _insert(
            db,
            CONTENTS,
            {
                "table_name": STYLES,
                "data_type": "attributes",
                "identifier": STYLES,
                "last_change": _last_change(db, layer),
                "srs_id": 0,
            },
        )
    held = db.execute(
        f"SELECT id, styleQML FROM {STYLES} WHERE f_table_name = ?", [layer]
    ).fetchall()
    for number, text in held:
        if is_unedited((text or "").encode()):
            db.execute(f"UPDATE {STYLES} SET styleQML = ? WHERE id = ?", [qml.decode(), number])
    if held:
        return
    named = {"f_table_name": layer, "f_geometry_column": GEOMETRY, "styleName": layer}
    values = {
        "styleQML": qml.decode(),
        "styleSLD": "",
        "useAsDefault": 1,
        "description": "",
        "owner": "",
    }
    where = {"f_table_catalog": "", "f_table_schema": ""}
    _insert(db, STYLES, {**where, **named, **values, "update_time": _last_change(db, layer)})


def _last_change(db: Database, layer: str) -> str:
    """The date of the layer: the same for equal results."""
    found = db.execute(f"SELECT last_change FROM {CONTENTS} WHERE table_name = ?", [layer])
    return str(found.fetchone()[0])


def _remove(db: Database, layer: str) -> None:
    """Take a layer out, its index and all rows about it."""
    there = tables(db)
    for name in (f"rtree_{layer}_{GEOMETRY}", layer):
        if name.lower() in there:
            db.execute(f"DROP TABLE {identifier(name)}")
    for name in _ABOUT_A_LAYER:
        if name in there:
            db.execute(f"DELETE FROM {name} WHERE lower(table_name) = lower(?)", [layer])


def _make(source: Database, target: Database, name: str) -> None:
    """Make a table in the target as it is in the source."""
    found = source.execute(
        "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", [name]
    ).fetchone()
    if found is not None:
        target.execute(found[0])


def _fill(source: Database, target: Database, name: str, srs: dict[int, int]) -> None:
    """Copy all rows of a table, their geometries under the target's numbers of CRSs."""
    found = source.execute(f"SELECT * FROM {identifier(name)}")
    names = [one[0] for one in found.description]
    values = ", ".join("?" * len(names))
    changed = any(here != there for here, there in srs.items())
    place = names.index(GEOMETRY) if changed and GEOMETRY in names else None
    records = found if place is None else (_renumbered(row, place, srs) for row in found)
    target.executemany(f"INSERT INTO {identifier(name)} VALUES ({values})", records)


def _renumbered(row: tuple[Any, ...], place: int, srs: dict[int, int]) -> tuple[Any, ...]:
    """A row whose geometry names its CRS by another number, in bytes 4 to 8 of its header."""
    shape = row[place]
    if shape is None:
        return row
    order = "<i" if shape[3] & 1 else ">i"
    (number,) = struct.unpack(order, shape[4:8])
    srid = struct.pack(order, srs.get(number, number))
    return (*row[:place], shape[:4] + srid + shape[8:], *row[place + 1 :])


def _put_srs(source: Database, target: Database) -> dict[int, int]:
    """Make sure that the target knows the source's CRSs; their numbers there, by those here."""
    there = list(rows(target, f"SELECT * FROM {SRS}"))
    numbers: dict[int, int] = {}
    for row in rows(source, f"SELECT * FROM {SRS}"):
        same = next((one for one in there if _same_srs(row, one)), None)
        if same is None:
            taken = {one["srs_id"] for one in there}
            number = row["srs_id"] if row["srs_id"] not in taken else max(*taken, 99_999) + 1
            same = {**row, "srs_id": number}
            _add_columns(source, target, row)
            _insert(target, SRS, same)
            there.append(same)
        numbers[row["srs_id"]] = same["srs_id"]
    return numbers


def _same_srs(one: Row, other: Row) -> bool:
    """Whether two rows are one CRS: by authority and code, else by what defines it."""
    if one["srs_id"] in (0, -1) or other["srs_id"] in (0, -1):  # the undefined ones
        return bool(one["srs_id"] == other["srs_id"])
    words = [str(row["organization"]).upper() for row in (one, other)]
    codes = [row["organization_coordsys_id"] for row in (one, other)]
    if words[0] == words[1] == "EPSG":
        return bool(codes[0] == codes[1])
    defined = ("definition", "definition_12_063", "epoch")
    return all(_word(one, name) == _word(other, name) for name in defined)


def _word(row: Row, name: str) -> Any:
    value = row.get(name)
    return None if value == "undefined" else value


def _add_columns(source: Database, target: Database, row: Row) -> None:
    """Columns of a CRS that the target has not, such as its WKT 2, and the extensions they are."""
    known = {one["name"] for one in rows(target, f"PRAGMA table_info({SRS})")}
    for one in rows(source, f"PRAGMA table_info({SRS})"):
        if one["name"] in known or _word(row, one["name"]) is None:
            continue
        rule = " NOT NULL DEFAULT 'undefined'" if one["notnull"] else ""
        target.execute(
            f"ALTER TABLE {SRS} ADD COLUMN {identifier(one['name'])} {one['type']}{rule}"
        )
        known.add(one["name"])
    for extension in rows(source, f"SELECT * FROM gpkg_extensions WHERE table_name = '{SRS}'"):
        held = target.execute(
            "SELECT 1 FROM gpkg_extensions WHERE lower(table_name) = ? AND column_name = ?",
            [SRS, extension["column_name"]],
        )
        if extension["column_name"] in known and held.fetchone() is None:
            _insert(target, "gpkg_extensions", extension)


def _fitted(target: Database, name: str, row: Row, srs: dict[int, int]) -> Row:
    """A row about the layer, with the target's number of its CRS and a name that is free."""
    fitted = dict(row)
    if "srs_id" in row:
        fitted["srs_id"] = srs.get(row["srs_id"], row["srs_id"])
    if name == CONTENTS:
        taken = target.execute(
            f"SELECT 1 FROM {CONTENTS} WHERE identifier = ?", [row["identifier"]]
        )
        if taken.fetchone() is not None:
            fitted["identifier"] = None
    return fitted


def _insert(db: Database, name: str, row: Row) -> None:
    """Insert what the table has columns for."""
    known = {one["name"] for one in rows(db, f"PRAGMA table_info({identifier(name)})")}
    cells = {column: value for column, value in row.items() if column in known}
    columns, values = ", ".join(map(identifier, cells)), ", ".join("?" * len(cells))
    db.execute(
        f"INSERT INTO {identifier(name)} ({columns}) VALUES ({values})", list(cells.values())
    )
