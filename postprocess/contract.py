"""The output contract: which properties a feature carries, their rounding, order and ids."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from math import isfinite
from typing import Any

import geopandas as gpd
import numpy as np
import shapely

from postprocess.context import Context
from postprocess.shapes import Floats, Shapes, bounds
from postprocess.snapshots import plain

FIRST = (
    "id",
    "detector",
    "label",
    "confidence",
    "decision",
    "votes",
    "box_px",
    "length_m",
    "wingspan_m",
    "heading_deg",
    "types",
    "taxonomy",
    "width_m",
    "road_class",
    "from_node",
    "to_node",
)
"""Properties in this order before the steps' own others, which come by name."""

LAST = (
    "scene_id",
    "acquired",
    "detector_version",
    "weights_sha256",
    "config_sha256",
    "steps",
)

INTERNAL = frozenset(
    {
        "geometry",
        "outline",
        "score",
        "tile",
        "cut",
        "rejected",
        "rejected_by",
        "rejected_at",
        "box",
        "did",
        "seen_px",
    }
)
"""Columns that are the chain's own business."""

ID_BYTES = 12
PIXEL_DECIMALS = 2


@dataclass(frozen=True)
class Record:
    """One feature before it is written: its shape in scene pixels and its properties."""

    shape: Any
    properties: dict[str, Any]


def records(objects: gpd.GeoDataFrame, context: Context) -> tuple[Record, ...]:
    """Features in final order: by box (top, left, bottom, right), then id."""
    if objects.empty:
        return ()
    shapes = np.asarray(
        shapely.transform(np.asarray(objects.geometry.values, object), context.grid.to_scene),
        object,
    )
    boxes = np.round(_boxes(objects, context), PIXEL_DECIMALS) + 0.0
    columns = {name: objects[name].tolist() for name in objects.columns if name not in INTERNAL}
    ids = _ids(objects, shapes, boxes, columns, context)
    rows = sorted(range(len(objects)), key=lambda i: (*boxes[i, [1, 0, 3, 2]].tolist(), ids[i]))
    size = len(objects)
    same: dict[str, Any] = {
        "detector": context.detector.name,
        "scene_id": context.scene_id,
        "detector_version": context.detector.version,
        "weights_sha256": context.detector.weights_sha256,
        "config_sha256": context.detector.config_sha256,
    }
    if context.acquired is not None:
        same["acquired"] = context.acquired
    every: dict[str, list[Any]] = {
        "confidence": [round(score, 4) for score in objects["score"].tolist()],
        "decision": ["review"] * size,
        **{name: [_value(name, value) for value in values] for name, values in columns.items()},
        "id": ids,
        "box_px": boxes.tolist(),
        **{name: [value] * size for name, value in same.items()},
    }
    names = _in_order(every)
    ordered = [every[name] for name in names]
    return tuple(
        Record(shapes[row], {n: v[row] for n, v in zip(names, ordered, strict=True)})
        for row in rows
    )


def _boxes(objects: gpd.GeoDataFrame, context: Context) -> Floats:
    """(n, 4) boxes in scene pixels: as detected where `outline` kept that, else the bounds."""
    grid = bounds(objects.geometry.values)
    if "box" in objects.columns:
        for row, box in enumerate(objects["box"]):
            grid[row] = grid[row] if box is None else box
    return context.grid.to_scene(grid.reshape(-1, 2)).reshape(-1, 4)


def _ids(
    objects: gpd.GeoDataFrame,
    shapes: Shapes,
    boxes: Floats,
    columns: dict[str, list[Any]],
    context: Context,
) -> list[str]:
    """Hashes of scene, detector, label and place (in tenths of a scene pixel).

    Of equal ones each after the first is numbered.
    The order in which equals are numbered depends on all that they say, not on the row.
    """
    tenths = shapely.normalize(shapely.transform(shapes, lambda xy: np.round(xy * 10)))
    points = shapely.get_coordinates(tenths).astype(np.int64).ravel().tolist()
    stops = np.cumsum(2 * shapely.get_num_coordinates(tenths)).tolist()
    squares = np.round(boxes * 10).astype(np.int64).tolist()
    keys = [
        json.dumps(
            [context.scene_id, context.detector.name, label, shape.geom_type, points[low:high], box]
        )
        for label, shape, low, high, box in zip(
            objects["label"], tenths, [0, *stops[:-1]], stops, squares, strict=True
        )
    ]
    score = objects["score"].tolist()
    times = Counter(keys)

    def among_equals(row: int) -> tuple[str, str, float, str]:
        if times[keys[row]] == 1:
            return keys[row], "", 0.0, ""
        said = [values[row] for values in columns.values()]
        exact = shapely.to_wkb(shapes[row], hex=True)
        return keys[row], exact, score[row], json.dumps(said, sort_keys=True, default=plain)

    ids = [""] * len(keys)
    taken: set[str] = set()
    for row in sorted(range(len(keys)), key=among_equals):
        count = 0
        while not ids[row] or ids[row] in taken:
            text = keys[row] if count == 0 else f"{keys[row]}#{count}"
            ids[row] = hashlib.sha256(text.encode()).hexdigest()[: 2 * ID_BYTES]
            count += 1
        taken.add(ids[row])
    return ids


def _value(name: str, value: Any) -> Any:
    """A plain value, numbers rounded to what their unit deserves; None for what is not a number."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float):
        if not isfinite(value):
            return None
        decimals = 2 if name.endswith("_m") else 1 if name.endswith("_deg") else 4
        # 359.96 is 0 to one decimal, not 360.
        number = round(value, decimals) + 0.0
        return 0.0 if name == "heading_deg" and number >= 360 else number
    return value


def _in_order(names: Collection[str]) -> list[str]:
    middle = sorted(set(names) - {*FIRST, *LAST})
    return [name for name in (*FIRST, *middle, *LAST) if name in names]
