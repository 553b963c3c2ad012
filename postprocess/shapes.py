"""Questions about boxes and outlines that several steps ask, on whole arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Shapes = NDArray[np.object_]

MIN_FILL = 0.12
"""Least share of its box an outline may fill: a slender glider at 45 degrees fills about 0.15."""


def bounds(geometry: Any) -> Floats:
    """(n, 4) boxes x0 y0 x1 y1 of n geometries."""
    return np.asarray(shapely.bounds(np.asarray(geometry, object)), np.float64).reshape(-1, 4)


def overlap(a: Floats, b: Floats) -> Floats:
    """The (n, 4) boxes common to a and b; x1 < x0 or y1 < y0 where there is nothing common."""
    return np.concatenate([np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])], axis=1)


def area(boxes: Floats) -> Floats:
    """(n,) areas; 0 for boxes turned inside out."""
    sides = np.clip(boxes[:, 2:] - boxes[:, :2], 0.0, None)
    return np.asarray(sides[:, 0] * sides[:, 1], np.float64)


def iou(a: Floats, b: Floats) -> Floats:
    """(n,) intersection over union of n pairs of boxes."""
    common = area(overlap(a, b))
    union = area(a) + area(b) - common
    return _ratio(common, union)


def _ratio(part: Floats, of: Floats) -> Floats:
    result = np.zeros(len(part))
    np.divide(part, of, out=result, where=of > 0)
    return result


def shape_iou(a: Shapes, b: Shapes) -> Floats:
    """(n,) intersection over union of n pairs of valid polygons."""
    common = shapely.area(shapely.intersection(a, b))
    union = shapely.area(a) + shapely.area(b) - common
    return _ratio(common, union)


def useful(outlines: Shapes, boxes: Floats, least_iou: float = 0.5) -> Bools:
    """Where an outline can stand for its object.

    It is a valid polygon, its bounds agree with the box (IoU >= `least_iou`), and it neither
    is a speck in the box nor fills all of it as a blob does that merely repeats the box.
    """
    sound = shapely.is_valid(outlines) & ~shapely.is_empty(outlines)
    sound &= shapely.get_type_id(outlines) == shapely.GeometryType.POLYGON
    result = np.zeros(len(outlines), bool)
    if not sound.any():
        return result
    mine, box = outlines[sound], boxes[sound]
    fill = shapely.area(mine) / np.maximum(area(box), 1e-9)
    result[sound] = (iou(bounds(mine), box) >= least_iou) & (fill >= MIN_FILL) & (fill <= 1.1)
    return result


def scaled(shapes: Shapes, by: Floats) -> Shapes:
    """Polygons (n,) with every coordinate times (n,) `by`; None stays as it is."""
    change = np.flatnonzero((by != 1) & ~shapely.is_missing(shapes))
    if not len(change):
        return shapes
    result = shapes.copy()
    some = shapes[change]
    factor = np.repeat(by[change], shapely.get_num_coordinates(some))
    result[change] = shapely.set_coordinates(
        some.copy(), shapely.get_coordinates(some) * factor[:, None]
    )
    return result
