"""Edges strung into chains through vertices of degree two, without a loop over edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Chains:
    """m edges in walking order, chain after chain.

    `edge` (m,) is a permutation of the edges, `reverse` (m,) whether an edge is walked from its
    head to its tail, and chain i holds places `start[i]` to `start[i + 1]`.
    """

    edge: Index
    reverse: NDArray[np.bool_]
    start: Index


def string(tail: Index, head: Index, through: NDArray[np.bool_]) -> Chains:
    """Chains of edges that meet at `through` vertices.

    List ranking by pointer jumping (Wyllie, 1979) over half-edges: 2e walks edge e from tail to
    head, 2e + 1 back. A closed chain starts at its lowest vertex; every other chain at its lower
    end. The result depends on nothing but the arguments.

    Args:
        tail: (m,) vertex numbers.
        head: (m,) vertex numbers.
        through: (vertices,) bool; a vertex that is True has exactly two edge ends.
    """
    m = len(tail)
    if not m:
        none = np.empty(0, np.int64)
        return Chains(none, np.empty(0, np.bool_), np.zeros(1, np.int64))
    source = np.stack([tail, head], axis=1).ravel()
    target = np.stack([head, tail], axis=1).ravel()
    leaving = np.flatnonzero(through[source])
    leaving = leaving[np.argsort(source[leaving], kind="stable")]
    ways = leaving.reshape(-1, 2)
    vertices = source[ways[:, 0]]
    chain = _chain_of_edges(m, ways)
    through = through.copy()
    through[_openings(m, chain, ways, vertices)] = False

    slot = np.full(len(through), -1, np.int64)
    slot[vertices] = np.arange(len(vertices))
    half = np.arange(2 * m)
    goes_on = through[target]
    after = half.copy()
    both = ways[slot[target[goes_on]]]
    # Of the two ways out of a vertex, the one that is not the way just come.
    after[goes_on] = both.sum(axis=1) - (half[goes_on] ^ 1)
    last, steps = _rank(after)

    begins = np.flatnonzero(~through[source])
    begins = begins[np.lexsort((begins, source[begins], chain[begins // 2]))]
    _, pick = np.unique(chain[begins // 2], return_index=True)
    begin = begins[pick]
    walked = half[last == last[begin][chain[half // 2]]]
    order = walked[np.lexsort((-steps[walked], chain[walked // 2]))]
    lengths = np.bincount(chain, minlength=len(begin))
    start = np.concatenate([[0], np.cumsum(lengths)])
    return Chains(order // 2, (order & 1).astype(np.bool_), start)


def _chain_of_edges(m: int, leaving: Index) -> Index:
    links = coo_array(
        (np.ones(len(leaving), np.bool_), (leaving[:, 0] // 2, leaving[:, 1] // 2)), shape=(m, m)
    )
    return np.asarray(connected_components(links, directed=False)[1], np.int64)


def _openings(m: int, chain: Index, leaving: Index, vertices: Index) -> Index:
    """The lowest vertex of each closed chain: a chain with as many through vertices as edges."""
    owner = chain[leaving[:, 0] // 2]
    edges = np.bincount(chain, minlength=m)
    closed = (np.bincount(owner, minlength=m) == edges)[owner]
    # Vertices come in rising order, so the first of each owner is its lowest.
    _, lowest = np.unique(owner[closed], return_index=True)
    return np.asarray(vertices[closed][lowest], np.int64)


def _rank(after: Index) -> tuple[Index, Index]:
    """The last half-edge of each walk, and the number of steps to it."""
    steps = (after != np.arange(len(after))).astype(np.int64)
    while True:
        further = after[after]
        if np.array_equal(further, after):
            return after, steps
        steps = steps + steps[after]
        after = further


def ragged(first: Index, count: Index, back: NDArray[np.bool_]) -> Index:
    """Numbers of runs laid end to end: `count` from `first` upward, or downward to it if `back`."""
    total = int(count.sum())
    within = np.arange(total) - np.repeat(np.cumsum(count) - count, count)
    size, low, flip = np.repeat(count, count), np.repeat(first, count), np.repeat(back, count)
    return np.asarray(np.where(flip, low + size - 1 - within, low + within), np.int64)


def laid(start: Index, chains: Chains) -> tuple[Index, Index]:
    """Where the points of chained runs lie: each chain's runs end to end, shared points once.

    Args:
        start: (m + 1,) first point of each run; run i holds points `start[i]` to `start[i + 1]`.
        chains: of those m runs.

    Returns:
        Numbers of points in walking order, and (chains + 1,) the first place of each chain.
    """
    leading = np.zeros(len(chains.edge), np.bool_)
    leading[chains.start[:-1]] = True
    count = np.diff(start)[chains.edge] - 1 + leading
    # A run that follows another leaves out its first point in walking order.
    first = start[chains.edge] + (~leading & ~chains.reverse)
    sizes = np.add.reduceat(count, chains.start[:-1]) if len(count) else count
    return ragged(first, count, chains.reverse), np.concatenate([[0], np.cumsum(sizes)])
