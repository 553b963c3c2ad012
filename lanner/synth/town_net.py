"""Streets of a town and the plan they make. Metres, y down."""

from __future__ import annotations

from typing import NamedTuple

import shapely

from lanner.synth.raster import F64

MARGIN = 50.0
"""Metres beyond the chip that are planned too, for shadows and whole blocks."""


class Street(NamedTuple):
    """(n, 2) metres of a centre line; class as in `roads.WIDTHS`, a track being a back alley;
    width in metres; lanes across; traffic one way only; level: -1 below others, 1 on a bridge.
    """

    line: F64
    kind: str
    width: float
    lanes: int
    oneway: bool = False
    level: int = 0


class Plan(NamedTuple):
    """Streets, their round ends (x, y, radius), and the land that belongs to a freeway."""

    streets: list[Street]
    bulbs: list[tuple[float, float, float]]
    corridor: shapely.Geometry | None


def parts(geometry: shapely.Geometry) -> list[F64]:
    """The lines of a geometry that are longer than 2 m, as points."""
    return [
        shapely.get_coordinates(one)
        for one in shapely.get_parts(shapely.line_merge(geometry))
        if one.geom_type == "LineString" and one.length > 2
    ]
