"""Operation: rims that nobody drew exactly are left out of training."""

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
from lanner.factory.samples import IDS_UNKNOWN, MASK_UNKNOWN, Sample


class Params(Strict):
    """How many pixels `inside` and `outside` of each rim are unknown.

    `sources`: all with masks where empty. Guessed masks of objects say where an object is better
    than where it ends; with their rims unknown, exact masks alone teach that. So it is with class
    masks whose lines were drawn in one width for roads of every width.
    """

    sources: tuple[str, ...] = ()
    inside: int = Field(1, ge=0)
    outside: int = Field(2, ge=0)


def run(samples: Samples, work: Work, params: Params) -> Samples:
    """Give samples with object masks, and those of `train` with class masks, unknown rims.

    Raises:
        ConfigError: no such source.
        DatasetError: a mask does not decode.
    """
    work.require_sources(params.sources, samples, "sources")
    todo = [one for one in of_sources(samples, params.sources) if one.ids or _of_classes(one)]
    changed = {}
    for sample in work.each(todo):
        paths: dict[str, Path] = {}
        for name, path, unknown in (
            ("ids", sample.ids, IDS_UNKNOWN),
            ("mask", _of_classes(sample), MASK_UNKNOWN),
        ):
            if path is not None:
                make = partial(_write, path, params, unknown)
                paths[name] = work.file(".png", make, params.inside, params.outside, path)
        work.note(sample.id, f"rims unknown: {params.inside} px inside, {params.outside} outside")
        changed[sample.id] = sample.but(**paths)
    return replaced(samples, changed)


def _of_classes(sample: Sample) -> Path | None:
    """Figures are told against class masks as they were drawn: `valid` and `test` keep them."""
    return sample.mask if sample.split == "train" else None


def unsure_rims(
    numbers: NDArray[np.uint16], inside: int, outside: int, unknown: int = IDS_UNKNOWN
) -> NDArray[np.uint16]:
    """Numbers of objects or classes (h, w), `unknown` where another number is that near.

    A rim between two objects is unknown `inside` pixels into each; the image's own border is no
    rim.
    """
    known = np.where(numbers == unknown, 0, numbers).astype(np.float32)
    there = known > 0
    edge = _least(known, inside) != _most(known, inside)
    near = _most(there.astype(np.float32), outside) > 0
    rim = (there & edge) | (~there & near)
    out: NDArray[np.uint16] = np.where(rim, unknown, numbers).astype(np.uint16)
    return out


def _most(values: NDArray[np.float32], reach: int) -> NDArray[np.float32]:
    return np.asarray(cv2.dilate(values, _square(reach)), np.float32)


def _least(values: NDArray[np.float32], reach: int) -> NDArray[np.float32]:
    return np.asarray(cv2.erode(values, _square(reach)), np.float32)


def _square(reach: int) -> NDArray[np.uint8]:
    return np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)


def _write(source: Path, params: Params, unknown: int, path: Path) -> None:
    numbers = unsure_rims(read_mask(source), params.inside, params.outside, unknown)
    write_png(numbers.astype(np.uint8) if unknown == MASK_UNKNOWN else numbers, path)
