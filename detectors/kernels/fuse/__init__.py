"""Weighted box fusion (Solovyev, Wang, Gabruseva, 2021, Weighted boxes fusion).

`weighted_boxes_fusion` is the method as published. `detectors.fusion.fuse` is the detector's own
variant, with votes and outlines. Both stand on `clusters`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detectors.kernels.fuse.grid import clusters as indexed
from detectors.views import Floats, Ints

if TYPE_CHECKING:
    from torch import Tensor


def clusters(boxes: Tensor, say: Tensor, groups: Tensor, least: float) -> Tensor:
    """The cluster each box joins; see `detectors.kernels.fuse.grid.clusters`, whose result this is.

    On a CUDA device the groups run side by side and the boxes of one in turn, in float32.

    Args:
        boxes: (n, 4) float32 or float64, those that say most first.
        say: (n,) what each box counts, from 0; of the same type.
        groups: (n,) int64, one number for each image and class; only boxes of one group join.
        least: overlap (IoU) above which a box joins.

    Returns:
        (n,) int64 on the device of `boxes`.
    """
    if boxes.is_cuda:
        from detectors.kernels.fuse import kernel

        return kernel.clusters(boxes, say, groups, least)
    import torch

    return torch.from_numpy(indexed(boxes.numpy(), say.numpy(), groups.numpy(), least))


def weighted_boxes_fusion(
    boxes: Sequence[ArrayLike],
    scores: Sequence[ArrayLike],
    labels: Sequence[ArrayLike],
    weights: Sequence[float] | None = None,
    least: float = 0.55,
    min_score: float = 0.0,
) -> tuple[Floats, Floats, Ints]:
    """Fuse the boxes of several models as published.

    A fused box is the mean of its boxes weighted by score times the model's weight; its score is
    the mean of those products, times min(boxes, models) / sum of the weights. Corners in the wrong
    order are swapped, boxes are clipped to 0..1, those without an area left are dropped.

    Args:
        boxes: one (n, 4) x0 y0 x1 y1 in 0..1 a model.
        scores: one (n,) in 0..1 a model.
        labels: one (n,) of whole numbers a model.
        weights: one a model; None for 1 each.
        least: overlap (IoU) above which boxes are one object.
        min_score: boxes that score less are left out.

    Returns:
        boxes (m, 4), scores (m,) and labels (m,), best first.

    Raises:
        ValueError: the models' arrays are not as many or not as long as each other.
    """
    weight = np.ones(len(boxes)) if weights is None else np.asarray(weights, np.float64)
    rows = [_rows(*one, least=min_score) for one in zip(boxes, scores, labels, weight, strict=True)]
    if not rows:
        return np.empty((0, 4)), np.empty(0), np.empty(0, np.int64)
    sides, say, label = (np.concatenate(column) for column in zip(*rows, strict=True))
    order = np.argsort(-say, kind="stable")
    if (np.diff(say[order]) == 0.0).any():
        # Ties break by class and place, so that the order of the models is no matter.
        order = np.lexsort((*sides.T[::-1], label, -say))
    sides, say, label = sides[order], say[order], label[order]
    cluster = indexed(sides, say, label, least)
    fused, score, many = _means(sides, say, cluster)
    kind = np.empty(len(score), np.int64)
    kind[cluster] = label
    score = score * np.minimum(len(weight), many) / weight.sum()
    best = np.argsort(-score, kind="stable")
    return fused[best], score[best], kind[best]


def _rows(
    boxes: ArrayLike, scores: ArrayLike, labels: ArrayLike, weight: float, *, least: float
) -> tuple[Floats, Floats, Ints]:
    """Sound boxes of one model, what each counts, and its class."""
    sides = np.asarray(boxes, np.float64).reshape(-1, 4)
    score, label = np.asarray(scores, np.float64), np.asarray(labels, np.int64)
    if not score.shape == label.shape == (len(sides),):
        raise ValueError(f"{len(sides)} boxes have scores {score.shape} and labels {label.shape}")
    low = np.minimum(sides[:, :2], sides[:, 2:])
    high = np.maximum(sides[:, :2], sides[:, 2:])
    sides = np.concatenate([low, high], axis=1).clip(0.0, 1.0)
    wide = sides[:, 2:] - sides[:, :2]
    keep = (score >= least) & (wide[:, 0] * wide[:, 1] != 0.0)
    return sides[keep], score[keep] * weight, label[keep]


def _means(sides: Floats, say: Floats, cluster: Ints) -> tuple[Floats, Floats, NDArray[Any]]:
    """Of each cluster its mean box, the mean of what its boxes count, and how many they are."""
    many = np.bincount(cluster)
    total = np.bincount(cluster, say)
    # Where all count for nothing, each is as good as the other.
    heavy = np.where(total[cluster] > 0.0, say, 1.0)
    place = [np.bincount(cluster, heavy * side) for side in sides.T]
    box = np.stack(place, axis=-1) / np.bincount(cluster, heavy)[:, None]
    return box.reshape(-1, 4), total / many, many
