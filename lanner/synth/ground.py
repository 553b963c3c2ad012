"""Pieces of ground and what stands on it: pavements, markings, buildings, vehicles, trees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lanner.synth.raster import F64
from lanner.synth.sketch import Layer, Rgb, Sketch, blob, rectangle
from lanner.synth.texture import Material

Rng = np.random.Generator

_CARS: tuple[Rgb, ...] = (
    (225, 226, 228),
    (190, 193, 196),
    (45, 47, 52),
    (90, 94, 100),
    (150, 30, 34),
    (36, 60, 110),
    (232, 232, 230),
    (120, 122, 124),
    (225, 190, 60),
)
_ROOFS: tuple[Rgb, ...] = (
    (150, 150, 150),
    (186, 186, 182),
    (214, 214, 212),
    (120, 116, 112),
    (92, 92, 96),
    (150, 110, 90),
    (128, 140, 150),
    (110, 124, 108),
    (168, 156, 140),
    (84, 110, 140),
)
_TILES: tuple[Rgb, ...] = (
    (150, 92, 70),
    (132, 80, 66),
    (120, 110, 104),
    (96, 94, 96),
    (164, 120, 92),
    (140, 132, 124),
)
YELLOW: Rgb = (205, 172, 70)
WHITE: Rgb = (226, 226, 222)


@dataclass(frozen=True)
class Climate:
    """Colours of a region: grass, trees and bare soil."""

    grass: Rgb
    tree: Rgb
    soil: Rgb


CLIMATES: tuple[Climate, ...] = (
    Climate((88, 104, 62), (48, 66, 40), (134, 116, 92)),
    Climate((112, 116, 72), (58, 74, 44), (150, 130, 100)),
    Climate((148, 132, 98), (84, 88, 58), (178, 154, 120)),
    Climate((124, 106, 80), (72, 66, 48), (140, 118, 94)),
    Climate((70, 98, 56), (36, 58, 36), (116, 104, 84)),
)


def vary(rng: Rng, colour: Rgb, by: float) -> Rgb:
    """`colour` with its brightness and, less, its hue drawn around it (standard deviation)."""
    r, g, b = np.clip(np.asarray(colour) + rng.normal(0, by) + rng.normal(0, by / 6, 3), 4, 250)
    return float(r), float(g), float(b)


def scale(colour: Rgb, factor: float) -> Rgb:
    """`colour` made brighter or darker."""
    r, g, b = colour
    return r * factor, g * factor, b * factor


def pick(rng: Rng, among: tuple[Rgb, ...]) -> Rgb:
    """One of the colours."""
    return among[int(rng.integers(len(among)))]


def grass(sketch: Sketch, rng: Rng, climate: Climate, angle: float = 0.0) -> tuple[Rgb, int]:
    """Colour and material of grass, mown in lines half of the time."""
    mown = float(rng.uniform(0.01, 0.05)) if rng.random() < 0.5 else 0.0
    material = Material(
        0.07, float(rng.uniform(0.06, 0.13)), 0.035, mown, float(rng.uniform(3, 9)), angle
    )
    return vary(rng, climate.grass, 9), sketch.material(material)


def concrete(sketch: Sketch, rng: Rng, angle: float) -> tuple[Rgb, int]:
    """Colour and material of a slab pavement."""
    tone = vary(rng, (176, 170, 160), 16)
    material = Material(
        0.028,
        float(rng.uniform(0.015, 0.05)),
        0.008,
        0,
        1,
        angle,
        float(rng.uniform(4.5, 9.0)),
        float(rng.uniform(0.04, 0.22)),
        float(rng.uniform(0.005, 0.035)),
    )
    return tone, sketch.material(material)


def asphalt(sketch: Sketch, rng: Rng) -> tuple[Rgb, int]:
    """Colour and material of a bituminous pavement."""
    tone = vary(rng, (112, 112, 112), 17)
    return tone, sketch.material(Material(0.045, float(rng.uniform(0.02, 0.06)), 0.006))


def stains(sketch: Sketch, rng: Rng, area: F64, count: int) -> None:
    """Oil, rubber and repair patches within (2, 2) corners of metres."""
    for _ in range(count):
        spot = rng.uniform(area[0], area[1])
        if rng.random() < 0.65:
            dark = float(rng.uniform(35, 90))
            sketch.ground(
                blob(spot, float(rng.uniform(0.7, 5)), rng),
                (dark, dark, dark),
                alpha=float(rng.uniform(0.08, 0.3)),
            )
        else:
            tone = float(rng.uniform(90, 205))
            ring = rectangle(
                spot,
                float(rng.uniform(4, 24)),
                float(rng.uniform(3, 9)),
                float(rng.choice([0.0, np.pi / 2])),
            )
            sketch.ground(
                ring, (tone, tone * 0.98, tone * 0.94), alpha=float(rng.uniform(0.1, 0.5))
            )


def guide_lines(
    sketch: Sketch, rng: Rng, start: F64, angle: float, spacing: float, count: int, length: float
) -> None:
    """A taxi line with a curved lead-in to each of `count` stands."""
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    colour = vary(rng, YELLOW if rng.random() < 0.7 else (120, 100, 74), 12)
    alpha = float(rng.uniform(0.4, 0.9))
    width = float(rng.uniform(0.2, 0.5))
    sketch.line(
        np.stack([start - along * 60, start + along * (spacing * count + 60)]),
        width,
        colour,
        alpha=alpha,
    )
    radius = min(spacing * 0.6, length * 0.5)
    turn = np.linspace(0, np.pi / 2, 9)
    for k in range(count):
        foot = start + along * (spacing * (k + 0.5))
        arc = (
            foot
            + along * (-radius + radius * np.sin(turn))[:, None]
            + across * (radius - radius * np.cos(turn))[:, None]
        )
        sketch.line(
            np.concatenate([arc, (foot + across * length)[None]]), width, colour, alpha=alpha
        )


def vehicle(sketch: Sketch, rng: Rng, at: F64, angle: float, big: bool = False) -> None:
    """A car, or a lorry, bus or fuel truck when `big`."""
    length, width = (rng.uniform(7, 13), 2.5) if big else (rng.uniform(3.8, 5.0), 1.85)
    height = 3.2 if big else 1.5
    body = rectangle(at, float(length), width, angle)
    colour = vary(rng, pick(rng, _CARS), 10)
    sketch.prism(body, height)
    sketch.raised(body, colour)
    ahead = np.array([np.cos(angle), np.sin(angle)])
    if big:
        cab = rectangle(at + ahead * (length / 2 - 1.1), 1.9, 2.3, angle)
        sketch.raised(cab, scale(colour, 0.7))
    else:
        sketch.raised(rectangle(at - ahead * 0.3, 2.3, 1.5, angle), scale(colour, 1.08))
        sketch.raised(rectangle(at + ahead * 0.85, 0.7, 1.5, angle), (44, 50, 58))


def tree(sketch: Sketch, rng: Rng, at: F64, radius: float, colour: Rgb) -> None:
    """A crown with its lit side and its shadow."""
    crown = blob(at, radius, rng)
    sketch.shadow(crown + sketch.sun.offset(radius * 1.5), 0.9)
    sketch.shadow(crown + sketch.sun.offset(radius * 0.8), 0.9)
    tone = vary(rng, colour, 7)
    sketch.raised(crown, scale(tone, 0.78))
    to_sun = -np.array([sketch.sun.x, sketch.sun.y])
    for share, reach, light in ((0.68, 0.22, 1.05), (0.36, 0.42, 1.28)):
        sketch.raised(
            blob(at + to_sun * radius * reach, radius * share, rng, 7), scale(tone, light), 0.8
        )


def building(
    sketch: Sketch,
    rng: Rng,
    centre: F64,
    size: tuple[float, float],
    angle: float,
    height: float,
    gable: bool = False,
) -> F64:
    """A block with a flat or ridged roof, rooftop plant and shadow; its ring."""
    length, width = size
    ring = rectangle(centre, length, width, angle)
    tone = vary(rng, pick(rng, _TILES if gable else _ROOFS), 12)
    sketch.prism(ring, height)
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    if gable:
        for side in (-1, 1):
            light = float(sketch.sun.light(0.5 * side, across, 0.87))
            half = rectangle(centre + across * side * width / 4, length, width / 2, angle)
            sketch.raised(half, scale(tone, light))
        return ring
    sketch.raised(ring, scale(tone, 0.86))
    sketch.raised(rectangle(centre, length - 0.8, width - 0.8, angle), tone)
    for k in range(1, int(length // 9) if length < 400 else 0):
        seam = centre + along * (k * 9 - length / 2)
        sketch.line(
            np.stack([seam - across * (width / 2 - 1), seam + across * (width / 2 - 1)]),
            0.35,
            scale(tone, 0.93),
            layer=Layer.RAISED,
        )
    for _ in range(int(min(12, length * width / 180))):
        place = (
            centre
            + along * rng.uniform(-0.45, 0.45) * length
            + across * rng.uniform(-0.42, 0.42) * width
        )
        box = rectangle(place, float(rng.uniform(1, 4)), float(rng.uniform(1, 3)), angle)
        sketch.raised(box + sketch.sun.offset(1.2), scale(tone, 0.55), 0.8)
        sketch.raised(box, vary(rng, (190, 190, 188), 20))
    return ring


def car_park(
    sketch: Sketch,
    rng: Rng,
    centre: F64,
    rows: int,
    columns: int,
    angle: float,
    filled: float = 0.6,
) -> None:
    """Asphalt with rows of bays, some taken."""
    colour, material = asphalt(sketch, rng)
    sketch.ground(rectangle(centre, columns * 2.6 + 4, rows * 9.0 + 3, angle), colour, material)
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    for r in range(rows):
        line = centre + across * ((r - (rows - 1) / 2) * 9.0)
        for c in range(columns):
            bay = line + along * ((c - (columns - 1) / 2) * 2.6)
            sketch.line(
                np.stack([bay - across * 2.3, bay + across * 2.3]) + along * 1.3,
                0.12,
                WHITE,
                alpha=0.7,
            )
            if rng.random() < filled:
                vehicle(sketch, rng, bay + along * rng.normal(0, 0.1), angle + np.pi / 2)
