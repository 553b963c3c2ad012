"""Frames to GeoParquet and back without loss, nested columns included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from lanner.errors import StepError
from postprocess.files import replacing
from postprocess.frame import column, tidy

BATCH = 1000
"""JSON texts parsed in one go: starting the parser costs as much as a short text."""

MARK = ":json"
"""Ending of a stored column's name whose text is the JSON of a nested value."""


def plain(value: Any) -> Any:
    """Scalars and arrays of numpy as plain numbers and lists: the `default` of `json.dumps`."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a column holds a {type(value).__name__}, which JSON cannot say")


_ENCODER = json.JSONEncoder(default=plain)


def write_snapshot(objects: gpd.GeoDataFrame, path: Path) -> None:
    """Write one frame; the file appears whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    stored = objects.copy()
    names = {}
    for name in objects.columns:
        values = objects[name]
        nested = values.dtype == object and not all(v is None or isinstance(v, str) for v in values)
        if nested:
            stored[name] = column([None if v is None else _ENCODER.encode(v) for v in values])
            names[name] = f"{name}{MARK}"
    with replacing(path) as beside:
        stored.rename(columns=names).to_parquet(beside, index=False)


def read_snapshot(path: Path) -> gpd.GeoDataFrame:
    """Read what `write_snapshot` wrote.

    Raises:
        StepError: the snapshot is missing or unreadable.
    """
    try:
        stored = gpd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise StepError(
            "snapshot", path.name, f"cannot be read ({error})", "run the chain from the beginning"
        ) from error
    names = {}
    for name in stored.columns:
        if name.endswith(MARK):
            stored[name] = column(_decoded(stored[name]))
            names[name] = name.removesuffix(MARK)
    return tidy(stored.rename(columns=names), path.stem)


def _decoded(texts: pd.Series[Any]) -> list[Any]:
    """What each JSON text says; None where there is none."""
    said = np.where(texts.isna(), "null", texts).tolist()
    return [
        value
        for low in range(0, len(said), BATCH)
        for value in json.loads(f"[{','.join(said[low : low + BATCH])}]")
    ]
