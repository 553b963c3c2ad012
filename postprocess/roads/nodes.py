"""Where junctions truly are: skeletons bend near them, the roads that meet there do not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from postprocess.context import Context
from postprocess.roads.network import Index, Network, Xy
from postprocess.roads.repair import move_nodes
from postprocess.roads.sample import on_valid

Values = NDArray[np.float64]


def end_points(found: Network, distance: Values) -> Xy:
    """(n, 2, 2) for both ends of each line the point that far along it, at most half its length.

    `distance` (n, 2) grid pixels from the first and from the last point.
    """
    reach = np.minimum(distance, found.length[:, None] / 2)
    return found.along(np.stack([reach[:, 0], found.length - reach[:, 1]], axis=1))


def crossings(found: Network, most: Values, turn_deg: float) -> NDArray[np.bool_]:
    """Short lines that thinning drew between the two halves of one oblique crossing.

    Both ends have three lines, and the other four lines pair up: each pair goes straight on, and
    the short line lies between its two in about their direction. Two side roads that leave a road
    near each other do not: they stand across the line between them.

    Args:
        found: the network.
        most: (nodes,) longest such line at each node, pixels.
        turn_deg: largest turn of a pair.

    Returns:
        (n,) bool.
    """
    crossing = np.zeros(len(found), np.bool_)
    ends = found.ends
    maybe = (found.degree[ends] == 3).all(axis=1) & (ends[:, 0] != ends[:, 1])
    maybe &= found.length < most[ends].min(axis=1)
    if not maybe.any():
        return crossing
    far = end_points(found, np.full((len(found), 2), 3.0) * most[ends] / 2)
    near = end_points(found, most[ends] / 2)
    out = (far - near).reshape(-1, 2)
    out /= np.maximum(np.hypot(*out.T), 1e-9)[:, None]
    node = ends.ravel()
    order = np.argsort(node, kind="stable")
    begin = np.concatenate([[0], np.cumsum(np.bincount(node))])
    for i in np.flatnonzero(maybe):
        a, b = (order[begin[n] : begin[n + 1]] for n in ends[i])
        a, b = a[a // 2 != i], b[b // 2 != i]
        if len(a) != 2 or len(b) != 2 or len(np.unique(np.concatenate([a, b]) // 2)) != 4:
            continue
        way = found.nodes[ends[i, 1]] - found.nodes[ends[i, 0]]
        way /= np.hypot(*way)
        crossing[i] = any(
            _straight(out[a[0]], out[b[j]], way, turn_deg)
            and _straight(out[a[1]], out[b[1 - j]], way, turn_deg)
            for j in (0, 1)
        )
    return crossing


def _straight(one: Xy, other: Xy, way: Xy, turn_deg: float) -> bool:
    """Whether the way out along `other` goes on from the way in along `one`, by way of `way`."""
    through = np.degrees(np.arccos(np.clip(-one @ other, -1, 1)))
    between = np.degrees(np.arccos(np.clip(other @ way, -1, 1)))
    return bool(through <= turn_deg and between <= 50)


def place_nodes(found: Network, widths: Values, context: Context) -> Network:
    """Junctions moved to where their roads, seen from a road's width away, would meet.

    Least squares: the point nearest to the straight continuations of all arms, held to its place
    a little so that arms that run almost alike do not throw it far. It moves at most three
    quarters of the width, and never off the valid pixels. `widths` (nodes,) grid pixels.
    """
    goal = _goals(found, widths, context)
    return found if goal is None else move_nodes(found, goal, 0.75 * widths)


def _goals(found: Network, widths: Values, context: Context) -> Xy | None:
    """(nodes, 2) where nodes go, if any may."""
    node = found.ends.ravel()
    width = widths[found.ends]
    half = found.length[:, None] / 2
    begin, stop = np.minimum(np.maximum(width, 3), half), np.minimum(np.maximum(3 * width, 9), half)
    near, far = end_points(found, begin), end_points(found, stop)
    along = (far - near).reshape(-1, 2)
    span = np.hypot(*along.T)
    used = (span > 2) & (found.degree[node] >= 3)
    if not used.any():
        return None
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.maximum(span, 1e-9)[:, None]
    # An arm that bends here, as a roundabout does, says little about where it would go.
    middle = end_points(found, (begin + stop) / 2)
    bend = _angle((middle - near).reshape(-1, 2), (far - middle).reshape(-1, 2))
    trust = used / (1 + (bend / 3) ** 2)
    outer = normal[:, :, None] * normal[:, None, :] * trust[:, None, None]
    pull = np.einsum("nij,nj->ni", outer, near.reshape(-1, 2) - found.nodes[node])
    size = len(found.nodes)
    matrix = _summed(outer.reshape(-1, 4), node, size).reshape(-1, 2, 2) + 0.1 * np.eye(2)
    shift = np.linalg.solve(matrix, _summed(pull, node, size)[:, :, None])[:, :, 0]
    length = np.hypot(*shift.T)
    shift *= np.minimum(1, 0.75 * widths / np.maximum(length, 1e-9))[:, None]
    shift[found.degree < 3] = 0
    shift[~on_valid(context, found.nodes + shift)] = 0
    return np.asarray(found.nodes + shift, np.float64)


def _angle(one: Xy, other: Xy) -> Values:
    """(n,) degrees between vectors."""
    cross = one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]
    return np.asarray(np.degrees(np.abs(np.arctan2(cross, (one * other).sum(axis=1)))))


def _summed(values: Values, index: Index, size: int) -> Values:
    return np.stack([np.bincount(index, column, size) for column in values.T], axis=1)
