"""Lines drawn along the probability's ridge, smooth and simple, nodes where they were.

A line that would come to touch another is put back as it was: the topology never changes.
"""

from __future__ import annotations

from math import ceil
from sys import intern

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pydantic import Field

from lanner.core.config import Strict
from postprocess.context import Context
from postprocess.roads.network import Lines, Network, parted, to_frame
from postprocess.roads.ridge import normals, ridge, smoothed
from postprocess.roads.sample import along, astray, batches, profiles
from postprocess.roads.topology import meetings


class Params(Strict):
    """Metres on the ground."""

    reach_m: float = Field(14.0, gt=0, description="how far across the line the ridge is sought")
    shift_m: float = Field(4.0, ge=0, description="how far a line may move")
    wavelength_m: float = Field(24.0, gt=0, description="shorter wiggles are taken out")
    tolerance_m: float = Field(0.3, ge=0, description="Douglas-Peucker")
    batch: int = Field(200_000, ge=1, description="points worked on at once")


def run(objects: gpd.GeoDataFrame, context: Context, params: Params) -> gpd.GeoDataFrame:
    """Move lines onto the ridge of the probability, sub-pixel, and simplify them."""
    objects, found = parted(objects)
    if not len(found):
        return to_frame(objects, found)
    lines = _all_smoothed(found, context, params)
    kept, back = _safe(found, lines, astray(context, lines, 1.0))
    moved = shapely.hausdorff_distance(found.lines, kept) * context.grid.gsd
    texts = (
        "left as traced: smoothed it would cross a line or invalid pixels"
        if put_back
        else f"moved by up to {far:.1f} m"
        for put_back, far in zip(back, moved, strict=True)
    )
    # Tenths of a metre: many moved alike.
    notes = np.fromiter((intern(what) for what in texts), dtype=object, count=len(found))
    row = found.row
    del found  # of the lines as they were, only those put back are left
    return to_frame(objects, Network(kept, row, notes))


def _all_smoothed(found: Network, context: Context, params: Params) -> Lines:
    """Batches of neighbouring lines, so that memory depends on the batch alone."""
    spacing = 2.0
    out = np.empty(len(found), dtype=object)
    for some in batches(found.lines, spacing, params.batch):
        context.cancel.check()
        out[some] = _smoothed(found.lines[some], spacing, context, params)
    return out


def _smoothed(lines: Lines, spacing: float, context: Context, params: Params) -> Lines:
    gsd = context.grid.gsd
    points, owner = along(lines, spacing)
    across = normals(points, owner)
    reach = max(2, ceil(params.reach_m / gsd))
    offset, weight = ridge(
        profiles(context, points, across, reach), owner, max(1.0, params.shift_m / gsd)
    )
    wanted = points + np.where(weight > 0, offset, 0.0)[:, None] * across
    first = np.concatenate([[True], np.diff(owner) != 0])
    last = np.concatenate([first[1:], [True]])
    wanted[first | last] = points[first | last]
    found = smoothed(wanted, weight, owner, params.wavelength_m / gsd / spacing)
    drawn = shapely.linestrings(found, indices=owner)
    simple: Lines = shapely.simplify(drawn, params.tolerance_m / gsd, preserve_topology=True)
    return simple


def _safe(
    found: Network, lines: Lines, stray: NDArray[np.bool_]
) -> tuple[Lines, NDArray[np.bool_]]:
    """The new lines, less those astray and those that meet something they did not meet before."""
    lines, back = np.where(stray, found.lines, lines), stray.copy()
    while True:
        one, other, _ = meetings(found.with_lines(lines))
        bad = np.union1d(one, other).astype(np.int64)
        knotted = np.flatnonzero(~shapely.is_simple(lines) | (shapely.length(lines) == 0))
        again = np.union1d(bad, knotted).astype(np.int64)
        again = again[~back[again]]
        if not len(again):
            return lines, back
        lines[again] = found.lines[again]
        back[again] = True
