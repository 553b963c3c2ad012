"""The polygon of each aircraft: its mask's outline where that is good, else the box."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import shapely
from pydantic import Field

from lanner.core.config import Strict
from lanner.core.schema import Column
from postprocess.context import Context
from postprocess.frame import column, seen_px
from postprocess.shapes import Bools, Floats, Ints, Shapes, area, bounds, iou, scaled, useful

COLUMNS = (Column("outline_source", "text", "what the outline was drawn from: mask or box"),)


class Params(Strict):
    """`box_iou`: least agreement of the outline's bounds with the box. `simplify_px`, in pixels
    that the outline was seen in, takes the pixel stairs away and `rounds` of corner cutting
    (Chaikin, 1974) smooth what is left.
    """

    box_iou: float = Field(0.5, ge=0, le=1)
    simplify_px: float = Field(0.75, ge=0)
    rounds: int = Field(1, ge=0, le=3)
    beyond_px: float = Field(0.5, ge=0, description="what an outline may reach beyond its box")


def run(objects: gpd.GeoDataFrame, context: Context, params: Params) -> gpd.GeoDataFrame:
    """Put the object polygon into `geometry`, in grid pixels.

    Adds `box` ([x0, y0, x1, y1] in grid pixels, what `geometry` was) and `outline_source`
    ('mask' or 'box'). `outline` keeps the raw outline where it was good, for measuring, and is
    None where it was not.
    """
    result = objects.copy()
    boxes = bounds(objects.geometry.values)
    raw = filled(np.asarray(objects["outline"].values, object))
    raw = within(raw, boxes, params.beyond_px)
    good = useful(raw, boxes, params.box_iou)
    shapes = shapely.box(*boxes.T).astype(object) if len(boxes) else np.empty(0, object)
    pixel = seen_px(objects)[good]
    fine = smoothed(scaled(raw[good], 1 / pixel), params.simplify_px, params.rounds)
    shapes[good] = scaled(fine, pixel)
    kept = raw.copy()
    kept[~good] = None
    result["box"] = column(boxes.tolist())
    result["outline_source"] = column(np.where(good, "mask", "box").tolist())
    result["outline"] = gpd.GeoSeries(kept, index=result.index)
    result["geometry"] = gpd.GeoSeries(shapes, index=result.index)
    agreement = iou(bounds(shapes), boxes)
    result["note"] = column(_notes(raw, boxes, good, agreement))
    return result


def _notes(raw: Shapes, boxes: Floats, good: Bools, agreement: Floats) -> list[str]:
    fill = np.where(shapely.is_missing(raw), 0, shapely.area(raw)) / np.maximum(area(boxes), 1e-9)
    return [
        f"outline of the mask, agrees with the box to {agrees:.2f}"
        if fine
        else "the box: no outline"
        if shape is None
        else f"the box: an outline that fills {share:.0%} of it was no good"
        for fine, agrees, shape, share in zip(good, agreement, raw, fill, strict=True)
    ]


def filled(outlines: Shapes) -> Shapes:
    """The same polygons without holes (an aircraft has none; a mask may); None stays."""
    result = np.full(len(outlines), None, object)
    flat = shapely.get_type_id(outlines) == shapely.GeometryType.POLYGON
    flat &= ~shapely.is_empty(outlines)
    result[flat] = shapely.polygons(shapely.get_exterior_ring(outlines[flat]))
    broken = flat & ~shapely.is_valid(result)
    result[broken] = [_mended(shape) for shape in result[broken]]
    return result


def within(outlines: Shapes, boxes: Floats, beyond: float) -> Shapes:
    """The largest piece of each outline inside its box; None stays.

    The fused box comes from members that learned tight boxes; what a mask shows beyond it is
    shadow or a neighbour.
    """
    result = outlines.copy()
    there = ~shapely.is_missing(outlines)
    frames = shapely.box(*(boxes[there] + np.array([-beyond, -beyond, beyond, beyond])).T)
    cut = shapely.intersection(shapely.make_valid(outlines[there]), frames)
    parts, owner = shapely.get_parts(cut, return_index=True)
    flat = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
    parts, owner = parts[flat], owner[flat]
    kept = np.full(len(cut), None, object)
    # Smallest first, so that the largest is written last.
    rising = np.lexsort((np.arange(len(parts)), shapely.area(parts)))
    kept[owner[rising]] = parts[rising]
    result[there] = kept
    return result


def _mended(polygon: shapely.Polygon) -> shapely.Polygon | None:
    """A rim that touches or crosses itself: a hair wider it is one piece, its largest."""
    wider = shapely.buffer(shapely.make_valid(polygon), 0.05, join_style="mitre")
    pieces = shapely.get_parts(wider)
    if not len(pieces):
        return None
    return shapely.Polygon(pieces[int(np.argmax(shapely.area(pieces)))].exterior)


def smoothed(polygons: Shapes, simplify_px: float, rounds: int) -> Shapes:
    """Valid polygons without pixel stairs; one that smoothing would break stays as it was."""
    result = shapely.simplify(polygons, simplify_px)
    for _ in range(rounds):
        result = _cut_corners(result)
    result = shapely.simplify(result, simplify_px / 4)
    sound = shapely.is_valid(result) & ~shapely.is_empty(result)
    sound &= shapely.area(result) > 0.5 * shapely.area(polygons)
    return np.where(sound, result, polygons)


def _cut_corners(polygons: Shapes) -> Shapes:
    """One round of Chaikin on every ring at once: each side leaves its middle half."""
    points, owner = shapely.get_coordinates(polygons, return_index=True)
    if not len(points):
        return polygons
    count = np.bincount(owner, minlength=len(polygons))
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    sides = np.ones(len(points), bool)
    sides[first + count - 1] = False  # the last point of a ring closes it and begins no side
    start, end = points[sides], points[1:][sides[:-1]]
    cut = np.stack([0.75 * start + 0.25 * end, 0.25 * start + 0.75 * end], axis=1).reshape(-1, 2)
    ring: Ints = np.repeat(owner[sides], 2)
    rings = shapely.linearrings(cut, indices=ring)
    return np.asarray(shapely.polygons(rings), object)
