"""The map of footprints: equirectangular, as wide as its middle latitude makes it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, cos, floor, log10, radians
from typing import TYPE_CHECKING, TypeVar

from lanner.archives.figures import SceneSum
from lanner.archives.report.land import outlines
from lanner.archives.words import number, plural

if TYPE_CHECKING:
    import numpy as np
    import shapely
    from numpy.typing import NDArray

Number = TypeVar("Number", float, "NDArray[np.float64]")
"""One number, or many."""

WIDTH = 1080.0
_HEIGHTS = (360.0, 540.0)
_MARGIN = 0.12
"""Of the footprints' extent, on each side."""
_LEAST = 0.02
"""Degrees that are shown at least: one small scene is not the whole map."""
_FLATTEST = 0.15
"""Cosine of the latitude at least: near a pole a degree of longitude has no width."""
_LAND_FROM = 12.0
"""Degrees of longitude from which the freehand coasts are worth drawing."""
_STEPS = (30.0, 15.0, 10.0, 5.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002)
_APART = 130.0
"""Pixels between lines of the graticule at least."""
_LEVELS = 4
_DETAIL = 0.3
"""Pixels that a simplified outline may be off."""
_DOT = 10.0
"""Pixels up to which a footprint is a dot."""
_KM = 111.195
"""Kilometres of a degree of latitude."""


@dataclass(frozen=True)
class Mark:
    """One footprint: its path, how it is painted and what it tells; dots are not `large`."""

    path: str
    large: bool
    style: str
    tip: str
    name: str


@dataclass(frozen=True)
class Line:
    """A line of the graticule and its label, which stands at its lower or left end."""

    at: float
    text: str


@dataclass(frozen=True)
class Key:
    """One entry of the legend."""

    style: str
    text: str


@dataclass(frozen=True)
class WorldMap:
    """What is drawn, in pixels of a picture `width` by `height`."""

    width: float
    height: float
    land: tuple[str, ...]
    meridians: tuple[Line, ...]
    parallels: tuple[Line, ...]
    marks: tuple[Mark, ...]
    keys: tuple[Key, ...]
    scale: Line


@dataclass(frozen=True)
class _View:
    """West and north in degrees at the picture's corner, pixels a degree each way, height."""

    west: float
    north: float
    per_lon: float
    per_lat: float
    height: float

    @property
    def east(self) -> float:
        return self.west + WIDTH / self.per_lon

    @property
    def south(self) -> float:
        return self.north - self.height / self.per_lat

    def x(self, lon: Number) -> Number:
        return (lon - self.west) * self.per_lon

    def y(self, lat: Number) -> Number:
        return (self.north - lat) * self.per_lat


def world_map(
    scenes: Sequence[SceneSum], shapes: Mapping[str, shapely.Geometry]
) -> WorldMap | None:
    """The map of scenes; None where none has a place.

    Args:
        scenes: each once.
        shapes: footprints within -180 to 180 degrees, by name of the scene.
    """
    from lanner.archives.stac.footprints import bounds

    placed = [one for one in scenes if one.name in shapes]
    box = bounds([shapes[one.name] for one in placed]) if placed else None
    if box is None:
        return None
    view = _view(box)
    edges = _edges([one.features for one in placed if one.state == "done"])
    marks = [
        Mark(*_path(shapes[one.name], view), _style(one, edges), _tip(one), one.name)
        # What matters most is painted last.
        for one in sorted(placed, key=lambda one: (_rank(one), one.features, one.name))
    ]
    return WorldMap(
        width=WIDTH,
        height=round(view.height, 1),
        land=_land(view),
        meridians=_graticule(view.west, view.east, view.per_lon, view.x, "EW"),
        parallels=_graticule(view.south, view.north, view.per_lat, view.y, "NS"),
        marks=tuple(marks),
        keys=_keys(placed, edges),
        scale=_scale(view),
    )


def _view(box: Sequence[float]) -> _View:
    """What the map shows: the footprints and some room about them."""
    west, south, east, north = box
    east += 360.0 * (east < west)
    middle = (south + north) / 2
    wide = max((east - west) * (1 + 2 * _MARGIN), _LEAST)
    high = max((north - south) * (1 + 2 * _MARGIN), _LEAST)
    squeeze = max(cos(radians(middle)), _FLATTEST)
    per_lat = min(WIDTH / (wide * squeeze), _HEIGHTS[1] / high)
    # No place is shown twice.
    per_lat = max(per_lat, WIDTH / (360.0 * squeeze))
    height = min(max(high * per_lat, _HEIGHTS[0]), _HEIGHTS[1], 180.0 * per_lat)
    half = height / per_lat / 2
    middle = min(max(middle, half - 90.0), 90.0 - half)
    span = WIDTH / (per_lat * squeeze)
    centre = (west + east) / 2 if span < 359.0 else 0.0
    return _View(centre - span / 2, middle + half, per_lat * squeeze, per_lat, height)


def _path(shape: shapely.Geometry, view: _View) -> tuple[str, bool]:
    """The outline in pixels, and whether it is more than a dot, which its stroke paints."""
    import numpy as np
    import shapely

    turned = [_turned(part, view.west) for part in shapely.get_parts(shape)]
    # Parts that were cut at the antimeridian are one again.
    whole = shapely.transform(
        shapely.union_all(turned),
        lambda xy: np.column_stack([view.x(xy[:, 0]), view.y(xy[:, 1])]),
    )
    west, north, east, south = (float(one) for one in whole.bounds)
    large = max(east - west, south - north) > _DOT
    if max(east - west, south - north) < 1:
        return f"M{(west + east) / 2:.1f} {(north + south) / 2:.1f}h0", large
    rings = [
        shapely.get_coordinates(part.exterior)[:-1]
        for part in shapely.get_parts(shapely.simplify(whole, _DETAIL))
    ]
    return "".join(_outline([(float(x), float(y)) for x, y in ring]) for ring in rings), large


def _turned(part: shapely.Geometry, west: float) -> shapely.Geometry:
    """A part on the turn of the Earth that the map shows it on."""
    from shapely.affinity import translate

    middle = (part.bounds[0] + part.bounds[2]) / 2
    return part if middle >= west else translate(part, 360.0)


def _outline(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + "Z"


def _land(view: _View) -> tuple[str, ...]:
    """Coasts, on whichever turn of the Earth they are in view."""
    if view.east - view.west < _LAND_FROM:
        return ()
    found = []
    for coast in outlines():
        for turn in (-360.0, 0.0, 360.0):
            lons, lats = [lon + turn for lon, _ in coast], [lat for _, lat in coast]
            across = max(lons) > view.west and min(lons) < view.east
            if across and max(lats) > view.south and min(lats) < view.north:
                points = zip(lons, lats, strict=True)
                found.append(_outline([(view.x(lon), view.y(lat)) for lon, lat in points]))
    return tuple(found)


def _graticule(
    low: float, high: float, pixels: float, place: Callable[[float], float], signs: str
) -> tuple[Line, ...]:
    """Lines at round degrees, and what they are called."""
    step = min((one for one in _STEPS if one * pixels >= _APART), default=_STEPS[0])
    lines = []
    for k in range(ceil(low / step), floor(high / step) + 1):
        degrees = k * step
        if abs(degrees) < 90 or signs == "EW":
            lines.append(Line(round(place(degrees), 1), _degrees(degrees, signs)))
    return tuple(lines)


def _degrees(value: float, signs: str) -> str:
    if signs == "EW":
        value = (value + 180.0) % 360.0 - 180.0
    size = f"{round(abs(value), 3):g}°"
    if round(value, 6) in (0.0, -180.0):
        return size
    return f"{size} {signs[0] if value > 0 else signs[1]}"


def _scale(view: _View) -> Line:
    """Length in pixels of a bar of round kilometres, true in the middle of the map."""
    per_km = view.per_lat / _KM
    longest = 160.0 / per_km
    power = 10.0 ** floor(log10(longest))
    km = max(k * power for k in (1, 2, 5) if k * power <= longest)
    return Line(round(km * per_km, 1), f"{km:,.0f} km" if km >= 1 else f"{km * 1000:,.0f} m")


def _edges(counts: Sequence[int]) -> tuple[int, ...]:
    """The highest number of each level, as many times the one before; none where all are 0."""
    most = max(counts, default=0)
    if most == 0:
        return ()
    return tuple(sorted({round(most ** ((k + 1) / _LEVELS)) for k in range(_LEVELS)}))


def _rank(one: SceneSum) -> int:
    return ("skipped", "waiting", "done", "failed").index(one.state)


def _style(one: SceneSum, edges: tuple[int, ...]) -> str:
    return _level(one.features, edges) if one.state == "done" else one.state


def _level(count: int, edges: tuple[int, ...]) -> str:
    """`n0` to `n4`: the highest number always has the strongest colour."""
    if count == 0:
        return "n0"
    return f"n{_LEVELS - len(edges) + 1 + bisect_left(edges, count)}"


def _tip(one: SceneSum) -> str:
    told = plural(one.features, "feature") if one.state == "done" else one.state
    return f"{one.name}: {told}"


def _keys(scenes: Sequence[SceneSum], edges: tuple[int, ...]) -> tuple[Key, ...]:
    """What the colours say, of those that there are."""
    states = {one.state for one in scenes}
    keys = []
    if any(one.state == "done" and one.features == 0 for one in scenes):
        keys.append(Key("n0", "0"))
    lowest = 1
    for edge in edges:
        text = number(edge) if edge == lowest else f"{number(lowest)} to {number(edge)}"
        keys.append(Key(_level(edge, edges), text))
        lowest = edge + 1
    keys += [Key(state, state) for state in ("failed", "skipped", "waiting") if state in states]
    return tuple(keys)
