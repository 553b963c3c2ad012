"""How far two sets of boxes, or two probabilities, are the same. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IOU = 0.9
"""Least overlap of two boxes that count as the same object."""

CHUNK = 512


def share_found(boxes: NDArray[np.floating], among: NDArray[np.floating]) -> float:
    """Share of (n, 4) boxes of which `among` (m, 4) has one of an IoU of `IOU`; 1 of none."""
    if len(boxes) == 0:
        return 1.0
    if len(among) == 0:
        return 0.0
    found = 0
    for start in range(0, len(boxes), CHUNK):
        best = _iou(boxes[start : start + CHUNK].astype(float), among.astype(float)).max(axis=1)
        found += int((best >= IOU).sum())
    return found / len(boxes)


def crossed(
    boxes: NDArray[np.floating], tile: int, step: int, margin: float = 2.0
) -> NDArray[np.bool_]:
    """Which of (n, 4) boxes the border of a tile crosses or comes within `margin` of.

    Tiles of `tile` pixels begin at every `step`th, from 0 on.
    """
    low, high = boxes[:, :2] - margin, boxes[:, 2:] + margin
    hit = np.zeros(low.shape, np.bool_)
    for phase in (0, tile):
        # The first border at or after the low side.
        hit |= np.maximum(np.ceil((low - phase) / step), 0) * step + phase <= high
    found: NDArray[np.bool_] = hit.any(axis=1)
    return found


def share_alike(one: NDArray[np.uint8], two: NDArray[np.uint8], level: int = 128) -> float:
    """Intersection over union of the pixels of two rasters that reach `level`; 1 of none."""
    a, b = one >= level, two >= level
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


def _iou(one: NDArray[np.float64], two: NDArray[np.float64]) -> NDArray[np.float64]:
    low = np.maximum(one[:, None, :2], two[None, :, :2])
    high = np.minimum(one[:, None, 2:], two[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=-1)
    area_one = np.prod(one[:, 2:] - one[:, :2], axis=-1)
    area_two = np.prod(two[:, 2:] - two[:, :2], axis=-1)
    union = area_one[:, None] + area_two[None, :] - shared
    result: NDArray[np.float64] = np.divide(
        shared, union, out=np.zeros_like(shared), where=union > 0
    )
    return result
