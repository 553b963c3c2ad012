"""Georeferenced rasters with vector labels in any CRS: GeoJSON, GeoPackage, FlatGeobuf, Shapefile.

Tables (CSV) are read as well, see `readers.tables`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lanner.core.errors import DatasetError, LannerError
from lanner.factory.files import files_below
from lanner.factory.readers.decoded import Image
from lanner.factory.readers.geometry import Shape, shapes
from lanner.factory.readers.parts import by_name, images_below
from lanner.factory.readers.reading import Reading
from lanner.factory.readers.vectors import Vectors, read_vectors
from lanner.factory.samples import Label
from tiling.scene import Scene, open_scene

OPTIONS = frozenset({"labels", "layer", "field", "kind_field", "point_m", "least", "no_file"})
"""`labels`: one vector file for all images (else one beside each, of the same stem). `layer` of a
file with several. `field`: column of the class; without it every feature is of the class that
`"*"` takes. `kind_field`: column of the type within the class. `point_m`: side of the box around a
point in metres. `least`: share of a polygon that must lie inside the image; of less than that the
weight is 0. `no_file`: images without a label file are `unlabelled` (recorded), `negative`, or with
`leave` not taken in (recorded)."""

ENDINGS = (".geojson", ".json", ".gpkg", ".fgb")
MORE = (".shp", ".csv")
"""Read where they are called like an image and nothing of `ENDINGS` is: others may be anything."""
OTHERS = (".kml", ".kmz", ".gml", ".tab", ".mif", ".dxf", ".parquet")
"""Vector files that are not read; named where there are no labels."""


@dataclass(frozen=True)
class Placed:
    """A raster that can be labelled from the map; `file` is it as it was found."""

    image: Image
    scene: Scene
    file: Path


def read(reading: Reading, split: str | None, name: str) -> None:
    """Read rasters and the features that lie on them.

    Polygons and lines are cut at the image's border (flag `cut`), each part of a multi-part
    feature is a label of its own (flag `part`), holes are passed over (flag `holes`).

    Raises:
        DatasetError: labels that fit no image, a CRS that contradicts its coordinates, labels
            without CRS beside rasters of several, a missing column.
    """
    folder = reading.root / name
    if not folder.is_dir():
        raise DatasetError(f"sources.{reading.source.name}", folder, "is no folder", "correct it")
    given = reading.option("labels", "")
    placed = list(_placed(reading, folder))
    if not placed:
        return
    if given:
        path = folder / given if (folder / given).exists() else reading.root / given
        _from_one(reading, split, placed, path)
    else:
        by_path = {one.file: one for one in placed}
        names = reading.named(folder, by_path)
        files = _files(reading, folder, names)
        _from_many(reading, split, {name: by_path[path] for name, path in names.items()}, files)


def _files(reading: Reading, folder: Path, images: Iterable[str]) -> dict[str, Path]:
    """Label files by the name that they share with an image, and those of none.

    Raises:
        DatasetError: there are vector files, and none is called like an image.
    """
    found = by_name(folder, *ENDINGS)
    names = set(images)
    labelled = reading.source.role == "labelled"
    for ending in MORE if labelled else ():
        more = {name: path for name, path in by_name(folder, ending).items() if name in names}
        found = {**more, **found}
    if labelled and not names & set(found):
        _require_labels(reading, folder)
    return found


def _require_labels(reading: Reading, folder: Path) -> None:
    """Where no image has labels: say what there is instead.

    Raises:
        DatasetError: there are vector files.
    """
    paths = sorted(files_below(folder))
    lone = [path for path in paths if path.suffix.lower() in (*ENDINGS, *MORE)]
    other = [path for path in paths if path.suffix.lower() in OTHERS]
    if lone:
        raise DatasetError(
            f"sources.{reading.source.name}",
            ", ".join(reading.name_of(path) for path in lone[:3]),
            "is called like no image, so that no image has labels",
            f"for labels of all images in one file give options: {{labels: {lone[0].name}}}; "
            "else name label files like their images",
        )
    if other:
        raise DatasetError(
            f"sources.{reading.source.name}",
            ", ".join(reading.name_of(path) for path in other[:3]),
            "is of no format that is read, so that no image has labels",
            f"write it as another: ogr2ogr {other[0].stem}.gpkg {other[0].name}",
        )


def _placed(reading: Reading, folder: Path) -> Iterator[Placed]:
    for path in images_below(folder):
        image = reading.open_image(path)
        if image is None:
            continue
        try:
            scene = open_scene(image.path)
            lon, lat = scene.place.to_lonlat([[image.width / 2, image.height / 2]])[0].tolist()
        except LannerError as error:
            reading.skip(image.name, f"cannot be placed: {error.problem}")
            continue
        gsd = math.sqrt(scene.gsd[0] * scene.gsd[1])
        yield Placed(dataclasses.replace(image, gsd=gsd, place=(lon, lat)), scene, path)


def _from_one(reading: Reading, split: str | None, placed: list[Placed], path: Path) -> None:
    vectors = _vectors(reading, path, placed)
    reading.skip_many(f"{reading.name_of(path)} rows", vectors.problems, "cannot be read")
    met: set[int] = set()
    for one in placed:
        found = list(_found(reading, vectors, one))
        met |= {shape.feature for shape in found}
        reading.add(split, one.image, _labels(reading, vectors, found))
    if len(vectors) and not met:
        raise vectors.misfit([one.scene for one in placed])
    outside = [row for row in vectors.rows if row not in met]
    reading.skip_many(f"{reading.name_of(path)} features", outside, "lie outside every image")


def _from_many(
    reading: Reading, split: str | None, placed: dict[str, Placed], files: dict[str, Path]
) -> None:
    reading.lonely(files, placed)
    fits, misfit = False, None
    for name, one in placed.items():
        path = files.get(name)
        if path is None:
            reading.unmatched(one.image, split)
            continue
        vectors = _vectors(reading, path, [one])
        if reading.unreadable(one.image, path, vectors.problems):
            continue
        found = list(_found(reading, vectors, one))
        met = {shape.feature for shape in found}
        outside = [row for row in vectors.rows if row not in met]
        reading.skip_many(f"{reading.name_of(path)} features", outside, "lie outside their image")
        if found or not len(vectors):
            fits = fits or bool(found)
            reading.add(split, one.image, _labels(reading, vectors, found))
        else:
            misfit = misfit or vectors.misfit([one.scene])
            reading.skip(one.image.name, "no feature of its file lies on it: taken as unlabelled")
            reading.add(split, one.image, role="unlabelled")
    if misfit is not None and not fits:
        raise misfit


def _vectors(reading: Reading, path: Path, placed: list[Placed]) -> Vectors:
    vectors = read_vectors(
        path,
        [one.scene for one in placed],
        layer=reading.option("layer", "") or None,
        columns=tuple(
            column for name in ("field", "kind_field") if (column := reading.option(name, ""))
        ),
    )
    reading.skip_many(f"{reading.name_of(path)} features", vectors.empty, "have no geometry")
    if vectors.assumed:
        how = "state no CRS (of a Shapefile its .prj does)"
        reading.note("label files", reading.name_of(path), f"{how}: taken as {vectors.assumed}")
    return vectors


def _found(reading: Reading, vectors: Vectors, one: Placed) -> Iterator[Shape]:
    """What of a vector file lies on a raster, in its pixels."""
    point_m = float(reading.option("point_m", 10.0))
    rows, geometries = vectors.on(one.scene)
    size = (one.image.width, one.image.height)
    half = (point_m / 2 / one.scene.gsd[0], point_m / 2 / one.scene.gsd[1])
    for row, geometry in zip(rows, geometries, strict=True):
        yield from shapes(row, geometry, size, half)


def _labels(reading: Reading, vectors: Vectors, found: list[Shape]) -> list[Label]:
    field, kind = reading.option("field", ""), reading.option("kind_field", "")
    least = float(reading.option("least", 0.25))
    out, nameless = [], []
    for shape in found:
        theirs = _word(vectors.value(shape.feature, field)) if field else "*"
        if theirs is None:
            # Something is there: it is not to be taught as background.
            nameless.append(shape.feature)
            ours = next(iter(reading.source.classes.values()), None)
        else:
            ours = reading.ours(theirs)
        if ours is not None:
            out.append(
                Label(
                    ours,
                    shape.box,
                    shape.polygon,
                    shape.line,
                    kind=_word(vectors.value(shape.feature, kind)) if kind else None,
                    weight=1.0 if shape.inside >= least and theirs is not None else 0.0,
                    flags=shape.flags if theirs is not None else (*shape.flags, "unnamed"),
                )
            )
    why = f"have no {field}: not learned from, neither as objects nor as background"
    reading.skip_many(f"{vectors.path.name} features", dict.fromkeys(nameless), why)
    return out


def _word(value: Any) -> str | None:
    """A column's value as a name: numbers without a needless fraction, None where empty."""
    if value is None or (isinstance(value, float | np.floating) and math.isnan(value)):
        return None
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    return str(value).strip() or None
