"""Which stretches of lines of several scenes are one line: they run along each other.

Scenes go by the order of their names. Of each, the stretches that lie along a line of an earlier
scene, on the ground of that scene, are left out; what is beyond, and what only the later scene
saw, is kept. Lines are looked at step by step, so that it does not matter where the lines of
another scene begin and end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import shapely
from scipy.spatial import cKDTree

from lanner.archives.ground import Located, Plane, located, plane_at
from lanner.archives.same_objects import leaving
from postprocess.shapes import Bools, Floats, Ints, Shapes, bounds

ALONG = 0.8
"""Share of a piece on common ground that must lie along other lines for the piece to do so."""
LONG = 10.0
"""Stretches of so many tolerances are judged by themselves, whatever the rest of the piece does:
two roads do not lie within a tolerance of each other for so long, nor does one stray so far."""
CROSSING = 4.0
"""Tolerances along another line from which on a line does not merely cross it."""
STEPS = 5
"""Steps in a tolerance."""
_APART = 1e8
"""Metres that lines of different labels are put apart in a third dimension."""


@dataclass(frozen=True)
class SceneLines:
    """The lines of one scene.

    Attributes:
        rows: (n,) their numbers among the objects of all scenes, ascending.
        shapes: (n,) in longitude and latitude.
        labels: (n,) numbers of their labels.
        footprint: of the scene, in longitude and latitude.
    """

    rows: Ints
    shapes: Shapes
    labels: Ints
    footprint: shapely.Geometry


@dataclass(frozen=True, slots=True)
class Piece:
    """An object that is shown, or what is left of a line.

    Attributes:
        row: its number among the objects of all scenes.
        part: 0 for a whole one, else the number of the piece, from 1.
        shape: of a piece, in longitude and latitude; None for a whole one.
        others: numbers of those that are the same object; some more than once.
    """

    row: int
    part: int
    shape: shapely.Geometry | None
    others: list[int]


@dataclass(frozen=True)
class _Known:
    """All that one scene saw, in stretches.

    `earth` is where they lie, `labels` (n,) are the numbers of their labels, `shown` the pieces
    that show each, be they its own or those of earlier scenes, `footprint` is that of the scene.
    """

    earth: Located
    labels: Ints
    shown: list[tuple[int, ...]]
    footprint: shapely.Geometry


@dataclass(frozen=True)
class _Stretch:
    """A stretch of a line, and the pieces that show it; None where it is to be shown itself."""

    shape: shapely.Geometry
    shown: tuple[int, ...] | None


@dataclass(frozen=True)
class _Steps:
    """Lines in short steps, none of which holds a corner.

    Attributes:
        line: (m,) which line it is of, ascending.
        start: (m,) number of the point where its segment begins, among all points of the lines.
        low: (m,) part of the segment where the step begins.
        high: (m,) where it ends.
        middle: (m, 2) metres on a plane.
        length: (m,) metres.
    """

    line: Ints
    start: Ints
    low: Floats
    high: Floats
    middle: Floats
    length: Floats


class Lines:
    """The lines of scenes, each stretch once.

    Scenes are added one after the other, in the order of their names. What each saw is held until
    the last one that overlaps it has been added.

    Args:
        earlier: for each scene the numbers of those before it that overlap it.
        along_m: metres within which lines are one.
    """

    def __init__(self, earlier: Sequence[Sequence[int]], along_m: float) -> None:
        self._earlier, self._along_m = earlier, along_m
        self._leaving = leaving(earlier)
        self._known: dict[int, _Known] = {}
        self._found: list[Piece] = []
        self._cut: list[int] = []

    def add(self, number: int, scene: SceneLines) -> Ints:
        """The lines of the next scene.

        Args:
            number: of the scene: 0, then 1 and so on.
            scene: its lines.

        Returns:
            Numbers of those lines of which earlier scenes have a part.
        """
        parts, owner = shapely.get_parts(scene.shapes, return_index=True)
        earth, labels = located(parts), scene.labels[owner]
        others = [self._known[other] for other in self._earlier[number]]
        cut = _cut(earth, labels, others, self._along_m) if others and len(parts) else {}
        first = np.searchsorted(owner, np.arange(len(scene.rows) + 1)).tolist()
        stretches: list[tuple[_Stretch, int]] = []
        shared = []
        for place, row in enumerate(scene.rows.tolist()):
            mine = range(first[place], first[place + 1])
            if cut.keys().isdisjoint(mine):
                self._found.append(Piece(row, 0, None, []))
                shown = (len(self._found) - 1,)
                stretches += [(_Stretch(parts[part], shown), part) for part in mine]
                continue
            shared.append(row)
            stretches += _put(
                self._found,
                row,
                [
                    (one, part)
                    for part in mine
                    for one in cut.get(part, [_Stretch(parts[part], None)])
                ],
            )
        self._known[number] = _Known(
            located([one.shape for one, _ in stretches]),
            labels[[part for _, part in stretches]],
            [one.shown or () for one, _ in stretches],
            scene.footprint,
        )
        for gone in self._leaving[number]:
            del self._known[gone]
        self._cut += shared
        return np.array(shared, np.int64)

    def pieces(self) -> dict[int, list[Piece]]:
        """What is shown of each line that is not whole, or that other scenes show, too."""
        result: dict[int, list[Piece]] = {row: [] for row in self._cut}
        for piece in self._found:
            if piece.part or piece.others:
                result.setdefault(piece.row, []).append(piece)
        return result


def _put(
    found: list[Piece], row: int, stretches: list[tuple[_Stretch, int]]
) -> list[tuple[_Stretch, int]]:
    """Put the pieces of a cut line after those that are found, and say what shows each stretch."""
    seen, part = [], 0
    for stretch, number in stretches:
        shown = stretch.shown
        if shown is None:
            part += 1
            found.append(Piece(row, part, stretch.shape, []))
            shown = (len(found) - 1,)
        else:
            for piece in shown:
                found[piece].others.append(row)
        seen.append((_Stretch(stretch.shape, shown), number))
    return seen


def _cut(
    earth: Located,
    labels: Ints,
    others: list[_Known],
    along_m: float,
) -> dict[int, list[_Stretch]]:
    """The stretches of those lines of a scene of which earlier scenes saw some."""
    where = located([one.footprint for one in others])
    plane = plane_at(where.centres.mean(axis=0))
    ground = shapely.union_all(where.flat(np.arange(len(where)), plane))
    # A road beside the border may lie on either side of it in two scenes.
    around = shapely.buffer(ground, along_m)
    shapely.prepare(ground)
    shapely.prepare(around)
    box = bounds([around])[0]
    lines = earth.near(plane, box, 0.0)
    steps = _steps(earth, lines, plane, along_m / STEPS)
    near = np.asarray(shapely.contains_xy(around, *steps.middle.T), bool)
    inside = np.asarray(shapely.contains_xy(ground, *steps.middle.T), bool)
    beside, lengths, shown = _beside(steps, near, labels[lines], others, plane, box, along_m)
    lonlat = shapely.get_coordinates(earth.shapes[lines])
    result = {}
    for line in np.unique(steps.line[beside >= 0]).tolist():
        low, high = np.searchsorted(steps.line, [line, line + 1])
        mine = slice(int(low), int(high))
        length, known = steps.length[mine], beside[mine]
        drop = _dropped(length, near[mine], inside[mine], known >= 0, along_m)
        told = drop & (known >= 0)
        if not told.any():
            continue
        by = _credited(known[told], length[told], lengths, CROSSING * along_m)
        pieces = tuple(sorted({piece for one in by for piece in shown[one]}))
        result[int(lines[line])] = [
            _Stretch(_between(steps, lonlat, low + s, low + e), pieces if drop[s] else None)
            for s, e in _runs(drop)
        ]
    return result


def _steps(earth: Located, lines: Ints, plane: Plane, step_m: float) -> _Steps:
    """Some of the lines in steps of at most so many metres."""
    counts = np.diff(earth.starts)[lines]
    line = np.repeat(np.arange(len(lines)), counts)
    xy = shapely.get_coordinates(earth.shapes[lines])
    which = np.repeat(earth.starts[lines] - (np.cumsum(counts) - counts), counts)
    xy = plane.xy(earth.points[np.arange(len(xy)) + which])
    start = np.flatnonzero(line[1:] == line[:-1])
    way = xy[start + 1] - xy[start]
    length = np.hypot(*way.T)
    number = np.maximum(np.ceil(length / step_m), 1).astype(np.int64)
    segment = np.repeat(np.arange(len(start)), number)
    place = np.arange(len(segment)) - np.repeat(np.cumsum(number) - number, number)
    low, high = place / number[segment], (place + 1) / number[segment]
    middle = xy[start[segment]] + ((low + high) / 2)[:, None] * way[segment]
    begin = start[segment]
    return _Steps(line[begin], begin, low, high, middle, (length / number)[segment])


def _beside(
    steps: _Steps,
    near: Bools,
    labels: Ints,
    others: list[_Known],
    plane: Plane,
    box: Floats,
    along_m: float,
) -> tuple[Ints, Floats, list[tuple[int, ...]]]:
    """Which stretch of earlier scenes each step lies along.

    Returns:
        (m,) its number, -1 for none; (n,) the lengths of all stretches in metres; and the pieces
        that show each.
    """
    middles, stretch, lengths = [np.empty((0, 3))], [np.empty(0, np.int64)], [np.empty(0)]
    shown: list[tuple[int, ...]] = []
    for one in others:
        which = one.earth.near(plane, box, along_m)
        theirs = _steps(one.earth, which, plane, along_m / STEPS)
        middles.append(_apart(theirs.middle, one.labels[which][theirs.line]))
        stretch.append(theirs.line + len(shown))
        lengths.append(np.bincount(theirs.line, theirs.length, len(which)).astype(np.float64))
        shown += [one.shown[i] for i in which.tolist()]
    result = np.full(len(near), -1, np.int64)
    points, number = np.concatenate(middles), np.concatenate(stretch)
    if len(points) and near.any():
        # The foot of a perpendicular may lie between the middles of two steps.
        reach = float(np.hypot(along_m, along_m / STEPS / 2))
        mine = _apart(steps.middle[near], labels[steps.line[near]])
        _, nearest = cKDTree(points).query(mine, distance_upper_bound=reach)
        result[near] = np.append(number, -1)[nearest]
    return result, np.concatenate(lengths), shown


def _apart(middle: Floats, labels: Ints) -> Floats:
    """(m, 3) middles of steps, far from those of other labels."""
    return np.column_stack([middle, labels * _APART])


def _dropped(length: Floats, near: Bools, inside: Bools, beside: Bools, along_m: float) -> Bools:
    """(m,) the steps of one line that earlier scenes have.

    Args:
        length: (m,) of the steps, metres.
        near: (m,) whether they are on ground of earlier scenes, or within a tolerance of it.
        inside: (m,) whether they are on it.
        beside: (m,) whether they lie along a line there.
        along_m: the tolerance.
    """
    drop, size, long = np.zeros(len(length), bool), len(length), LONG * along_m
    for start, stop in _runs(near):
        if not near[start]:
            continue
        piece = slice(start, stop)
        # A line leaves at an angle: only one that never comes in is judged by what is outside.
        judged = inside[piece] if inside[piece].any() else near[piece]
        share = length[piece] * judged
        most = bool(share[beside[piece]].sum() >= ALONG * share.sum())
        for low, high in ((start + s, start + e) for s, e in _runs(beside[piece])):
            alone = bool(length[low:high].sum() >= long)
            # Where the other line ends short of the border, what goes on beyond begins there.
            beyond = (low == start and low > 0) or (high == stop and high < size)
            drop[low:high] = most or alone if beside[low] else most and not (alone or beyond)
    # A line that leaves is cut at the border, though the other's end is within the tolerance yet.
    outside = drop & ~inside
    for low, high in _runs(outside):
        leaves = (low > 0 and not drop[low - 1]) or (high < size and not drop[high])
        if outside[low] and leaves and length[low:high].sum() < long:
            drop[low:high] = False
    if drop.any():
        for low, high in _runs(drop):
            # What is left over may be too short to tell a road from a blur.
            if length[low:high].sum() < along_m:
                drop[low:high] = True
    return drop


def _runs(flags: Bools) -> list[tuple[int, int]]:
    """Beginning and end of every run of equal flags."""
    edges = [0, *(np.flatnonzero(flags[1:] != flags[:-1]) + 1).tolist(), len(flags)]
    return list(pairwise(edges))


def _credited(stretch: Ints, length: Floats, lengths: Floats, crossing_m: float) -> list[int]:
    """The stretches that a line is a sighting of: not those that it merely crosses.

    Args:
        stretch: (m,) the one that each step lies along.
        length: (m,) of the steps, metres.
        lengths: (n,) of all stretches, metres.
        crossing_m: metres along another line that no crossing makes.
    """
    some, place = np.unique(stretch, return_inverse=True)
    along = np.bincount(place, length)
    # Half of a short stretch is enough, and so is the most of a line that is short itself.
    good = (along >= np.minimum(crossing_m, 0.5 * lengths[some])) | (along == along.max())
    return [int(one) for one in some[good]]


def _between(steps: _Steps, lonlat: Floats, low: int, high: int) -> shapely.LineString:
    """The line from the beginning of one step to the end of that before another."""
    corners = steps.start[low + 1 : high][steps.low[low + 1 : high] == 0]
    ends = _place(steps, lonlat, low, steps.low), _place(steps, lonlat, high - 1, steps.high)
    return shapely.LineString(np.concatenate([ends[0], lonlat[corners], ends[1]]))


def _place(steps: _Steps, lonlat: Floats, step: int, part: Floats) -> Floats:
    """(1, 2) longitude and latitude of an end of a step; a corner stays what it is to the bit."""
    start, share = int(steps.start[step]), float(part[step])
    if share in (0.0, 1.0):
        return lonlat[[start + int(share)]]
    return lonlat[[start]] * (1 - share) + lonlat[[start + 1]] * share
