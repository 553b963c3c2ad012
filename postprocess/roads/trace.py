"""The skeleton as a graph: polylines between junctions and dead ends."""

from __future__ import annotations

from itertools import pairwise

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lanner.core.config import Strict
from lanner.core.schema import Column
from postprocess.context import Context
from postprocess.roads.network import (
    Lines,
    dissolve,
    network,
    road_frame,
    to_frame,
)
from postprocess.roads.pixels import HALO, Joined, Paths, block_paths, join
from postprocess.roads.raster import BLOCK, TILE, blocks, read, reading

COLUMNS = (
    Column("from_node", "integer", "number of the node at the line's first point"),
    Column("to_node", "integer", "number of the node at its last point"),
)
GEOMETRY = "LineString"

BATCH = 200_000
"""Pixels drawn as lines at once; a batch is simplified before the next is drawn."""


class Params(Strict):
    """Metres, and the block in pixels."""

    tolerance_m: float = Field(
        0.5, ge=0, description="Douglas-Peucker, never more than half a pixel"
    )
    block: int = Field(BLOCK, ge=TILE, multiple_of=TILE)


def run(objects: gpd.GeoDataFrame, context: Context, params: Params) -> gpd.GeoDataFrame:
    """One row a line of the raster `skeletonise`, added to none: what came in is replaced.

    Lines run through pixel centres. Pixels alone are no roads.
    """
    grid = context.grid
    parts: list[Paths] = []
    with reading(context, "skeletonise") as dataset:
        for block in blocks(grid.width, grid.height, params.block, HALO):
            context.cancel.check()
            skeleton = read(dataset, block.window) > 0
            if skeleton.any():
                found = block_paths(skeleton, block, grid.width)
                if len(found.pixels):
                    parts.append(found)
    tolerance = min(params.tolerance_m / grid.gsd, 0.5)
    lines = _lines(join(parts), grid.width, tolerance) if parts else np.empty(0, dtype=object)
    traced = dissolve(network(lines))
    frame = to_frame(road_frame(traced.lines), network(traced.lines))
    frame.attrs["note"] = f"{len(traced)} lines between {len(traced.nodes)} nodes"
    return frame


def _lines(joined: Joined, width: int, tolerance: float) -> Lines:
    """Simplified LineStrings, the pixels of a junction drawn together to their middle."""
    ends = np.stack([joined.first, joined.last], axis=1)
    nodes, number = np.unique(ends, return_inverse=True)
    number = number.reshape(-1, 2)
    # A joint between two junction pixels: both ends have three joints or more.
    degree = np.bincount(number.ravel())
    inner = (joined.size == 2) & (degree[number] >= 3).all(axis=1)
    joint = coo_array(
        (np.ones(int(inner.sum()), np.bool_), tuple(number[inner].T)),
        shape=(len(nodes), len(nodes)),
    )
    many, group = connected_components(joint, directed=False)
    middle = _means(_centres(nodes, width), group, many)
    # Inside one junction a line of two pixels is a joint, and three or four pixels a tiny loop.
    begin, end = number.T
    tiny = (group[begin] == group[end]) & (joined.size <= 4) & (begin != end)
    drop = inner | tiny
    parts: list[Lines] = []
    batch = np.cumsum(joined.size) // BATCH
    stops = np.concatenate([[0], np.flatnonzero(np.diff(batch)) + 1, [len(batch)]])
    for low, high in pairwise(stops.tolist()):
        pixels, owner = joined.lines(low, high)
        points = _centres(pixels, width)
        change = np.flatnonzero(np.diff(owner)) + 1
        first = np.concatenate([[0], change])
        last = np.concatenate([change, [len(owner)]]) - 1
        at_node = ~joined.ring[low:high]
        points[first[at_node]] = middle[group[begin[low:high][at_node]]]
        points[last[at_node]] = middle[group[end[low:high][at_node]]]
        drawn = shapely.linestrings(points, indices=owner)[~drop[low:high]]
        parts.append(shapely.simplify(drawn, tolerance, preserve_topology=True))
    return np.concatenate(parts)


def _centres(pixels: NDArray[np.int64], width: int) -> NDArray[np.float64]:
    """(n, 2) x, y of pixel centres."""
    rows, cols = np.divmod(pixels, width)
    return np.stack([cols, rows], axis=1).astype(np.float64) + 0.5


def _means(xy: NDArray[np.float64], group: NDArray[np.int32], groups: int) -> NDArray[np.float64]:
    count = np.bincount(group, minlength=groups)
    sums = [np.bincount(group, weights=axis, minlength=groups) for axis in xy.T]
    return np.stack(sums, axis=1) / count[:, None]
