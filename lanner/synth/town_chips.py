"""Small training pictures of towns with exact masks of their streets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from lanner.synth import ground, sensor, texture, town_blocks, town_street
from lanner.synth.ground import Rng
from lanner.synth.raster import F64
from lanner.synth.road_chips import RoadChip, covered
from lanner.synth.roads import Road, along, hermite
from lanner.synth.sketch import Picture, Rgb, Sketch, ribbon
from lanner.synth.sky import make_sky
from lanner.synth.town_look import Look, random_look, random_sun
from lanner.synth.town_net import MARGIN, Plan
from lanner.synth.town_plan import random_plan
from lanner.synth.town_things import fill, rings, scattered, trees

F32 = NDArray[np.float32]


def render_town_chip(rng: Rng, size: int, gsd: float) -> RoadChip:
    """A random piece of a town and its streets.

    Args:
        rng: source of everything random; equal states give equal chips.
        size: side in pixels.
        gsd: metres a pixel; sensible from 0.2 to 2.

    Returns:
        Picture and truth: `mask` is what is driven on in streets, junctions and turning circles
        in true width, also under trees and in shade; car parks, drives and footpaths are not,
        and neither are back alleys, which are among `roads` though (class track). Both
        carriageways of a divided street are roads of their own. `width` is in metres.
    """
    extent = size * gsd
    sketch = Sketch(random_sun(rng))
    look = random_look(rng, sketch, gsd)
    plan = random_plan(rng, extent)
    streets = draw_town(sketch, rng, look, plan, extent)
    # Whole pixels, so that the texture's own grid and the chip's agree.
    corner = (int(rng.integers(2**14)), int(rng.integers(2**14)))
    picture = _moved(sketch.done(), np.array(corner) * gsd)
    flat = picture.render((corner[0] - 1, corner[1] - 1), (size + 2, size + 2), (1 / gsd, 1 / gsd))
    light = _grade(sensor.blur(flat, float(rng.uniform(0.0, 0.28))), rng)
    if rng.random() < 0.06:
        seed, cover = int(rng.integers(2**31)), float(rng.uniform(0.02, 0.2))
        make_sky((size, size), (gsd, gsd), sketch.sun, seed, cover, False).veil(light, (0, 0))
    rgb = sensor.random_develop(light, texture.noise()[0], rng)
    mask = covered(rings(streets), (0, 0), size, gsd)
    named = [s for s in plan.streets if s.kind != "track"]
    centre = covered([ribbon(s.line, 1.5 * gsd) for s in named], (0, 0), size, gsd)
    lines = tuple(Road(s.line / gsd, s.kind, s.width) for s in plan.streets)
    return RoadChip(rgb, mask, centre & mask, lines)


def draw_town(sketch: Sketch, rng: Rng, look: Look, plan: Plan, extent: float) -> shapely.Geometry:
    """Paint a town; what is driven on, as polygons in metres."""
    whole = shapely.box(-MARGIN, -MARGIN, extent + MARGIN, extent + MARGIN)
    fill(sketch, whole, ground.vary(rng, look.region.soil, 6), look.earth)
    level = town_street.surface(plan, 0)
    land = whole.difference(level.buffer(look.side, 3))
    if plan.corridor is not None:
        _verge(sketch, rng, look, plan.corridor, town_street.surface(plan))
        land = land.difference(plan.corridor)
    mix = town_blocks.random_mix(rng, look)
    for area in shapely.get_parts(land):
        if area.geom_type == "Polygon" and area.area > 60:
            town_blocks.draw(sketch, rng, look, mix, area.simplify(0.4))
    if rng.random() < 0.12:
        _distraction(sketch, rng, look, extent)
    town_street.verges(sketch, look, level)
    town_street.paint(sketch, rng, look, plan, level)
    town_street.traffic(sketch, rng, look, plan)
    _avenues(sketch, rng, look, plan)
    return town_street.surface(plan, alleys=False)


def _verge(
    sketch: Sketch, rng: Rng, look: Look, corridor: shapely.Geometry, roads: shapely.Geometry
) -> None:
    """The land of a freeway: grass or earth, some scrub."""
    tone = look.region.grass if rng.random() < look.region.lawn else look.region.soil
    fill(sketch, corridor, ground.vary(rng, tone, 9), look.lawn)
    free = corridor.difference(roads.buffer(3))
    spots = scattered(rng, free, int(rng.poisson(look.trees * 80)))
    trees(sketch, rng, look, spots, rng.uniform(0.8, 3.0, len(spots)))


def _avenues(sketch: Sketch, rng: Rng, look: Look, plan: Plan) -> None:
    """Trees along the streets, whose crowns and shadows cover part of them."""
    often = float(np.clip(rng.uniform(-0.4, 1.0), 0, 1)) * min(1.0, look.trees * 1.5)
    big = float(rng.uniform(1.5, 5.5))
    for street in plan.streets:
        if street.kind == "motorway" or street.level or rng.random() > often:
            continue
        for side in (-1, 1):
            step = float(rng.uniform(7, 28))
            at, way = along(street.line, step, float(rng.uniform(0, step)))
            out = np.stack([-way[:, 1], way[:, 0]], 1) * side
            reach = street.width / 2 + rng.uniform(0.5, 1 + look.side, (len(at), 1))
            kept = rng.random(len(at)) < 0.75
            radius = big * rng.uniform(0.6, 1.2, len(at))
            trees(sketch, rng, look, (at + out * reach)[kept], radius[kept])


def _distraction(sketch: Sketch, rng: Rng, look: Look, extent: float) -> None:
    """A canal or a railway across the chip, under the streets: long, straight and no road."""
    way = float(rng.uniform(0, 2 * np.pi))
    out = np.array([np.cos(way), np.sin(way)]) * (extent / 2 + MARGIN) * 1.5
    middle = extent / 2 + rng.uniform(-0.4, 0.4, 2) * extent
    line = hermite(middle - out, middle + out, out * 2, out * 2 + rng.normal(0, 60, 2))
    if rng.random() < 0.5:
        width = float(rng.uniform(5, 22))
        sketch.line(
            line, width + float(rng.uniform(2, 9)), ground.vary(rng, look.kerb, 8), look.earth
        )
        sketch.line(line, width, ground.vary(rng, (62, 78, 72), 12), look.tarmac)
        return
    tracks, bed = int(rng.integers(1, 4)), (128.0, 118.0, 110.0)
    sketch.line(line, 4.5 * tracks + 3, ground.vary(rng, bed, 10), look.earth)
    tone: Rgb = ground.vary(rng, (84, 76, 72), 8)
    for k in range(tracks):
        at, along_ = along(line, 1.0)
        side = np.stack([-along_[:, 1], along_[:, 0]], 1)
        course = at + side * (k - (tracks - 1) / 2) * 4.5
        for rail in (-0.75, 0.75):
            sketch.line(course + side * rail, 0.25, tone, -1, 0.8)


def _moved(picture: Picture, by: F64) -> Picture:
    """The same display list elsewhere; `by` (2,) metres."""
    return replace(
        picture, coords=picture.coords + by, bounds=picture.bounds + np.concatenate([by, by])
    )


def _grade(light: F32, rng: Rng) -> F32:
    """Saturation, unevenness, sharpness, contrast and gamma of one sensor and its processing."""
    grey = light @ np.array([0.3, 0.55, 0.15], np.float32)
    strong = np.float32(rng.uniform(0.35, 1.05))
    out = grey[..., None] + (light - grey[..., None]) * strong
    # What was painted flat, roofs above all, is never so even.
    grain, pink, _ = texture.noise()
    rows, columns = (np.arange(n) + rng.integers(0, 1024) for n in out.shape[:2])
    at = np.ix_(rows % texture.SIDE, columns % texture.SIDE)
    broad, fine = (np.float32(rng.uniform(0, most)) for most in (0.0016, 0.0011))
    out *= (1 + pink[at] * broad + grain[at] * fine)[..., None]
    if rng.random() < 0.6:
        # Pictures are sold sharpened, with a rim along every edge.
        radius = float(rng.uniform(0.7, 1.6))
        soft = ndimage.gaussian_filter(out, (radius, radius, 0), truncate=2.5)
        out += (out - soft) * np.float32(rng.uniform(0.2, 1.3))
    middle = np.float32(out.mean())
    out = middle + (out - middle) * np.float32(rng.uniform(0.95, 1.5))
    gamma = np.float32(np.exp(rng.normal(0, 0.16)))
    out = np.float32(255) * (np.clip(out, 0, 255) / np.float32(255)) ** gamma
    return np.asarray(out, np.float32)
