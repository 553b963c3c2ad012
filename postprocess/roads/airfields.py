"""Taxiways, runways and what lies between them are taken out: pavement that no road leads to.

A taxiway is as wide as a freeway and as straight, and its centre line is painted. What tells it
apart is where it leads: a freeway runs through the scene, meets others by ramps, and ends at the
scene's border alone; a taxiway ends at an apron or a runway, and its network lies inside a fence,
which no road crosses.
"""

from __future__ import annotations

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lanner.core.config import Strict
from postprocess.context import Context
from postprocess.frame import column
from postprocess.roads.network import Index, Lines, Network, Xy, from_frame

NOTHING = "no airfield"
PART = "part of an airfield: wide pavement that ends within the scene and that no road leads to"


class Params(Strict):
    """`width_m`: from which a line may be a taxiway. A connected piece of the network is an
    airfield where such lines have at least `least_m` of its length and the share `wide_share`,
    where one of them ends farther than `border_m` from the scene's border, and where they are
    plainly seen (mean score `sure`) while of the other lines at most `plain_share` have the score
    `plain`: to a freeway that is plainly seen lead roads that are, too. A piece of which the share
    `hull` lies within `around_m` of an airfield's convex hull is part of it, as paint on an apron
    is.
    """

    width_m: float = Field(15.0, gt=0)
    least_m: float = Field(300.0, gt=0)
    wide_share: float = Field(0.25, gt=0, le=1)
    border_m: float = Field(40.0, ge=0)
    sure: float = Field(0.8, ge=0, le=1)
    plain: float = Field(0.87, ge=0, le=1)
    plain_share: float = Field(0.3, ge=0, le=1)
    hull: float = Field(0.8, gt=0, le=1)
    around_m: float = Field(100.0, ge=0)


@dataclass(frozen=True)
class _Pieces:
    """Connected pieces of a network: (n,) the piece of each line, and how many there are."""

    of: Index
    count: int

    def total(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(count,) sums of (n,) values."""
        return np.asarray(np.bincount(self.of, values, self.count), np.float64)


def run(objects: gpd.GeoDataFrame, context: Context, params: Params) -> gpd.GeoDataFrame:
    """Set `rejected` on the lines of airfields. Needs `length_m` and `width_m` from `measure`."""
    objects = objects.copy()
    found = from_frame(objects)
    if not len(found):
        return objects
    pieces = _pieces(found)
    length = objects["length_m"].to_numpy(np.float64)
    wide = objects["width_m"].to_numpy(np.float64) >= params.width_m
    wide_m = pieces.total(np.where(wide, length, 0.0))
    airfield = (wide_m >= params.least_m) & (wide_m >= params.wide_share * pieces.total(length))
    score = objects["score"].to_numpy(np.float64)
    airfield &= pieces.total(np.where(wide, score * length, 0.0)) >= params.sure * wide_m
    plain = np.where(~wide & (score >= params.plain), length, 0.0)
    narrow_m = pieces.total(np.where(wide, 0.0, length))
    airfield &= pieces.total(plain) <= params.plain_share * narrow_m
    airfield &= _ends_within(found, pieces, wide, context, params.border_m)
    around = params.around_m / context.grid.gsd
    inside = airfield | _within(found.lines, pieces, airfield, params.hull, around)
    out = inside[pieces.of]
    before = objects["rejected"].tolist()
    objects["rejected"] = column(
        [was or (PART if gone else None) for was, gone in zip(before, out.tolist(), strict=True)]
    )
    objects["note"] = column([PART if gone else NOTHING for gone in out.tolist()])
    return objects


def _pieces(found: Network) -> _Pieces:
    ends = found.ends
    size = int(ends.max()) + 1
    links = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), (size, size))
    count, of_node = connected_components(links, directed=False)
    return _Pieces(of_node[ends[:, 0]].astype(np.int64), int(count))


def _ends_within(
    found: Network, pieces: _Pieces, wide: NDArray[np.bool_], context: Context, border_m: float
) -> NDArray[np.bool_]:
    """(count,) whether a wide line of a piece ends away from the border, where no other goes on."""
    ends = found.ends[wide]
    times = np.bincount(ends.ravel(), minlength=len(found.nodes))
    alone = times[ends] == 1
    near = _near_border(found.nodes, context, border_m)
    loose = (alone & ~near[ends]).any(axis=1)
    return pieces.total(_spread(loose, wide)) > 0


def _spread(values: NDArray[np.bool_], rows: NDArray[np.bool_]) -> NDArray[np.float64]:
    whole = np.zeros(len(rows))
    whole[rows] = values
    return whole


def _near_border(nodes: Xy, context: Context, border_m: float) -> NDArray[np.bool_]:
    """(n,) nodes within some metres of the grid's border."""
    grid, reach = context.grid, border_m / context.grid.gsd
    x, y = nodes.T
    far = (x < reach) | (y < reach) | (x > grid.width - reach) | (y > grid.height - reach)
    return np.asarray(far, np.bool_)


def _within(
    lines: Lines, pieces: _Pieces, airfield: NDArray[np.bool_], share: float, around: float
) -> NDArray[np.bool_]:
    """(count,) pieces that lie within some pixels of the convex hull of an airfield."""
    inside = np.zeros(pieces.count, np.bool_)
    total = pieces.total(shapely.length(lines))
    for piece in np.flatnonzero(airfield).tolist():
        hull = shapely.convex_hull(shapely.multilinestrings(lines[pieces.of == piece]))
        hull = shapely.buffer(hull, around)
        shapely.prepare(hull)
        common = shapely.length(shapely.intersection(lines, hull))
        inside |= pieces.total(common) >= share * np.maximum(total, 1e-9)
    return inside
