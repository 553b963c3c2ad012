"""The objects frame: the columns every step may rely on, and how they are kept in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from math import isnan
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import shapely
from geopandas.array import GeometryDtype
from numpy.typing import ArrayLike, NDArray

from lanner.core.errors import StepError

REQUIRED = ("geometry", "label", "score", "votes")
"""Columns a step's result must have; the others of `COLUMNS` are filled where missing."""

COLUMNS = (*REQUIRED, "outline", "tile", "cut", "steps", "rejected")

LEFT, TOP, RIGHT, BOTTOM = 1, 2, 4, 8
"""Bits of `cut`: the object touches that side of its tile's window."""

MANY = 10_000
"""Objects from which on it pays to give memory back to the system: what is given back must be had
again, page by page, for the next scene."""


def candidates(
    boxes: ArrayLike,
    *,
    scores: ArrayLike,
    votes: Sequence[Mapping[str, float]],
    tiles: ArrayLike,
    cuts: ArrayLike,
    labels: Sequence[str],
    outlines: Sequence[shapely.Polygon | None] | None = None,
) -> gpd.GeoDataFrame:
    """A candidates frame from (n, 4) boxes x0 y0 x1 y1 in grid pixels and n of everything else."""
    xyxy = np.asarray(boxes, np.float64).reshape(-1, 4)
    shapes = column([None] * len(xyxy) if outlines is None else list(outlines))
    frame = gpd.GeoDataFrame(
        {
            "geometry": shapely.box(*xyxy.T) if len(xyxy) else [],
            "outline": gpd.GeoSeries(shapes, crs=None),
            "label": column(labels),
            "score": np.asarray(scores, np.float64),
            "votes": column([dict(vote) for vote in votes]),
            "tile": np.asarray(tiles, np.int64),
            "cut": np.asarray(cuts, np.int64),
        },
        geometry="geometry",
    )
    return tidy(frame, "candidates")


def empty() -> gpd.GeoDataFrame:
    """A frame of no objects with every column in its type: what a raster detector hands over."""
    return candidates(np.empty((0, 4)), scores=[], votes=[], tiles=[], cuts=[], labels=[])


def column(values: Sequence[Any]) -> pd.Series[Any]:
    """A column that holds Python objects just as they are (pandas would guess a type)."""
    # Item by item: assigning the whole would unpack lists of one length.
    return pd.Series(np.fromiter(values, dtype=object, count=len(values)), dtype=object)


def packed(values: Sequence[Any]) -> pd.Series[Any]:
    """A column of nested values, held as plain numbers where they are much alike.

    They are where all are lists of numbers, or dicts of the same keys and numbers. A value is made
    when it is looked at: as Python objects they take ten times as much.
    """
    kinds = {tuple(value) if isinstance(value, dict) else type(value) for value in values}
    if len(kinds) == 1 and (list in kinds or isinstance(next(iter(kinds)), tuple)):
        numbers = chain.from_iterable(v.values() if isinstance(v, dict) else v for v in values)
        if {type(number) for number in numbers} == {float}:
            return pd.Series(pd.arrays.ArrowExtensionArray(pa.array(values)))
    return column(values)


def joined(parts: Sequence[pd.Series[Any]]) -> pd.Series[Any]:
    """Columns one below the other, packed where all are packed alike."""
    if len({part.dtype for part in parts}) > 1:
        # By itself pandas would make arrays of lists.
        parts = [column(p.tolist()) if isinstance(p.dtype, pd.ArrowDtype) else p for p in parts]
    return pd.concat(parts, ignore_index=True)


def seen_px(objects: gpd.GeoDataFrame) -> NDArray[np.float64]:
    """(n,) side of the pixels that each outline was seen in, in grid pixels.

    The column `seen_px` says it; without it, or where it is missing, they are the grid's own.
    """
    if "seen_px" not in objects.columns:
        return np.ones(len(objects))
    pixel = objects["seen_px"].to_numpy(np.float64)
    return np.where(np.isfinite(pixel), pixel, 1.0)


def tidy(objects: object, step: str) -> gpd.GeoDataFrame:
    """The same objects with every contract column, plain types and a fresh index.

    Text becomes Python `str` with None for missing, `tile` and `cut` int64, `score` float64,
    `outline` a geometry column.

    Raises:
        StepError: not a GeoDataFrame, or a required column is missing.
    """
    if not isinstance(objects, gpd.GeoDataFrame):
        raise StepError(
            "step", step, f"returned a {type(objects).__name__}", "return a GeoDataFrame"
        )
    missing = [name for name in REQUIRED if name not in objects.columns]
    if missing or objects._geometry_column_name != "geometry":
        raise StepError(
            "step",
            step,
            f"returned objects without the columns {missing or ['geometry']}",
            "keep every column it was given",
        )
    frame = objects.reset_index(drop=True)
    size = len(frame)
    for name in COLUMNS:
        if name not in frame.columns:
            frame[name] = {"tile": -1, "cut": 0}.get(name, column([None] * size))
    # Of a chain's frames hardly any column is to be changed, and each change of one takes a
    # quarter of a millisecond.
    kinds = dict(frame.dtypes)
    if not isinstance(kinds["outline"], GeometryDtype):
        outlines = np.array(frame["outline"].array, dtype=object)
        outlines[~shapely.is_geometry(outlines)] = None
        frame["outline"] = gpd.GeoSeries(outlines, index=frame.index)
        del kinds["outline"]
    for name, kind in kinds.items():
        if pd.api.types.is_object_dtype(kind) or pd.api.types.is_string_dtype(kind):
            plain = _plain(frame[name])
            if plain is not None:
                frame[name] = plain
    for name, kind in (("score", np.float64), ("tile", np.int64), ("cut", np.int64)):
        if kinds[name] != kind:
            frame[name] = frame[name].astype(kind)
    return frame


def _plain(values: pd.Series[Any]) -> pd.Series[Any] | None:
    """The same objects, with None for whatever says that there is none; None where that is what
    they are.
    """
    held = np.array(values, dtype=object)
    changed = values.dtype != object
    for i in np.flatnonzero(pd.isna(held)).tolist():
        if held[i] is not None and _missing(held[i]):
            held[i], changed = None, True
    return pd.Series(held, dtype=object) if changed else None


def _missing(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and isnan(value))
