"""Which objects of two results are the same, and what became of each.

Nothing here depends on the order of rows, nor on which result is the first: of equal overlaps
labels decide, then confidences, then the objects themselves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import shapely

from postprocess.shapes import Floats, Ints, Shapes

LEAST_OVERLAP = 0.3
"""Intersection over union from which on two shapes are one object."""

SAME_OVERLAP = 0.9
"""From which on its shape and place are the same: number formats move outlines by less."""

ALONG_M = 5.0
"""Metres within which lines run along one another."""

CONFIDENCE = 0.05
"""Change of a confidence that is told."""

Kind = Literal["moved", "reshaped", "relabelled", "decision", "confidence"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""What may become of an object that both results have, in the order it is told."""


@dataclass(frozen=True)
class Objects:
    """What is compared of n objects.

    Attributes:
        shapes: (n,) polygons or lines on a plane, metres; None or empty where unknown.
        labels: their labels.
        types: what the detector takes each for beyond its label; None where it does not say.
        decisions: accept, review, ...; None where unknown.
        confidence: (n,) 0 to 1, NaN where unknown.
    """

    shapes: Shapes
    labels: tuple[str | None, ...]
    types: tuple[str | None, ...]
    decisions: tuple[str | None, ...]
    confidence: Floats

    def __len__(self) -> int:
        return len(self.shapes)


@dataclass(frozen=True)
class Pair:
    """An object that both results have.

    Attributes:
        first: its number in the first.
        second: its number in the second.
        overlap: intersection over union, of lines along each other's length.
        moved_m: metres between its centres.
        kinds: what has become of it; none: it is the same.
    """

    first: int
    second: int
    overlap: float
    moved_m: float
    kinds: tuple[Kind, ...]


@dataclass(frozen=True)
class Matched:
    """Objects of two results: those that both have, and the numbers of those that one has alone."""

    pairs: tuple[Pair, ...]
    only_first: tuple[int, ...]
    only_second: tuple[int, ...]


def match(first: Objects, second: Objects, along_m: float = ALONG_M) -> Matched:
    """Match objects one to one by place and shape, and say what became of each.

    Those that are equal in everything are matched first, then the others by their overlap, the
    largest first, from `LEAST_OVERLAP` on. Polygons match polygons and lines match lines, whatever
    their labels.

    Args:
        first: of one result.
        second: of the other, on the same plane.
        along_m: metres within which lines run along one another.
    """
    keys = _keys(first), _keys(second)
    pairs = _equal(*keys)
    left = (
        np.setdiff1d(np.arange(len(first)), [one.first for one in pairs]),
        np.setdiff1d(np.arange(len(second)), [one.second for one in pairs]),
    )
    shapes = _sound(first.shapes[left[0]]), _sound(second.shapes[left[1]])
    ranks = _ranks(*([keys[k][i] for i in left[k].tolist()] for k in (0, 1)))
    i, j, overlap = _overlapping(*shapes, ranks, along_m)
    i, j, overlap = _best(i, j, overlap, left, (first, second), ranks)
    flip = ranks[0][i] > ranks[1][j]
    a = np.where(flip, shapes[1][j], shapes[0][i])
    b = np.where(flip, shapes[0][i], shapes[1][j])
    moved, aligned = _moved(a, b, along_m)
    for k in range(len(i)):
        one, two = int(left[0][i[k]]), int(left[1][j[k]])
        kinds = _kinds(first, second, one, two, float(overlap[k]), float(aligned[k]))
        pairs.append(Pair(one, two, float(overlap[k]), float(moved[k]), kinds))
    pairs.sort(key=lambda one: one.first)
    ones, twos = {one.first for one in pairs}, {one.second for one in pairs}
    return Matched(
        tuple(pairs),
        tuple(k for k in range(len(first)) if k not in ones),
        tuple(k for k in range(len(second)) if k not in twos),
    )


_Key = tuple[bytes, str, str, str, str]
"""All that is compared of an object: equal keys are equal objects."""


def _keys(objects: Objects) -> list[_Key]:
    shapes = [b"" if wkb is None else wkb for wkb in shapely.to_wkb(objects.shapes).tolist()]
    rest = zip(objects.labels, objects.types, objects.decisions, strict=True)
    return [
        (wkb, repr(label), repr(kind), repr(decision), repr(confidence))
        for wkb, (label, kind, decision), confidence in zip(
            shapes, rest, objects.confidence.tolist(), strict=True
        )
    ]


def _equal(first: Sequence[_Key], second: Sequence[_Key]) -> list[Pair]:
    """Objects that are equal in everything; as many of each as both have."""
    waiting: dict[_Key, list[int]] = defaultdict(list)
    for number in reversed(range(len(second))):
        waiting[second[number]].append(number)
    return [
        Pair(number, waiting[key].pop(), 1.0, 0.0, ())
        for number, key in enumerate(first)
        if waiting.get(key)
    ]


def _sound(shapes: Shapes) -> Shapes:
    """(n,) valid shapes; empty ones where there is none."""
    result = np.where(shapely.is_missing(shapes), shapely.Polygon(), shapes)
    result = np.asarray(shapely.force_2d(result), object)
    lost = ~np.isfinite(shapely.bounds(result)).all(axis=1)
    result[lost] = shapely.Polygon()
    wrong = ~shapely.is_valid(result) & (shapely.get_dimensions(result) == 2)
    result[wrong] = shapely.make_valid(result[wrong], method="structure", keep_collapsed=False)
    return result


def _ranks(first: Sequence[_Key], second: Sequence[_Key]) -> tuple[Ints, Ints]:
    """Numbers of the objects in an order that is the same however they are given."""
    order = {key: rank for rank, key in enumerate(sorted({*first, *second}))}
    one, two = ([order[key] for key in keys] for keys in (first, second))
    return np.array(one, np.int64), np.array(two, np.int64)


def _overlapping(
    first: Shapes, second: Shapes, ranks: tuple[Ints, Ints], along_m: float
) -> tuple[Ints, Ints, Floats]:
    """(p,) numbers of shapes that overlap enough to be one object, and by how much they do."""
    tree = shapely.STRtree(second)
    found = np.concatenate(
        [
            tree.query(first, predicate="intersects"),
            tree.query(_of(first, 1), predicate="dwithin", distance=along_m),
        ],
        axis=1,
    )
    i, j = np.unique(found, axis=1).astype(np.int64)
    alike = shapely.get_dimensions(first[i]) == shapely.get_dimensions(second[j])
    i, j = i[alike], j[alike]
    # In an order of their own, so that the last bits do not hang on which result is the first.
    flip = ranks[0][i] > ranks[1][j]
    overlap = overlaps(
        np.where(flip, second[j], first[i]), np.where(flip, first[i], second[j]), along_m
    )
    good = overlap >= LEAST_OVERLAP
    return i[good], j[good], overlap[good]


def _of(shapes: Shapes, dimension: int) -> Shapes:
    """The same with None in the place of shapes of another dimension."""
    result = shapes.copy()
    result[shapely.get_dimensions(shapes) != dimension] = None
    return result


def overlaps(a: Shapes, b: Shapes, along_m: float) -> Floats:
    """(n,) intersection over union of n pairs of shapes of one dimension; 0 for others.

    Of lines it is that of their lengths, of which a part is common that lies within `along_m`
    metres of the other line.
    """
    result = np.zeros(len(a))
    areas = shapely.get_dimensions(a) == 2
    result[areas] = _ratio(
        shapely.area(shapely.intersection(a[areas], b[areas])),
        shapely.area(a[areas]),
        shapely.area(b[areas]),
    )
    lines = shapely.get_dimensions(a) == 1
    one, two = a[lines], b[lines]
    inside = shapely.length(shapely.intersection(one, shapely.buffer(two, along_m)))
    also = shapely.length(shapely.intersection(two, shapely.buffer(one, along_m)))
    result[lines] = _ratio((inside + also) / 2, shapely.length(one), shapely.length(two))
    return result


def _ratio(common: Floats, one: Floats, two: Floats) -> Floats:
    union = one + two - common
    result = np.zeros(len(common))
    np.divide(common, union, out=result, where=union > 0)
    return np.clip(result, 0.0, 1.0)


def _best(
    i: Ints,
    j: Ints,
    overlap: Floats,
    left: tuple[Ints, Ints],
    objects: tuple[Objects, Objects],
    ranks: tuple[Ints, Ints],
) -> tuple[Ints, Ints, Floats]:
    """Pairs of which no two have an object in common, the best overlaps first."""
    one, two = left[0][i].tolist(), left[1][j].tolist()
    a, b = objects
    other = np.array(
        [
            (a.labels[m], a.types[m]) != (b.labels[n], b.types[n])
            for m, n in zip(one, two, strict=True)
        ],
        bool,
    )
    change = np.nan_to_num(np.abs(a.confidence[one] - b.confidence[two]), nan=1.0)
    low, high = np.minimum(ranks[0][i], ranks[1][j]), np.maximum(ranks[0][i], ranks[1][j])
    order = np.lexsort((high, low, np.round(change, 9), other, -np.round(overlap, 9)))
    free = np.ones(len(ranks[0]), bool), np.ones(len(ranks[1]), bool)
    chosen = []
    for pair in order.tolist():
        if free[0][i[pair]] and free[1][j[pair]]:
            free[0][i[pair]] = free[1][j[pair]] = False
            chosen.append(pair)
    return i[chosen], j[chosen], overlap[chosen]


def _moved(a: Shapes, b: Shapes, along_m: float) -> tuple[Floats, Floats]:
    """(n,) metres between the centres of pairs, and the overlaps with these on one another."""
    ends = [shapely.get_coordinates(shapely.centroid(shapes)) for shapes in (a, b)]
    by = ends[0] - ends[1]
    counts = shapely.get_num_coordinates(b)
    xy = shapely.get_coordinates(b) + np.repeat(by, counts, axis=0)
    there = np.asarray(shapely.set_coordinates(b.copy(), xy), object)
    return np.hypot(*by.T), overlaps(a, there, along_m)


def _kinds(
    first: Objects, second: Objects, one: int, two: int, overlap: float, aligned: float
) -> tuple[Kind, ...]:
    stays = overlap >= SAME_OVERLAP
    labels = first.labels[one], first.types[one]
    before, after = float(first.confidence[one]), float(second.confidence[two])
    unknown = np.isnan([before, after])
    found: dict[Kind, bool] = {
        "moved": not stays and aligned >= SAME_OVERLAP,
        "reshaped": not stays and aligned < SAME_OVERLAP,
        "relabelled": labels != (second.labels[two], second.types[two]),
        "decision": first.decisions[one] != second.decisions[two],
        # Of equal steps the last bit is no change.
        "confidence": bool(unknown[0] != unknown[1] or abs(after - before) > CONFIDENCE + 1e-9),
    }
    return tuple(kind for kind in KINDS if found[kind])
