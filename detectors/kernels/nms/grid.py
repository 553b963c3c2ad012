"""Suppression on a CPU: each box looks only at kept boxes whose reach its centre lies in.

Boxes that overlap by more than `t` are alike: neither side of one is below `t` times that of the
other, and their centres are close. So every kept box is filed under the few cells of a grid that
such centres lie in; there is one grid for each power of two of box sizes. A box asks for the cell
of its own centre, in the grids of sizes near its own. The grids are one hash table: boxes that
meet by chance do no harm, because only the overlap itself decides.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detectors.kernels.nms.reference import bar_of, best_first
from tiling.compiled import compiled

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

SLACK = 1e-5
"""Far more than the roundings of an overlap in float32 add up to."""

LEAST_IOU = 0.01
"""Below it a box reaches so far that a grid is of no use."""

LEAST_AREA = 2.0**-100
"""Below it float32 loses digits, and overlaps no longer say how alike two boxes are."""

LEVELS = 1024
"""Powers of two from -512: more than the sizes of float32 boxes span."""


def nms(boxes: Tensor, scores: Tensor, groups: Tensor, iou: float) -> Tensor:
    """See `detectors.kernels.nms.nms`."""
    order = best_first(scores.detach())
    if len(order) == 0:
        return order
    laid = np.ascontiguousarray(boxes.detach().float()[order].numpy())
    group = np.ascontiguousarray(groups[order].numpy())
    least = iou * (1.0 - SLACK)
    flat = least < LEAST_IOU or _has_tiny(laid)
    # Of its side; where a box lies at one end of another that is 1 / `least` times as wide.
    reach = 0.0 if flat else (1.0 - least) / (2.0 * least)
    kept = _kept(laid, group, np.float32(bar_of(iou)), max(least, LEAST_IOU), reach)
    return order[torch.from_numpy(kept)]


@compiled
def _has_tiny(boxes: Float32) -> bool:
    for i in range(len(boxes)):
        area = (boxes[i, 2] - boxes[i, 0]) * (boxes[i, 3] - boxes[i, 1])
        if 0.0 < area < LEAST_AREA:
            return True
    return False


@compiled
def _bucket(x: int, y: int, level: int, group: int, mask: int) -> int:
    """Where boxes of a cell are filed; products wrap around."""
    mixed = x * 0x1E3779B97F4A7C15 + y * 0x3C6EF372FE94F82B
    mixed += level * 0x5851F42D4C957F2D + group * 0x14057B7EF767814F
    mixed ^= mixed >> 29
    mixed *= 0x2545F4914F6CDD1D
    return (mixed ^ (mixed >> 32)) & mask


@compiled
def _sent_away(
    at: int,
    after: Int32,
    note: Int32,
    boxes: Float32,
    areas: Float32,
    group: Ints,
    i: int,
    bar: float,
) -> bool:
    """Whether a box filed in the cell that begins with note `at` overlaps box i."""
    while at >= 0:
        k = note[at]
        at = after[at]
        if group[k] != group[i]:
            continue
        wide = min(boxes[i, 2], boxes[k, 2]) - max(boxes[i, 0], boxes[k, 0])
        high = min(boxes[i, 3], boxes[k, 3]) - max(boxes[i, 1], boxes[k, 1])
        if wide <= 0.0 or high <= 0.0:
            continue
        shared = wide * high
        union = areas[k] + areas[i] - shared
        if union != 0.0 and shared / union > bar:
            return True
    return False


@compiled
def _kept(boxes: Float32, group: Ints, bar: float, least: float, reach: float) -> Bools:
    """Which of the boxes stay, best first; a `reach` of 0 files all of a group in one cell."""
    n = len(boxes)
    keep, areas = np.ones(n, np.bool_), np.empty(n, np.float32)
    size = 1
    while size < 2 * n:
        size *= 2
    head, mask = np.full(size, -1, np.int32), size - 1
    # A kept box is filed in four cells at most, a note each; notes of a cell are a chain.
    after, note, notes = np.empty(4 * n, np.int32), np.empty(4 * n, np.int32), 0
    used = np.zeros(LEVELS, np.bool_)
    for i in range(n):
        x0, y0, x1, y1 = boxes[i]
        wide, high = x1 - x0, y1 - y0
        areas[i] = wide * high
        # Also false for what is not a number.
        if not (wide > 0.0 and high > 0.0 and 0.0 < areas[i] < math.inf):
            continue
        x, y = 0.5 * (float(x0) + float(x1)), 0.5 * (float(y0) + float(y1))
        span = 2.0 * reach * float(max(wide, high))
        own = math.frexp(span)[1]
        for level in range(math.frexp(span * least)[1], math.frexp(span / least)[1] + 1):
            if used[level + LEVELS // 2]:
                cell = math.ldexp(1.0, -level) if reach > 0.0 else 0.0
                bucket = _bucket(math.floor(x * cell), math.floor(y * cell), level, group[i], mask)
                if _sent_away(head[bucket], after, note, boxes, areas, group, i, bar):
                    keep[i] = False
                    break
        if not keep[i]:
            continue
        used[own + LEVELS // 2] = True
        cell = math.ldexp(1.0, -own) if reach > 0.0 else 0.0
        left, top = math.floor((x - reach * wide) * cell), math.floor((y - reach * high) * cell)
        right, below = math.floor((x + reach * wide) * cell), math.floor((y + reach * high) * cell)
        # A cell is wider than the reach: never more than two of them.
        for column in range(left, min(right, left + 1) + 1):
            for row in range(top, min(below, top + 1) + 1):
                bucket = _bucket(column, row, own, group[i], mask)
                after[notes], note[notes] = head[bucket], i
                head[bucket] = notes
                notes += 1
    return keep
