"""Finished objects to files: GeoJSON texts, GeoPackage, FlatGeobuf, GeoParquet, a QGIS style."""

from __future__ import annotations

import json
import threading
import warnings
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from math import isfinite
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from pyproj.exceptions import CRSError

from lanner.core.errors import Argument, OutputError
from lanner.core.files import followed, is_stream, replacing
from lanner.core.machine import trim_heap
from lanner.core.schema import Kind, Schema
from postprocess.context import Context
from postprocess.contract import PLAIN, Record, records
from postprocess.frame import MANY, column, joined, packed
from postprocess.geopackage import LAYER, put
from postprocess.provenance import ProvenanceArray
from postprocess.rfc7946 import bbox, mapping, rounded, to_lonlat
from postprocess.snapshots import STEPS, encoded, plain, write_groups
from postprocess.style import style_of, write_style
from postprocess.texts import Texts

FORMATS = (".geojson", ".json", ".gpkg", ".fgb", ".parquet")
PIXELS = "lanner:coordinates"
"""Foreign member of features and collections whose coordinates are `SCENE_PIXELS`."""
SCENE_PIXELS = "scene_pixels"
EPOCH = "2000-01-01T00:00:00.000Z"
"""The date in every GeoPackage, so that equal content is equal bytes."""
GPKG_OPTIONS: dict[str, dict[str, str]] = {
    "dataset_options": {"VERSION": "1.3"},
    "layer_options": {"DATETIME_PRECISION": "MILLISECOND"},
}
"""What QGIS 3.22 reads without a warning; that version of the standard wants milliseconds."""
_OUT = Argument("path")


def features(objects: gpd.GeoDataFrame, context: Context, schema: Schema = PLAIN) -> Texts:
    """One compact JSON text a feature, in final order: RFC 7946, or marked scene pixels.

    Args:
        objects: what came out of a chain.
        context: what it ran in.
        schema: `Chain.schema`; every feature has all its properties, null where there is no value.

    Raises:
        PlaceError: the scene's CRS cannot be turned into longitude and latitude.
    """
    return Texts.of(
        chain.from_iterable(
            _feature_texts(some, context) for some in records(objects, context, schema)
        )
    )


def _feature_texts(some: Sequence[Record], context: Context) -> Iterator[str]:
    """The texts of some features."""
    shapes = np.array([record.shape for record in some], object)
    placed = context.place.crs is not None
    shapes = to_lonlat(shapes, context.place) if placed else rounded(shapes, 2)
    mark: dict[str, Any] = {} if placed else {PIXELS: SCENE_PIXELS}
    for shape, record in zip(shapes, some, strict=True):
        yield _text(
            {
                "type": "Feature",
                **mark,
                "id": record.properties["id"],
                "geometry": mapping(shape),
                "properties": record.properties,
            }
        )


def scene_frame(
    objects: gpd.GeoDataFrame, context: Context, schema: Schema = PLAIN
) -> gpd.GeoDataFrame:
    """The same features in the same order, in the scene's CRS (scene pixels where it has none).

    Its columns and their types are those of the schema, whatever was found.
    """
    crs = context.place.crs
    if len(objects) >= MANY:
        trim_heap()
    rows: list[int] = []
    shapes: list[Any] = []
    parts: dict[str, list[pd.Series[Any]]] = {}
    for some in records(objects, context, schema):
        here = np.array([record.shape for record in some], object)
        shapes += list(here if crs is None else shapely.transform(here, context.place.to_crs))
        for name in some[0].properties:  # as arrays: numbers by themselves take three times as much
            # `steps` keeps its place here and is taken over packed below.
            values = [record.properties[name] for record in some if name != STEPS]
            parts.setdefault(name, []).append(_typed(packed(values)))
        rows += [record.row for record in some]
    if not shapes:
        return empty_frame(schema, crs)
    kinds = {one.name: one.kind for one in schema.columns}
    typed = {name: _of_kind(joined(parts.pop(name)), kinds.get(name)) for name in list(parts)}
    if len(objects) >= MANY:
        trim_heap()  # the parts lay between the shapes
    if STEPS in typed:
        typed[STEPS] = pd.Series(ProvenanceArray.of(objects[STEPS]).take(rows))
    return gpd.GeoDataFrame(typed, geometry=gpd.GeoSeries(shapes, crs=crs))


def empty_frame(schema: Schema, crs: Any) -> gpd.GeoDataFrame:
    """A frame of a schema's columns and types without any row."""
    none = {one.name: _of_kind(column([]), one.kind) for one in schema.columns}
    return gpd.GeoDataFrame(none, geometry=gpd.GeoSeries([], crs=crs))


def write(
    features: Sequence[str],
    frame: gpd.GeoDataFrame,
    path: Path,
    layer: str | None = None,
    schema: Schema | None = None,
) -> str | None:
    """Write one file by its ending, whole or not at all, and a QGIS style beside it.

    `.geojson` (and `.json`) hold `features` byte for byte; `.gpkg`, `.fgb` and `.parquet` hold
    `frame`, its nested values as JSON text. A link is followed. What a GeoPackage holds besides
    our layer stays in it, see `postprocess.geopackage`; GeoJSON may also go to a pipe.

    Args:
        features: as `features` gives them.
        frame: as `scene_frame` gives it.
        path: file to write.
        layer: name of the layer in a file of several; None: the detector's, as the first feature
            says it.
        schema: the features' properties; None: as those that are there tell.

    Returns:
        One line on what became of a GeoPackage that holds more than ours, else None.

    Raises:
        OutputError: unknown ending, GeoJSON asked for a scene without CRS, no folder, no space.
    """
    ending = path.suffix.lower()
    if ending not in FORMATS:
        raise OutputError(
            _OUT,
            path,
            f"{ending or 'no ending'} is no format Lanner writes",
            f"end it in one of {', '.join(FORMATS)}",
        )
    if len(frame) >= MANY:
        trim_heap()  # what the chain's own objects took, which are mostly gone by now
    if ending in (".geojson", ".json"):
        if ending == ".geojson" and frame.crs is None:
            raise _no_geojson(path)
        _write_texts(features, path, pixels=frame.crs is None)
        note = None
    else:
        note = _write_frame(frame, path, ending, layer, schema)
    if note is None and not is_stream(path):
        write_style(path, style_of(frame, schema))
    return note


def _no_geojson(path: Path) -> OutputError:
    return OutputError(
        _OUT,
        path,
        "the scene has no CRS, and GeoJSON is longitude and latitude",
        "write .json, .gpkg or .parquet (scene pixels), or give the scene a CRS",
    )


def _write_texts(features: Sequence[str], path: Path, *, pixels: bool) -> None:
    head: dict[str, Any] = {"type": "FeatureCollection"}
    if pixels:
        head[PIXELS] = SCENE_PIXELS
    around = None if pixels else bbox(_boxes(features))
    if around is not None:
        head["bbox"] = around
    with _whole(path) as beside, beside.open("w", encoding="utf-8", newline="\n") as file:
        file.write(_text(head)[:-1] + ',"features":[')
        for position, feature in enumerate(features):
            file.write("\n" if position == 0 else ",\n")
            file.write(feature)
        file.write("\n]}\n")


def _boxes(features: Sequence[str]) -> Any:
    """(n, 4) boxes of the parts of every feature, as written."""
    boxes = array("d")
    for text in features:
        geometry = json.loads(text)["geometry"]
        parts = geometry["coordinates"]
        for part in parts if geometry["type"].startswith("Multi") else [parts]:
            xy = np.array(part[0] if "Polygon" in geometry["type"] else part, np.float64)
            xy = xy.reshape(-1, 2)
            boxes.extend((*xy.min(axis=0), *xy.max(axis=0)))
    return np.array(boxes, np.float64).reshape(-1, 4)


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """What to write to, so that a file appears whole; a pipe is written to as it is.

    Raises:
        OutputError: it cannot be written.
    """
    if not is_stream(path):
        with replacing(followed(path), _OUT) as beside:
            yield beside
        return
    try:
        yield path
    except OSError as error:
        raise OutputError(
            _OUT, path, f"cannot be written ({error.strerror})", "keep its reader running"
        ) from error


def _write_frame(
    frame: gpd.GeoDataFrame,
    path: Path,
    ending: str,
    layer: str | None,
    schema: Schema | None,
) -> str | None:
    if is_stream(path):
        raise OutputError(
            _OUT, path, "is a pipe or a device, which takes GeoJSON alone", "name a file"
        )
    known = frozenset[str]() if schema is None else schema.of_kind("json")
    nested = [
        name
        for name in frame.columns
        if name in known or (name != "geometry" and _has_nested(frame[name]))
    ]
    if frame.crs is None:
        frame = frame.set_geometry(_as_laid_out(frame))
    if ending == ".parquet":
        with replacing(followed(path), _OUT) as beside:
            write_groups(frame, beside, {name: name for name in nested}, _texts)
        return None
    flat = frame.copy(deep=False)
    for name in nested:
        flat[name] = _lazily(frame[name])
    if layer is None:
        layer = str(frame["detector"].iloc[0]) if "detector" in frame and len(frame) else LAYER
    shape = _shape(flat, schema)
    if ending == ".fgb":
        with replacing(followed(path), _OUT) as beside:
            _by_gdal(flat, path, beside, "FlatGeobuf", layer, shape)
        return None
    return put(
        followed(path),
        layer,
        lambda beside, name: _by_gdal(flat, path, beside, "GPKG", name, shape),
        style_of(frame, schema),
    )


def _has_nested(values: pd.Series[Any]) -> bool:
    return any(isinstance(value, dict | list) for value in values)


def _as_laid_out(frame: gpd.GeoDataFrame) -> gpd.GeoSeries:
    """Scene pixels with y from 0 downward to -height: QGIS lays a picture without a place so."""
    shapes = np.asarray(frame.geometry.values, object)
    return gpd.GeoSeries(
        shapely.transform(shapes, lambda xy: xy * (1.0, -1.0)), index=frame.index, crs=None
    )


def _shape(frame: gpd.GeoDataFrame, schema: Schema | None) -> str | None:
    """The kind of geometry to declare; None where those that are there are to tell it."""
    if schema is None or not set(frame.geom_type) <= {schema.geometry}:
        return None
    return schema.geometry


def _by_gdal(
    frame: gpd.GeoDataFrame, path: Path, beside: Path, driver: str, layer: str, shape: str | None
) -> None:
    """Write what becomes `path`.

    Raises:
        OutputError: GDAL cannot.
    """
    import pyogrio  # brings a GDAL of its own, which GeoJSON and GeoParquet need not wait for

    with gdal_errors(path, frame.crs), FIXED_DATE, warnings.catch_warnings():
        # A scene without CRS has been told so; its file is in scene pixels on purpose.
        warnings.filterwarnings("ignore", "'crs' was not provided", UserWarning)
        options = GPKG_OPTIONS if driver == "GPKG" else {}
        pyogrio.write_dataframe(
            frame, beside, driver=driver, layer=layer, geometry_type=shape, **options
        )


@contextmanager
def gdal_errors(path: Path, crs: Any) -> Iterator[None]:
    """GDAL's errors in our words, while what becomes `path` is written.

    Raises:
        OutputError: GDAL cannot.
    """
    from pyogrio.errors import DataLayerError, DataSourceError

    try:
        yield
    except (DataSourceError, DataLayerError) as error:
        raise OutputError(
            _OUT,
            path,
            f"cannot be written ({error})",
            "free some space or choose another format",
        ) from error
    except CRSError as error:
        raise OutputError(
            _OUT,
            path,
            f"its format has no words for the scene's CRS, {crs.name}",
            "write GeoJSON or GeoParquet, or warp the scene: gdalwarp -t_srs EPSG:CODE",
        ) from error


@dataclass(frozen=True, slots=True)
class _Nested:
    """A nested value whose JSON is made when its row is written: pyogrio writes `str` of objects.

    The texts of all rows at once would be larger than the objects themselves; so would be the
    values of a column that is held packed.
    """

    values: Any
    row: int

    def __str__(self) -> str:
        return _text(self.values[self.row])


def _lazily(values: pd.Series[Any]) -> pd.Series[Any]:
    held, none = values.array, values.isna().tolist()
    return column([None if no else _Nested(held, row) for row, no in enumerate(none)])


_CLOCK = "OGR_CURRENT_DATE"


class _FixedDate:
    """GDAL's clock stands still while files are written, by however many threads.

    Its setting is one for the whole process, so the last writer gives it back.
    """

    def __init__(self) -> None:
        self._lock, self._writers = threading.Lock(), 0
        self._before: str | None = None

    def __enter__(self) -> None:
        import pyogrio

        with self._lock:
            if self._writers == 0:
                self._before = pyogrio.get_gdal_config_option(_CLOCK)
                pyogrio.set_gdal_config_options({_CLOCK: EPOCH})
            self._writers += 1

    def __exit__(self, *_: object) -> None:
        import pyogrio

        with self._lock:
            self._writers -= 1
            if self._writers == 0:
                pyogrio.set_gdal_config_options({_CLOCK: self._before})


FIXED_DATE = _FixedDate()
"""To be entered by whoever writes through GDAL."""


def _typed(values: Any) -> Any:
    """Numbers as numbers; text, nested values and columns without any value stay objects."""
    if values.dtype != object:
        return values
    kinds = {type(value) for value in values if value is not None}
    if kinds and kinds <= {int, float}:
        whole = kinds == {int} and not values.isna().any()
        return values.astype(np.int64 if whole else np.float64)
    if kinds == {bool} and not values.isna().any():
        return values.astype(bool)
    return values


def _of_kind(values: Any, kind: Kind | None) -> Any:
    """A column of the type that its kind asks for; by its values where nobody said one."""
    match kind:
        case "number":
            return values.astype(np.float64)
        case "integer":
            return values.astype(np.int64)
        case "flag":
            return values.astype(bool)
        case "datetime":
            return pd.to_datetime(values, utc=True, format="ISO8601").astype("datetime64[ms, UTC]")
        case None:
            return _typed(values)
    return values


def _texts(values: pd.Series[Any]) -> list[str | None]:
    return encoded(values, _text)


def _text(value: Any) -> str:
    try:
        return _dumped(value)
    except ValueError:  # JSON has no word for what is no number
        return _dumped(_known(value))


def _dumped(value: Any) -> str:
    return json.dumps(
        value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=plain
    )


def _known(value: Any) -> Any:
    """The same with None for floats that are not finite, however deep they lie."""
    if isinstance(value, np.generic | np.ndarray):
        value = plain(value)
    if isinstance(value, dict):
        return {name: _known(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_known(one) for one in value]
    return None if isinstance(value, float) and not isfinite(value) else value
