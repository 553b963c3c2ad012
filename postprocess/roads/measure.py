"""Length, width and probability of every line, on the ground."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from lanner.core.config import VOTE, Strict
from lanner.core.schema import Column
from postprocess.context import Context
from postprocess.frame import column, packed
from postprocess.roads.network import from_frame
from postprocess.roads.sample import along, batches, half_widths, probability

COLUMNS = (
    Column("length_m", "number", "metres along the line on the ground"),
    Column("width_m", "number", "median width of the road along the line, metres"),
)


class Params(Strict):
    """Metres on the ground; `member` names the network that voted, where nothing else does."""

    spacing_m: float = Field(2.0, gt=0, description="between the points looked at")
    max_width_m: float = Field(60.0, gt=0, description="widths are measured up to this")
    member: str = "resunet"


def run(objects: gpd.GeoDataFrame, context: Context, params: Params) -> gpd.GeoDataFrame:
    """Set `length_m` (geodesic), `width_m`, `score` and `votes`.

    The width is the median over the line of twice the distance to the mask's border; the median
    leaves junctions and bridged gaps out, as long as they are the lesser part. The vote is the
    mean probability along the line, the score what `Context.calibrate` makes of it: how much of
    the length of such lines is right.
    """
    objects = objects.copy()
    found = from_frame(objects)
    if not len(found):
        objects["length_m"] = objects["width_m"] = pd.Series(dtype="float64")
        return objects
    gsd = context.grid.gsd
    width, mean = np.empty(len(found)), np.empty(len(found))
    rasters = {name.removeprefix(VOTE): name for name in context.rasters if name.startswith(VOTE)}
    votes = {member: np.empty(len(found)) for member in rasters}
    spacing = max(params.spacing_m / gsd, 1.0)
    for some in batches(found.lines, spacing):
        points, owner = along(found.lines[some], spacing)
        half = half_widths(context, points, params.max_width_m / 2 / gsd)
        # Where a bridge runs outside the mask there is no width to measure.
        half[half <= 0] = np.nan
        width[some] = 2 * gsd * pd.Series(half).groupby(owner).median().to_numpy()
        mean[some] = _means(probability(context, points), owner)
        for member, raster in rasters.items():
            votes[member][some] = _means(probability(context, points, raster), owner)
    objects["length_m"] = np.round(_lengths(found.points, found.start, context), 2)
    objects["width_m"] = np.round(np.where(np.isnan(width), gsd, np.maximum(width, gsd)), 2)
    score = mean if context.calibrate is None else context.calibrate(mean)
    objects["score"] = np.round(score, 6)
    only = context.members[0] if len(context.members) == 1 else params.member
    scores = votes or {only: mean}
    rows = np.round(np.stack(list(scores.values()), axis=1), 6).tolist()
    objects["votes"] = packed([dict(zip(scores, row, strict=True)) for row in rows])
    objects["note"] = column(
        [
            f"{length:.1f} m long, {across:.1f} m wide, mean probability {value:.2f}"
            for length, across, value in zip(
                objects["length_m"], objects["width_m"], mean, strict=True
            )
        ]
    )
    return objects


def _means(values: NDArray[np.float64], owner: NDArray[np.int64]) -> NDArray[np.float64]:
    """(lines,) mean of the values at each line's points."""
    return np.asarray(pd.Series(values).groupby(owner).mean(), np.float64)


def _lengths(
    points: NDArray[np.float64], start: NDArray[np.int64], context: Context
) -> NDArray[np.float64]:
    """(n,) geodesic metres along lines: all segments asked for at once, then summed by line."""
    metres = context.distance_m(points[:-1], points[1:])
    metres[start[1:-1] - 1] = 0.0  # from one line's end to the next one's beginning
    return np.add.reduceat(np.append(metres, 0.0), start[:-1])
