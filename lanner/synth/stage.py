"""Random settings for training chips: aprons, dispersals, runways, terminals."""

from __future__ import annotations

import numpy as np

from lanner.synth import ground
from lanner.synth.ground import CLIMATES, Climate
from lanner.synth.raster import F64
from lanner.synth.sketch import Rgb, Sketch, blob, rectangle
from lanner.synth.texture import Material

Rng = np.random.Generator


def airfield(sketch: Sketch, rng: Rng, extent: float) -> float:
    """Paint ground for aircraft over a square of `extent` metres.

    Returns:
        Direction (radians) along which a row of aircraft stands.
    """
    climate = CLIMATES[int(rng.integers(len(CLIMATES)))]
    angle = float(rng.uniform(0, np.pi))
    colour, material = ground.grass(sketch, rng, climate, angle)
    sketch.ground(_square(extent), colour, material)
    style = rng.random()
    if style < 0.62:
        _apron(sketch, rng, extent, angle)
    elif style < 0.78:
        _strip(sketch, rng, extent, angle)
    elif style < 0.9:
        _dispersal(sketch, rng, extent, climate)
    if rng.random() < 0.7:
        _edge(sketch, rng, extent, angle, climate)
    for _ in range(int(rng.poisson(7))):
        ground.vehicle(
            sketch,
            rng,
            rng.uniform(0, extent, 2),
            angle + float(rng.choice([0, np.pi / 2])) + rng.normal(0, 0.1),
            big=bool(rng.random() < 0.35),
        )
    return angle


def _square(extent: float) -> F64:
    low, high = -30.0, extent + 30.0
    return np.array([(low, low), (high, low), (high, high), (low, high)])


def _axes(angle: float) -> tuple[F64, F64]:
    along = np.array([np.cos(angle), np.sin(angle)])
    return along, np.array([-along[1], along[0]])


def _pavement(sketch: Sketch, rng: Rng, angle: float) -> tuple[Rgb, int]:
    return (
        ground.concrete(sketch, rng, angle) if rng.random() < 0.68 else ground.asphalt(sketch, rng)
    )


def _apron(sketch: Sketch, rng: Rng, extent: float, angle: float) -> None:
    """A wide pavement, at times of several tones, with stands, lines and stains."""
    along, across = _axes(angle)
    centre = rng.uniform(0.3, 0.7, 2) * extent
    wide = extent * float(rng.uniform(0.7, 1.8))
    colour, material = _pavement(sketch, rng, angle)
    sketch.ground(rectangle(centre, extent * 3, wide, angle), colour, material)
    for _ in range(int(rng.integers(0, 4))):
        tone, other = _pavement(sketch, rng, angle)
        spot = (
            centre
            + across * rng.uniform(-0.5, 0.5) * wide
            + along * rng.uniform(-0.6, 0.6) * extent
        )
        lane = (
            (extent * 3, float(rng.uniform(6, 26)))
            if rng.random() < 0.5
            else (float(rng.uniform(10, 60)), float(rng.uniform(10, 40)))
        )
        sketch.ground(rectangle(spot, *lane, angle), tone, other, float(rng.uniform(0.3, 1)))
    ground.stains(
        sketch, rng, np.array([[0, 0], [extent, extent]], np.float64), int(rng.poisson(9))
    )
    for _ in range(int(rng.integers(0, 3))):
        spacing = float(rng.uniform(18, 60))
        start = centre - along * extent + across * rng.uniform(-0.5, 0.3) * wide
        ground.guide_lines(
            sketch,
            rng,
            start,
            angle,
            spacing,
            int(2 * extent / spacing),
            float(rng.uniform(20, 50)),
        )
    if rng.random() < 0.4:
        side = centre + across * rng.uniform(-0.5, 0.5) * wide
        colour = ground.vary(rng, ground.WHITE if rng.random() < 0.6 else (170, 50, 44), 10)
        sketch.line(
            np.stack([side - along * extent * 2, side + along * extent * 2]),
            float(rng.uniform(0.15, 0.6)),
            colour,
            alpha=float(rng.uniform(0.4, 0.9)),
        )


def _strip(sketch: Sketch, rng: Rng, extent: float, angle: float) -> None:
    """A runway or taxiway through grass, with shoulders, markings and rubber."""
    along, _ = _axes(angle)
    centre = rng.uniform(0.25, 0.75, 2) * extent
    wide = float(rng.uniform(18, 60))
    shoulder, rough = ground.asphalt(sketch, rng)
    sketch.ground(
        rectangle(centre, extent * 3, wide + 15, angle), ground.scale(shoulder, 0.85), rough
    )
    colour, material = _pavement(sketch, rng, angle)
    sketch.ground(rectangle(centre, extent * 3, wide, angle), colour, material)
    if wide > 36:
        sketch.ground(rectangle(centre, extent * 3, wide * 0.25, angle), (60, 60, 62), alpha=0.22)
        for k in range(-6, 7):
            sketch.ground(
                rectangle(centre + along * k * 50, 30, 0.9, angle), ground.WHITE, alpha=0.85
            )
    else:
        sketch.ground(rectangle(centre, extent * 3, 0.35, angle), ground.YELLOW, alpha=0.8)


def _dispersal(sketch: Sketch, rng: Rng, extent: float, climate: Climate) -> None:
    """Hardstands or bare patches among grass."""
    for _ in range(int(rng.integers(1, 5))):
        spot = rng.uniform(0, extent, 2)
        if rng.random() < 0.4:
            material = sketch.material(Material(0.08, 0.11, 0.03))
            sketch.ground(
                blob(spot, float(rng.uniform(12, 50)), rng, 14),
                ground.vary(rng, climate.soil, 10),
                material,
                0.9,
            )
        else:
            colour, material = _pavement(sketch, rng, 0.0)
            ring = blob(spot, float(rng.uniform(16, 40)), rng, 8)
            sketch.ground(ring, colour, material)


def _edge(sketch: Sketch, rng: Rng, extent: float, angle: float, climate: Climate) -> None:
    """What borders the pavement: hangars or a terminal, a car park, a service road, trees."""
    along, across = _axes(angle)
    side = float(rng.choice([-1, 1]))
    border = np.full(2, extent / 2) + across * side * extent * float(rng.uniform(0.38, 0.6))
    what = rng.random()
    if what < 0.5:
        position = -extent * 0.8
        height = float(rng.uniform(6, 18))
        while position < extent * 0.8:
            length, deep = float(rng.uniform(18, 90)), float(rng.uniform(14, 50))
            middle = border + along * (position + length / 2) + across * side * deep / 2
            ground.building(sketch, rng, middle, (length, deep), angle, height)
            position += length + float(rng.uniform(0, 30))
    elif what < 0.7:
        ground.car_park(
            sketch,
            rng,
            border + across * side * 12,
            3,
            int(min(extent / 2.6, 45)),
            angle,
            float(rng.uniform(0.3, 0.9)),
        )
    else:
        colour, material = ground.asphalt(sketch, rng)
        sketch.ground(rectangle(border, extent * 3, 7, angle), colour, material)
        for _ in range(int(rng.integers(5, 40))):
            spot = (
                border
                + along * rng.uniform(-0.8, 0.8) * extent
                + across * side * rng.uniform(8, 40)
            )
            ground.tree(sketch, rng, spot, float(rng.uniform(1.8, 5.5)), climate.tree)
