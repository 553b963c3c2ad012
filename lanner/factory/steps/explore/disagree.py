"""Where labels and a detector disagree, ranked by how likely the label is at fault."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from lanner.factory.steps.explore.labels import pairwise_iou

Floats = NDArray[np.float64]

AGREED = 0.5
"""IoU from which a label and a box are the same object."""
_REACH, _RATIO = 1.5, 2.0
SPURIOUS = 0.4
"""Greatest score of a label without an object: detectors miss more than people invent."""
_LEAST = 0.05


@dataclass(frozen=True)
class View:
    """One image, one class: what is labelled and what a detector saw there.

    `labels` (n, 4) and `boxes` (m, 4) are x0 y0 x1 y1 pixels, `scores` (m,) calibrated
    probabilities; `ignored` (k, 4) is ground on which nothing is judged; `size` the image's
    width and height.
    """

    labels: Floats
    boxes: Floats
    scores: Floats
    ignored: Floats
    size: tuple[int, int]


@dataclass(frozen=True)
class Doubt:
    """One disagreement: `shifted`, `missing` or `spurious`, with what speaks for it.

    `image`, `label` and `box` are indices into what was given; `label` is None for an object
    without a label, `box` for a label without an object. `score` 0..1 ranks.
    """

    kind: str
    score: float
    image: int
    label: int | None
    box: int | None
    detail: str


@dataclass(frozen=True)
class _Pairs:
    """Labels and boxes that go together, and those left over."""

    agreed: list[tuple[int, int]]
    apart: list[tuple[int, int]]
    labels: list[int]
    boxes: list[int]


def rank(views: Sequence[View]) -> list[Doubt]:
    """Every disagreement, the most suspicious first.

    A label and a box that overlap by `AGREED` are one object; how far their centres lie apart,
    against what is usual between this detector and these labels, tells shifted labels from the
    detector's own inexactness. What is left over is paired if near and alike in size (a label
    beside its object), and else is an object without a label, worth the detector's calibrated
    score, or a label without an object. The latter weighs less: detectors miss objects more
    often than people draw boxes around nothing.

    Args:
        views: one an image and class.

    Returns:
        Sorted by falling score, then as given.
    """
    pairs = [_paired(view) for view in views]
    offsets = [
        _offset(view.labels[i], view.boxes[j])
        for view, one in zip(views, pairs, strict=True)
        for i, j in one.agreed
    ]
    usual = max(0.02, float(np.median(offsets))) if offsets else 0.05
    doubts = [
        doubt
        for k, (view, one) in enumerate(zip(views, pairs, strict=True))
        for doubt in _doubts(k, view, one, usual)
    ]
    return sorted(doubts, key=lambda one: -one.score)


def confident(views: Sequence[View]) -> float:
    """The mean score of boxes that a label confirms; 1 where none is.

    The threshold of confident learning (Northcutt et al., 2021): what scores at least as much
    as labelled objects do on average is confidently an object.
    """
    scores = [float(view.scores[j]) for view in views for _, j in _paired(view).agreed]
    return float(np.mean(scores)) if scores else 1.0


def _paired(view: View) -> _Pairs:
    iou = pairwise_iou(view.labels, view.boxes)
    agreed = assign(iou, iou >= AGREED)
    labels = sorted(set(range(len(view.labels))) - {i for i, _ in agreed})
    boxes = [
        j
        for j in range(len(view.boxes))
        if j not in {j for _, j in agreed} and not _in_any(view.boxes[j], view.ignored)
    ]
    apart: list[tuple[int, int]] = []
    if labels and boxes:
        near = np.array([[_offset(view.labels[i], view.boxes[j]) for j in boxes] for i in labels])
        size = np.array([[_ratio(view.labels[i], view.boxes[j]) for j in boxes] for i in labels])
        fits = ((near <= _REACH) & (size <= _RATIO)) | (iou[np.ix_(labels, boxes)] > 0.25)
        likely = view.scores[boxes][None] / (1 + near * size)
        apart = [(labels[i], boxes[j]) for i, j in assign(likely, fits)]
    paired = {i for i, _ in apart}, {j for _, j in apart}
    return _Pairs(
        agreed,
        apart,
        [i for i in labels if i not in paired[0]],
        [j for j in boxes if j not in paired[1]],
    )


def _doubts(k: int, view: View, pairs: _Pairs, usual: float) -> list[Doubt]:
    out = []
    for i, j in pairs.agreed:
        off = _offset(view.labels[i], view.boxes[j])
        # Four times the usual offset is past what the detector's own inexactness explains.
        odd = 1 - float(np.exp(-((off / (4 * usual)) ** 2)))
        score = float(view.scores[j]) * odd
        if score >= _LEAST and off > 2 * usual:
            out.append(Doubt("shifted", score, k, i, j, f"lies {off:.0%} of its side off"))
    for i, j in pairs.apart:
        off = _offset(view.labels[i], view.boxes[j])
        detail = f"lies {off:.0%} of its side beside an object seen at {view.scores[j]:.2f}"
        out.append(Doubt("shifted", float(view.scores[j]), k, i, j, detail))
    for j in pairs.boxes:
        # A second box on a labelled object is no object without a label.
        covered = _covered(view.boxes[j], view.labels)
        score = float(view.scores[j]) * (1 - covered) * (0.7 if _cut(view.boxes[j], view) else 1)
        if score >= _LEAST:
            detail = f"an object seen at {view.scores[j]:.2f} has no label"
            out.append(Doubt("missing", score, k, None, j, detail))
    overlap = pairwise_iou(view.labels, view.boxes)
    for i in pairs.labels:
        support = float((overlap[i] * view.scores).max()) if len(view.boxes) else 0.0
        score = SPURIOUS * (1 - support) * (0.5 if _cut(view.labels[i], view) else 1)
        out.append(Doubt("spurious", score, k, i, None, "nothing is seen there"))
    return out


def assign(worth: Floats, allowed: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The one-to-one pairs of greatest total worth among those allowed."""
    if not allowed.any():
        return []
    rows, columns = linear_sum_assignment(np.where(allowed, worth, 0.0), maximize=True)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if allowed[i, j]]


def _offset(a: Floats, b: Floats) -> float:
    """Distance of the centres in mean longest sides."""
    away = np.hypot(*((a[:2] + a[2:]) / 2 - (b[:2] + b[2:]) / 2))
    return float(away / max((_side(a) + _side(b)) / 2, 1e-9))


def _ratio(a: Floats, b: Floats) -> float:
    big, small = max(_side(a), _side(b)), min(_side(a), _side(b))
    return big / max(small, 1e-9)


def _side(box: Floats) -> float:
    return float(max(box[2] - box[0], box[3] - box[1], 0.0))


def _covered(box: Floats, labels: Floats) -> float:
    """Largest share of `box` inside a single label."""
    low, high = np.maximum(box[:2], labels[:, :2]), np.minimum(box[2:], labels[:, 2:])
    area = float((box[2:] - box[:2]).prod())
    return float(((high - low).clip(0).prod(1) / max(area, 1e-9)).max()) if len(labels) else 0.0


def _in_any(box: Floats, areas: Floats) -> bool:
    x, y = (box[:2] + box[2:]) / 2
    inside = (areas[:, 0] <= x) & (x <= areas[:, 2]) & (areas[:, 1] <= y) & (y <= areas[:, 3])
    return bool(inside.any())


def _cut(box: Floats, view: View) -> bool:
    """Whether the image's border cuts the object: then one may well leave it out."""
    w, h = view.size
    return bool(box[0] < 1.5 or box[1] < 1.5 or box[2] > w - 1.5 or box[3] > h - 1.5)
