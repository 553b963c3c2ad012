"""Vector files of labels: read, checked against their CRS, and brought to a raster's pixels."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj

from lanner.core.errors import DatasetError
from lanner.factory.readers.tables import read_table
from tiling.place import LONLAT, Place
from tiling.scene import Scene

if TYPE_CHECKING:
    import geopandas

DRIVERS = ("GeoJSON", "GPKG", "FlatGeobuf", "ESRI Shapefile")
"""Formats that are let in besides CSV: others can name files elsewhere, or run code."""

TABLE = ".csv"


@dataclass(frozen=True)
class Vectors:
    """Features of a file, by their number in it from 1; `empty` had no geometry.

    `assumed` is the CRS that was taken where the file states none; `problems` are rows that cannot
    be read.
    """

    path: Path
    frame: geopandas.GeoDataFrame
    empty: tuple[int, ...] = ()
    assumed: str = ""
    problems: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def rows(self) -> tuple[int, ...]:
        """Numbers of the features that have a geometry."""
        return tuple(self.frame.index.tolist())

    def value(self, row: int, column: str) -> Any:
        """A feature's attribute."""
        return self.frame.at[row, column]

    def on(self, scene: Scene) -> tuple[list[int], list[Any]]:
        """Features whose bounds meet a raster: their numbers, and geometries in its pixels.

        A raster may reach over the edge of its CRS, at 180 degrees: what lies beyond has other
        coordinates in a file, and of what was cut there (RFC 7946) the parts are put together.
        """
        import shapely

        crs = scene.place.crs
        frame = self.frame if crs is None else self.frame.to_crs(crs)
        low, high = (pick(scene.place.to_crs(_corners(scene)), axis=0) for pick in (np.min, np.max))
        turn = 0.0 if crs is None else round_the_earth(crs.to_wkt())
        met: dict[int, list[Any]] = {}
        for shift in dict.fromkeys((0.0, turn, -turn)):
            by = np.array([shift, 0.0])
            for k in frame.sindex.query(shapely.box(*(low - by), *(high - by))).tolist():
                found = shapely.force_2d(frame.geometry.iloc[k])
                met.setdefault(k, []).append(
                    shapely.transform(found, lambda xy, by=by: xy + by) if shift else found
                )
        window = shapely.box(*low, *high)
        hits = sorted(met)
        moved = [_in_pixels(_joined(met[k], window), scene.place) for k in hits]
        rows = [self.rows[k] for k in hits]
        sound = [k for k, one in enumerate(moved) if np.isfinite(one.bounds).all()]
        return [rows[k] for k in sound], [moved[k] for k in sound]

    def misfit(self, scenes: Sequence[Scene]) -> DatasetError:
        """What to say where no feature lies on any of the rasters."""
        crs, raw = self.frame.crs, self.frame.total_bounds
        if crs.is_projected and _like_degrees(raw) and not self.assumed:
            return DatasetError(
                "labels",
                self.path,
                f"says {crs.name}, which is in metres, but its coordinates look like degrees "
                f"({_box_text(raw)}), and none lies on an image",
                "correct its CRS",
            )
        there = self.frame.to_crs(LONLAT).total_bounds
        points = [one.place.to_lonlat(_corners(one)) for one in scenes]
        ours = np.concatenate([np.min(points, axis=(0, 1)), np.max(points, axis=(0, 1))])
        return DatasetError(
            "labels",
            self.path,
            f"fits no image: its {len(self)} features lie within lon, lat {_box_text(there)}, "
            f"the images within {_box_text(ours)}"
            + (f" (it states no CRS, so {self.assumed} was taken)" if self.assumed else ""),
            "give the labels of these images, or correct the CRS of one of them",
        )


def read_vectors(
    path: Path, scenes: Iterable[Scene], *, layer: str | None = None, columns: tuple[str, ...] = ()
) -> Vectors:
    """Read a vector file.

    Args:
        path: GeoJSON, GeoPackage, FlatGeobuf, Shapefile or CSV.
        scenes: rasters it belongs to; a file without CRS is taken to have theirs, or to be in
            degrees where its coordinates look so and theirs are not.
        layer: which one, where the file has several.
        columns: those that are needed, where there are features.

    Raises:
        DatasetError: missing, unreadable, another format, a missing column or layer, a CRS
            that contradicts the coordinates, or none beside rasters of several.
    """
    import geopandas

    scenes = tuple(scenes)
    problems: Mapping[int, str] = {}
    if path.suffix.lower() == TABLE and path.is_file():
        table = read_table(path, max((max(one.width, one.height) for one in scenes), default=0))
        frame, problems = table.frame, table.problems
    else:
        layer = _check(path, layer)
        try:
            frame = geopandas.read_file(path, layer=layer, engine="pyogrio")
        except (ValueError, RuntimeError) as error:
            raise _unreadable(path, str(error)) from error
    if not isinstance(frame, geopandas.GeoDataFrame):
        raise _unreadable(path, "it has no geometries")
    # GeoJSON without features has no columns either, and an image without objects is right.
    for column in columns if len(frame) else ():
        if column not in frame.columns:
            known = sorted(str(one) for one in frame.columns if one != "geometry")
            near = difflib.get_close_matches(column, known, n=1)
            raise DatasetError(
                "labels",
                path,
                f"has no field {column}, only {', '.join(known) or 'geometries'}",
                f"did you mean {near[0]!r}?" if near else "correct options",
            )
    frame.index = range(1, len(frame) + 1)
    gone = frame.geometry.isna() | frame.geometry.is_empty
    stated = frame.crs is not None
    frame = _with_crs(path, frame, scenes)
    empty = tuple(row for row in frame.index[gone].tolist() if row not in problems)
    frame = frame[~gone]
    if len(frame) and frame.crs.is_geographic:
        _check_degrees(path, frame)
    assumed = "" if stated or not len(frame) else frame.crs.name
    return Vectors(path, frame, empty, assumed, tuple(problems.values()))


def values_of(path: Path) -> dict[str, list[Any]]:
    """Distinct values of each column of a vector file, as they come.

    Raises:
        DatasetError: as `read_vectors`.
    """
    import geopandas

    if path.suffix.lower() == TABLE:
        frame = read_table(path, 0).frame
        frame = frame.drop(columns=frame.geometry.name)
    else:
        layer = _check(path, None)
        try:
            frame = geopandas.read_file(path, layer=layer, engine="pyogrio", ignore_geometry=True)
        except (ValueError, RuntimeError) as error:
            raise _unreadable(path, str(error)) from error
    return {str(name): frame[name].dropna().unique().tolist() for name in frame.columns}


def _check(path: Path, layer: str | None) -> str | None:
    """Let in a file of a known format, with one layer or the one named, and say which.

    Tables without geometries, such as the styles that QGIS leaves, are no layers.
    """
    import pyogrio

    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "is not there"
        raise DatasetError("labels", path, problem, "give a file in options.labels")
    try:
        tables = pyogrio.list_layers(path).tolist()
        layers = [str(name) for name, kind in tables if kind is not None]
        if layer is not None and layer not in layers:
            raise DatasetError(
                "options.layer", layer, f"is not in {path.name}", f"give one of {', '.join(layers)}"
            )
        if layer is None and len(layers) > 1:
            raise DatasetError(
                "labels", path, f"has {len(layers)} layers", f"give options.layer: {layers[0]}"
            )
        if layer is None and layers and len(tables) > 1:
            layer = layers[0]
        driver = pyogrio.read_info(path, layer=layer)["driver"]
    except (ValueError, RuntimeError) as error:
        raise _unreadable(path, str(error)) from error
    if driver not in DRIVERS:
        raise DatasetError(
            "labels", path, f"is {driver}", f"give one of {', '.join(DRIVERS)} (ogr2ogr) or CSV"
        )
    return layer


def _unreadable(path: Path, why: str) -> DatasetError:
    missing = path.suffix.lower() == ".shp" and not path.with_suffix(".shx").exists()
    remedy = "put its .shx and .dbf beside it" if missing else "export it again"
    return DatasetError("labels", path, f"cannot be read ({why})", remedy)


def _with_crs(
    path: Path, frame: geopandas.GeoDataFrame, scenes: Iterable[Scene]
) -> geopandas.GeoDataFrame:
    if frame.crs is not None:
        return frame
    projected = [one.place.crs.is_projected for one in scenes if one.place.crs is not None]
    # No ground lies within 180 metres of where the coordinates of a map begin.
    if projected and all(projected) and len(frame) and _like_degrees(frame.total_bounds):
        return frame.set_crs(LONLAT)
    found = {one.place.crs.to_wkt() for one in scenes if one.place.crs is not None}
    if len(found) != 1:
        names = sorted(pyproj.CRS.from_wkt(one).name for one in found)
        raise DatasetError(
            "labels",
            path,
            f"mixed CRS: it states none, and the images have {', '.join(names) or 'none'}",
            "write its CRS: ogr2ogr -a_srs EPSG:CODE out.gpkg LABELS",
        )
    return frame.set_crs(found.pop())


def _check_degrees(path: Path, frame: geopandas.GeoDataFrame) -> None:
    box = frame.total_bounds
    if not (abs(box[0]) <= 360 and abs(box[2]) <= 360 and abs(box[1]) <= 90 and abs(box[3]) <= 90):
        raise DatasetError(
            "labels",
            path,
            f"says {frame.crs.name}, which is in degrees, but its coordinates reach "
            f"{_box_text(box)}",
            "write its true CRS: ogr2ogr -a_srs EPSG:CODE out.gpkg LABELS",
        )


@lru_cache(maxsize=16)
def round_the_earth(wkt: str) -> float:
    """What 360 degrees of longitude are in a CRS whose x goes evenly with it, else 0."""
    to = pyproj.Transformer.from_crs(LONLAT, wkt, always_xy=True)
    west, left, right, east = to.transform([-180, -90, 90, 180], [0.0] * 4)[0]
    even = np.isfinite([west, left, right, east]).all()
    if not even or east <= west or abs(2 * (right - left) - (east - west)) > 1e-9 * (east - west):
        return 0.0
    return float(east - west)


def _joined(copies: list[Any], window: Any) -> Any:
    """A geometry that meets a window once, or as one what of its copies does."""
    import shapely

    if len(copies) == 1:
        return copies[0]
    parts = [part for one in copies for part in shapely.get_parts(one) if part.intersects(window)]
    whole = shapely.union_all(parts)
    lines = parts and all(part.geom_type == "LineString" for part in parts)
    return shapely.line_merge(whole) if lines else whole


def _in_pixels(geometry: Any, place: Place) -> Any:
    import shapely

    return shapely.transform(shapely.force_2d(geometry), place.from_crs)


def _corners(scene: Scene) -> list[list[float]]:
    width, height = scene.width, scene.height
    return [[0, 0], [width, 0], [width, height], [0, height]]


def _like_degrees(box: Any) -> bool:
    return bool(abs(box[0]) <= 180 and abs(box[2]) <= 180 and max(abs(box[1]), abs(box[3])) <= 90)


def _box_text(box: Any) -> str:
    return " ".join(f"{value:.6g}" for value in box)
