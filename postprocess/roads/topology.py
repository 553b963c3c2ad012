"""What makes lines a network: crossings found, noded and audited."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from lanner.core.machine import trim_heap
from postprocess.frame import MANY
from postprocess.roads.apart import plainly_apart
from postprocess.roads.network import FEW, Index, Lines, Network, Xy, merged, network

CELL = 1 / 1024
"""Side of the lattice's cells in pixels: a power of two, so that rounding is exact."""


def meetings(found: Network) -> tuple[Index, Index, Xy]:
    """Places where two lines meet other than at a node they share.

    Returns:
        (m,) first line, (m,) second line and (m, 2) the place; where lines run along each other,
        the ends of every common stretch.
    """
    if not len(found):
        none = np.empty(0, np.int64)
        return none, none, np.empty((0, 2))
    one, other = _near(found.lines)
    order = np.lexsort((other, one))
    one, other = one[order], other[order]
    common = shapely.intersection(found.lines[one], found.lines[other])
    places, pair = shapely.get_coordinates(common, return_index=True)
    shared = _is_end(found, one[pair], places) & _is_end(found, other[pair], places)
    # Two shared nodes at the ends of a common stretch are no excuse for the stretch.
    shared &= shapely.length(common)[pair] == 0
    return one[pair][~shared], other[pair][~shared], places[~shared]


def _near(lines: Lines) -> tuple[Index, Index]:
    """Pairs of lines that may meet; those of a few lines with all others at a time."""
    if len(lines) >= MANY:
        trim_heap()  # room for the tree
    tree = shapely.STRtree(lines)
    pairs = [np.empty((2, 0), np.int64)]
    for low in range(0, len(lines), FEW):
        one, other = tree.query(lines[low : low + FEW])
        one += low
        one, other = one[one < other], other[one < other]
        known, place = np.unique([one, other], return_inverse=True)
        there = network(lines[known])
        first, second = place.reshape(2, -1)
        apart = plainly_apart(there.points, there.start, first, second)
        pairs.append(np.stack([one[~apart], other[~apart]]))
    one, other = np.concatenate(pairs, axis=1)
    return one, other


def _is_end(found: Network, line: Index, places: Xy) -> NDArray[np.bool_]:
    first, last = found.corners[line, 0], found.corners[line, 3]
    return np.asarray((first == places).all(axis=1) | (last == places).all(axis=1))


def node_crossings(found: Network) -> Network:
    """Lines split wherever they meet themselves or each other.

    A place where two lines cross is rounded to a float, and lines that run almost alike may then
    cross anew beside it. What two passes leave is put on a fine lattice.
    """
    for done in range(6):
        if done > 1:
            found = _rounded(found)
            found = _on_lattice(found)
        found = _node_themselves(found)
        one, other, places = meetings(found)
        if not len(one):
            break
        found = split(found, np.concatenate([one, other]), np.concatenate([places, places]))
    return found


def _rounded(found: Network) -> Network:
    """Coordinates rounded to the lattice; what has no length then is left out.

    Lines that are on it, as most traced ones are, stay what they were.
    """
    lines = found.lines.copy()
    for low in range(0, len(lines), FEW):
        some = lines[low : low + FEW]
        points, line = shapely.get_coordinates(some, return_index=True)
        off = np.unique(line[(_on_cells(points) != points).any(axis=1)])
        some[off] = shapely.transform(some[off], _on_cells)
    found = found.with_lines(lines)
    return found.take(found.length > 0)


def _on_cells(xy: Xy) -> Xy:
    """Coordinates rounded to the lattice."""
    return np.asarray(np.round(xy / CELL) * CELL)


def _on_lattice(found: Network) -> Network:
    """Lines on the lattice that still meet, noded on it.

    Snap rounding (Hobby, 1999): what comes out crosses nowhere but at lattice points.
    """
    one, other, _ = meetings(found)
    tangled = np.union1d(one, other).astype(np.int64)
    if not len(tangled):
        return found
    noded = shapely.get_parts(shapely.union_all(found.lines[tangled], grid_size=CELL))
    middle = shapely.line_interpolate_point(noded, 0.5, normalized=True)
    near, parent = shapely.STRtree(found.lines[tangled]).query_nearest(middle)
    first = np.unique(near, return_index=True)[1]
    parent = tangled[parent[first]]
    rest = np.ones(len(found), np.bool_)
    rest[tangled] = False
    return merged([found.take(rest), Network(noded, found.row[parent], found.did[parent])])


def split(found: Network, line: Index, places: Xy) -> Network:
    """Split lines at places on them; a place becomes a vertex exactly, an end is left alone.

    Args:
        found: the network.
        line: (m,) which line.
        places: (m, 2) where, grid pixels.
    """
    if not len(line):
        return found
    at = shapely.line_locate_point(found.lines[line], shapely.points(places))
    order = np.lexsort((places[:, 1], places[:, 0], at, line))
    touched, first = np.unique(line[order], return_index=True)
    pieces: list[Lines] = []
    rows: list[Index] = []
    for i, which in zip(touched, np.split(order, first[1:]), strict=True):
        parts = _cut(shapely.get_coordinates(found.lines[i]), at[which], places[which])
        pieces.append(parts)
        rows.append(np.full(len(parts), i))
    whole = np.ones(len(found), np.bool_)
    whole[touched] = False
    parent = np.concatenate(rows)
    cut = Network(np.concatenate(pieces), found.row[parent], found.did[parent])
    return merged([found.take(whole), cut])


def _cut(points: Xy, at: NDArray[np.float64], places: Xy) -> Lines:
    """One line's pieces."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    spot = np.searchsorted(along, at)
    full = np.insert(points, spot, places, axis=0)
    mark = np.insert(np.zeros(len(points), np.bool_), spot, True)
    # A place that is a vertex already, or is met twice, stands there twice now.
    fresh = np.concatenate([[True], (np.diff(full, axis=0) != 0).any(axis=1)])
    mark = np.bincount(np.cumsum(fresh) - 1, weights=mark) > 0
    full = full[fresh]
    stops = np.unique(np.concatenate([[0], np.flatnonzero(mark), [len(full) - 1]]))
    parts = [shapely.linestrings(full[a : b + 1]) for a, b in pairwise(stops)]
    held = np.empty(len(parts), dtype=object)
    held[:] = parts
    return held


def _node_themselves(found: Network) -> Network:
    crossed = ~shapely.is_simple(found.lines)
    if not crossed.any():
        return found
    knots = np.flatnonzero(crossed)
    # A union nodes more robustly than `shapely.node`, which gives up on lines that turn back.
    noded = shapely.union_all(found.lines[knots][:, None], axis=1)
    pieces, parent = shapely.get_parts(noded, return_index=True)
    parent = knots[parent]
    cut = Network(pieces, found.row[parent], found.did[parent])
    return merged([found.take(~crossed), cut])


def audit(found: Network) -> list[str]:
    """What is wrong with the topology, in words; an empty list for a sound network.

    Lines meet at nodes alone, cross neither each other nor themselves, have a length, are there
    once, and end where they begin only when they are rings that stand alone.
    """
    wrong: list[str] = []
    if not len(found):
        return wrong
    one, other, places = meetings(found)
    wrong += [
        f"lines {a} and {b} meet outside a node at ({x:.2f}, {y:.2f})"
        for a, b, (x, y) in zip(one[:5], other[:5], places[:5], strict=True)
    ]
    for bad, what in (
        (~(found.length > 0), "has no length"),
        (~shapely.is_simple(found.lines), "crosses itself"),
        (self_loops(found), "is a loop at a junction"),
        (repeated(found), "is there twice"),
    ):
        wrong += [f"line {i} {what}" for i in np.flatnonzero(bad)[:5]]
    return wrong


def self_loops(found: Network) -> NDArray[np.bool_]:
    """(n,) lines that end where they begin though other lines end there too."""
    same = found.ends[:, 0] == found.ends[:, 1]
    return np.asarray(same & (found.degree[found.ends[:, 0]] > 2))


def repeated(found: Network) -> NDArray[np.bool_]:
    """(n,) lines equal to an earlier one, whichever way they run."""
    ends = pd.DataFrame(np.sort(found.ends, axis=1))
    # Only lines between the same two nodes can be equal; most are alone there.
    maybe = np.flatnonzero(ends.duplicated(keep=False))
    texts = shapely.to_wkb(shapely.normalize(found.lines[maybe]))
    again = np.zeros(len(found), np.bool_)
    again[maybe] = pd.Series(texts, dtype=object).duplicated()
    return again
