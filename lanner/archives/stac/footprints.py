"""Where scenes lie, as GeoJSON wants it: cut at the antimeridian, carried to a pole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from lanner.archives.records import BatchRecord, Ring
from lanner.archives.scenes import Bounds
from lanner.archives.sources.extents import box_of

if TYPE_CHECKING:
    import shapely

    from tiling.place import Place

_FEWEST = 4
"""Points of a closed ring."""


def footprints(records: Iterable[BatchRecord]) -> dict[str, shapely.Geometry]:
    """Polygons of longitude and latitude within -180 to 180 degrees, by name of the scene.

    A scene's own footprint goes before the bounds that a catalogue says; a scene that has
    neither is left out.
    """
    found: dict[str, shapely.Geometry] = {}
    said: dict[str, Bounds] = {}
    for one in records:
        name = one.scene.name
        if one.scene.bounds is not None:
            said[name] = one.scene.bounds
        if one.facts is not None and one.facts.footprint is not None and name not in found:
            shape = _placed(one.facts.footprint)
            if shape is not None:
                found[name] = shape
    for name in said.keys() - found.keys():
        found[name] = _box(said[name])
    return dict(sorted(found.items()))


def geometry(shape: shapely.Geometry) -> dict[str, Any]:
    """The GeoJSON object of a footprint."""
    from postprocess.rfc7946 import mapping

    return mapping(shape)


def bounds(shapes: Sequence[shapely.Geometry]) -> list[float] | None:
    """West, south, east, north around footprints; west is above east across the antimeridian."""
    import shapely

    from postprocess.rfc7946 import bbox

    return bbox(shapely.bounds(shapely.get_parts(list(shapes))))


def _box(said: Bounds) -> shapely.Geometry:
    import shapely

    return shapely.orient_polygons(box_of(said))


def _placed(ring: Ring) -> shapely.Geometry | None:
    """A ring as a geometry that RFC 7946 takes; None for what encloses nothing."""
    import numpy as np
    import shapely

    from postprocess.rfc7946 import to_lonlat

    if len(ring) < _FEWEST:
        return None
    try:
        shape = to_lonlat(np.array([shapely.Polygon(ring)], object), _still())[0]
    except (IndexError, shapely.GEOSException):  # one around the Earth and along a pole
        return None
    return None if shape.is_empty or shape.area == 0 else shape


@lru_cache(maxsize=1)
def _still() -> Place:
    """A place that moves nothing: footprints are longitude and latitude already."""
    import pyproj
    from affine import Affine

    from tiling.place import LONLAT, Place

    return Place(Affine.identity(), pyproj.CRS(LONLAT), (1.0, 1.0))
