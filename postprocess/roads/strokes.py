"""Strokes: lines that go straight on through junctions are one road.

Good continuation after Thomson & Richardson (1999): at a node the two ends that turn least are
joined first, and each end is joined once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from postprocess.roads.network import FEW, Index, Network


def strokes(found: Network, turn_deg: float, back: float) -> Index:
    """The stroke of every line.

    Args:
        found: the network.
        turn_deg: largest turn through a node.
        back: the direction of an end is taken over this many pixels.

    Returns:
        (n,) stroke numbers, in the order of their first lines.
    """
    n = len(found)
    one, other, turn = _pairs(found, back)
    good = turn <= turn_deg
    order = np.lexsort((other[good], one[good], turn[good]))
    pairs = np.stack([one[good], other[good]], axis=1)[order]
    taken, joined = np.zeros(2 * n, np.bool_), np.zeros(len(pairs), np.bool_)
    for low in range(0, len(pairs), FEW):
        for i, (a, b) in enumerate(pairs[low : low + FEW].tolist(), low):
            if not taken[a] and not taken[b]:
                taken[a] = taken[b] = joined[i] = True
    links = pairs[joined] // 2
    graph = coo_array((np.ones(len(links), np.bool_), (links[:, 0], links[:, 1])), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _pairs(found: Network, back: float) -> tuple[Index, Index, NDArray[np.float64]]:
    """Pairs of line ends (2 * line + side) at one node, and the turn from one into the other."""
    node = found.ends.ravel()
    order = np.argsort(node, kind="stable")
    count = np.bincount(node)
    starts = np.cumsum(count) - count
    parts = []
    for degree in np.unique(count[count > 1]):
        ends = order[starts[count == degree][:, None] + np.arange(degree)]
        a, b = np.triu_indices(degree, 1)
        parts.append(np.stack([ends[:, a].ravel(), ends[:, b].ravel()], axis=1))
    pairs = np.concatenate([*parts, np.empty((0, 2), np.int64)]).astype(np.int64)
    away = _directions(found, back)
    cosine = (away[pairs[:, 0]] * -away[pairs[:, 1]]).sum(axis=1)
    return pairs[:, 0], pairs[:, 1], np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def _directions(found: Network, back: float) -> NDArray[np.float64]:
    """(2n, 2) unit vectors from each line end into its line."""
    reach = np.minimum(back, found.length)
    tips = found.nodes[found.ends]
    into = found.along(np.stack([reach, found.length - reach], axis=1))
    away = (into - tips).reshape(-1, 2)
    return np.asarray(away / np.maximum(np.hypot(*away.T), 1e-9)[:, None])
