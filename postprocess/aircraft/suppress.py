"""What better objects explain is taken out: doubles, fragments, boxes around two neighbours.

Non-maximum suppression goes by boxes, and those of aircraft parked side by side overlap as much as
doubles do. Shapes tell them apart: no aircraft lies within another one, and none holds another.
"""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pydantic import Field

from lanner.core.config import Strict
from postprocess.context import Context
from postprocess.frame import column
from postprocess.shapes import Bools, Floats, Ints, Shapes, bounds, useful


class Params(Strict):
    """`explains`: score from which an object explains others, which all have lower ones.
    `inside`: share of an object that one better object covers. `holds`: share of a better object
    that an object encloses; `holds_each`: of each of two or more better ones. `box_iou`: least
    agreement of an outline's bounds with the box, else the box is its shape.
    """

    explains: float = Field(0.5, ge=0, le=1)
    inside: float = Field(0.6, gt=0, le=1)
    holds: float = Field(0.8, gt=0, le=1)
    holds_each: float = Field(0.5, gt=0, le=1)
    box_iou: float = Field(0.5, ge=0, le=1)


def run(objects: gpd.GeoDataFrame, context: Context, params: Params) -> gpd.GeoDataFrame:
    """Set `rejected` where better objects explain an object.

    Shapes are outlines where the members drew good ones, else boxes.
    """
    result = objects.copy()
    boxes = bounds(objects.geometry.values)
    score = objects["score"].to_numpy(np.float64)
    shapes = _shapes(objects, boxes, params.box_iou)
    rank = _ranks(shapes, boxes, score)
    worse, better = _pairs(shapes, rank, score >= params.explains)
    common = shapely.area(shapely.intersection(shapes[worse], shapes[better]))
    area = np.maximum(shapely.area(shapes), 1e-9)
    inside, holds = common / area[worse], common / area[better]
    reasons = objects["rejected"].tolist()
    for rows, reason in (
        (worse[inside >= params.inside], "lies within a better object"),
        (worse[holds >= params.holds], "encloses a better object"),
        (_several(worse[holds >= params.holds_each]), "encloses several better objects"),
    ):
        for row in np.unique(rows).tolist():
            reasons[row] = reasons[row] or reason
    result["rejected"] = column(reasons)
    result["note"] = column([reason or "no better object explains it" for reason in reasons])
    return result


def _shapes(objects: gpd.GeoDataFrame, boxes: Floats, box_iou: float) -> Shapes:
    """(n,) valid polygons."""
    shapes = shapely.box(*boxes.T).astype(object) if len(boxes) else np.empty(0, object)
    outlines = np.asarray(objects["outline"].values, object)
    good = useful(outlines, boxes, box_iou)
    shapes[good] = outlines[good]
    return shapes


def _ranks(shapes: Shapes, boxes: Floats, score: Floats) -> Ints:
    """(n,) place of each by score, best first; of equals by where they are and how large."""
    order = np.lexsort((shapely.area(shapes), *boxes.T, -score))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank


def _pairs(shapes: Shapes, rank: Ints, explains: Bools) -> tuple[Ints, Ints]:
    """(p,) objects, and the better ones whose shapes meet theirs."""
    able = np.flatnonzero(explains)
    if not len(able):
        none = np.empty(0, np.int64)
        return none, none
    one, two = shapely.STRtree(shapes[able]).query(shapes, predicate="intersects")
    other = able[two]
    below = rank[one] > rank[other]
    return one[below].astype(np.int64), other[below].astype(np.int64)


def _several(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows that occur more than once."""
    found, times = np.unique(rows, return_counts=True)
    return found[times > 1]
