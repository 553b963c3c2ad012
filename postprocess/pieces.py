"""Layers of more features than memory holds: written to GeoParquet piece by piece, and from there
to a GeoPackage.

The bytes follow from the features and their order alone, not from how they are cut in pieces.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import shapely

from lanner.core.errors import Argument
from lanner.core.files import replacing
from lanner.core.job import Cancel
from lanner.core.schema import Kind, Schema
from postprocess.geopackage import put
from postprocess.snapshots import GROUP
from postprocess.style import style
from postprocess.writers import FIXED_DATE, GPKG_OPTIONS, gdal_errors

GEOMETRY = "geometry"
"""The column of shapes."""

_OUT = Argument("path")
_GEO = b"geo"
_TYPES: dict[Kind, pa.DataType] = {
    "text": pa.string(),
    "json": pa.string(),
    "number": pa.float64(),
    "integer": pa.int64(),
    "flag": pa.bool_(),
    "datetime": pa.timestamp("ms", tz="UTC"),
}


def write_parquet(
    frames: Iterable[gpd.GeoDataFrame], path: Path, schema: Schema, crs: pyproj.CRS
) -> int:
    """Write frames one below the other as GeoParquet of `GROUP` rows a row group.

    Args:
        frames: taken one after the other; in `crs`, nested values as texts. What they lack of the
            schema's columns is missing, what they have beside it is left out.
        path: the file to write; it appears whole or not at all.
        schema: its columns, in order.
        crs: of all frames.

    Returns:
        How many rows there are.

    Raises:
        OutputError: the file cannot be written.
    """
    fields = [pa.field(one.name, _TYPES[one.kind]) for one in schema.columns]
    whole = pa.schema([*fields, pa.field(GEOMETRY, pa.binary())])
    kinds, box, count = set[str](), np.array([np.inf, np.inf, -np.inf, -np.inf]), 0
    # What a schema that is stored by itself says would hide what is known at the end alone.
    with (
        replacing(path, _OUT) as beside,
        pq.ParquetWriter(beside, whole, store_schema=False) as file,
    ):
        left: list[pa.Table] = []
        for frame in frames:
            if not len(frame):
                continue
            shapes = np.asarray(frame.geometry.values, object)
            kinds |= set(frame.geom_type[~shapely.is_missing(shapes)])
            edges = shapely.total_bounds(shapes)
            box[:2], box[2:] = np.fmin(box[:2], edges[:2]), np.fmax(box[2:], edges[2:])
            count += len(frame)
            left = _put_groups(file, [*left, _table(frame, shapes, whole)])
        if sum(map(len, left)):
            file.write_table(pa.concat_tables(left).combine_chunks())
        file.add_key_value_metadata({_GEO: _geo(kinds, box, crs)})
    return count


def write_geopackage(parquet: Path, path: Path, layer: str, schema: Schema, cancel: Cancel) -> None:
    """Put what `write_parquet` wrote into a GeoPackage as a layer of its own, with its style.

    Args:
        parquet: the file that it wrote.
        path: the GeoPackage; what else is in it stays.
        layer: name of the layer.
        schema: as it was given there.
        cancel: asks for an end, which leaves the GeoPackage as it was.

    Raises:
        OutputError: the GeoPackage cannot be written.
        Cancelled: the caller asked to stop.
    """
    file = pq.ParquetFile(parquet)
    facts = json.loads(file.schema_arrow.metadata[_GEO])["columns"][GEOMETRY]
    crs = pyproj.CRS.from_json_dict(facts["crs"])
    simple, many = schema.geometry, f"Multi{schema.geometry}"
    kinds = {*facts["geometry_types"]}
    shape = simple if kinds <= {simple} else many if kinds <= {simple, many} else "Unknown"
    types = file.schema_arrow.remove_metadata()

    def make(beside: Path, name: str) -> None:
        import pyogrio  # brings a GDAL of its own, which GeoParquet need not wait for

        groups = _groups(file, types, cancel, many=shape == many)
        stream = pa.RecordBatchReader.from_batches(types, groups)
        with gdal_errors(path, crs), FIXED_DATE:
            pyogrio.write_arrow(
                stream,
                beside,
                driver="GPKG",
                layer=name,
                geometry_name=GEOMETRY,
                geometry_type=shape,
                crs=crs.to_wkt(),
                **GPKG_OPTIONS,
            )
        cancel.check()

    put(path, layer, make, style(lines=schema.geometry == "LineString"))


def _table(frame: gpd.GeoDataFrame, shapes: Any, whole: pa.Schema) -> pa.Table:
    wkb = pa.array(list(shapely.to_wkb(shapes, flavor="iso")), pa.binary())
    arrays = [
        pa.array(frame[one.name], one.type, from_pandas=True)
        if one.name in frame
        else pa.nulls(len(frame), one.type)
        for one in whole
        if one.name != GEOMETRY
    ]
    return pa.table([*arrays, wkb], schema=whole)


def _put_groups(file: pq.ParquetWriter, tables: list[pa.Table]) -> list[pa.Table]:
    """Write all full groups of rows; gives what is left."""
    if sum(map(len, tables)) < GROUP:
        return tables
    table = pa.concat_tables(tables)
    full = len(table) - len(table) % GROUP
    for low in range(0, full, GROUP):
        # One chunk a column: a file's pages follow from where chunks end.
        file.write_table(table.slice(low, GROUP).combine_chunks())
    return [table.slice(full).combine_chunks()]


def _geo(kinds: set[str], box: Any, crs: pyproj.CRS) -> str:
    """What GeoParquet says of its column of shapes."""
    column: dict[str, Any] = {
        "encoding": "WKB",
        "crs": crs.to_json_dict(),
        "geometry_types": sorted(kinds),
    }
    if np.isfinite(box).all():
        column["bbox"] = box.tolist()
    facts = {"version": "1.0.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}
    return json.dumps(facts, separators=(",", ":"))


def _groups(
    file: pq.ParquetFile, types: pa.Schema, cancel: Cancel, *, many: bool
) -> Iterator[pa.RecordBatch]:
    """The rows of a file group by group, until there is no more or an end is asked for.

    Its own iterator of batches would hold the whole file. An error must not be raised here: GDAL
    asks for the next batch.
    """
    place = types.get_field_index(GEOMETRY)
    for group in range(file.num_row_groups):
        if cancel.is_set():
            return
        for batch in file.read_row_group(group, use_threads=False).to_batches():
            arrays = batch.columns
            if many:
                arrays[place] = pa.array(_in_parts(arrays[place]), pa.binary())
            yield pa.record_batch(arrays, schema=types)


def _in_parts(wkb: pa.Array) -> list[bytes | None]:
    """Shapes as those of several parts, which some of their layer are."""
    shapes = shapely.from_wkb(wkb.to_numpy(zero_copy_only=False))
    several = {
        shapely.GeometryType.POLYGON: shapely.multipolygons,
        shapely.GeometryType.LINESTRING: shapely.multilinestrings,
    }
    for kind, joined in several.items():
        rows = np.flatnonzero(shapely.get_type_id(shapes) == kind)
        shapes[rows] = joined(shapes[rows], indices=np.arange(len(rows)))
    return list(shapely.to_wkb(shapes, flavor="iso"))
