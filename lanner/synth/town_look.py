"""How a town looks: its climate, what its streets and roofs are made of, how it is lit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lanner.synth import ground
from lanner.synth.ground import Rng
from lanner.synth.raster import F64
from lanner.synth.sketch import Rgb, Sketch, Sun
from lanner.synth.texture import Material

TERRACOTTA: tuple[Rgb, ...] = ((176, 108, 78), (158, 92, 70), (190, 130, 98), (140, 84, 66))
GREYS: tuple[Rgb, ...] = ((128, 126, 124), (98, 96, 98), (150, 146, 140), (78, 76, 80))
WHITES: tuple[Rgb, ...] = ((224, 222, 216), (200, 198, 192), (238, 236, 232), (178, 174, 168))
BROWNS: tuple[Rgb, ...] = ((120, 98, 80), (142, 118, 94), (96, 80, 70), (164, 142, 118))
METALS: tuple[Rgb, ...] = ((86, 116, 160), (70, 130, 140), (160, 84, 74), (176, 184, 188))
SANDS: tuple[Rgb, ...] = ((188, 164, 132), (168, 144, 114), (204, 184, 154), (150, 128, 104))


@dataclass(frozen=True)
class Region:
    """Colours of a part of the world and how likely things are there (shares 0..1).

    `leaf` is how opaque crowns are, `trees` how many of them, `lawn` the share of green yards,
    `dirt` the share of towns with streets of earth, `flat` of flat roofs, `wall` of walled yards.
    """

    grass: Rgb
    soil: Rgb
    tree: Rgb
    roofs: tuple[tuple[Rgb, ...], ...]
    leaf: float
    trees: float
    lawn: float
    dirt: float
    flat: float
    wall: float


REGIONS: dict[str, Region] = {
    "temperate": Region(
        (92, 108, 66), (138, 122, 98), (50, 68, 42), (GREYS, BROWNS, TERRACOTTA, GREYS),
        1.0, 0.9, 0.9, 0.03, 0.2, 0.2,
    ),
    "lush": Region(
        (62, 118, 52), (134, 124, 104), (38, 72, 36), (GREYS, BROWNS, WHITES),
        1.0, 0.6, 1.0, 0.0, 0.1, 0.1,
    ),
    "desert": Region(
        (128, 124, 84), (190, 166, 136), (78, 86, 58), (TERRACOTTA, SANDS, WHITES, BROWNS),
        1.0, 0.35, 0.25, 0.05, 0.35, 0.7,
    ),
    "arid": Region(
        (146, 132, 98), (186, 156, 122), (70, 80, 52), (SANDS, BROWNS, SANDS, WHITES),
        1.0, 0.2, 0.04, 0.75, 0.95, 0.95,
    ),
    "tropical": Region(
        (84, 110, 62), (158, 118, 92), (40, 66, 36), (METALS, TERRACOTTA, GREYS, BROWNS),
        1.0, 0.9, 0.6, 0.4, 0.35, 0.4,
    ),
    "winter": Region(
        (132, 122, 98), (138, 122, 106), (92, 84, 76), (GREYS, BROWNS, WHITES),
        0.35, 1.0, 0.6, 0.04, 0.25, 0.15,
    ),
    "mediterranean": Region(
        (130, 126, 84), (176, 154, 122), (62, 76, 48), (TERRACOTTA, TERRACOTTA, WHITES),
        1.0, 0.55, 0.35, 0.08, 0.4, 0.5,
    ),
    "metropolis": Region(
        (88, 104, 72), (142, 134, 122), (48, 66, 46), (GREYS, WHITES, METALS, BROWNS),
        1.0, 0.6, 0.5, 0.02, 0.75, 0.3,
    ),
}  # fmt: skip
_ODDS = (0.2, 0.08, 0.17, 0.13, 0.13, 0.1, 0.09, 0.1)


@dataclass(frozen=True)
class Look:
    """One town's look.

    `road`, `freeway`, `paving` are the colours of streets, freeways and other sealed ground with
    the numbers of their materials; `earth` of bare and `lawn` of green ground. `dirt`: streets of
    earth. `side` is the width in metres of the strip beside streets, `kerb` its colour, `walk`
    whether a kerbstone and a pavement part it, `sand` how much is blown onto the streets' edges.
    `marked` is how well markings are kept (0: none). `lean` is metres that a roof is displaced
    a metre of height. `parked` and `moving` are shares of the places that cars take.
    """

    region: Region
    roofs: tuple[Rgb, ...]
    road: Rgb
    freeway: Rgb
    paving: Rgb
    tarmac: int
    slabs: int
    earth: int
    lawn: int
    dirt: bool
    side: float
    kerb: Rgb
    walk: bool
    sand: float
    marked: float
    lean: F64
    parked: float
    moving: float
    trees: float
    gsd: float


def random_sun(rng: Rng) -> Sun:
    """A sun 20 to 65 degrees high, low ones as likely as high ones; shadows pale to black."""
    return Sun.random(rng, (20.0, 65.0), (0.75, 1.2))


def _street(rng: Rng, region: Region, dirt: bool) -> Rgb:
    if dirt:
        # Trodden ground is a little lighter or darker than what nobody walks on.
        step = float(rng.uniform(4, 30)) * float(rng.choice([-1, 1]))
        r, g, b = np.clip(np.asarray(region.soil) + step, 40, 235)
        return ground.vary(rng, (float(r), float(g), float(b)), 3)
    kind = rng.random()
    if kind < 0.62:
        grey = float(rng.uniform(62, 150))
        return ground.vary(rng, (grey, grey * 0.99, grey * 0.97), 4)
    if kind < 0.85:
        return ground.vary(rng, (186, 180, 168), 14)
    mix = 0.6 * np.asarray(region.soil) + 0.4 * np.array([120.0, 120.0, 120.0])
    return ground.vary(rng, (float(mix[0]), float(mix[1]), float(mix[2])), 10)


def random_look(rng: Rng, sketch: Sketch, gsd: float) -> Look:
    """Everything of a town that is the same all over the chip."""
    region = REGIONS[str(rng.choice(list(REGIONS), p=_ODDS))]
    dirt = bool(rng.random() < region.dirt)
    sets = region.roofs
    roofs = sets[int(rng.integers(len(sets)))]
    for _ in range(int(rng.integers(3))):
        roofs += sets[int(rng.integers(len(sets)))]
    kerb = (178.0, 172.0, 162.0) if rng.random() < 0.6 else region.grass
    if dirt or rng.random() < 0.2:
        kerb = region.soil
    lean = rng.normal(0, 0.16, 2) if rng.random() < 0.6 else np.zeros(2)
    broad = float(rng.uniform(0.02, 0.09))
    angle, rough = float(rng.uniform(0, np.pi)), float(rng.uniform(0.05, 0.15))
    return Look(
        region,
        roofs,
        _street(rng, region, dirt),
        _street(rng, region, dirt=False),
        _street(rng, region, dirt=bool(rng.random() < region.dirt)),
        sketch.material(Material(float(rng.uniform(0.03, 0.07)), broad, 0.008)),
        sketch.material(
            Material(0.03, broad, 0.01, 0, 1, angle, float(rng.uniform(3.5, 8)), 0.12, 0.03)
        ),
        sketch.material(Material(rough, float(rng.uniform(0.05, 0.14)), 0.025)),
        sketch.material(Material(rough, float(rng.uniform(0.05, 0.13)), 0.035)),
        dirt,
        float(rng.uniform(0.8, 6.0)),
        ground.vary(rng, kerb, 10),
        bool(rng.random() < 0.5) and not dirt,
        float(rng.uniform(0.1, 0.6)) if rng.random() < 0.8 * (1 - region.lawn) else 0.0,
        0.0 if dirt else float(np.clip(rng.uniform(-0.2, 1.1), 0, 0.95)),
        lean,
        float(rng.uniform(0, 0.65)) if rng.random() < 0.75 else 0.0,
        float(rng.uniform(0.02, 0.35)),
        float(np.clip(region.trees * rng.uniform(0.1, 1.7), 0, 1.2)),
        gsd,
    )
