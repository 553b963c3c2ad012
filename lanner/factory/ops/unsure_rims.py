"""Operation: rims of objects that nobody drew exactly are left out of training."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from lanner.core.config import Strict
from lanner.factory.images import read_mask, write_png
from lanner.factory.ops.work import Samples, Work, of_sources, replaced
from lanner.factory.samples import IDS_UNKNOWN


class Params(Strict):
    """How many pixels `inside` and `outside` of each rim are unknown.

    `sources`: all with object masks where empty. Guessed masks say where an object is better than
    where it ends; with their rims unknown, exact masks alone teach that.
    """

    sources: tuple[str, ...] = ()
    inside: int = Field(1, ge=0)
    outside: int = Field(2, ge=0)


def run(samples: Samples, work: Work, params: Params) -> Samples:
    """Give samples with object masks an `ids` PNG whose rims are unknown.

    Raises:
        ConfigError: no such source.
        DatasetError: a mask does not decode.
    """
    work.require_sources(params.sources, samples, "sources")
    todo = [one for one in of_sources(samples, params.sources) if one.ids is not None]
    changed = {}
    for sample in work.each(todo):
        assert sample.ids is not None
        make = partial(_write, sample.ids, params)
        path = work.file(".png", make, params.inside, params.outside, sample.ids)
        work.note(sample.id, f"rims unknown: {params.inside} px inside, {params.outside} outside")
        changed[sample.id] = sample.but(ids=path)
    return replaced(samples, changed)


def unsure_rims(ids: NDArray[np.uint16], inside: int, outside: int) -> NDArray[np.uint16]:
    """Object numbers (h, w) with `IDS_UNKNOWN` for pixels that near another number.

    A rim between two objects is unknown `inside` pixels into each; the image's own border is no
    rim.
    """
    known = np.where(ids == IDS_UNKNOWN, 0, ids).astype(np.float32)
    there = known > 0
    edge = _least(known, inside) != _most(known, inside)
    near = _most(there.astype(np.float32), outside) > 0
    rim = (there & edge) | (~there & near)
    out: NDArray[np.uint16] = np.where(rim, IDS_UNKNOWN, ids).astype(np.uint16)
    return out


def _most(values: NDArray[np.float32], reach: int) -> NDArray[np.float32]:
    return np.asarray(cv2.dilate(values, _square(reach)), np.float32)


def _least(values: NDArray[np.float32], reach: int) -> NDArray[np.float32]:
    return np.asarray(cv2.erode(values, _square(reach)), np.float32)


def _square(reach: int) -> NDArray[np.uint8]:
    return np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)


def _write(ids: Path, params: Params, path: Path) -> None:
    write_png(unsure_rims(read_mask(ids), params.inside, params.outside), path)
