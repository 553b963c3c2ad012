"""A whole scene as one display list, with everything that is true about it."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
import shapely

from lanner.synth import airframe, parked, roads
from lanner.synth.airfield import Airfield, Slot
from lanner.synth.country import Country
from lanner.synth.georef import Georef, georef
from lanner.synth.livery import random_livery
from lanner.synth.raster import F64
from lanner.synth.roads import Road
from lanner.synth.sketch import Picture, Sketch, Sun
from lanner.synth.sky import Sky, make_sky
from lanner.synth.spec import RenderSpec

_GRID_M = 950.0


@dataclass(frozen=True)
class World:
    """What a scene shows; `roads` and `aircraft` are in layout metres (pixel times gsd)."""

    spec: RenderSpec
    place: Georef
    picture: Picture
    sky: Sky
    roads: tuple[Road, ...]
    aircraft: tuple[Slot, ...]


def build_world(spec: RenderSpec) -> World:
    """Lay out everything; the same spec gives the same world."""
    place = georef(spec)
    wide, tall = spec.width * place.gsd[0], spec.height * place.gsd[1]
    country = Country(spec.seed, _GRID_M, max(place.gsd))
    sketch = Sketch(Sun.random(country.rng(4)))
    fields = _airfields(country.rng(5), wide, tall, spec.aircraft)

    def inside(point: F64) -> bool:
        return any(field.inside(point) for field in fields)

    net = country.lay(sketch, (0.0, 0.0, wide, tall), inside)
    visible = _outside(net, fields) if spec.roads else []
    roads.draw(sketch, visible, country.rng(6), country.climate, country.gsd)
    for k, road in enumerate(visible):
        if road.kind in ("primary", "residential") and country.rng(7, k).random() < 0.3:
            roads.alley(sketch, road, country.rng(8, k), country.climate, 22.0)
    roads.traffic(sketch, visible, country.rng(9))
    slots: list[Slot] = []
    for k, field in enumerate(fields):
        slots += field.draw(sketch, country.rng(10, k), country.climate, spec.roads)
        if spec.roads:
            visible += field.perimeter()
    chosen = _choose(slots, country.rng(11), wide, tall, spec.aircraft)
    for k, (kind, pose) in enumerate(chosen):
        # An air force paints all of one type alike; airlines meet at one terminal.
        own = kind.role in ("military", "fighter")
        key = (13, sum(kind.icao.encode())) if own else (12, k)
        livery = random_livery(country.rng(*key), kind.role)
        parked.draw(sketch, airframe.true_airframe(kind), livery, pose)
    sky = make_sky(
        (spec.width, spec.height), place.gsd, sketch.sun, spec.seed, spec.clouds, spec.nodata_wedge
    )
    return World(spec, place, sketch.done(), sky, tuple(visible), tuple(chosen))


def _airfields(
    rng: np.random.Generator, wide: float, tall: float, aircraft: int | None
) -> list[Airfield]:
    """One airfield, more where the scene is wide or the aircraft many; none for none."""
    if aircraft == 0:
        return []
    extent = min(wide, tall)
    wanted = max(wide * tall / 4.5e7, (aircraft or 0) / 70, 1.0)
    cell = max(sqrt(wide * tall / wanted), 3300.0)
    nx, ny = max(1, int(wide // cell)), max(1, int(tall // cell))
    dx, dy = wide / nx, tall / ny
    fields = []
    for j in range(ny):
        for i in range(nx):
            # In a small scene the apron is the middle; in a large one it wanders.
            free = max(0.0, min(dx, dy) / 2 - 1600)
            shift = rng.uniform(-1, 1, 2) * min(free, 0.2 * min(dx, dy))
            at = ((i + 0.5) * dx + float(shift[0]), (j + 0.5) * dy + float(shift[1]))
            fields.append(Airfield.sized(at, float(rng.uniform(0, 2 * np.pi)), min(dx, dy, extent)))
    return fields


def _outside(net: list[Road], fields: list[Airfield]) -> list[Road]:
    """The roads cut at the airfields' fences, where the perimeter roads take them up."""
    if not fields:
        return list(net)
    closed = shapely.union_all([shapely.Polygon(field.fence) for field in fields])
    kept: list[Road] = []
    for road in net:
        line = shapely.LineString(road.line)
        if not line.intersects(closed):
            kept.append(road)
            continue
        rest = line.difference(closed)
        for part in shapely.get_parts(rest):
            if part.length > 1.0:
                kept.append(Road(shapely.get_coordinates(part), road.kind, road.width))
    return kept


def _choose(
    slots: list[Slot], rng: np.random.Generator, wide: float, tall: float, wanted: int | None
) -> list[Slot]:
    """Those whose middle is in view, `wanted` of them at random, in their own order."""
    visible = [s for s in slots if 0 <= s[1].x < wide and 0 <= s[1].y < tall]
    count = len(visible) if wanted is None else min(wanted, len(visible))
    picked = rng.permutation(len(visible))[:count]
    return [visible[k] for k in sorted(picked)]
