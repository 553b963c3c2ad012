"""Frames to GeoParquet and back without loss, nested columns included.

Nested values are stored as JSON. Their texts are made and read a group of rows at a time: those
of all rows at once would be larger than the objects themselves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from geopandas.array import GeometryDtype
from numpy.typing import NDArray

from lanner.core.errors import StepError
from lanner.core.files import replacing
from postprocess.frame import column, joined, packed, tidy
from postprocess.provenance import ProvenanceArray

GROUP = 4096
"""Rows of a file that are written and read at once."""

BATCH = 1000
"""JSON texts parsed in one go: starting the parser costs as much as a short text."""

MARK = ":json"
"""Ending of a stored column's name whose text is the JSON of a nested value."""

STEPS = "steps"
"""The column in which most is said."""

VOTES = "votes"
"""The column that says something else of every object, in the same few words."""


def plain(value: Any) -> Any:
    """Scalars and arrays of numpy as plain numbers and lists: the `default` of `json.dumps`."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a column holds a {type(value).__name__}, which JSON cannot say")


_ENCODER = json.JSONEncoder(default=plain)


def write_snapshot(objects: gpd.GeoDataFrame, path: Path) -> None:
    """Write one frame; the file appears whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    names = {name: f"{name}{MARK}" for name in objects.columns if _is_nested(objects[name])}
    with replacing(path) as beside:
        write_groups(objects, beside, names, _texts)


def _is_nested(values: pd.Series[Any]) -> bool:
    if _is_packed(values):
        return bool(values.notna().any())
    return values.dtype == object and not all(v is None or isinstance(v, str) for v in values)


def _is_packed(values: pd.Series[Any]) -> bool:
    """Whether nested values are held as something else than themselves."""
    kind = values.dtype
    nested = isinstance(kind, pd.ArrowDtype) and pa.types.is_nested(kind.pyarrow_dtype)
    return nested or isinstance(values.array, ProvenanceArray)


def write_groups(
    frame: gpd.GeoDataFrame,
    path: Path,
    nested: Mapping[str, str],
    texts: Callable[[pd.Series[Any]], list[str | None]],
) -> None:
    """Write GeoParquet of `GROUP` rows a row group.

    Args:
        frame: what to write.
        path: where to.
        nested: columns whose values are stored as text, and their names in the file.
        texts: those of some such values.

    Raises:
        OSError: the file cannot be written.
    """
    light = frame.copy(deep=False)
    shapes = {name: np.asarray(frame[name].array, object) for name in _geometries(frame)}
    for name, held in shapes.items():
        light[name] = gpd.GeoSeries(_few(held), index=frame.index, crs=frame[name].crs)
    for name in frame.columns:
        if name in nested:
            light[name] = column([""] * len(frame))
        elif _is_packed(frame[name]):
            light[name] = column(list(frame[name]))  # nothing is told
    schema = _schema(light.rename(columns=nested))
    plain_columns = pd.DataFrame(light.drop(columns=[*shapes, *nested]))
    known = pa.schema([schema.field(name) for name in plain_columns.columns])
    with pq.ParquetWriter(path, schema) as file:
        for low in range(0, max(len(frame), 1), GROUP):
            some = slice(low, low + GROUP)
            rest = pa.Table.from_pandas(plain_columns.iloc[some], known, preserve_index=False)
            arrays = {
                **{name: pa.array(_wkb(held[some]), pa.binary()) for name, held in shapes.items()},
                **{
                    stored: pa.array(texts(frame[name].iloc[some]), pa.string())
                    for name, stored in nested.items()
                },
            }
            parts = [arrays[name] if name in arrays else rest[name] for name in schema.names]
            file.write_table(pa.table(parts, schema=schema))


def _schema(light: gpd.GeoDataFrame) -> pa.Schema:
    """The schema that GeoPandas writes, from the rows that it follows from."""
    shapes = _geometries(light)
    present = [np.flatnonzero(light[name].notna()) for name in light.columns]
    some = [rows if name in shapes else rows[:1] for name, rows in zip(light, present, strict=True)]
    buffer = pa.BufferOutputStream()
    light.iloc[np.unique(np.concatenate(some))].to_parquet(buffer, index=False, compression=None)
    schema = pq.read_schema(pa.BufferReader(buffer.getvalue()))
    for place, name in enumerate(schema.names):
        if light[name].dtype == object and name not in shapes:
            # One value does not tell what all of them are.
            kind = pa.array(light[name], from_pandas=True).type
            # Of a column without any value one of texts is made: files are read side by side.
            kind = pa.string() if pa.types.is_null(kind) else kind
            schema = schema.set(place, schema.field(place).with_type(kind))
    return schema


def _geometries(frame: gpd.GeoDataFrame) -> list[str]:
    return [name for name in frame.columns if isinstance(frame[name].dtype, GeometryDtype)]


def _few(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """The same with None for all shapes but a few that have the kinds and the bounds of all."""
    kinds = shapely.get_type_id(shapes) + 10 * shapely.has_z(shapes)
    rows = list(np.unique(kinds, return_index=True)[1])
    box = shapely.bounds(shapes)
    there = np.flatnonzero(np.isfinite(box).all(axis=1))
    if len(there):
        rows += [*there[box[there].argmin(axis=0)], *there[box[there].argmax(axis=0)]]
    few = np.full(len(shapes), None, dtype=object)
    few[rows] = shapes[rows]
    return few


def _wkb(shapes: NDArray[np.object_]) -> list[bytes | None]:
    return list(shapely.to_wkb(shapes, flavor="iso"))


def _texts(values: pd.Series[Any]) -> list[str | None]:
    array = values.array
    return array.texts() if isinstance(array, ProvenanceArray) else encoded(values, _ENCODER.encode)


def encoded(values: Iterable[Any], encode: Callable[[Any], str]) -> list[str | None]:
    """Each value's text or None; one that many rows share is encoded once."""
    held = list(values)  # or the next one might be where one was that is gone
    known = {id(value): value for value in held if value is not None}
    texts = {at: encode(value) for at, value in known.items()}
    return [texts.get(id(value)) for value in held]


def read_snapshot(
    path: Path, known: Mapping[str, pd.Series[Any]] | None = None
) -> gpd.GeoDataFrame:
    """Read what `write_snapshot` wrote.

    Args:
        path: the file.
        known: columns that are there already and are not read.

    Raises:
        StepError: the snapshot is missing or unreadable.
    """
    given = {} if known is None else known
    try:
        schema = pq.read_schema(path)
        places = json.loads((schema.metadata or {}).get(b"geo", "{}")).get("columns", {})
        flat = [n for n in schema.names if n not in places and not n.endswith(MARK)]
        texts = {n for n in flat if pa.types.is_string(schema.field(n).type)}
        light = _read(path, [n for n in flat if n not in texts]).to_pandas()
        columns: dict[str, Any] = {}
        for stored in schema.names:
            name = stored.removesuffix(MARK)
            if name in given:
                columns[name] = given[name]
            elif stored in places:
                columns[name] = gpd.GeoSeries(_shapes(path, stored), crs=places[stored]["crs"])
            elif stored != name:
                columns[name] = _values(path, stored)
            elif name in texts:
                columns[name] = column(_words(path, name))
            else:
                columns[name] = light[name]
        frame = gpd.GeoDataFrame(columns, geometry="geometry")
    except (OSError, ValueError) as error:
        raise StepError(
            "snapshot", path.name, f"cannot be read ({error})", "run the chain from the beginning"
        ) from error
    return tidy(frame, path.stem)


def _read(path: Path, names: list[str]) -> pa.Table:
    """Columns of one file, without pyarrow's datasets: those take a fifth of a second to import."""
    return pq.ParquetFile(path).read(columns=names)


def _shapes(path: Path, name: str) -> NDArray[np.object_]:
    """The geometries of one column."""
    batches = pq.ParquetFile(path).iter_batches(GROUP, columns=[name])
    parts = [shapely.from_wkb(batch.column(0).to_numpy(zero_copy_only=False)) for batch in batches]
    return np.concatenate([*parts, np.empty(0, dtype=object)])


def _words(path: Path, name: str) -> list[str | None]:
    """The texts of one column; equal ones are one object, as few words serve all rows."""
    dictionary_array = _read(path, [name]).column(0).combine_chunks().dictionary_encode()
    words = dictionary_array.dictionary.to_pylist()
    return [
        None if place is None else words[place] for place in dictionary_array.indices.to_pylist()
    ]


def _values(path: Path, stored: str) -> pd.Series[Any]:
    """What the JSON of one column says, row by row; None where there is none."""
    file = pq.ParquetFile(path)
    count, batches = file.metadata.num_rows, file.iter_batches(GROUP, columns=[stored])
    values = chain.from_iterable(_decoded(batch.column(0)) for batch in batches)
    if stored == f"{STEPS}{MARK}":
        return pd.Series(ProvenanceArray.of(values))
    if stored != f"{VOTES}{MARK}":
        return column(list(values))
    return joined([packed(list(islice(values, GROUP))) for _ in range(0, count, GROUP)])


def _decoded(stored: pa.Array) -> Iterator[Any]:
    """The values of stored texts; equal texts share one."""
    dictionary_array = stored.dictionary_encode()
    texts = dictionary_array.dictionary.to_pylist()
    values = [
        value
        for low in range(0, len(texts), BATCH)
        for value in json.loads(f"[{','.join(texts[low : low + BATCH])}]")
    ]
    for place in dictionary_array.indices.to_pylist():
        yield None if place is None else values[place]
