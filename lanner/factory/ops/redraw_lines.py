"""Operation: labels of roads are drawn anew as centre lines of one width.

Sources draw roads as the surfaces that they are, or as lines of a width of their own. A network
that learns from several of them at once would have to guess whose picture it is shown; with one
width it need not.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from lanner.core.config import Strict
from lanner.core.errors import ConfigError
from lanner.factory.images import read_mask, write_png
from lanner.factory.ops.work import Samples, Work, of_sources, replaced
from lanner.factory.samples import MASK_UNKNOWN

_ALL_AROUND = np.ones((3, 3), np.uint8)
_SPUR = 1.5
"""A branch with a free end and fewer half widths than this is a corner of the surface."""


class Params(Strict):
    """How wide lines are drawn.

    `sources`: all with class masks where empty; each needs a known ground sampling. What of a
    surface lies beyond `width_m` around its centre line, and `unsure_m` around that, is unknown.
    """

    sources: tuple[str, ...] = ()
    width_m: float = Field(7.0, gt=0)
    unsure_m: float = Field(1.0, ge=0)


def run(samples: Samples, work: Work, params: Params) -> Samples:
    """Give samples with class masks masks whose lines have one width.

    Raises:
        ConfigError: no such source, or the ground sampling of a sample is not known.
        DatasetError: a mask does not decode.
    """
    work.require_sources(params.sources, samples, "sources")
    todo = [one for one in of_sources(samples, params.sources) if one.mask is not None]
    changed = {}
    for sample in work.each(todo):
        assert sample.mask is not None
        if sample.gsd is None:
            raise ConfigError(
                f"process.{work.op}.sources",
                sample.source,
                f"has no known ground sampling ({sample.id})",
                "give the source a `gsd`, or name other sources",
            )
        width, unsure = params.width_m / sample.gsd, params.unsure_m / sample.gsd
        make = partial(_write, sample.mask, width, unsure)
        path = work.file(".png", make, width, unsure, sample.mask)
        work.note(sample.id, f"lines drawn {width:.1f} px wide")
        changed[sample.id] = sample.but(mask=path)
    return replaced(samples, changed)


def redraw_lines(mask: NDArray[np.uint8], width: float, unsure: float) -> NDArray[np.uint8]:
    """A mask whose lines are all of one width.

    Args:
        mask: (h, w) classes, 0 background, `MASK_UNKNOWN`.
        width: of the lines that come out, pixels.
        unsure: what lies so far around the surfaces that came in is unknown, pixels.

    Returns:
        uint8 (h, w): the nearest class within `width` / 2 of a centre line, `MASK_UNKNOWN` where
        the mask said so or what is left of a surface is near, else 0.
    """
    there = (mask > 0) & (mask != MASK_UNKNOWN)
    if not there.any():
        return mask
    line = centre_lines(there, mask == MASK_UNKNOWN)
    away, nearest = ndimage.distance_transform_edt(~there, return_indices=True)
    klass = mask[tuple(nearest)]
    out = np.where(away <= unsure, MASK_UNKNOWN, 0).astype(np.uint8)
    if line.any():
        drawn = ndimage.distance_transform_edt(~line) <= width / 2
        out[drawn] = klass[drawn]
    out[mask == MASK_UNKNOWN] = MASK_UNKNOWN
    return out


def centre_lines(surface: NDArray[np.bool_], unknown: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Centre lines (h, w), one pixel wide, of surfaces, without the branches into their corners.

    A surface goes on into `unknown` ground and over the image's border, so that its line does not
    end before them.
    """
    from skimage.morphology import skeletonize

    pad = 16
    solid = np.pad(surface, pad, mode="edge")
    half = ndimage.distance_transform_edt(solid)
    line: NDArray[np.bool_] = skeletonize(solid)  # type: ignore[no-untyped-call]
    line = _without_spurs(line, half)
    inner: NDArray[np.bool_] = line[pad:-pad, pad:-pad] & surface & ~unknown
    return inner


def _without_spurs(line: NDArray[np.bool_], half: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Lines (h, w) less the short branches that end freely; `half` is the surface's half width."""
    around = cv2.filter2D(line.astype(np.uint8), -1, _ALL_AROUND, borderType=cv2.BORDER_CONSTANT)
    near = around - line
    crossing = line & (near > 2)
    branches, count = ndimage.label(line & ~crossing, _ALL_AROUND)
    length = np.bincount(branches.ravel(), minlength=count + 1)
    free = np.zeros(count + 1, bool)
    free[np.unique(branches[line & (near <= 1)])] = True
    # A branch's crossing is what it is short beside: half the width of the road it leaves.
    beside = cv2.dilate(crossing.astype(np.uint8), _ALL_AROUND) > 0
    touching = np.zeros(count + 1, bool)
    touching[np.unique(branches[beside])] = True
    reach = np.zeros(count + 1)
    np.maximum.at(reach, branches.ravel(), np.where(beside, half, 0).ravel())
    spur = free & touching & (length < _SPUR * reach)
    spur[0] = False
    kept: NDArray[np.bool_] = line & ~spur[branches]
    return kept


def _write(mask: Path, width: float, unsure: float, path: Path) -> None:
    write_png(redraw_lines(read_mask(mask).astype(np.uint8), width, unsure), path)
