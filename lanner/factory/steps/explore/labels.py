"""Labels that cannot be right, judged from their geometry alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lanner.factory.samples import Label, Sample
from lanner.factory.steps.explore.findings import Finding

Floats = NDArray[np.float64]

BEYOND = 1.0
"""Pixels that a box may reach beyond its image: the rounding of whole-pixel formats."""
LEAST = 3.0
GIANT_SHARE, GIANT_TIMES = 0.6, 8.0
TWICE = 0.9


def boxes_of(labels: Sequence[Label]) -> Floats:
    """(n, 4) float64 x0 y0 x1 y1 pixels."""
    return np.array([one.box for one in labels], np.float64).reshape(-1, 4)


def pairwise_iou(a: Floats, b: Floats) -> Floats:
    """(n, m) intersection over union of (n, 4) and (m, 4) boxes; 0 for boxes without area."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    both = (high - low).clip(0).prod(-1)
    union = _areas(a)[:, None] + _areas(b)[None] - both
    return np.asarray(np.divide(both, union, out=np.zeros_like(both), where=union > 0))


def usual_sides(samples: Sequence[Sample]) -> dict[tuple[str, str], float]:
    """Median of the longest sides in pixels, by source and class."""
    sides: dict[tuple[str, str], list[float]] = {}
    for sample in samples:
        for one in sample.labels:
            if one.line is None:
                side = max(one.box[2] - one.box[0], one.box[3] - one.box[1])
                sides.setdefault((sample.source, one.label), []).append(side)
    return {key: float(np.median(values)) for key, values in sides.items()}


def check(sample: Sample, usual: dict[tuple[str, str], float]) -> list[Finding]:
    """Anomalies of one sample's labels.

    Out of the image by more than `BEYOND` pixels; no width or height; under `LEAST` pixels wide
    or high; over `GIANT_SHARE` of the image or `GIANT_TIMES` the usual side; labelled twice. A
    line's box may well be thin or long: lines are only held against the image.

    Args:
        sample: with its labels.
        usual: as of `usual_sides`.
    """
    found = []
    for k, one in enumerate(sample.labels):
        for kind, detail in _wrong(sample, one, usual):
            found.append(Finding(kind, sample.id, detail, label=k, box=one.box))
    return found + _twice(sample)


def _wrong(
    sample: Sample, label: Label, usual: dict[tuple[str, str], float]
) -> list[tuple[str, str]]:
    x0, y0, x1, y1 = label.box
    wide, high = x1 - x0, y1 - y0
    found = []
    over = max(-x0, -y0, x1 - sample.width, y1 - sample.height)
    if over > BEYOND:
        size = f"{sample.width} x {sample.height}"
        found.append(("out_of_image", f"reaches {over:.1f} px beyond the {size} image"))
    if label.line is not None:
        return found
    if wide <= 0 or high <= 0:
        found.append(("zero_size", f"is {wide:g} x {high:g} px"))
    elif min(wide, high) < LEAST:
        found.append(("tiny", f"is {wide:.1f} x {high:.1f} px"))
    share = wide * high / (sample.width * sample.height)
    times = max(wide, high) / max(usual.get((sample.source, label.label), np.inf), 1e-9)
    if share > GIANT_SHARE:
        found.append(("giant", f"covers {share:.0%} of its image"))
    elif times > GIANT_TIMES:
        found.append(("giant", f"is {times:.1f} times as long as usual"))
    return found


def _twice(sample: Sample) -> list[Finding]:
    solid = [k for k, one in enumerate(sample.labels) if one.line is None]
    boxes = boxes_of([sample.labels[k] for k in solid])
    iou = np.tril(pairwise_iou(boxes, boxes), -1)
    found = []
    for row, k in enumerate(solid):
        same = [
            col
            for col in np.flatnonzero(iou[row] > TWICE)
            if sample.labels[solid[col]].label == sample.labels[k].label
        ]
        if same:
            first = solid[same[0]]
            detail = f"is label {first} again (IoU {iou[row, same[0]]:.2f})"
            found.append(
                Finding("duplicate_labels", sample.id, detail, label=k, box=sample.labels[k].box)
            )
    return found


def _areas(boxes: Floats) -> Floats:
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).clip(0).prod(-1))
