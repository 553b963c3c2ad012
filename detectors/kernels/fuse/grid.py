"""The loops of box fusion that go box by box, with an index of where boxes are.

Clusters lie in the cells of a uniform grid by the centres of their mean boxes. Boxes that
overlap by more than t have sides and centres that cannot differ by more than t says, so a box is
compared with the clusters of a few cells only. The index chooses whom to compare with and never
what comes out: `detectors.kernels.fuse.reference` compares with all and says the same, to the bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.views import Floats, Ints
from tiling.compiled import compiled

FEW = 256
"""So many boxes are compared with all clusters sooner than an index is made."""
_MOST_CELLS = 1024
_SAMPLE = 1024
_LOW = 1e-3
"""Under this overlap whatever touches may join, and an index is of no use."""
_TINY, _HUGE = 1e-15, 1e15
"""Sides and coordinates for which overlaps are exact to rounding, in float32 too."""
_ROUNDING = 1e-5
"""More than what rounding can make of an overlap in float32, a share of it."""
_PLACES = 1e-12
"""More than what rounding can make of a centre, a share of its coordinates."""

Sides = NDArray[np.floating[Any]]
"""float32 or float64."""


def clusters(boxes: Sides, say: Sides, labels: Ints, least: float) -> Ints:
    """Each box joins the cluster whose mean box it overlaps most, or founds one.

    The mean, weighted by `say`, moves with every box that joins, so the order of boxes matters
    (Solovyev et al., 2021, Weighted boxes fusion). Of equal overlaps the first cluster counts.

    Args:
        boxes: (n, 4) x0 y0 x1 y1, those that say most first; float32 is reckoned with as
            float32, anything else as float64.
        say: (n,) what each box counts, from 0.
        labels: (n,) classes; only boxes of one class join.
        least: overlap (IoU) above which a box joins.

    Returns:
        (n,) number of the cluster of each box, in the order they were founded.
    """
    kind = np.float32 if boxes.dtype == np.float32 else np.float64
    sides: Sides = np.ascontiguousarray(boxes, kind)
    cells, low, scale = _lattice(sides, least)
    found: Ints = _clusters(
        sides,
        np.ascontiguousarray(say, kind),
        np.ascontiguousarray(labels, np.int64),
        kind(least),
        cells,
        low,
        scale,
    )
    return found


def overlapping(boxes: Floats) -> tuple[Ints, Ints]:
    """Every pair of boxes that share an area, once, the smaller row first; in no certain order.

    Pairs with boxes that have no area may be among them.

    Args:
        boxes: (n, 4) x0 y0 x1 y1.

    Returns:
        Two (pairs,) arrays of rows.
    """
    sides = np.ascontiguousarray(boxes, np.float64)
    pairs: Ints = _overlapping(sides, np.argsort(sides[:, 0], kind="stable"))
    pairs.sort(axis=1)
    return pairs[:, 0], pairs[:, 1]


def _lattice(boxes: Sides, least: float) -> tuple[int, Floats, Floats]:
    """Cells along a side, doubled centre where the first begins and cells a unit, for x and y.

    The cells cover where most centres are; what lies outside goes to those at the border.
    """
    nothing = np.zeros(2)
    if len(boxes) <= FEW or not least >= _LOW:
        return 1, nothing, nothing
    some = boxes[:: -(-len(boxes) // _SAMPLE)].astype(np.float64)
    some = some[(np.abs(some) <= _HUGE).all(axis=1)]
    if not len(some):
        return 1, nothing, nothing
    cells = min(int(len(boxes) ** 0.5), _MOST_CELLS)
    centres = np.sort(some[:, :2] + some[:, 2:], axis=0)
    edge = len(centres) // 100
    low, wide = centres[edge], centres[-1 - edge] - centres[edge]
    scale: Floats = np.divide(cells, wide, out=np.zeros(2), where=wide > _TINY)
    return cells, low, scale


@compiled
def _overlap(box: Sides, mean: Sides) -> Any:
    """Intersection over union; NaN where nothing is shared."""
    wide = min(box[2], mean[2]) - max(box[0], mean[0])
    high = min(box[3], mean[3]) - max(box[1], mean[1])
    if wide <= 0.0 or high <= 0.0:
        return box.dtype.type(np.nan)
    shared = wide * high
    area = (box[2] - box[0]) * (box[3] - box[1])
    other = (mean[2] - mean[0]) * (mean[3] - mean[1])
    return shared / (area + other - shared)


@compiled
def _sound(box: Sides) -> bool:
    """Whether the box is of a size for which the index is sure."""
    wide, high = box[2] - box[0], box[3] - box[1]
    far = max(abs(box[0]), abs(box[1]), abs(box[2]), abs(box[3]))
    # What is no number fails every comparison.
    return bool(wide >= _TINY and high >= _TINY and far <= _HUGE)


@compiled
def _step(centre: float, low: float, scale: float, cells: int) -> Any:
    """Cell along one side; never falls where `centre` rises."""
    return int(min(max((centre - low) * scale, 0.0), cells - 1.0))


@compiled
def _cell(mean: Sides, cells: int, low: Floats, scale: Floats) -> Any:
    """Cell of a mean box; one after the last for boxes that are compared with always."""
    if not _sound(mean):
        return cells * cells
    x = _step(np.float64(mean[0]) + np.float64(mean[2]), low[0], scale[0], cells)
    y = _step(np.float64(mean[1]) + np.float64(mean[3]), low[1], scale[1], cells)
    return y * cells + x


@compiled
def _reach(one: float, two: float, spread: float, low: float, scale: float, cells: int) -> Any:
    """First and last cell along one side where a mean may be that overlaps enough."""
    reach = (two - one) * spread + _PLACES * (abs(one) + abs(two))
    centre = one + two
    first = _step(centre - reach, low, scale, cells)
    return first, _step(centre + reach, low, scale, cells)


@compiled
def _clusters(
    boxes: Sides, say: Sides, labels: Ints, least: Any, cells: int, low: Floats, scale: Floats
) -> Ints:
    n = len(boxes)
    cluster, kind = np.empty(n, np.int64), np.empty(n, np.int64)
    mean, weighted, total = np.empty_like(boxes), np.empty_like(boxes), np.empty_like(say)
    # Clusters of a cell are a chain: the first of each cell, the next and the one before.
    first = np.full(cells * cells + 1, -1, np.int64)
    after, before, where = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    # Overlap of more than t along each side bounds how far doubled centres lie apart.
    bound = min(np.float64(least), 1.0) * (1.0 - _ROUNDING)
    spread = (1.0 - bound) / bound if bound > 0.0 else 0.0
    count = 0
    for i in range(n):
        box, label = boxes[i], labels[i]
        best, most = -1, least
        x0, y0, x1, y1 = 0, 0, -1, -1
        few = cells > 1 and _sound(box)
        if few:
            left, top = np.float64(box[0]), np.float64(box[1])
            right, bottom = np.float64(box[2]), np.float64(box[3])
            x0, x1 = _reach(left, right, spread, low[0], scale[0], cells)
            y0, y1 = _reach(top, bottom, spread, low[1], scale[1], cells)
            few = (x1 - x0 + 1) * (y1 - y0 + 1) < count
        if few:
            # The round after the last row is for those compared with always.
            for y in range(y0, y1 + 2):
                start = y * cells + x0 if y <= y1 else cells * cells
                end = y * cells + x1 if y <= y1 else cells * cells
                for c in range(start, end + 1):
                    k = first[c]
                    while k >= 0:
                        if kind[k] == label:
                            overlap = _overlap(box, mean[k])
                            # Of equal overlaps the first counts.
                            if overlap > most or (overlap == most and k < best):
                                best, most = k, overlap
                        k = after[k]
        else:
            for k in range(count):
                if kind[k] == label:
                    overlap = _overlap(box, mean[k])
                    if overlap > most:
                        best, most = k, overlap
        cluster[i] = best if best >= 0 else count
        if best < 0:
            best, count = count, count + 1
            total[best], kind[best], where[best] = say[i], label, -1
            for c in range(4):
                mean[best, c], weighted[best, c] = box[c], say[i] * box[c]
        else:
            total[best] += say[i]
            for c in range(4):
                weighted[best, c] += say[i] * box[c]
                # What counts for nothing moves nothing.
                if total[best] > 0.0:
                    mean[best, c] = weighted[best, c] / total[best]
        if cells > 1:
            _move(best, _cell(mean[best], cells, low, scale), first, after, before, where)
    return cluster


@compiled
def _move(k: int, to: int, first: Ints, after: Ints, before: Ints, where: Ints) -> None:
    """Take cluster `k` out of its cell's chain and put it first in that of cell `to`."""
    if where[k] == to:
        return
    if where[k] >= 0:
        if before[k] >= 0:
            after[before[k]] = after[k]
        else:
            first[where[k]] = after[k]
        if after[k] >= 0:
            before[after[k]] = before[k]
    where[k], before[k], after[k] = to, -1, first[to]
    if first[to] >= 0:
        before[first[to]] = k
    first[to] = k


@compiled
def _overlapping(boxes: Floats, order: Ints) -> Ints:
    """A sweep along x: a box meets those that begin before it ends."""
    n, count = len(order), 0
    pairs = np.empty((2 * n + 16, 2), np.int64)
    for i in range(n):
        a = order[i]
        for j in range(i + 1, n):
            b = order[j]
            if not boxes[b, 0] < boxes[a, 2]:
                break
            if boxes[b, 1] < boxes[a, 3] and boxes[a, 1] < boxes[b, 3]:
                if count == len(pairs):
                    pairs = np.concatenate((pairs, np.empty_like(pairs)))
                pairs[count, 0], pairs[count, 1] = a, b
                count += 1
    return pairs[:count].copy()
