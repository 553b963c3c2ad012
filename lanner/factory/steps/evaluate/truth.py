"""The truth of a sample in the words of the measures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.views import Floats
from lanner.factory.metrics.precision import Truth
from lanner.factory.samples import MASK_UNKNOWN, Label, Sample


def objects_of(sample: Sample, label: str | None = None) -> tuple[Label, ...]:
    """The labels of one class (None: all) that have an area, in order."""
    return tuple(
        one
        for one in sample.labels
        if label in (None, one.label) and one.box[2] > one.box[0] and one.box[3] > one.box[1]
    )


def truth_of(sample: Sample, label: str | None = None) -> Truth:
    """Boxes of one class, in the order of `objects_of`; labels of weight 0 are regions."""
    objects = objects_of(sample, label)
    boxes = np.asarray([one.box for one in objects], np.float64).reshape(-1, 4)
    return Truth(boxes, np.asarray([one.weight <= 0 for one in objects], bool))


def road_mask(sample: Sample) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(h, w) where there is road, and where it is known; labels with lines alone give no mask."""
    from lanner.factory.images import read_mask

    if sample.mask is None:
        shape = (sample.height, sample.width)
        return np.zeros(shape, bool), np.ones(shape, bool)
    mask = read_mask(sample.mask)
    known = mask != MASK_UNKNOWN
    return (mask > 0) & known, known


def inside(boxes: Floats, area: Floats) -> NDArray[np.bool_]:
    """(n,) whether the middle of each box lies in its half-open area; (n, 4) both."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    within = (middle >= area[:, :2]) & (middle < area[:, 2:])
    return np.asarray(within.all(axis=1), np.bool_)
