"""Which scenes are wanted, as far as is known of them; both stages of a batch ask here."""

from __future__ import annotations

from functools import lru_cache
from math import isfinite
from typing import TYPE_CHECKING

from lanner.archives.scenes import Bounds, SceneFilter
from lanner.archives.sources.extents import HALF, box_of, geometry_of, meet, touches
from lanner.archives.sources.times import FIRST, LAST, Period, period
from lanner.core.errors import Argument, ConfigError

if TYPE_CHECKING:
    import shapely

_TIMES = "give a day such as 2024-05-31, or a time such as 2024-05-31T10:00:00Z"


def unwanted(
    chosen: SceneFilter,
    *,
    bounds: Bounds | None = None,
    footprint: shapely.Geometry | None = None,
    acquired: str | None = None,
    cloud: float | None = None,
) -> str | None:
    """Why a scene is not wanted; None where it is, or where too little is known to say.

    Args:
        chosen: what is asked for.
        bounds: where the scene lies, degrees; west above east across the antimeridian.
        footprint: where it lies more closely, in longitude and latitude.
        acquired: ISO 8601 time or day, or two with `/` between where it took a while.
        cloud: per cent of it under cloud.

    Raises:
        ConfigError: a time that is asked for is none.
    """
    return (
        _elsewhere(chosen, bounds, footprint)
        or _another_time(chosen, acquired)
        or _cloudy(chosen, cloud)
    )


def check_filter(chosen: SceneFilter) -> None:
    """Refuse what no scene could be asked for.

    Raises:
        ConfigError: bounds off the Earth, an empty area, a time that is none, an end before the
            start, or cloud that is no per cent.
    """
    _asked(chosen.start, chosen.end)
    if chosen.bounds is not None:
        west, south, east, north = chosen.bounds
        on_earth = all(isfinite(one) and abs(one) <= HALF for one in (west, east))
        if not (on_earth and -90 <= south <= north <= 90):
            raise ConfigError(
                Argument("bounds"),
                ",".join(f"{one:g}" for one in chosen.bounds),
                "are no bounds",
                "give west, south, east, north in degrees, south below north",
            )
    if chosen.area is not None:
        _check_area(chosen.area)
    if chosen.cloud is not None and not 0 <= chosen.cloud <= 100:
        raise ConfigError(Argument("cloud"), chosen.cloud, "is no per cent", "give 0 to 100")


def _check_area(area: shapely.Geometry) -> None:
    if area.is_empty:
        raise ConfigError(Argument("area"), "", "is empty", "give a polygon")
    west, south, east, north = area.bounds
    # An area across the antimeridian may go on beyond it.
    if not (max(abs(west), abs(east)) <= 2 * HALF and -90 <= south <= north <= 90):
        raise ConfigError(
            Argument("area"),
            f"{west:g},{south:g} to {east:g},{north:g}",
            "is not in degrees of longitude and latitude",
            "reproject it: ogr2ogr -s_srs EPSG:CODE -t_srs EPSG:4326 new.geojson old.geojson",
        )


def _elsewhere(
    chosen: SceneFilter, bounds: Bounds | None, footprint: shapely.Geometry | None
) -> str | None:
    if chosen.bounds is None and chosen.area is None:
        return None
    if footprint is not None:
        footprint = geometry_of(footprint, bounds)
    if chosen.bounds is not None:
        apart = bounds is not None and not meet(bounds, chosen.bounds)
        if apart or (footprint is not None and not touches(footprint, chosen.bounds)):
            return "lies outside the bounds asked for"
    if chosen.area is not None:
        if footprint is None and bounds is not None:
            footprint = box_of(bounds)
        if footprint is not None and not touches(footprint, chosen.area):
            return "lies outside the area asked for"
    return None


def _another_time(chosen: SceneFilter, acquired: str | None) -> str | None:
    if acquired is None or (chosen.start is None and chosen.end is None):
        return None
    taken = period(acquired)
    if taken is None:
        return None
    first, last = _asked(chosen.start, chosen.end)
    if taken[1] <= first:
        return f"was acquired {acquired}, before {chosen.start}"
    if taken[0] >= last:
        return f"was acquired {acquired}, after {chosen.end}"
    return None


def _cloudy(chosen: SceneFilter, cloud: float | None) -> str | None:
    if cloud is None or chosen.cloud is None or cloud <= chosen.cloud:
        return None
    return f"has {cloud:g} % of cloud, more than {chosen.cloud:g} %"


@lru_cache(maxsize=8)
def _asked(start: str | None, end: str | None) -> Period:
    """The first moment that is asked for, and that after the last.

    Raises:
        ConfigError: one is no time, or they are the wrong way round.
    """
    first, last = FIRST, LAST
    if start is not None:
        found = period(start)
        if found is None:
            raise ConfigError(Argument("start"), start, "is no time", _TIMES)
        first = found[0]
    if end is not None:
        found = period(end)
        if found is None:
            raise ConfigError(Argument("end"), end, "is no time", _TIMES)
        last = found[1]
    if first >= last:
        raise ConfigError(
            Argument("end"), end, f"is before the start, {start}", "give `start` before `end`"
        )
    return first, last


def asked_times(chosen: SceneFilter) -> Period:
    """The first moment that is asked for, and that after the last.

    Raises:
        ConfigError: one is no time, or they are the wrong way round.
    """
    return _asked(chosen.start, chosen.end)
