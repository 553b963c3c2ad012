"""Repairs of a network, each from network to network: touch, contract, loops, doubles."""

from __future__ import annotations

import networkx as nx
import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lanner.core.machine import trim_heap
from postprocess.frame import MANY
from postprocess.roads.network import FEW, Index, Lines, Network, Xy
from postprocess.roads.topology import repeated, self_loops, split


def snap_tips(found: Network, reach: float) -> Network:
    """Dead ends within `reach` pixels of another line drawn onto it; that line is split there."""
    dead = np.flatnonzero(found.degree == 1)
    if not len(dead):
        return found
    points = shapely.points(found.nodes[dead])
    tip, line = shapely.STRtree(found.lines).query(points, predicate="dwithin", distance=reach)
    own = (found.ends[line] == dead[tip, None]).any(axis=1)
    tip, line = tip[~own], line[~own]
    if not len(tip):
        return found
    far = shapely.distance(points[tip], found.lines[line])
    order = np.lexsort((line, far, tip))
    order = order[np.unique(tip[order], return_index=True)[1]]
    tip, line = tip[order], line[order]
    to = shapely.get_coordinates(shapely.shortest_line(found.lines[line], points[tip]))[::2]
    # At an end of the line met, its node is taken; two tips may not swap places.
    goal = found.nodes.copy()
    goal[dead[tip]] = to
    chased = np.isin(found.ends[line], dead[tip]).any(axis=1)
    goal[dead[tip[chased]]] = found.nodes[dead[tip[chased]]]
    cut = split(found, line[~chased], to[~chased])
    return move_nodes(cut, _goals(cut.nodes, found.nodes, goal))


def contract(
    found: Network, most: NDArray[np.float64], also: NDArray[np.bool_] | None = None
) -> Network:
    """Junctions joined by a short line made one, at their middle.

    Shortest lines first; a group never grows wider than twice the limit, so a ladder of short
    lines does not collapse into one point.

    Args:
        found: the network.
        most: (nodes,) lines shorter than this at both ends are drawn together, pixels.
        also: (n,) lines to draw together whatever their length.
    """
    ends = found.ends
    short = (found.degree[ends] >= 3).all(axis=1) & (ends[:, 0] != ends[:, 1])
    short &= found.length < most[ends].min(axis=1)
    forced = np.zeros(len(found), np.bool_) if also is None else also
    short |= forced
    if not short.any():
        return found
    groups = nx.utils.UnionFind()
    box = {int(n): np.tile(found.nodes[n], 2) for n in np.unique(ends[short])}
    for i in np.flatnonzero(short)[np.lexsort((np.flatnonzero(short), found.length[short]))]:
        a, b = groups[int(ends[i, 0])], groups[int(ends[i, 1])]
        if a == b:
            continue
        low = np.minimum(box[a][:2], box[b][:2])
        high = np.maximum(box[a][2:], box[b][2:])
        if forced[i] or np.hypot(*(high - low)) <= 2 * most[ends[i]].min():
            groups.union(a, b)
            box[groups[a]] = np.concatenate([low, high])
    goal = found.nodes.copy()
    for members in groups.to_sets():
        these = sorted(members)
        goal[these] = found.nodes[these].mean(axis=0)
    moved = move_nodes(found, goal)
    inner = short & (moved.ends[:, 0] == moved.ends[:, 1])
    return moved.take(~inner)


def move_nodes(found: Network, goal: Xy, clear: NDArray[np.float64] | None = None) -> Network:
    """Line ends taken along to where their nodes go.

    Vertices nearer to the new place than it is to the old one are left out, so that no line
    doubles back on itself.

    Args:
        found: the network.
        goal: (nodes, 2) where each node goes.
        clear: (nodes,) vertices nearer than this to a node that moves are left out too, pixels.
    """
    if len(found) >= MANY:
        trim_heap()  # room for lines drawn anew
    lines = found.lines.copy()
    for low in range(0, len(found), FEW):
        some = slice(low, low + FEW)
        part = found.take(np.arange(len(found))[some])
        lines[some] = _moved(part, found.ends[some], found.nodes, goal, clear)
    return found.with_lines(lines)


def _moved(
    part: Network, ends: Index, nodes: Xy, goal: Xy, clear: NDArray[np.float64] | None
) -> Lines:
    """Some of the lines, see `move_nodes`; `ends` (n, 2) are their nodes in the whole network."""
    first, last = part.start[:-1], part.start[1:] - 1
    owner = np.repeat(np.arange(len(part)), np.diff(part.start))
    points = part.points.copy()
    keep = np.ones(len(points), np.bool_)
    # A loop or a short line keeps its shape: only vertices on an end's own half may go.
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    half = (along - along[first][owner]) * 2 <= (along[last] - along[first])[owner]
    for side, at in ((0, first), (1, last)):
        node = ends[:, side]
        shift = np.hypot(*(goal[node] - nodes[node]).T)
        free = 1.5 * shift if clear is None else np.maximum(1.5 * shift, clear[node])
        mine = half if side == 0 else ~half
        near = np.hypot(*(goal[node][owner] - part.points).T) <= free[owner]
        keep &= ~(near & mine & (shift[owner] > 0))
        points[at] = goal[node]
    keep[first] = keep[last] = True
    drawn = np.zeros(len(part), np.bool_)
    drawn[owner[~keep | (points != part.points).any(axis=1)]] = True
    keep &= drawn[owner]
    lines = part.lines.copy()
    lines[drawn] = shapely.linestrings(points[keep], indices=(np.cumsum(drawn) - 1)[owner[keep]])
    return lines


def drop_small_loops(found: Network, least: float) -> tuple[Network, Network]:
    """Loops shorter than `least` out, longer ones at a junction cut in two; kept and rejected."""
    loop = found.ends[:, 0] == found.ends[:, 1]
    small = loop & (found.length < least)
    kept = found.take(~small)
    rest = self_loops(kept)
    loops = kept.take(rest)
    middle = loops.points[(loops.start[:-1] + loops.start[1:]) // 2]
    halves = split(kept, np.flatnonzero(rest), middle)
    return halves, found.take(small)


def drop_doubles(found: Network, apart: float) -> tuple[Network, Network]:
    """Of two lines between the same nodes never more than `apart` apart, the longer one out."""
    ends = np.sort(found.ends, axis=1)
    order = np.lexsort((np.arange(len(found)), found.length, ends[:, 1], ends[:, 0]))
    twin = repeated(found)
    for a, b in _neighbours(ends, order):
        if not twin[a] and not twin[b]:
            twin[b] = shapely.hausdorff_distance(found.lines[a], found.lines[b]) < apart
    return found.take(~twin), found.take(twin)


def _neighbours(ends: Index, order: Index) -> list[tuple[int, int]]:
    """Pairs of lines between the same two nodes, shorter first."""
    same = (np.diff(ends[order], axis=0) == 0).all(axis=1)
    runs = np.split(order, np.flatnonzero(~same) + 1)
    return [
        (int(run[i]), int(run[j]))
        for run in runs
        for i in range(len(run))
        for j in range(i + 1, len(run))
    ]


def small_pieces(found: Network, least: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n,) lines of connected pieces whose lines together are shorter than they should be.

    `least` (n,) what each line asks for, pixels; the lines' mean, weighted by length, counts.
    """
    size = len(found.nodes)
    links = coo_array((np.ones(len(found), np.bool_), tuple(found.ends.T)), shape=(size, size))
    of_line = connected_components(links, directed=False)[1][found.ends[:, 0]]
    total = np.bincount(of_line, weights=found.length)
    asked = np.bincount(of_line, weights=least * found.length) / np.maximum(total, 1e-9)
    return np.asarray((total < asked)[of_line], np.bool_)


def with_note(found: Network, what: str) -> Network:
    """The same lines, all with one reason."""
    return Network(found.lines, found.row, np.full(len(found), what, dtype=object))


def _goals(nodes: Xy, known: Xy, goal: Xy) -> Xy:
    """The goals of a network's nodes, some of which are new and stay."""
    index = {place: i for i, place in enumerate(map(tuple, known.tolist()))}
    out = nodes.copy()
    for i, place in enumerate(map(tuple, nodes.tolist())):
        if place in index:
            out[i] = goal[index[place]]
    return out
