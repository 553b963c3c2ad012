"""Measures of road networks that ask whether one can get along them."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import numpy as np
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.spatial import cKDTree

from detectors.matching import Floats
from lanner.factory.metrics.graphs import (
    Lines,
    Points,
    distances,
    places,
    snapped,
    spread,
)

SNAP_M, CONTROL_M = 4.0, 50.0
"""APLS as its authors set it: how near a point must be, and how far control points are apart."""

HOLE_M, RADIUS_M, START_M = 5.0, 300.0, 100.0
"""TOPO: holes and marbles this far apart, how far one walks, and how far starts are apart."""

MATCH_M = 8.0
"""TOPO: a marble falls into a hole this near."""


def apls(found: Lines, truth: Lines, metre: float = 1.0, snap_m: float = SNAP_M) -> float:
    """Average path length similarity (Van Etten, Lindenbaum and Bacastow, 2018, "SpaceNet").

    Control points are put on the ends of lines and every `CONTROL_M` along them and carried over
    to the other network; of each pair the relative difference of the ways between them counts,
    at most 1, and 1 where the other network has no such way. The measure is the harmonic mean
    of one less the mean cost, from truth to found and back.

    Args:
        found: LineStrings that meet at their ends.
        truth: the same.
        metre: units of the coordinates that are one metre.
        snap_m: metres between a point and its place on the other network.

    Returns:
        0..1; nan where both are empty.
    """
    if not len(found) and not len(truth):
        return nan
    if not len(found) or not len(truth):
        return 0.0
    there = _similarity(truth, found, metre, snap_m)
    back = _similarity(found, truth, metre, snap_m)
    return 2 * there * back / (there + back) if there + back > 0 else 0.0


def _similarity(one: Lines, two: Lines, metre: float, snap_m: float) -> float:
    points = _control(one, CONTROL_M * metre)
    mine = distances(one, points, points)
    other, near = snapped(two, places(one, points), snap_m * metre)
    theirs = distances(two, other, other)
    a, b = np.triu_indices(len(points), 1)
    length = mine[a, b]
    real = np.isfinite(length) & (length > 1e-6 * metre)
    a, b, length = a[real], b[real], length[real]
    if not len(length):
        return 1.0 if near.all() else 0.0
    way = np.where(near[a] & near[b], theirs[a, b], np.inf)
    cost = np.minimum(np.abs(length - way) / length, 1.0)
    return float(1.0 - cost.mean())


def _control(lines: Lines, spacing: float) -> Points:
    """Ends of lines, each once, and points between them at most `spacing` apart."""
    length = shapely.length(lines)
    parts = np.maximum(np.ceil(length / spacing), 1).astype(np.int64)
    line = np.repeat(np.arange(len(lines)), parts + 1)
    first = np.repeat(np.cumsum(parts + 1) - parts - 1, parts + 1)
    at = (np.arange(len(line)) - first) / parts[line] * length[line]
    points = Points(line, np.asarray(at, np.float64))
    _, once = np.unique(np.round(places(lines, points), 6), axis=0, return_index=True)
    once.sort()
    return Points(points.line[once], points.at[once])


@dataclass(frozen=True)
class Topo:
    """Counts that add up: holes and marbles, and how many of each found their match."""

    matched: int
    marbles: int
    holes: int

    def __add__(self, other: Topo) -> Topo:
        return Topo(
            self.matched + other.matched, self.marbles + other.marbles, self.holes + other.holes
        )

    @property
    def precision(self) -> float:
        """Share of marbles that fell into a hole; nan without marbles."""
        return self.matched / self.marbles if self.marbles else nan

    @property
    def recall(self) -> float:
        """Share of holes that got a marble; nan without holes."""
        return self.matched / self.holes if self.holes else nan

    @property
    def f1(self) -> float:
        """Harmonic mean; nan where there is nothing to match."""
        return 2 * self.matched / (self.marbles + self.holes) if self.marbles + self.holes else nan


def topo(found: Lines, truth: Lines, metre: float = 1.0, match_m: float = MATCH_M) -> Topo:
    """Holes and marbles (Biagioni and Eriksson, 2012, "Inferring Road Maps from GPS Traces").

    From starts all over the true network one walks both networks as far as `RADIUS_M`, drops
    holes along the true ways and marbles along the found ones, and matches them one to one.
    A start that no found line comes near counts its holes alone.

    Args:
        found: LineStrings that meet at their ends.
        truth: the same.
        metre: units of the coordinates that are one metre.
        match_m: metres between a marble and its hole, and between a start and its place on
            what was found.
    """
    if not len(truth):
        return Topo(0, len(spread(found, HOLE_M * metre)) if len(found) else 0, 0)
    starts, holes = spread(truth, START_M * metre), spread(truth, HOLE_M * metre)
    marbles = spread(found, HOLE_M * metre) if len(found) else Points(starts.line[:0], holes.at[:0])
    other, near = snapped(found, places(truth, starts), match_m * metre)
    hole_xy, marble_xy = places(truth, holes), places(found, marbles)
    reach = RADIUS_M * metre
    to_holes = distances(truth, starts, holes, reach) <= reach
    to_marbles = np.zeros((len(starts), len(marbles)), bool)
    if len(marbles):
        to_marbles = (distances(found, other, marbles, reach) <= reach) & near[:, None]
    total = Topo(0, 0, 0)
    for there, back in zip(to_holes, to_marbles, strict=True):
        count = _matches(hole_xy[there], marble_xy[back], match_m * metre)
        total += Topo(count, int(np.count_nonzero(back)), int(np.count_nonzero(there)))
    return total


def _matches(holes: Floats, marbles: Floats, reach: float) -> int:
    """The most pairs of a hole and a marble within `reach`, each used once."""
    if not len(holes) or not len(marbles):
        return 0
    near = cKDTree(holes).query_ball_point(marbles, reach)
    row = np.repeat(np.arange(len(marbles)), [len(some) for some in near])
    col = np.concatenate([np.empty(0, np.int64), *(np.sort(some) for some in near)])
    pairs = coo_array(
        (np.ones(len(row), np.int8), (row, col.astype(np.int64))), (len(marbles), len(holes))
    )
    chosen = maximum_bipartite_matching(pairs.tocsr(), perm_type="column")
    return int(np.count_nonzero(chosen >= 0))
