"""Outlines of single objects, drawn again from a closer look at the scene.

The tiles are read at the detector's own ground sampling, where a fuselage may be 50 pixels
long. Each object found is shown to the Res-UNet once more, by itself and larger, for its outline
alone, at the cost of one small crop an object. Where the scene is finer that brings the resolution
that is there; where it is not, an enlarged picture still is what the network draws best: shapes of
the size that it learned. Objects that hardly anyone will believe are not worth one.
"""

from __future__ import annotations

import geopandas as gpd
import numpy as np
from pydantic import Field

from lanner.core.config import Strict
from postprocess.context import Context
from postprocess.frame import column
from postprocess.shapes import bounds, useful


class Params(Strict):
    """`object_px`: side of the box in pixels at which an object is shown again. `gain`: how much
    finer that must be than the tiles were, or the first look stands. `enlarge`: most pixels of
    the picture, along a side, to one of the scene. `box_iou`: least
    agreement of the new outline's bounds with the box. `least`: score from which an object is
    worth it.
    """

    object_px: float = Field(150.0, gt=8)
    gain: float = Field(1.2, ge=1)
    enlarge: float = Field(8.0, ge=1)
    threshold: float = Field(0.4, gt=0, lt=1)
    box_iou: float = Field(0.5, ge=0, le=1)
    least: float = Field(0.2, ge=0, le=1)


def run(objects: gpd.GeoDataFrame, context: Context, params: Params) -> gpd.GeoDataFrame:
    """Put a finer `outline` (grid pixels) where the closer look gave a good one.

    Adds `seen_px`, the side of the pixels that each outline was seen in, in grid pixels.
    """
    result = objects.copy()
    if context.closer is None or not len(objects):
        return result
    boxes = bounds(objects.geometry.values)
    wanted = objects["score"].to_numpy() >= params.least
    views = context.closer.outlines(
        boxes, wanted, params.object_px, params.gain, params.enlarge, params.threshold, context.tell
    )
    shapes = np.full(len(objects), None, object)
    for i, view in enumerate(views):
        if view is not None:
            shapes[i] = view.outline
    good = useful(shapes, boxes, params.box_iou)
    outlines = np.asarray(objects["outline"].values, object).copy()
    outlines[good] = shapes[good]
    result["seen_px"] = [
        view.gsd / context.grid.gsd if fine and view is not None else 1.0
        for view, fine in zip(views, good.tolist(), strict=True)
    ]
    result["outline"] = gpd.GeoSeries(outlines, index=result.index)
    result["note"] = column(
        [
            "kept: seen as large as it would be shown"
            if view is None
            else "kept: too unsure for a closer look"
            if not worth
            else f"outlined again at {view.gsd:.2f} m"
            if fine
            else f"kept: nothing better at {view.gsd:.2f} m"
            for view, worth, fine in zip(views, wanted.tolist(), good.tolist(), strict=True)
        ]
    )
    return result
