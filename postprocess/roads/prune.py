"""Spurs cut off: short dead ends that the mask's border draws on a skeleton.

A dead end is a spur when it is shorter than a length, or than the road it hangs on is wide: the
skeleton of a straight road with a bump has a branch as long as half the road's width.
"""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pydantic import Field

from lanner.core.config import Strict
from postprocess.context import Context
from postprocess.roads.gaps import tips
from postprocess.roads.network import Network, Xy, dissolve, merged, parted, to_frame
from postprocess.roads.sample import half_widths, on_valid


class Params(Strict):
    """Metres, and multiples of the road's width."""

    spur_m: float = Field(10.0, ge=0)
    spur_widths: float = Field(1.2, ge=0, description="of the width at the junction")
    alone_m: float = Field(12.0, ge=0, description="shorter lines without neighbours go")
    alone_widths: float = Field(2.0, ge=0, description="of the width along the line")
    direction_m: float = Field(18.0, gt=0, description="a dead end's direction is taken over this")
    max_width_m: float = Field(60.0, gt=0, description="widths are measured up to this")


def run(objects: gpd.GeoDataFrame, context: Context, params: Params) -> gpd.GeoDataFrame:
    """Reject spurs and crumbs until none is left; the lines they hung on are joined.

    Dead ends that stay are drawn on to where the mask ends.
    """
    objects, found = parted(objects)
    gone = []
    nodes = found.nodes
    widths = 2 * half_widths(context, nodes, params.max_width_m / 2 / context.grid.gsd)
    while len(found):
        # Nodes only ever go, so every node left is one of the first network's.
        spur, reason = _spurs(found, widths[_places(nodes, found.nodes)], context, params)
        if not spur.any():
            break
        cut = found.take(spur)
        gone.append(Network(cut.lines, cut.row, reason[spur]))
        found = dissolve(found.take(~spur))
    if len(found):
        found = _lengthened(found, context, params)
    return to_frame(objects, found, merged(gone) if gone else None)


def _lengthened(found: Network, context: Context, params: Params) -> Network:
    """Dead ends drawn on to where the mask ends: thinning takes half a width off a road's end."""
    gsd = context.grid.gsd
    dead = tips(found, 3.0 / gsd, params.direction_m / gsd)
    half = half_widths(context, dead.xy, params.max_width_m / 2 / gsd)
    goal = dead.xy + half[:, None] * dead.out
    good = (half >= 1) & on_valid(context, goal)
    added = np.zeros((len(found), 2), np.bool_)
    added[dead.line[good], dead.side[good]] = True
    grown = np.asarray(added.any(axis=1))
    part, added = found.take(grown), added[grown]
    line = (np.cumsum(grown) - 1)[dead.line[good]]
    places = np.where(dead.side[good] == 0, part.start[line], part.start[line + 1])
    points = np.insert(part.points, places, goal[good], axis=0)
    owner = np.repeat(np.arange(len(part)), np.diff(part.start) + added.sum(axis=1))
    lines = found.lines.copy()
    lines[grown] = shapely.linestrings(points, indices=owner)
    return found.with_lines(lines)


def _places(every: Xy, some: Xy) -> NDArray[np.int64]:
    """The number that each of `some` nodes has among all of them; both are sorted alike."""
    both = np.concatenate([every, some])[:, ::-1]
    _, number = np.unique(both, axis=0, return_inverse=True)
    return np.asarray(number.ravel()[len(every) :], np.int64)


def _spurs(
    found: Network, widths: NDArray[np.float64], context: Context, params: Params
) -> tuple[NDArray[np.bool_], NDArray[np.object_]]:
    """Which lines go now, and why."""
    gsd = context.grid.gsd
    reach = params.max_width_m / 2 / gsd
    degree = found.degree[found.ends]
    dead = degree.min(axis=1) == 1
    hung = dead & (degree.max(axis=1) >= 3)
    alone = degree.max(axis=1) == 1
    most = np.zeros(len(found))
    root = np.where(degree[:, 0] >= 3, found.ends[:, 0], found.ends[:, 1])
    most[hung] = np.maximum(params.spur_m / gsd, params.spur_widths * widths[root[hung]])
    spur = hung & (found.length < most)
    spur &= ~_protected(found, spur, root)
    crumb = alone & (found.length < max(params.alone_m / gsd, 2 * reach * params.alone_widths))
    alone = found.take(crumb)
    middle = alone.points[(alone.start[:-1] + alone.start[1:]) // 2]
    wide = 2 * half_widths(context, middle, reach)
    most[crumb] = np.maximum(params.alone_m / gsd, params.alone_widths * wide)
    crumb &= found.length < most
    reason = np.full(len(found), None, dtype=object)
    for kind, what in ((spur, "spur"), (crumb, "piece by itself")):
        for i in np.flatnonzero(kind):
            reason[i] = f"{what} of {found.length[i] * gsd:.1f} m, under {most[i] * gsd:.1f} m"
    return spur | crumb, reason


def _protected(
    found: Network, spur: NDArray[np.bool_], root: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """The two longest spurs of a node that has nothing but spurs: they are the road."""
    at = np.bincount(root[spur], minlength=len(found.nodes))
    star = spur & (at == found.degree)[root]
    inside = np.flatnonzero(star)
    order = inside[np.lexsort((inside, -found.length[inside], root[inside]))]
    _, first, count = np.unique(root[order], return_index=True, return_counts=True)
    place = np.arange(len(order)) - np.repeat(first, count)
    safe = np.zeros(len(found), np.bool_)
    safe[order[place < 2]] = True
    return safe
