"""Operation: weak masks of objects that have only boxes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from lanner.core.config import Strict
from lanner.core.errors import DatasetError
from lanner.factory.files import keep
from lanner.factory.images import read_mask, read_rgb, write_png
from lanner.factory.ops.grabcut import UNKNOWN, weak_masks, without_shadow
from lanner.factory.ops.paths import Names
from lanner.factory.ops.work import Samples, Work, file_sha256, of_sources, replaced
from lanner.factory.process_map import process_map
from lanner.factory.releases import RELEASE, weights_of
from lanner.factory.samples import IDS_UNKNOWN, Sample
from lanner.factory.steps.explore.labels import boxes_of

if TYPE_CHECKING:
    from detectors.training.guess import Guess


class Params(Strict):
    """How masks are made.

    `sources`: all labelled ones where empty. `shadow: unknown` leaves pixels that may be shadow
    out of training. `guess_from` is a Res-UNet's weights file, relative to the factory file, or
    `release` for the last released one, whose look starts GrabCut; `outputs` are its channels,
    the object's own first.
    """

    sources: tuple[str, ...] = ()
    shadow: str = Field("unknown", pattern="^(unknown|keep)$")
    guess_from: Annotated[str, Names("factory", but=(RELEASE,))] | None = None
    outputs: tuple[str, ...] = ("object", "boundary", "centre")


_Guesser = tuple[Path, str, tuple[str, ...]]
"""Weights, their checksum (the file may change while a process lives), names of channels."""


@dataclass(frozen=True)
class _Mask:
    """A mask to be: what it follows from, and its file. Any process can draw it."""

    image: Path
    boxes: NDArray[np.float64]
    shadow: str
    guess: _Guesser | None
    path: Path


def run(samples: Samples, work: Work, params: Params) -> Samples:
    """Give labelled samples without object masks an `ids` PNG.

    Raises:
        DatasetError: an image does not decode, or the weights file is not there.
        WeightsError: the weights are not those of such a network.
    """
    work.require_sources(params.sources, samples, "sources")
    todo = [
        one
        for one in of_sources(samples, params.sources)
        if one.role == "labelled" and one.ids is None and one.labels
    ]
    weights = _weights(work, params)
    planned = {one.id: _planned(one, weights, work, params) for one in todo}
    # Copies of an image share a file.
    missing = list({one.path: one for one in planned.values() if not one.path.exists()}.values())
    done = len(todo) - len(missing)
    process_map(_write, missing, lambda k: work.step(done + k, len(todo)))
    work.step(len(todo), len(todo))
    changed = {}
    for sample in todo:
        path = planned[sample.id].path
        drawn = np.unique(read_mask(path))
        count = int(((drawn > 0) & (drawn < IDS_UNKNOWN)).sum())
        work.note(sample.id, f"weak masks of {count} of {len(sample.labels)} objects")
        changed[sample.id] = sample.but(ids=path)
    return replaced(samples, changed)


def as_ids(numbers: NDArray[np.int32]) -> NDArray[np.uint16]:
    """Numbered objects, (h, w) int32 with `UNKNOWN`, as they are stored.

    Raises:
        DatasetError: more objects than 16 bits can number.
    """
    if numbers.max(initial=0) >= IDS_UNKNOWN:
        raise DatasetError(
            "labels", int(numbers.max()), "are too many objects for one image", "tile it first"
        )
    return np.where(numbers == UNKNOWN, IDS_UNKNOWN, numbers).astype(np.uint16)


def _weights(work: Work, params: Params) -> Path | None:
    if params.guess_from is None:
        return None
    where = "process.masks_from_boxes.guess_from"
    members = work.project.detector().members
    name = next((one.weights for one in members if one.kind == "resunet"), "resunet.safetensors")
    return weights_of(work.project, params.guess_from, name, where, DatasetError)


def _planned(sample: Sample, weights: Path | None, work: Work, params: Params) -> _Mask:
    boxes = boxes_of(sample.labels)
    key = ["weak", params.shadow, params.outputs, boxes.tolist()]
    path = work.named(".png", *key, sample.image, weights)
    guess = None if weights is None else (weights, file_sha256(weights), params.outputs)
    return _Mask(sample.image, boxes, params.shadow, guess, path)


def _write(mask: _Mask) -> None:
    rgb = read_rgb(mask.image)
    ids = weak_masks(
        rgb, mask.boxes, None if mask.guess is None else _open(mask.guess).predict(rgb)
    )
    if mask.shadow == "unknown":
        ids = without_shadow(rgb, ids, mask.boxes)
    keep(partial(write_png, as_ids(ids)), mask.path)


@lru_cache(1)
def _open(guess: _Guesser) -> Guess:
    """Once a process."""
    from detectors.training.guess import Guess

    weights, _, outputs = guess
    return Guess(weights, outputs)
