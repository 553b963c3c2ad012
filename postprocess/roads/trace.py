"""The skeleton as a graph: polylines between junctions and dead ends."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lanner.config import Strict
from postprocess.context import Context
from postprocess.roads.network import (
    Lines,
    Network,
    dissolve,
    network,
    road_frame,
    to_frame,
)
from postprocess.roads.pixels import HALO, Paths, block_paths, join
from postprocess.roads.raster import BLOCK, TILE, blocks, read, reading


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
    lines = _lines(join(parts), grid.width) if parts else np.empty(0, dtype=object)
    tolerance = min(params.tolerance_m / grid.gsd, 0.5)
    traced = dissolve(network(lines))
    traced = traced.with_lines(shapely.simplify(traced.lines, tolerance, preserve_topology=True))
    frame = to_frame(road_frame(traced.lines), _own_rows(traced))
    frame.attrs["did"] = f"{len(traced)} lines between {len(traced.nodes)} nodes"
    return frame


def _own_rows(found: Network) -> Network:
    return network(found.lines)


def _lines(paths: Paths, width: int) -> Lines:
    """LineStrings with pixels of a junction drawn together to their middle."""
    rows, cols = np.divmod(paths.pixels, width)
    points = np.stack([cols, rows], axis=1) + 0.5
    first, last = paths.start[:-1], paths.start[1:] - 1
    size = np.diff(paths.start)
    nodes, number = np.unique(paths.pixels[np.stack([first, last], axis=1)], return_inverse=True)
    number = number.reshape(-1, 2)
    # A joint between two junction pixels: both ends have three joints or more.
    degree = np.bincount(number.ravel())
    inner = (size == 2) & (degree[number] >= 3).all(axis=1)
    joint = coo_array(
        (np.ones(int(inner.sum()), np.bool_), tuple(number[inner].T)),
        shape=(len(nodes), len(nodes)),
    )
    many, group = connected_components(joint, directed=False)
    xy = np.stack([nodes % width, nodes // width], axis=1).astype(np.float64) + 0.5
    middle = _means(xy, group, many)
    points[first], points[last] = middle[group[number]].swapaxes(0, 1)
    # Inside one junction a line of two pixels is a joint, and three or four pixels a tiny loop.
    begin, end = number.T
    tiny = (group[begin] == group[end]) & (size <= 4) & (begin != end)
    keep = ~(inner | tiny)
    owner = np.repeat(np.arange(len(size)), size)
    held = keep[owner]
    renumbered = (np.cumsum(keep) - 1)[owner[held]]
    lines: Lines = shapely.linestrings(points[held], indices=renumbered)
    return lines


def _means(
    xy: NDArray[np.float64], group: NDArray[np.int32], groups: int
) -> NDArray[np.float64]:
    count = np.bincount(group, minlength=groups)
    sums = [np.bincount(group, weights=axis, minlength=groups) for axis in xy.T]
    return np.stack(sums, axis=1) / count[:, None]
