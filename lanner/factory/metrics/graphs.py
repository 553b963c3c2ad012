"""Road networks as graphs: points on lines, and how far they are from each other along these."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import dijkstra

from detectors.matching import Floats, Ints

Lines = NDArray[np.object_]


@dataclass(frozen=True)
class Points:
    """Points on the lines of a network: (n,) number of the line, (n,) distance from its start."""

    line: Ints
    at: Floats

    def __len__(self) -> int:
        return len(self.line)


def noded(lines: Lines) -> Lines:
    """Lines cut wherever they meet, so that one can turn from one into another there."""
    if not len(lines):
        return lines
    parts = shapely.get_parts(shapely.union_all(lines))
    return np.asarray(parts[shapely.length(parts) > 0], object)


def spread(lines: Lines, spacing: float) -> Points:
    """The middles of equal stretches of about `spacing` along every line, one at least."""
    length = shapely.length(lines)
    count = np.maximum(np.round(length / spacing), 1).astype(np.int64)
    line = np.repeat(np.arange(len(lines)), count)
    first = np.repeat(np.cumsum(count) - count, count)
    at = (np.arange(len(line)) - first + 0.5) / count[line] * length[line]
    return Points(line, np.asarray(at, np.float64))


def places(lines: Lines, points: Points) -> Floats:
    """(n, 2) coordinates of points."""
    if not len(points):
        return np.empty((0, 2))
    shapes = shapely.line_interpolate_point(lines[points.line], points.at)
    return np.asarray(shapely.get_coordinates(shapes), np.float64)


def snapped(lines: Lines, xy: Floats, reach: float) -> tuple[Points, NDArray[np.bool_]]:
    """The nearest points on a network.

    Args:
        lines: the network.
        xy: (n, 2).
        reach: farther than this there is none.

    Returns:
        n points, and (n,) whether each is there; those that are not lie on line 0.
    """
    there, line, at = np.zeros(len(xy), bool), np.zeros(len(xy), np.int64), np.zeros(len(xy))
    if len(lines) and len(xy):
        points = shapely.points(xy)
        own, near = shapely.STRtree(lines).query_nearest(
            points, max_distance=reach, all_matches=False
        )
        there[own], line[own] = True, near
        at[own] = shapely.line_locate_point(lines[near], points[own])
    return Points(line, at), there


def distances(lines: Lines, sources: Points, targets: Points, limit: float = np.inf) -> Floats:
    """(n, m) length of the shortest way along the network; inf where there is none.

    Args:
        lines: LineStrings that meet at their ends alone.
        sources: n points.
        targets: m points.
        limit: ways longer than this are not looked for (inf).
    """
    if not len(sources) or not len(targets):
        return np.full((len(sources), len(targets)), np.inf)
    line = np.concatenate([sources.line, targets.line])
    at = np.concatenate([sources.at, targets.at])
    graph, first = _graph(lines, line, at)
    numbers = first + np.arange(len(line))
    ways = dijkstra(graph, directed=False, indices=numbers[: len(sources)], limit=limit)
    result: Floats = np.asarray(ways, np.float64)[:, numbers[len(sources) :]]
    return result


def _graph(lines: Lines, line: Ints, at: Floats) -> tuple[csr_array, int]:
    """Ends of lines and points on them as nodes; the number of the first point."""
    begin = shapely.get_coordinates(shapely.get_point(lines, 0))
    end = shapely.get_coordinates(shapely.get_point(lines, -1))
    _, node = np.unique(np.round(np.concatenate([begin, end]), 6), axis=0, return_inverse=True)
    node = node.ravel().astype(np.int64)
    count, size = len(lines), int(node.max()) + 1
    length = shapely.length(lines)
    every = np.concatenate([np.arange(count), line, np.arange(count)])
    where = np.concatenate([np.zeros(count), at, length])
    number = np.concatenate([node[:count], size + np.arange(len(line)), node[count:]])
    rank = np.repeat([0, 1, 2], [count, len(line), count])
    order = np.lexsort((rank, where, every))
    every, where, number = every[order], where[order], number[order]
    along = every[1:] == every[:-1]
    one, two = number[:-1][along], number[1:][along]
    # An edge of no length would be no edge in a sparse matrix.
    step = np.maximum(np.diff(where)[along], 1e-9)
    low, high = np.minimum(one, two), np.maximum(one, two)
    order = np.lexsort((step, high, low))
    low, high, step = low[order], high[order], step[order]
    first = np.ones(len(low), bool)
    # Of two ways between the same nodes the shorter counts; a sparse matrix would add them.
    first[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    total = size + len(line)
    matrix = coo_array((step[first], (low[first], high[first])), shape=(total, total))
    return matrix.tocsr(), size
