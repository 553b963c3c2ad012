"""Junctions in order: loose ends snapped, near nodes made one, crossings noded, doubles out.

An audit then says whether lines meet at nodes alone; a network that repairs cannot make sound is
an error and not a result.
"""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pydantic import Field

from lanner.core.config import Strict
from lanner.core.errors import StepError
from postprocess.context import Context
from postprocess.roads.ground import onto_valid
from postprocess.roads.network import Network, Xy, dissolve, in_order, merged, parted, to_frame
from postprocess.roads.nodes import crossings, place_nodes
from postprocess.roads.repair import (
    contract,
    drop_doubles,
    drop_small_loops,
    small_pieces,
    snap_tips,
    with_note,
)
from postprocess.roads.sample import half_widths
from postprocess.roads.topology import audit, node_crossings

ROUNDS = 6
"""Repairs can make work for each other; a sound network stays as it is after two or three."""


class Params(Strict):
    """Metres, and multiples of the road's width."""

    tip_m: float = Field(3.0, ge=0, description="a dead end this near to a line is joined to it")
    merge_m: float = Field(6.0, ge=0, description="junctions nearer than this are one")
    merge_widths: float = Field(1.2, ge=0, description="or nearer than this many road widths")
    double_m: float = Field(5.0, ge=0, description="two lines never further apart are one")
    loop_m: float = Field(40.0, ge=0, description="shorter loops are no roads")
    crossing_widths: float = Field(
        3.0, ge=0, description="two junctions that are one oblique crossing may be this far apart"
    )
    crossing_deg: float = Field(25.0, ge=0, le=90, description="turn of a road through a crossing")
    piece_m: float = Field(25.0, ge=0, description="shorter networks by themselves go")
    piece_widths: float = Field(2.5, ge=0, description="or shorter than this many widths")
    max_width_m: float = Field(60.0, gt=0, description="widths are measured up to this")


def run(objects: gpd.GeoDataFrame, context: Context, params: Params) -> gpd.GeoDataFrame:
    """A network whose lines meet only at nodes; `from_node` and `to_node` number its nodes.

    Raises:
        StepError: the audit still finds a fault after every repair.
    """
    objects, found = parted(objects)
    held, gone = [in_order(found)], []
    del found  # repairs draw most lines anew
    for done in range(ROUNDS):
        before = len(held[0])
        kept, out = _repaired(held.pop(), context, params, first=done == 0)
        held.append(kept)
        del kept
        gone += [part for part in out if len(part)]
        if len(held[0]) == before and not audit(held[0]):
            break
    found = held.pop()
    if faults := audit(found):
        raise StepError(
            "junctions",
            "; ".join(faults[:3]),
            "the network is not sound after every repair",
            "raise merge_m or lower smooth's shift_m, and report the scene",
        )
    if len(found):
        gsd = context.grid.gsd
        middle = shapely.line_interpolate_point(found.lines, 0.5, normalized=True)
        widths = _widths(shapely.get_coordinates(middle), context, params)
        small = small_pieces(found, np.maximum(params.piece_m / gsd, params.piece_widths * widths))
        gone.append(with_note(found.take(small), "network by itself, too short for a road"))
        found = found.take(~small)
    return to_frame(objects, found, merged(gone) if gone else None)


def _repaired(
    found: Network, context: Context, params: Params, first: bool
) -> tuple[Network, list[Network]]:
    """One round of all repairs; in the first, junctions move to where their roads meet."""
    if not len(found):
        return found, []
    context.cancel.check()
    gsd = context.grid.gsd
    found = snap_tips(node_crossings(found), params.tip_m / gsd)
    widths = _widths(found.nodes, context, params)
    most = np.maximum(params.merge_m / gsd, params.merge_widths * widths)
    halves = crossings(found, params.crossing_widths * widths, params.crossing_deg)
    found = contract(found, most, halves)
    if first:
        found = place_nodes(found, _widths(found.nodes, context, params), context)
    found = node_crossings(onto_valid(found, context))
    found, loops = drop_small_loops(found, params.loop_m / gsd)
    found, doubles = drop_doubles(found, params.double_m / gsd)
    return _joined(found), [
        with_note(loops, f"loop shorter than {params.loop_m:g} m"),
        with_note(doubles, f"double within {params.double_m:g} m"),
    ]


def _widths(points: Xy, context: Context, params: Params) -> NDArray[np.float64]:
    """(n,) width of the mask at points, grid pixels."""
    return 2 * half_widths(context, points, params.max_width_m / 2 / context.grid.gsd)


def _joined(found: Network) -> Network:
    """Joined through nodes of degree two, unless that would make a loop at a junction."""
    whole = dissolve(found)
    loop = (whole.ends[:, 0] == whole.ends[:, 1]) & (whole.degree[whole.ends[:, 0]] > 2)
    if not loop.any():
        return whole
    halves, _ = drop_small_loops(whole, 0.0)
    return halves
