"""The output contract: which properties a feature carries, their rounding, order and ids."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from lanner.core.schema import Column, Schema, Shape
from postprocess.context import Context
from postprocess.shapes import Floats, Shapes, bounds
from postprocess.snapshots import plain

FIRST = (
    "id",
    "detector",
    "label",
    "confidence",
    "decision",
    "reason",
    "type",
    "type_name",
    "type_probability",
    "family",
    "family_probability",
    "length_m",
    "wingspan_m",
    "heading_deg",
    "axis_deg",
    "width_m",
    "road_class",
    "from_node",
    "to_node",
    "votes_n",
)
"""Properties in this order before the steps' own others, which come by name."""

LAST = (
    "votes",
    "box_px",
    "types",
    "taxonomy",
    "review_reasons",
    "scene_id",
    "acquired",
    "detector_version",
    "weights_sha256",
    "config_sha256",
    "steps",
)
"""And in this order after them."""

COLUMNS = (
    Column("id", "text", "the same for the same object in every run"),
    Column("detector", "text", "who found it"),
    Column("label", "text", "class"),
    Column("confidence", "number", "calibrated: of objects with 0.8 about 80 % are right"),
    Column("decision", "text", "accept: sure enough to be used; review: wants a look"),
    Column("votes_n", "integer", "networks that saw it"),
    Column("votes", "json", "score of each network that saw it"),
    Column("box_px", "json", "left, top, right, bottom in scene pixels"),
    Column("scene_id", "text", "name of the scene"),
    Column("acquired", "datetime", "when the scene was taken, UTC"),
    Column("detector_version", "text", "release of the detector"),
    Column("weights_sha256", "text", "checksum of the networks' weights"),
    Column("config_sha256", "text", "checksum of the detector's configuration"),
    Column("steps", "json", "what each step of the chain did"),
)
"""Those of every detector."""

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
        "note",
        "seen_px",
    }
)
"""Columns that are the chain's own business."""

ID_BYTES = 12
GROUP = 1000
"""Features made at once."""
PIXEL_DECIMALS = 2


def _in_order(names: Collection[str]) -> list[str]:
    middle = sorted(set(names) - {*FIRST, *LAST})
    return [name for name in (*FIRST, *middle, *LAST) if name in names]


def schema(columns: Iterable[Column], geometry: Shape = "Polygon") -> Schema:
    """The schema of features from the columns that steps set.

    Args:
        columns: the steps' own, in the order of steps; of one name the last counts.
        geometry: the kind that the chain leaves.
    """
    every = {one.name: one for one in (*COLUMNS, *columns)}
    return Schema(tuple(every[name] for name in _in_order(every)), geometry)


PLAIN = schema(())
"""The schema where no step sets a column."""


@dataclass(frozen=True)
class Record:
    """One feature before it is written: its row, its shape in scene pixels and its properties."""

    row: int
    shape: Any
    properties: dict[str, Any]


def records(
    objects: gpd.GeoDataFrame, context: Context, columns: Schema
) -> Iterator[tuple[Record, ...]]:
    """Features in final order, by box (top, left, bottom, right), then id; `GROUP` at a time.

    Each has every property of `columns`, and those of the frame that are not among them.
    """
    if objects.empty:
        return
    boxes = np.round(_boxes(objects, context), PIXEL_DECIMALS) + 0.0
    ids = _ids(objects, boxes, context)
    order = np.lexsort((ids, *(boxes[:, side] for side in (2, 3, 0, 1))))
    for low in range(0, len(order), GROUP):
        rows = order[low : low + GROUP]
        yield _group(objects, rows, boxes[rows], ids[rows], context, columns)


def _group(
    all_objects: gpd.GeoDataFrame,
    which: NDArray[np.int64],
    boxes: Floats,
    ids: NDArray[np.bytes_],
    context: Context,
    columns: Schema,
) -> tuple[Record, ...]:
    """The features of some rows, in that order."""
    objects, size = all_objects.iloc[which], len(which)
    same: dict[str, Any] = {
        "detector": context.detector.name,
        "scene_id": context.scene_id,
        "detector_version": context.detector.version,
        "weights_sha256": context.detector.weights_sha256,
        "config_sha256": context.detector.config_sha256,
        "acquired": None if context.acquired is None else in_utc(context.acquired),
    }
    every: dict[str, list[Any]] = {
        **{name: [None] * size for name in columns.names},
        "votes_n": [len(votes or ()) for votes in objects["votes"]],
        "confidence": [_value("confidence", score) for score in objects["score"].tolist()],
        "decision": ["review"] * size,
        **{
            name: [_value(name, value) for value in values]
            for name, values in _plain_columns(objects).items()
        },
        "id": [one.decode() for one in ids.tolist()],
        "box_px": boxes.tolist(),
        **{name: [value] * size for name, value in same.items()},
    }
    names = _in_order(every)
    rows = zip(*(every[name] for name in names), strict=True)
    return tuple(
        Record(int(at), shape, dict(zip(names, row, strict=True)))
        for at, shape, row in zip(which, _in_scene(objects, context), rows, strict=True)
    )


def in_utc(moment: str) -> str | None:
    """An ISO 8601 date, or date and time, as a time in UTC (RFC 3339); None for no such time.

    A scene's time without a zone is taken to be UTC, as vendors write it, a date to be midnight.
    """
    try:
        time = datetime.fromisoformat(moment)
    except ValueError:  # the 30th of February, a leap second
        return None
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    return time.isoformat().replace("+00:00", "Z")


def _plain_columns(objects: gpd.GeoDataFrame) -> dict[str, list[Any]]:
    """The columns that are not the chain's own business, as plain values."""
    return {name: objects[name].tolist() for name in objects.columns if name not in INTERNAL}


def _in_scene(objects: gpd.GeoDataFrame, context: Context) -> Shapes:
    """(n,) geometries in scene pixels."""
    shapes = np.asarray(objects.geometry.values, object)
    return np.asarray(shapely.transform(shapes, context.grid.to_scene), object)


def _boxes(objects: gpd.GeoDataFrame, context: Context) -> Floats:
    """(n, 4) boxes in scene pixels: as detected where `outline` kept that, else the bounds."""
    grid = bounds(objects.geometry.values)
    if "box" in objects.columns:
        for row, box in enumerate(objects["box"]):
            grid[row] = grid[row] if box is None else box
    return context.grid.to_scene(grid.reshape(-1, 2)).reshape(-1, 4)


def _ids(objects: gpd.GeoDataFrame, boxes: Floats, context: Context) -> NDArray[np.bytes_]:
    """(n,) hashes of scene, detector, label and place (in tenths of a scene pixel).

    Of equal ones each after the first is numbered.
    """
    ids = np.empty(len(objects), f"S{2 * ID_BYTES}")
    for low in range(0, len(objects), GROUP):
        some = slice(low, low + GROUP)
        ids[some] = [_hashed(key) for key in _keys(objects.iloc[some], boxes[some], context)]
    _, number, times = np.unique(ids, return_inverse=True, return_counts=True)
    again = np.flatnonzero(times[number] > 1)
    again = again[np.argsort(number[again], kind="stable")]
    for rows in np.split(again, np.flatnonzero(np.diff(number[again])) + 1) if len(again) else ():
        ids[rows] = _numbered(objects.iloc[rows], boxes[rows], context)
    return ids


def _numbered(objects: gpd.GeoDataFrame, boxes: Floats, context: Context) -> list[str]:
    """Ids of equals, in an order that depends on all that they say, not on the row."""
    keys = _keys(objects, boxes, context)
    exact = shapely.to_wkb(_in_scene(objects, context), hex=True)
    score = objects["score"].tolist()
    texts = [
        json.dumps(values, sort_keys=True, default=plain)
        for values in zip(*_plain_columns(objects).values(), strict=True)
    ]
    ids = [""] * len(keys)
    order = sorted(range(len(keys)), key=lambda i: (keys[i], exact[i], score[i], texts[i]))
    for place, row in enumerate(order):
        ids[row] = _hashed(f"{keys[row]}#{place}" if place else keys[row])
    return ids


def _keys(objects: gpd.GeoDataFrame, boxes: Floats, context: Context) -> list[str]:
    """What the ids are hashes of."""
    shapes = _in_scene(objects, context)
    tenths = shapely.normalize(shapely.transform(shapes, lambda xy: np.round(xy * 10)))
    points = shapely.get_coordinates(tenths).astype(np.int64).ravel().tolist()
    stops = np.cumsum(2 * shapely.get_num_coordinates(tenths)).tolist()
    squares = np.round(boxes * 10).astype(np.int64).tolist()
    return [
        json.dumps(
            [context.scene_id, context.detector.name, label, shape.geom_type, points[low:high], box]
        )
        for label, shape, low, high, box in zip(
            objects["label"], tenths, [0, *stops[:-1]], stops, squares, strict=True
        )
    ]


def _hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[: 2 * ID_BYTES]


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
