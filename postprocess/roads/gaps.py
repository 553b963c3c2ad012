"""Where a dead end may go on: candidates for bridges, by geometry alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from postprocess.roads.network import Index, Network, Xy

RAYS = 9
"""Rays of a dead end's view, from the left limit to the right."""

FEW = 1000
"""Dead ends whose rays are drawn at once."""

CHOICES = 4
"""Gaps of a dead end that are looked into."""


@dataclass(frozen=True)
class Tips:
    """k dead ends: `line`, its `side` (0 first, 1 last), `xy` and unit vector `out` (k, 2)."""

    line: Index
    side: Index
    xy: Xy
    out: Xy


@dataclass(frozen=True)
class Gaps:
    """m gaps, best first: from dead end `tip` to the place `to` (m, 2).

    `line` is the line met there, `other` the dead end met there or -1; `turn` (m,) the larger of
    the angles, in degrees, between the gap and the roads it joins.
    """

    tip: Index
    to: Xy
    line: Index
    other: Index
    turn: NDArray[np.float64]
    span: NDArray[np.float64]


def tips(found: Network, skip: float, back: float) -> Tips:
    """Dead ends and their direction, from `back` pixels behind to `skip` pixels behind the end.

    The last pixels are skipped: a skeleton's end leans into a corner of the mask.
    """
    line, side = np.nonzero(found.degree[found.ends] == 1)
    lines, length = found.lines[line], found.length[line]
    sign = np.where(side == 0, 1.0, -1.0)
    near = np.minimum(skip, length / 3)
    far = np.minimum(back, length)
    ahead = _point(lines, sign * near, length)
    behind = _point(lines, sign * far, length)
    out = ahead - behind
    # A line bent back on itself has no direction; it points where its chord does.
    out /= np.maximum(np.hypot(*out.T), 1e-9)[:, None]
    return Tips(line, side, found.nodes[found.ends[line, side]], out)


def gaps(found: Network, ends: Tips, reach: float, side_reach: float, limit: float) -> Gaps:
    """Gaps to other dead ends and to lines seen ahead, sorted by span and turn.

    Args:
        found: the network.
        ends: its dead ends.
        reach: longest gap between two dead ends, pixels.
        side_reach: longest gap from a dead end to a line, pixels.
        limit: largest turn, degrees.
    """
    tree = shapely.STRtree(found.lines)
    few = [np.arange(low, min(low + FEW, len(ends.xy))) for low in range(0, len(ends.xy), FEW)]
    parts = [
        _between_ends(ends, reach, limit),
        *(_to_lines(found, tree, ends, some, (side_reach, limit)) for some in few),
    ]
    tip, other, line = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("tip", "other", "line")
    )
    to = np.concatenate([part.to for part in parts])
    turn = np.concatenate([part.turn for part in parts])
    span = np.concatenate([part.span for part in parts])
    order = np.lexsort((other, line, tip, span * (1 + turn / 90)))
    order = order[_first_few(tip[order])]
    return Gaps(tip[order], to[order], line[order], other[order], turn[order], span[order])


def _first_few(tip: Index) -> NDArray[np.bool_]:
    """The first `CHOICES` of every dead end."""
    order = np.argsort(tip, kind="stable")
    _, first, count = np.unique(tip[order], return_index=True, return_counts=True)
    place = np.empty(len(tip), np.int64)
    place[order] = np.arange(len(tip)) - np.repeat(first, count)
    return place < CHOICES


def _point(lines: NDArray[np.object_], at: NDArray[np.float64], length: NDArray[np.float64]) -> Xy:
    """(k, 2) points at distances from the start, or, where negative (or -0), from the end."""
    place = np.where(np.signbit(at), length + at, at)
    return np.asarray(
        shapely.get_coordinates(shapely.line_interpolate_point(lines, place)), np.float64
    )


def _turn(one: Xy, other: Xy) -> NDArray[np.float64]:
    """(k,) degrees between unit vectors."""
    return np.asarray(np.degrees(np.arccos(np.clip((one * other).sum(axis=1), -1, 1))))


def _between_ends(ends: Tips, reach: float, limit: float) -> Gaps:
    pairs = cKDTree(ends.xy).query_pairs(reach, output_type="ndarray") if len(ends.xy) else None
    if pairs is None or not len(pairs):
        return _none()
    one, other = np.sort(pairs, axis=1).astype(np.int64).T
    gap = ends.xy[other] - ends.xy[one]
    span = np.hypot(*gap.T)
    ahead = gap / np.maximum(span, 1e-9)[:, None]
    turn = np.maximum(_turn(ends.out[one], ahead), _turn(ends.out[other], -ahead))
    good = (turn <= limit) & (span > 0) & (ends.line[one] != ends.line[other])
    return Gaps(
        one[good], ends.xy[other][good], ends.line[other][good], other[good], turn[good], span[good]
    )


def _to_lines(
    found: Network, tree: shapely.STRtree, every: Tips, some: Index, view: tuple[float, float]
) -> Gaps:
    """The nearest place on a line that each ray of a dead end's view meets.

    `some` are dead ends, rising, `tree` is of the network's lines, and `view` how far in pixels
    and how far aside in degrees they look.
    """
    reach, limit = view
    ends = Tips(every.line[some], every.side[some], every.xy[some], every.out[some])
    angles = np.radians(np.linspace(-limit, limit, RAYS))
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    x, y = ends.out.T
    ahead = np.stack([cos * x - sin * y, sin * x + cos * y], axis=2)
    start = np.broadcast_to(ends.xy, ahead.shape)
    rays = shapely.linestrings(np.stack([start, start + reach * ahead], axis=2).reshape(-1, 2, 2))
    ray, line = tree.query(rays, predicate="intersects")
    tip = ray % len(ends.xy)
    own = line == ends.line[tip]
    ray, line, tip = ray[~own], line[~own], tip[~own]
    if not len(ray):
        return _none()
    common = shapely.intersection(rays[ray], found.lines[line])
    reached = shapely.shortest_line(shapely.points(ends.xy[tip]), common)
    to = shapely.get_coordinates(reached)[1::2]
    span = np.hypot(*(to - ends.xy[tip]).T)
    nearest = np.lexsort((line, span, ray))
    nearest = nearest[np.unique(ray[nearest], return_index=True)[1]]
    # Of the rays that meet one line, the shortest.
    nearest = nearest[np.lexsort((ray[nearest], span[nearest], line[nearest], tip[nearest]))]
    once = np.unique(np.stack([tip, line], axis=1)[nearest], axis=0, return_index=True)[1]
    nearest = nearest[once]
    gap = (to - ends.xy[tip])[nearest] / np.maximum(span[nearest], 1e-9)[:, None]
    turn = _turn(ends.out[tip[nearest]], gap)
    far = span[nearest] > 0
    chosen = nearest[far]
    # A T-junction stands as it likes on the line met; only the dead end's own turn counts.
    return Gaps(
        some[tip[chosen]],
        to[chosen],
        line[chosen].astype(np.int64),
        np.full(len(chosen), -1),
        turn[far],
        span[chosen],
    )


def _none() -> Gaps:
    none, empty = np.empty(0, np.int64), np.empty(0)
    return Gaps(none, np.empty((0, 2)), none, none, empty, empty)
