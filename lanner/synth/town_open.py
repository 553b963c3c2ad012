"""Land of a town that nobody built on: parks, woods, wasteland, fields."""

from __future__ import annotations

from itertools import pairwise
from typing import TypeAlias

import numpy as np
import shapely

from lanner.synth import ground
from lanner.synth import town_things as things
from lanner.synth.ground import WHITE, Rng
from lanner.synth.sketch import Sketch, blob
from lanner.synth.texture import Material
from lanner.synth.town_look import Look
from lanner.synth.town_things import boxes, fill, frame, scattered

Area: TypeAlias = shapely.Geometry


def park(sketch: Sketch, rng: Rng, look: Look, area: Area) -> None:
    """Grass with trees and paths, a pitch now and then; or a wood."""
    if look.trees > 0.4 and rng.random() < 0.3:
        wood = sketch.material(Material(0.07, 0.08, 0.03, crown=float(rng.uniform(0.5, 1.2))))
        fill(sketch, area, ground.vary(rng, look.region.tree, 7), wood)
        return
    fill(sketch, area, ground.vary(rng, look.region.grass, 10), look.lawn)
    middle, way, length, width = frame(area)
    if width > 50 and rng.random() < 0.5:
        size = np.array([min(100.0, length * 0.7), min(60.0, width * 0.7)])
        tone = (150, 84, 62) if rng.random() < 0.3 else ground.scale(look.region.grass, 1.15)
        for grow in (1.15, 1.0):
            ring = boxes(middle[None], size[:1] * grow, size[1:] * grow, way[None])
            fill(sketch, area.intersection(shapely.Polygon(ring[0])), tone, look.lawn)
            tone = ground.vary(rng, look.region.grass, 12)
        sketch.line(np.concatenate([ring[0], ring[0][:1]]), 0.2, WHITE, -1, 0.8)
    else:
        spots = scattered(rng, area, 12)
        for a, b in zip(spots[:-1:2], spots[1::2], strict=False):
            sketch.line(np.stack([a, b]), 2.0, ground.vary(rng, look.region.soil, 10), look.earth)
    spots = scattered(rng, area.buffer(-2), int(rng.poisson(look.trees * area.area / 120)))
    things.trees(sketch, rng, look, spots, rng.uniform(1.5, 5, len(spots)))


def waste(sketch: Sketch, rng: Rng, look: Look, area: Area) -> None:
    """Bare land with blotches, worn paths and scrub."""
    fill(sketch, area, ground.vary(rng, look.region.soil, 9), look.earth)
    for spot in scattered(rng, area, 10):
        patch = shapely.Point(spot).buffer(float(rng.uniform(4, 25)), 3)
        tone = ground.vary(rng, look.region.soil if rng.random() < 0.5 else look.region.grass, 10)
        fill(sketch, area.intersection(patch), tone, look.earth, 0.4)
    if rng.random() < 0.2:
        spot = shapely.get_coordinates(area.representative_point())[0]
        water = shapely.Polygon(blob(spot, float(rng.uniform(8, 60)), rng, 15)).buffer(4)
        tone = ground.vary(rng, (66, 82, 78), 14)
        fill(sketch, area.intersection(water.buffer(3)), look.region.soil, look.earth)
        fill(sketch, area.intersection(water), tone, look.tarmac)
        area = area.difference(water)
    spots = scattered(rng, area.buffer(-2), int(rng.poisson(look.trees * area.area / 300)))
    things.trees(sketch, rng, look, spots, rng.uniform(0.6, 2.5, len(spots)))


def farm(sketch: Sketch, rng: Rng, look: Look, area: Area) -> None:
    """Strips of crops or paddies between banks and paths too narrow to be roads."""
    middle, way, length, width = frame(area)
    across = np.array([-way[1], way[0]])
    steps = np.cumsum(rng.uniform(8, 60, 60))
    bank = ground.vary(rng, look.region.soil if rng.random() < 0.5 else look.region.grass, 10)
    turn, rows = float(np.arctan2(way[1], way[0])), float(rng.choice([0.0, 0.04, 0.1]))
    fill(sketch, area, bank, look.lawn)
    gap = float(rng.uniform(0.4, 2.5))
    for a, b in pairwise(np.concatenate([[0.0], steps[steps < length], [length]]) - length / 2):
        cuts = np.sort(rng.uniform(-width / 2, width / 2, int(rng.integers(0, 4))))
        for c, d in pairwise(np.concatenate([[-width / 2], cuts, [width / 2]])):
            if b - a < 2 * gap or d - c < 2 * gap:
                continue
            centre = middle + way * (a + b) / 2 + across * (c + d) / 2
            size = np.array([b - a, d - c]) - gap
            ring = boxes(centre[None], size[:1], size[1:], way[None])[0]
            mix = float(rng.random())
            tone = mix * np.array(look.region.grass) + (1 - mix) * np.array(look.region.soil)
            period = float(rng.choice([1.5, 3.0, 6.0]))
            crop = Material(0.06, 0.08, 0.02, rows, period, turn)
            colour = ground.vary(rng, (float(tone[0]), float(tone[1]), float(tone[2])), 12)
            fill(sketch, area.intersection(shapely.Polygon(ring)), colour, sketch.material(crop))
    spots = scattered(rng, area, int(rng.poisson(look.trees * area.area / 1500)))
    things.trees(sketch, rng, look, spots, rng.uniform(1, 4, len(spots)))
