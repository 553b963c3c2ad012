"""Operation: labelled lines that a network sees nothing of are left out of training.

Maps hold what pictures do not show: paths under trees, railways, roads built later. Each such
pixel weighs more in training than many that can be learned (Northcutt et al., 2021, "Confident
Learning": labels that a network contradicts with confidence are candidates for pruning).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from lanner.factory.steps.evaluate.networks import SamplePredictor

FOLDER = "seen"
"""Folder of predictions, in that of process; images that were looked at are not seen again."""

_ALL_AROUND = np.ones((3, 3), np.uint8)


class Params(Strict):
    """Whose word is taken, and how far.

    `model` is a released detector of rasters or a YAML file. A stretch of a labelled line is
    unseen where the probability stays below `unseen` within `reach` pixels of it for at least
    `least` pixels; it becomes unknown over its whole width. Only samples of `split` change.
    """

    model: str
    sources: tuple[str, ...] = ()
    split: str = "train"
    unseen: float = Field(0.05, gt=0, lt=1)
    reach: int = Field(4, ge=0)
    least: int = Field(30, ge=1)


def run(samples: Samples, work: Work, params: Params) -> Samples:
    """Make unknown what a detector sees nothing of, in masks of some sources (all if none named).

    Raises:
        ConfigError: no such source, or the detector gives no raster.
        LannerError: the detector cannot be opened, or an image does not decode.
    """
    work.require_sources(params.sources, samples, "sources")
    todo = [
        one
        for one in of_sources(samples, params.sources)
        if one.mask is not None and one.split == params.split
    ]
    if not todo:
        return samples
    looker = _open(work, params)
    changed = {}
    for sample in work.each(todo):
        assert sample.mask is not None
        refusal = looker.refusal(sample)
        if refusal is not None:
            work.note(sample.id, f"labels stay: {refusal}")
            continue
        mask = read_mask(sample.mask).astype(np.uint8)
        probability = _probability(looker, sample.id, looker.predict(sample)["key"], mask.shape)
        unsure = ignore_unseen_lines(mask, probability, params.unseen, params.reach, params.least)
        gone, all_of_it = int((unsure != mask).sum()), int(((mask > 0) & (mask < 255)).sum())
        if not gone:
            continue
        make = partial(write_png, unsure)
        path = work.file(".png", make, params.model_dump(), looker.key, sample.mask, sample.image)
        work.note(sample.id, f"unknown: {gone / all_of_it:.1%} of the foreground is not seen")
        changed[sample.id] = sample.but(mask=path)
    return replaced(samples, changed)


def ignore_unseen_lines(
    mask: NDArray[np.uint8],
    probability: NDArray[np.float32],
    unseen: float,
    reach: int,
    least: int,
) -> NDArray[np.uint8]:
    """A mask whose lines are unknown where nothing is seen of them.

    Args:
        mask: (h, w) classes, 0 background, `MASK_UNKNOWN`.
        probability: (h, w) of the foreground, 0..1.
        unseen: a line is not seen below this.
        reach: pixels beside a line in which it may be seen.
        least: shorter stretches stay as they are, pixels.
    """
    from skimage.morphology import skeletonize

    there = (mask > 0) & (mask != MASK_UNKNOWN)
    if not there.any():
        return mask
    line = skeletonize(there)  # type: ignore[no-untyped-call]
    near = cv2.dilate(probability, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    parts, count = ndimage.label(line & (near < unseen), _ALL_AROUND)
    long = np.bincount(parts.ravel(), minlength=count + 1) >= least
    long[0] = False
    row, column = ndimage.distance_transform_edt(~line, return_distances=False, return_indices=True)
    gone = there & long[parts][row, column]
    out: NDArray[np.uint8] = np.where(gone, MASK_UNKNOWN, mask).astype(np.uint8)
    return out


def _open(work: Work, params: Params) -> SamplePredictor:
    from lanner.factory.steps.evaluate.networks import SamplePredictor
    from lanner.inference.registry import find_beside

    entry = find_beside(work.project.path.parent, params.model)
    if entry.config.output != "raster":
        raise ConfigError(
            f"process.{work.op}.model",
            params.model,
            "gives objects and no raster",
            "name a detector of rasters",
        )
    members = {one.name: entry.release_dir / one.weights for one in entry.config.members}
    folder = work.project.step_dir("process") / FOLDER
    return SamplePredictor.ready(
        entry.config, members, folder, work.project.config.evaluate.pretend_gsd
    )


def _probability(
    looker: SamplePredictor, sample: str, key: str, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Of the first channel, 0..1, on the image's own pixels, (h, w)."""
    import rasterio

    from lanner.factory.steps.evaluate.raw import fused

    path = fused(looker.folder, sample, looker.config.members, key)
    with rasterio.open(path) as source:
        level: NDArray[np.float32] = source.read(1).astype(np.float32) / np.float32(255)
    if level.shape == shape:
        return level
    return np.asarray(cv2.resize(level, shape[::-1]), np.float32)
