"""Operation: large images cut into overlapping tiles."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from lanner.core.config import Strict
from lanner.factory.images import read_mask, read_rgb, write_png
from lanner.factory.ops.moves import Window, cut, place_of, windows
from lanner.factory.ops.work import Samples, Work, of_sources, origin_of
from lanner.factory.samples import IDS_UNKNOWN, Label, Sample


class Params(Strict):
    """Tiles of `side` pixels that overlap by at least `overlap`; smaller images stay whole.

    Of an object that a tile's border cuts at least `visible` of the box's area must be inside,
    else what is there is ignored in training. `empty: drop` leaves out tiles of labelled images
    that hold no object, `valid` those of which less is not black.
    """

    side: int = Field(ge=32)
    overlap: int = Field(64, ge=0)
    sources: tuple[str, ...] = ()
    visible: float = Field(0.5, gt=0, le=1)
    empty: str = Field("keep", pattern="^(keep|drop)$")
    valid: float = Field(0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _forward(self) -> Params:
        if self.overlap >= self.side:
            raise ValueError(f"overlap {self.overlap} leaves nothing of a side of {self.side}")
        return self


def run(samples: Samples, work: Work, params: Params) -> Samples:
    """Exchange each image larger than `side` for its tiles, named by their corner.

    Raises:
        DatasetError: an image does not decode.
    """
    work.require_sources(params.sources, samples, "sources")
    ruled = {one.id for one in of_sources(samples, params.sources)}
    out: list[Sample] = []
    for sample in work.each(samples):
        if sample.id in ruled and max(sample.width, sample.height) > params.side:
            tiles, left = _tiles(sample, work, params)
            out += tiles
            work.note(sample.id, f"cut into {len(tiles)} tiles, {left} left out")
        else:
            out.append(sample)
    return tuple(out)


def cut_labels(
    labels: tuple[Label, ...], window: Window, visible: float
) -> tuple[tuple[Label, ...], dict[int, int]]:
    """Labels seen through a window, and the new number (from 1) of each old one.

    The pieces of a line follow each other; its number is that of the first.
    """
    kept: list[Label] = []
    numbers: dict[int, int] = {}
    for k, one in enumerate(labels):
        pieces = cut(one, window, visible)
        if pieces:
            numbers[k + 1] = len(kept) + 1
            kept += pieces
    return tuple(kept), numbers


def renumbered(ids: NDArray[Any], numbers: dict[int, int]) -> NDArray[np.uint16]:
    """Object numbers exchanged; unknown stays, and what has no new number becomes unknown.

    Args:
        ids: (h, w) uint16.
        numbers: old to new, both from 1.
    """
    table = np.full(IDS_UNKNOWN + 1, IDS_UNKNOWN, np.uint16)
    table[0] = 0
    for old, new in numbers.items():
        table[old] = new
    return np.asarray(table[ids])


def _tiles(sample: Sample, work: Work, params: Params) -> tuple[list[Sample], int]:
    rgb = read_rgb(sample.image)
    mask = None if sample.mask is None else read_mask(sample.mask)
    ids = None if sample.ids is None else read_mask(sample.ids)
    out, left = [], 0
    for window in windows(sample.width, sample.height, params.side, params.overlap):
        work.project.cancel.check()
        x0, y0, x1, y1 = window
        view = np.s_[y0:y1, x0:x1]
        labels, numbers = cut_labels(sample.labels, window, params.visible)
        known = mask is not None and bool(mask[view].any())
        bare = sample.role == "labelled" and not labels and not known
        dark = params.valid > 0 and (rgb[view].max(2) > 0).mean() < params.valid
        if (bare and params.empty == "drop") or dark:
            left += 1
            continue
        key = [window, sample.image]
        tile = sample.but(
            id=f"{sample.id}/{x0}_{y0}",
            image=work.file(".png", partial(write_png, rgb[view]), *key),
            width=x1 - x0,
            height=y1 - y0,
            labels=labels,
            place=place_of(sample, window),
            origin=origin_of(sample),
        )
        if mask is not None:
            tile = tile.but(mask=_part(mask[view], work, "mask", window, sample.mask))
        if ids is not None:
            own = renumbered(ids[view], numbers)
            tile = tile.but(
                ids=_part(own, work, "ids", sorted(numbers.items()), window, sample.ids)
            )
        work.note(tile.id, f"tile at {x0}, {y0} of {sample.id}")
        out.append(tile)
    return out, left


def _part(values: NDArray[Any], work: Work, *key: object) -> Path:
    return work.file(".png", partial(write_png, values), *key)
