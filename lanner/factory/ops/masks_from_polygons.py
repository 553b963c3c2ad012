"""Operation: exact masks from labelled outlines, and road masks from centre lines."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pydantic import Field

from lanner.core.config import Strict
from lanner.core.errors import DatasetError
from lanner.factory.images import write_png
from lanner.factory.ops.masks_from_boxes import as_ids
from lanner.factory.ops.work import Samples, Work, label_facts, of_sources, replaced
from lanner.factory.samples import MASK_UNKNOWN, Label, Sample


class Params(Strict):
    """What is drawn.

    Outlines become `ids` (and a class mask too with `classes`), lines a class mask of `width_m`
    metres, or `width_px` pixels where the ground sampling is not known. Objects without an
    outline are left unknown. `rim_px` around lines is unknown as well: their edges are a guess.
    Labelled images without any label get an empty mask where others of their source have lines:
    a tile that no road crosses has something to teach.
    """

    sources: tuple[str, ...] = ()
    classes: bool = False
    width_m: float | None = Field(None, gt=0)
    width_px: float = Field(7.0, gt=0)
    rim_px: float = Field(0.0, ge=0)


def run(samples: Samples, work: Work, params: Params) -> Samples:
    """Give samples with outlines or lines their masks.

    Raises:
        ConfigError: a class that no source has.
        OutputError: a mask cannot be written.
    """
    work.require_sources(params.sources, samples, "sources")
    asked = of_sources(samples, params.sources)
    lined = {one.source for one in asked if any(label.line for label in one.labels)}
    todo = [
        one
        for one in asked
        if any(label.polygon or label.line for label in one.labels) or _bare(one, lined)
    ]
    changed = {}
    for sample in work.each(todo):
        width = line_width(sample, params)
        lines = [one for one in sample.labels if one.line]
        key = ["drawn", label_facts(sample.labels), sample.width, sample.height]
        new = sample
        if len(lines) < len(sample.labels):
            path = work.file(".png", partial(_write_ids, sample), *key, "ids")
            new = new.but(ids=path)
        if lines or params.classes or not sample.labels:
            values = [work.class_value(one.label) for one in sample.labels]
            path = work.file(
                ".png",
                partial(_write_classes, sample, values, width, params.rim_px),
                *key,
                values,
                width,
                params.rim_px,
            )
            new = new.but(mask=path)
        drawn = f"{len(sample.labels) - len(lines)} outlines, {len(lines)} lines"
        work.note(sample.id, f"masks of {drawn}" + (f" {width:.3g} px wide" if lines else ""))
        changed[sample.id] = new
    return replaced(samples, changed)


def _bare(sample: Sample, lined: set[str]) -> bool:
    """Whether a sample is known to show no line, and has no mask that says so."""
    known = sample.role == "labelled" and not sample.labels and sample.mask is None
    return known and sample.source in lined


def line_width(sample: Sample, params: Params) -> float:
    """Width of lines in pixels of a sample."""
    if params.width_m is not None and sample.gsd is not None:
        return params.width_m / sample.gsd
    return params.width_px


def object_ids(labels: Sequence[Label], width: int, height: int) -> NDArray[np.int32]:
    """Objects by number, the smaller ones on top; -1 in boxes of those without an outline.

    A pixel belongs to an outline that its centre lies in. Lines are no objects here.

    Args:
        labels: k becomes k + 1.
        width: of the image in pixels.
        height: of it.

    Returns:
        (height, width) int32.
    """
    shapes: list[tuple[float, Any, int]] = []
    for k, one in enumerate(labels):
        if one.polygon is not None:
            shape = shapely.make_valid(shapely.Polygon(one.polygon))
            shapes.append((shape.area, shape, k + 1))
        elif one.line is None:
            # Outlines are laid over what is unknown.
            shapes.append((np.inf, shapely.box(*one.box), -1))
    shapes.sort(key=lambda one: -one[0])
    return _burnt([(shape, value) for _, shape, value in shapes], width, height, np.int32)


def class_mask(
    labels: Sequence[Label],
    values: Sequence[int],
    size: tuple[int, int],
    line_px: float,
    rim: float,
) -> NDArray[np.uint8]:
    """Classes by number; 255 where they are not known.

    Args:
        labels: with outlines or lines; boxes alone become unknown.
        values: class of each, from 1.
        size: width and height of the image in pixels.
        line_px: width of lines.
        rim: width of the unknown rim of lines.

    Returns:
        (h, w) uint8.
    """
    unknown: list[tuple[Any, int]] = []
    known: list[tuple[Any, int]] = []
    for one, value in zip(labels, values, strict=True):
        if one.line is not None:
            line = shapely.LineString(one.line)
            if rim:
                unknown.append((line.buffer(line_px / 2 + rim), MASK_UNKNOWN))
            shape = line.buffer(line_px / 2)
        elif one.polygon is not None:
            shape = shapely.make_valid(shapely.Polygon(one.polygon))
        else:
            unknown.append((shapely.box(*one.box), MASK_UNKNOWN))
            continue
        (known if one.weight > 0 else unknown).append(
            (shape, value if one.weight > 0 else MASK_UNKNOWN)
        )
    return _burnt([*unknown, *known], *size, np.uint8)


def _burnt(shapes: list[tuple[Any, int]], width: int, height: int, dtype: Any) -> NDArray[Any]:
    from rasterio.features import rasterize

    some = [(shape, value) for shape, value in shapes if not shape.is_empty]
    if not some:
        return np.zeros((height, width), dtype)
    # rasterio has no transform to guess here: pixels are pixels, their centres at .5.
    done = rasterize(some, out_shape=(height, width), fill=0, dtype=np.int32)
    return np.asarray(done).astype(dtype)


def _write_ids(sample: Sample, path: Path) -> None:
    write_png(as_ids(object_ids(sample.labels, sample.width, sample.height)), path)


def _write_classes(
    sample: Sample, values: Sequence[int], line_px: float, rim: float, path: Path
) -> None:
    if max(values, default=0) >= MASK_UNKNOWN:
        raise DatasetError(
            "classes", max(values), "are too many for one mask", "map them to fewer than 255"
        )
    size = (sample.width, sample.height)
    write_png(class_mask(sample.labels, values, size, line_px, rim), path)
