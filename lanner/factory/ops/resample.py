"""Operation: images of known ground sampling brought to another."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from lanner.core.config import Strict
from lanner.core.errors import PlaceError
from lanner.factory.images import RASTERS, read_mask, read_rgb, write_png
from lanner.factory.ops.moves import scaled
from lanner.factory.ops.work import Samples, Work, of_sources, origin_of, replaced
from lanner.factory.samples import Sample
from tiling.scene import open_scene

SQUARE = 0.005
"""Share by which the sides of a pixel may differ and it still be called square."""


class Params(Strict):
    """`gsd` is wanted, metres a pixel; images within a share of `tolerance` stay as they are.

    Images of unknown sampling are taken as `unknown` metres a pixel, or left alone without it.
    Pixels of a raster that are not square on the ground, as those of degrees, become so: a
    detector sees them square.
    """

    gsd: float = Field(gt=0)
    sources: tuple[str, ...] = ()
    tolerance: float = Field(0.02, ge=0)
    unknown: float | None = Field(None, gt=0)


def run(samples: Samples, work: Work, params: Params) -> Samples:
    """Scale images, masks and labels; enlarged by cubic, shrunk by area interpolation.

    Raises:
        DatasetError: an image does not decode.
    """
    work.require_sources(params.sources, samples, "sources")
    changed = {}
    for sample in work.each(of_sources(samples, params.sources)):
        own = sample.gsd or params.unknown
        if own is None:
            continue
        factors = [one / params.gsd for one in along(sample, own)]
        if all(abs(one - 1) <= params.tolerance for one in factors):
            continue
        size = (
            max(1, round(sample.width * factors[0])),
            max(1, round(sample.height * factors[1])),
        )
        changed[sample.id] = resized(sample, size, work).but(gsd=params.gsd)
        work.note(sample.id, f"from {own:g} to {params.gsd:g} m a pixel, {size[0]} x {size[1]} px")
    return replaced(samples, changed)


def along(sample: Sample, gsd: float) -> tuple[float, float]:
    """Metres a pixel along x and y of an image whose pixels are as large as squares of `gsd`."""
    if sample.image.suffix.lower() not in RASTERS:
        return gsd, gsd
    try:
        x, y = open_scene(sample.image).gsd
    except PlaceError:
        return gsd, gsd
    slim = math.sqrt(x / y)
    # Rounding makes no square pixels of a map other ones.
    return (gsd * slim, gsd / slim) if abs(slim - 1) > SQUARE else (gsd, gsd)


def resized(sample: Sample, size: tuple[int, int], work: Work) -> Sample:
    """A sample scaled to a width and height in pixels."""
    image = work.file(".png", partial(_write_rgb, sample.image, size), size, sample.image)
    masks: dict[str, Path | None] = {}
    for name, path in (("mask", sample.mask), ("ids", sample.ids)):
        masks[name] = None if path is None else _mask(path, size, work)
    sx, sy = size[0] / sample.width, size[1] / sample.height
    labels = tuple(scaled(one, sx, sy) for one in sample.labels)
    return sample.but(
        image=image,
        width=size[0],
        height=size[1],
        labels=labels,
        origin=origin_of(sample),
        **masks,
    )


def scale_rgb(rgb: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 to the width and height given."""
    shrinks = size[0] < rgb.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(rgb, size, interpolation=how), np.uint8)


def scale_mask(mask: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """(h, w) to the width and height given; each pixel takes the value below its centre."""
    x = ((np.arange(size[0]) + 0.5) * mask.shape[1] / size[0]).astype(int)
    y = ((np.arange(size[1]) + 0.5) * mask.shape[0] / size[1]).astype(int)
    return mask[np.ix_(y, x)]


def _write_rgb(source: Path, size: tuple[int, int], path: Path) -> None:
    write_png(scale_rgb(read_rgb(source), size), path)


def _write_mask(source: Path, size: tuple[int, int], path: Path) -> None:
    write_png(scale_mask(read_mask(source), size), path)


def _mask(path: Path, size: tuple[int, int], work: Work) -> Path:
    return work.file(".png", partial(_write_mask, path, size), "mask", size, path)
