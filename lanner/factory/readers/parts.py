"""Small parts of readers: numbers, boxes, rings, folders, places."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from lanner.core.errors import DatasetError, PlaceError
from lanner.factory.files import files_below
from lanner.factory.images import RASTERS, SUFFIXES
from lanner.factory.samples import Box, Ring
from tiling.scene import open_scene

DECIMALS = 6
"""Coordinates are rounded to so many decimals of a pixel, so that a file written from them and
read again gives the same numbers."""


def images_below(folder: Path) -> Iterator[Path]:
    """Image files of a folder and the folders in it, sorted; hidden ones are passed over."""
    for path in sorted(files_below(folder)):
        inside = path.relative_to(folder).parts
        if path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in inside):
            yield path


def images_beside(folders: tuple[Path, Path], labels: Iterable[Path]) -> list[Path]:
    """Images of the first folder that are no label files of the second.

    Masks are images too: where they lie among the images, or in a folder there, they are labels
    alone.
    """
    inside = folders[1].is_relative_to(folders[0])
    taken = set(labels) if inside else set()
    return [path for path in images_below(folders[0]) if path not in taken]


def paired(root: Path, split: str, images: str, labels: str) -> tuple[Path, Path]:
    """The folders of images and labels of a split, in any of the usual orders.

    Tried: split/images with split/labels, images/split with labels/split, and both in split.

    Args:
        root: folder of the source.
        split: folder of the split, "" for the root.
        images: name of the folder of images.
        labels: name of the folder of labels.

    Raises:
        DatasetError: none of them is there.
    """
    tried = [
        (root / split / images, root / split / labels),
        (root / images / split, root / labels / split),
        (root / split, root / split),
    ]
    for first, second in tried:
        if first.is_dir() and second.is_dir():
            return first, second
    raise DatasetError(
        "labels",
        root / split,
        f"holds no folders {images} and {labels}",
        "correct root, splits, or options.images and options.labels",
    )


def number(value: object) -> float:
    """A finite number.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is no number")
    found = float(value)
    if not math.isfinite(found):
        raise ValueError(f"{value!r} is not finite")
    return found


def neat(box: Iterable[float]) -> Box:
    """Four numbers, rounded to `DECIMALS`."""
    x0, y0, x1, y1 = (round(float(value), DECIMALS) + 0.0 for value in box)
    return x0, y0, x1, y1


def ring(flat: Iterable[float]) -> Ring:
    """x, y, x, y ... as points, rounded to `DECIMALS`."""
    values = [round(float(value), DECIMALS) + 0.0 for value in flat]
    return tuple(zip(values[::2], values[1::2], strict=True))


def bounds(points: Ring) -> Box:
    """The box of a ring or line."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return min(xs), min(ys), max(xs), max(ys)


def located(path: Path, width: int, height: int) -> tuple[float | None, tuple[float, float] | None]:
    """Metres a pixel and lon, lat of the centre of a raster that has a place."""
    if path.suffix.lower() not in RASTERS:
        return None, None
    try:
        scene = open_scene(path)
        lon, lat = scene.place.to_lonlat([[width / 2, height / 2]])[0]
    except PlaceError:
        # It decodes, and images need no place.
        return None, None
    return math.sqrt(scene.gsd[0] * scene.gsd[1]), (float(lon), float(lat))


def text_of(path: Path) -> str:
    """A label file as text.

    Raises:
        DatasetError: unreadable or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DatasetError(
            "labels", path, "is not there", "correct root, splits or options.labels"
        ) from error
    except OSError as error:
        raise DatasetError(
            "labels", path, f"cannot be read ({error.strerror})", "let it be read"
        ) from error
    except UnicodeDecodeError as error:
        raise DatasetError("labels", path, f"is no text ({error})", "give UTF-8 text") from error


def by_name(folder: Path, *endings: str, but: tuple[str, ...] = ()) -> dict[str, Path]:
    """Files below a folder by the name that they share with their image (`name_in`).

    Raises:
        DatasetError: two have the same name, so that it is not clear which one counts.
    """
    out: dict[str, Path] = {}
    for path in sorted(files_below(folder)):
        if path.suffix.lower() not in endings or path.name in but:
            continue
        name = name_in(folder, path)
        if name in out:
            raise DatasetError(
                "labels", path, f"is called like {out[name].name}", "keep one of them"
            )
        out[name] = path
    return out


def name_in(folder: Path, path: Path) -> str:
    """A file's path within a folder, without its ending."""
    return path.relative_to(folder).with_suffix("").as_posix()
