"""Which polygons of several scenes are one object: they agree on the ground that two scenes saw.

A neighbour is somewhere else, so it agrees on nothing, however close it stands. An object that a
border cut agrees on what is left of it. Two scenes may lie a few metres off each other: what they
both saw beyond doubt tells by how much, and that is taken out before anything is compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import shapely

from lanner.archives.ground import Located, Plane, located, moved, plane_at
from postprocess.aircraft.union import join
from postprocess.shapes import Bools, Floats, Ints, Shapes, bounds

LEAST_IOU = 0.3
"""Agreement that makes two polygons one object."""
INSIDE = 0.6
"""Share of what a border left of an object that the whole object must cover."""
NEARER = 0.25
"""Of the smaller one's breadth: centres nearer than that make two polygons of a size one object.
Neighbours are a whole breadth apart, be they long or not."""
ALIKE = 0.5
"""Least ratio of the areas within the hulls of two polygons of a size."""
BLUR_M = 1.0
"""How far the outlines of one object lie apart in two scenes, beside the shift of all."""
PARKED_M = 2.0
"""Least gap between neighbours."""
SEVERAL = 3
"""Matches beyond doubt from which on their median is the shift."""
TRIED = 12
"""Pairs whose offsets are tried as the shift where there are fewer."""


@dataclass(frozen=True)
class View:
    """The polygons of one scene.

    Attributes:
        rows: (n,) their numbers among the objects of all scenes.
        labels: (n,) numbers of their labels.
        earth: where they lie.
        ground: where the footprint lies: one shape.
        plane: touches the Earth in the middle of the footprint.
        shapes: (n,) the polygons on that plane, metres.
        area: the footprint on it.
        cut: (n,) whether the scene's border cuts them.
    """

    rows: Ints
    labels: Ints
    earth: Located
    ground: Located
    plane: Plane
    shapes: Shapes
    area: shapely.Geometry
    cut: Bools


@dataclass(frozen=True)
class _Couples:
    """Polygons of two scenes on one plane, and the pairs of them that may be one object.

    `mine` and `other` are the polygons, `cut_mine` and `cut_other` whether a border cuts them,
    `here` and `there` the scenes' footprints; `a` and `b` (p,) number the polygons of each pair.
    """

    mine: Shapes
    other: Shapes
    cut_mine: Bools
    cut_other: Bools
    here: shapely.Geometry
    there: shapely.Geometry
    a: Ints
    b: Ints

    def shifted(self, by: Floats) -> _Couples:
        """The same with the second scene moved by (2,) metres."""
        there = moved(np.array([self.there], object), by)[0]
        return replace(self, other=moved(self.other, by), there=there)

    def only(self, pairs: Ints) -> _Couples:
        """The same with some of the pairs, and the polygons in those."""
        one, a = np.unique(self.a[pairs], return_inverse=True)
        two, b = np.unique(self.b[pairs], return_inverse=True)
        return replace(
            self,
            mine=self.mine[one],
            other=self.other[two],
            cut_mine=self.cut_mine[one],
            cut_other=self.cut_other[two],
            a=a,
            b=b,
        )


def view(
    rows: Ints, shapes: Shapes, labels: Ints, footprint: shapely.Geometry, border_m: float
) -> View:
    """The polygons of one scene, to be compared with those of others.

    Args:
        rows: (n,) their numbers among the objects of all scenes.
        shapes: (n,) in longitude and latitude.
        labels: (n,) numbers of their labels.
        footprint: of the scene, in longitude and latitude.
        border_m: metres from the footprint's edge within which an outline is cut by it.
    """
    earth, ground = located(shapes), located([footprint])
    plane = plane_at(ground.centres[0])
    flat = earth.flat(np.arange(len(earth)), plane)
    area = ground.flat(np.zeros(1, np.int64), plane)[0]
    edge = shapely.boundary(area)
    shapely.prepare(edge)
    cut = np.asarray(shapely.dwithin(flat, edge, border_m), bool)
    return View(rows, labels, earth, ground, plane, flat, area, cut)


class Objects:
    """Clusters of polygons that are one object, with at most one of each scene.

    Scenes are added one after the other. Of each the polygons are held until the last one that
    overlaps it has been added: no more than those are in memory together.

    Args:
        earlier: for each scene the numbers of those before it that overlap it.
        border_m: metres from a footprint's edge within which an outline is cut by it.
        shift_m: metres that two scenes may lie off each other.
    """

    def __init__(self, earlier: Sequence[Sequence[int]], border_m: float, shift_m: float) -> None:
        self._earlier, self._border_m, self._shift_m = earlier, border_m, shift_m
        self._leaving = leaving(earlier)
        self._views: dict[int, View] = {}
        self._pairs: list[tuple[Ints, Ints, Floats]] = []
        self._kind: dict[int, int] = {}
        self._cut: dict[int, bool] = {}

    def add(
        self, number: int, rows: Ints, shapes: Shapes, labels: Ints, footprint: shapely.Geometry
    ) -> Ints:
        """The polygons of the next scene.

        Args:
            number: of the scene: 0, then 1 and so on.
            rows: (n,) numbers of the polygons among the objects of all scenes.
            shapes: (n,) in longitude and latitude.
            labels: (n,) numbers of their labels.
            footprint: of the scene, in longitude and latitude.

        Returns:
            Numbers of polygons, of this scene and of earlier ones, that may be one object.
        """
        mine = view(rows, shapes, labels, footprint, self._border_m)
        matched = [np.empty(0, np.int64)]
        for other in self._earlier[number]:
            theirs = self._views[other]
            pairs = _agreeing(theirs, mine, self._shift_m)
            self._pairs.append(pairs)
            for kind, one, some in ((other, theirs, pairs[0]), (number, mine, pairs[1])):
                found = np.unique(some)
                cuts = one.cut[np.searchsorted(one.rows, found)].tolist()
                self._kind |= dict.fromkeys(found.tolist(), kind)
                self._cut |= dict(zip(found.tolist(), cuts, strict=True))
                matched.append(found)
        self._views[number] = mine
        for gone in self._leaving[number]:
            del self._views[gone]
        return np.unique(np.concatenate(matched))

    def cut(self, row: int) -> bool:
        """Whether a scene's border cuts a polygon that `add` gave."""
        return self._cut[row]

    def clusters(self) -> list[list[int]]:
        """Numbers of the polygons of each object that several scenes show, ascending."""
        none = np.empty(0, np.int64)
        one = np.concatenate([none, *(some[0] for some in self._pairs)])
        two = np.concatenate([none, *(some[1] for some in self._pairs)])
        score = np.concatenate([np.empty(0), *(some[2] for some in self._pairs)])
        # Best agreement first; of equals the order of rows decides.
        order = np.lexsort((two, one, -np.round(score, 9)))
        rows, place = np.unique(np.concatenate([one[order], two[order]]), return_inverse=True)
        kinds = np.array([self._kind[row] for row in rows.tolist()], np.int64)
        groups = join(len(rows), place[: len(one)], place[len(one) :], kinds).groups().values()
        return [rows[some].tolist() for some in groups if len(some) > 1]


def leaving(earlier: Sequence[Sequence[int]]) -> list[list[int]]:
    """The scenes of which no more is needed once each has been added.

    Args:
        earlier: for each scene the numbers of those before it that overlap it.
    """
    last = list(range(len(earlier)))
    for number, others in enumerate(earlier):
        for other in others:
            last[other] = number
    gone: list[list[int]] = [[] for _ in earlier]
    for other, number in enumerate(last):
        gone[number].append(other)
    return gone


def _agreeing(one: View, two: View, shift_m: float) -> tuple[Ints, Ints, Floats]:
    """(p,) rows of one scene, rows of another that may be the same, and how well they agree."""
    couples, mine, other = _couples(one, two, shift_m)
    if not len(couples.a):
        return couples.a, couples.b, np.empty(0)
    by, doubt = _shift(couples, shift_m)
    score = _scores(couples.shifted(by), doubt)
    good = score > 0
    return one.rows[mine[couples.a[good]]], two.rows[other[couples.b[good]]], score[good]


def _couples(one: View, two: View, shift_m: float) -> tuple[_Couples, Ints, Ints]:
    """What two scenes have on their common ground, and the polygons' numbers in their views."""
    there = two.ground.flat(np.zeros(1, np.int64), one.plane)[0]
    common = shapely.buffer(shapely.intersection(one.area, there), shift_m + BLUR_M)
    shapely.prepare(common)
    box = bounds([common])[0]
    mine, other = one.earth.near(one.plane, box, 0.0), two.earth.near(one.plane, box, 0.0)
    shapes, others = one.shapes[mine], two.earth.flat(other, one.plane)
    in_one, in_two = shapely.intersects(common, shapes), shapely.intersects(common, others)
    mine, shapes, other, others = mine[in_one], shapes[in_one], other[in_two], others[in_two]
    a, b = shapely.STRtree(others).query(shapes, predicate="dwithin", distance=shift_m + BLUR_M)
    same = one.labels[mine[a]] == two.labels[other[b]]
    a, b = a[same].astype(np.int64), b[same].astype(np.int64)
    order = np.lexsort((b, a))
    cuts = one.cut[mine], two.cut[other]
    return (
        _Couples(shapes, others, *cuts, one.area, there, a[order], b[order]),
        mine,
        other,
    )


def _shift(couples: _Couples, shift_m: float) -> tuple[Floats, float]:
    """Metres to move the second scene by, (2,), and metres by which that may be wrong.

    Whole objects that have one partner within reach are beyond doubt. Where they are few, the
    offset of each pair is tried, and that is taken under which most agrees.
    """
    a, b = couples.a, couples.b
    whole = ~couples.cut_mine[a] & ~couples.cut_other[b]
    offset = _centres(couples.mine)[a] - _centres(couples.other)[b]
    near = whole & (np.hypot(*offset.T) <= shift_m + BLUR_M)
    near[near] = _alike(couples.mine[a[near]], couples.other[b[near]])
    sure = near & (np.bincount(a[near], minlength=len(couples.mine))[a] == 1)
    sure &= np.bincount(b[near], minlength=len(couples.other))[b] == 1
    if sure.sum() >= SEVERAL:
        return np.median(offset[sure], axis=0), BLUR_M
    nearest = np.argsort(np.hypot(*offset.T), kind="stable")[:TRIED]
    few = couples.only(np.sort(nearest))
    trials = _offsets(few)
    far = np.hypot(*trials.T)
    # A neighbour that the shift brought as near as can be must not be taken for the object.
    breadth = np.maximum(_breadths(few.mine)[few.a], _breadths(few.other)[few.b])
    able = (far <= shift_m) & (far < breadth + PARKED_M - shift_m)
    trials = np.concatenate([np.zeros((1, 2)), trials[able][np.argsort(far[able], kind="stable")]])
    agreed = [_agreed(few.shifted(by)) for by in trials]
    best = int(np.argmax(np.round(agreed, 6)))
    return trials[best], BLUR_M if agreed[best] > LEAST_IOU else shift_m


def _offsets(couples: _Couples) -> Floats:
    """(p, 2) metres between the centres of each pair, as far as both scenes saw them.

    What both saw depends on the offset itself where a border cuts an object: each round halves
    the error across the border.
    """
    mine, other = couples.mine[couples.a], couples.other[couples.b]
    there = np.full(len(other), couples.there, object)
    by = np.zeros((len(mine), 2))
    for _ in range(8):
        seen = shapely.intersection(mine, _each_moved(there, by))
        step = _centres(seen) - _centres(shapely.intersection(_each_moved(other, by), couples.here))
        by += np.nan_to_num(step)  # nothing in common any more: it stays where it is
    return by


def _agreed(couples: _Couples) -> float:
    """Sum over the second scene's polygons of the best agreement of each."""
    _, _, iou, _ = _on_common_ground(couples)
    best = np.zeros(len(couples.other))
    np.maximum.at(best, couples.b, iou)
    return float(best.sum())


def _scores(couples: _Couples, doubt: float) -> Floats:
    """(p,) how well pairs agree, best those whose shapes do; 0 for different objects.

    Args:
        couples: with the shift taken out.
        doubt: metres by which the shift may be wrong; a sliver narrower than that is no witness.
    """
    mine, other, iou, common = _on_common_ground(couples)
    score = np.where(iou >= LEAST_IOU, iou, 0.0)
    left = np.flatnonzero(score == 0)
    left = left[(shapely.area(mine[left]) > 0) & (shapely.area(other[left]) > 0)]
    one, two = mine[left], other[left]
    size = np.stack([shapely.area(one), shapely.area(two)])
    inside = common[left] / size.min(axis=0)
    cuts = np.stack([couples.cut_mine[couples.a[left]], couples.cut_other[couples.b[left]]])
    part = (inside >= INSIDE) & np.where(size[0] <= size[1], *cuts)
    apart = np.hypot(*(_centres(one) - _centres(two)).T)
    # The breadth of a shape is at most the diagonal of its box, and is dear.
    open_ = part | (apart < NEARER * np.minimum(_diagonals(one), _diagonals(two)))
    left, part, inside, apart = left[open_], part[open_], inside[open_], apart[open_]
    one, two, smaller = one[open_], two[open_], size[:, open_].argmin(axis=0)
    breadth = np.stack([_breadths(one), _breadths(two)])
    part &= np.take_along_axis(breadth, smaller[None], axis=0)[0] >= doubt
    within = NEARER * breadth.min(axis=0)
    near = (apart < within) & _alike(one, two)
    # Both kinds come after every agreement of shapes, and parts before mere nearness.
    score[left[near]] = (LEAST_IOU / 2) * (1 - apart[near] / within[near])
    score[left[part]] = LEAST_IOU * inside[part]
    return score


def _on_common_ground(couples: _Couples) -> tuple[Shapes, Shapes, Floats, Floats]:
    """(p,) what both scenes saw of each pair, its intersection over union and common area."""
    mine = _on(couples.mine, couples.there)[couples.a]
    other = _on(couples.other, couples.here)[couples.b]
    common = shapely.area(shapely.intersection(mine, other))
    union = shapely.area(mine) + shapely.area(other) - common
    return mine, other, common / np.maximum(union, 1e-9), common


def _on(shapes: Shapes, ground: shapely.Geometry) -> Shapes:
    """The parts of polygons on the ground of a scene; most lie on it whole."""
    shapely.prepare(ground)
    parts, out = shapes.copy(), ~shapely.covers(ground, shapes)
    parts[out] = shapely.intersection(shapes[out], ground)
    return parts


def _alike(one: Shapes, two: Shapes) -> Bools:
    """Whether pairs are of a size; hulls, since one may be an outline and the other its box."""
    first = shapely.area(shapely.convex_hull(one))
    second = shapely.area(shapely.convex_hull(two))
    return np.asarray(np.minimum(first, second) >= ALIKE * np.maximum(first, second), bool)


def _centres(shapes: Shapes) -> Floats:
    """(n, 2) centroids; NaN where a shape is empty."""
    result = np.full((len(shapes), 2), np.nan)
    some = ~shapely.is_empty(shapes)
    result[some] = shapely.get_coordinates(shapely.centroid(shapes[some]))
    return result


def _diagonals(shapes: Shapes) -> Floats:
    box = bounds(shapes)
    return np.asarray(np.hypot(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]), np.float64)


def _breadths(shapes: Shapes) -> Floats:
    """(n,) shorter side of the smallest rectangle around each polygon, at any angle."""
    result = np.zeros(len(shapes))
    around = shapely.minimum_rotated_rectangle(shapes)
    real = np.flatnonzero(shapely.get_type_id(around) == shapely.GeometryType.POLYGON)
    corners = shapely.get_coordinates(around[real]).reshape(-1, 5, 2)
    sides = np.linalg.norm(np.diff(corners[:, :3], axis=1), axis=2)
    result[real] = sides.min(axis=1)
    return result


def _each_moved(shapes: Shapes, by: Floats) -> Shapes:
    """(n,) shapes, each shifted by its own of (n, 2) metres."""
    counts = shapely.get_num_coordinates(shapes)
    xy = shapely.get_coordinates(shapes) + np.repeat(by, counts, axis=0)
    return np.asarray(shapely.set_coordinates(shapes.copy(), xy), object)
