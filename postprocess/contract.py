"""The output contract: which properties a feature carries, their rounding, order and ids."""

from __future__ import annotations

import hashlib
import json
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
    said = [
        json.dumps([values[row] for values in columns.values()], sort_keys=True, default=plain)
        for row in range(len(objects))
    ]
    ids = _ids(objects, shapes, boxes, said, context)
    rows = sorted(range(len(objects)), key=lambda i: (*boxes[i, [1, 0, 3, 2]].tolist(), ids[i]))
    score = objects["score"].tolist()
    found = []
    for row in rows:
        properties = {
            "confidence": round(score[row], 4),
            "decision": "review",
            **{name: _value(name, values[row]) for name, values in columns.items()},
            "id": ids[row],
            "detector": context.detector.name,
            "box_px": boxes[row].tolist(),
            "scene_id": context.scene_id,
            "detector_version": context.detector.version,
            "weights_sha256": context.detector.weights_sha256,
            "config_sha256": context.detector.config_sha256,
        }
        if context.acquired is not None:
            properties["acquired"] = context.acquired
        found.append(Record(shapes[row], _in_order(properties)))
    return tuple(found)


def _boxes(objects: gpd.GeoDataFrame, context: Context) -> Floats:
    """(n, 4) boxes in scene pixels: as detected where `outline` kept that, else the bounds."""
    grid = bounds(objects.geometry.values)
    if "box" in objects.columns:
        for row, box in enumerate(objects["box"]):
            grid[row] = grid[row] if box is None else box
    return context.grid.to_scene(grid.reshape(-1, 2)).reshape(-1, 4)


def _ids(
    objects: gpd.GeoDataFrame, shapes: Shapes, boxes: Floats, said: list[str], context: Context
) -> list[str]:
    """Hashes of scene, detector, label and place (in tenths of a scene pixel).

    Of equal ones each after the first is numbered.
    The order in which equals are numbered depends on all that they say, not on the row.
    """
    tenths = shapely.normalize(shapely.transform(shapes, lambda xy: np.round(xy * 10)))
    keys = [
        json.dumps(
            [
                context.scene_id,
                context.detector.name,
                label,
                shape.geom_type,
                shapely.get_coordinates(shape).astype(np.int64).ravel().tolist(),
                np.round(box * 10).astype(np.int64).tolist(),
            ]
        )
        for label, shape, box in zip(objects["label"], tenths, boxes, strict=True)
    ]
    exact = shapely.to_wkb(shapes, hex=True).tolist()
    score = objects["score"].tolist()
    ids = [""] * len(keys)
    taken: set[str] = set()
    for row in sorted(range(len(keys)), key=lambda i: (keys[i], exact[i], score[i], said[i])):
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


def _in_order(properties: dict[str, Any]) -> dict[str, Any]:
    middle = sorted(properties.keys() - {*FIRST, *LAST})
    names = [name for name in (*FIRST, *middle, *LAST) if name in properties]
    return {name: properties[name] for name in names}
