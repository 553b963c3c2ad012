"""Road classes by a table of rules over width, length, straightness and connectivity.

What imagery shows is form, not law: the classes borrow OpenStreetMap's words for roads that look
so. Rules are tried in order over the stroke a line belongs to (the road through its junctions),
so that a road keeps its class from junction to junction.
"""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pydantic import Field

from lanner.core.config import Strict
from lanner.core.schema import Column
from postprocess.context import Context
from postprocess.frame import column
from postprocess.roads.network import FEW, Network, from_frame
from postprocess.roads.strokes import strokes

COLUMNS = (Column("road_class", "text", "what kind of road, by length, width and junctions"),)


class Rule(Strict):
    """A class and what a stroke must at least have for it (`max_width_m`: at most)."""

    road_class: str
    min_width_m: float = Field(0.0, ge=0)
    max_width_m: float = Field(1000.0, gt=0)
    min_length_m: float = Field(0.0, ge=0)
    min_straightness: float = Field(0.0, ge=0, le=1)
    min_junctions: int = Field(0, ge=0)


RULES = (
    Rule(road_class="motorway", min_width_m=20, min_length_m=800, min_straightness=0.8),
    Rule(road_class="primary", min_width_m=12, min_length_m=500, min_straightness=0.6),
    Rule(road_class="secondary", min_width_m=8.5, min_length_m=400, min_junctions=2),
    Rule(road_class="residential", min_width_m=4.5, min_length_m=60, min_junctions=1),
    Rule(road_class="unclassified", min_width_m=4.5, min_length_m=400),
    Rule(road_class="service", min_width_m=4.5),
    Rule(road_class="track", min_width_m=2.5),
    Rule(road_class="path"),
)
"""First match wins. A short piece of wide road (a ramp, a yard) falls through to `service`; a
long one that meets no other road is `unclassified`."""


class Params(Strict):
    """The table, and how strokes are made."""

    rules: tuple[Rule, ...] = Field(RULES, min_length=1)
    otherwise: str = Field("unclassified", description="the class where no rule holds")
    turn_deg: float = Field(30.0, ge=0, lt=90, description="largest turn within one road")
    direction_m: float = Field(20.0, gt=0, description="directions are taken over this length")


def run(objects: gpd.GeoDataFrame, context: Context, params: Params) -> gpd.GeoDataFrame:
    """Set `road_class`, and `note` with the road's figures that decided it.

    Needs `length_m` and `width_m` from `measure`.
    """
    objects = objects.copy()
    found = from_frame(objects)
    if not len(found):
        objects["road_class"] = column([])
        return objects
    stroke = strokes(found, params.turn_deg, params.direction_m / context.grid.gsd)
    roads = _figures(found, objects, stroke)
    named = _named(roads, params)
    figures = [
        f"{name}: road {row.length_m:.0f} m long, {row.width_m:.1f} m wide, straightness "
        f"{row.straightness:.2f}, {row.junctions:.0f} junctions"
        for name, row in zip(named, roads.itertuples(), strict=True)
    ]
    objects["road_class"] = column([named[i] for i in stroke])
    objects["note"] = column([figures[i] for i in stroke])
    return objects


def _figures(found: Network, objects: gpd.GeoDataFrame, stroke: NDArray[np.int64]) -> pd.DataFrame:
    """One row a stroke: length_m, width_m, straightness, junctions.

    The width is the lines' mean weighted by length; straightness the chord of each line over its
    length, weighted alike (a ring has none); junctions are nodes where three or more lines end.
    """
    length = objects["length_m"].to_numpy(np.float64)
    width = objects["width_m"].to_numpy(np.float64)
    straight = np.minimum(_chords(found) / found.length, 1.0)
    total = np.bincount(stroke, weights=length)
    safe = np.maximum(total, 1e-9)
    pairs = np.stack([np.repeat(stroke, 2), found.ends.ravel()], axis=1)
    pairs = np.unique(pairs[found.degree[pairs[:, 1]] >= 3], axis=0)
    return pd.DataFrame(
        {
            "length_m": total,
            "width_m": np.bincount(stroke, weights=length * width) / safe,
            "straightness": np.bincount(stroke, weights=length * straight) / safe,
            "junctions": np.bincount(pairs[:, 0], minlength=len(total)),
        }
    )


def _chords(found: Network) -> NDArray[np.float64]:
    """(n,) from each line's first point to its last, of a few lines at a time."""
    chord = np.empty(len(found))
    for low in range(0, len(found), FEW):
        first, last = found.nodes[found.ends[low : low + FEW]].transpose(1, 0, 2)
        chord[low : low + FEW] = shapely.distance(shapely.points(first), shapely.points(last))
    return chord


def _named(roads: pd.DataFrame, params: Params) -> list[str]:
    """The first rule's class for each road."""
    conditions: list[Any] = [
        (roads["width_m"] >= rule.min_width_m)
        & (roads["width_m"] <= rule.max_width_m)
        & (roads["length_m"] >= rule.min_length_m)
        & (roads["straightness"] >= rule.min_straightness)
        & (roads["junctions"] >= rule.min_junctions)
        for rule in params.rules
    ]
    which = np.select(conditions, range(len(conditions)), len(conditions))
    names = [*(rule.road_class for rule in params.rules), params.otherwise]
    return [names[int(i)] for i in which]
