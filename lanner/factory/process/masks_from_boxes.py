"""Operation: weak masks of objects that have only boxes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from lanner.config import Strict
from lanner.errors import DatasetError
from lanner.factory.explore.labels import boxes_of
from lanner.factory.images import read_mask, read_rgb, write_png
from lanner.factory.process.grabcut import UNKNOWN, weak_masks, without_shadow
from lanner.factory.process.work import Samples, Work, of_sources, replaced
from lanner.factory.releases import weights_of
from lanner.factory.samples import IDS_UNKNOWN, Sample

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
    guess_from: str | None = None
    outputs: tuple[str, ...] = ("object", "boundary", "centre")


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
    network = cache(partial(_network, weights, params.outputs))
    changed = {}
    for sample in work.each(todo):
        boxes = boxes_of(sample.labels)
        key = ["weak", params.shadow, params.outputs, boxes.tolist()]
        make = partial(_write, sample, boxes, params.shadow, network)
        path = work.made(".png", make, *key, sample.image, weights)
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
    members = work.shop.detector().members
    name = next((one.weights for one in members if one.kind == "resunet"), "resunet.safetensors")
    return weights_of(work.shop, params.guess_from, name, where, DatasetError)


def _network(weights: Path | None, outputs: tuple[str, ...]) -> Guess | None:
    if weights is None:
        return None
    from detectors.training.guess import Guess

    return Guess(weights, outputs)


def _write(
    sample: Sample,
    boxes: NDArray[np.float64],
    shadow: str,
    network: Callable[[], Guess | None],
    path: Path,
) -> None:
    rgb, guess = read_rgb(sample.image), network()
    ids = weak_masks(rgb, boxes, None if guess is None else guess.look(rgb))
    if shadow == "unknown":
        ids = without_shadow(rgb, ids, boxes)
    write_png(as_ids(ids), path)
