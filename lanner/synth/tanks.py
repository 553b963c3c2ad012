"""Tank farms and where each tank is: what the tutorial makes a third detector of.

Storage tanks are round and so are clarifiers, empty foundations, roundabouts and trees: what
tells a tank is that it stands up, by its lit roof and the shadow it casts.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot

import numpy as np
import shapely
from shapely.geometry import Polygon

from lanner.synth import ground
from lanner.synth.georef import georef
from lanner.synth.ground import CLIMATES, Climate
from lanner.synth.raster import F64
from lanner.synth.sketch import Layer, Rgb, Sketch, Sun, rectangle
from lanner.synth.sky import make_sky
from lanner.synth.spec import RenderSpec
from lanner.synth.texture import Material
from lanner.synth.world import World

Rng = np.random.Generator

RADII_M = (6.0, 20.0)
_PAINTS: tuple[Rgb, ...] = (
    (226, 226, 222),
    (214, 207, 188),
    (172, 174, 176),
    (156, 172, 158),
    (200, 196, 200),
    (140, 144, 150),
)


@dataclass(frozen=True)
class Tank:
    """One upright cylinder in layout metres (x right, y down); `roof` cone or floating."""

    x: float
    y: float
    radius: float
    height: float
    roof: str

    @property
    def ring(self) -> F64:
        """(64, 2) metres of its rim."""
        return circle((self.x, self.y), self.radius, 64)


@dataclass(frozen=True)
class Farm:
    """A rendered place and its tanks; all of them can be seen, at least in part."""

    world: World
    tanks: tuple[Tank, ...]


def build_farm(spec: RenderSpec) -> Farm:
    """Lay out one place; the same spec gives the same farm."""
    rng = np.random.default_rng((spec.seed, 71))
    place = georef(spec)
    frame = (spec.width * place.gsd[0], spec.height * place.gsd[1])
    sketch = Sketch(Sun.random(rng))
    tanks = _Layout(sketch, rng, frame).draw()
    sky = make_sky((spec.width, spec.height), place.gsd, sketch.sun, spec.seed, 0.0, False)
    world = World(spec, place, sketch.done(), sky, (), ())
    scene = shapely.box(0, 0, *frame)
    visible = (one for one in tanks if scene.intersects(Polygon(one.ring)))
    return Farm(world, tuple(visible))


def circle(centre: tuple[float, float] | F64, radius: float, corners: int = 40) -> F64:
    """(corners, 2) metres of a ring, closed by whoever draws it."""
    angle = np.arange(corners) * (2 * np.pi / corners)
    return np.asarray(centre) + radius * np.stack([np.cos(angle), np.sin(angle)], 1)


class _Layout:
    """Strips along one direction: rows of tanks, roads, pipe racks, sheds, basins and trees."""

    def __init__(self, sketch: Sketch, rng: Rng, frame: tuple[float, float]) -> None:
        self.sketch, self.rng, self.frame = sketch, rng, frame
        self.angle = float(rng.uniform(0, np.pi))
        self.along = np.array([np.cos(self.angle), np.sin(self.angle)])
        self.across = np.array([-self.along[1], self.along[0]])
        self.middle = np.array(frame) / 2
        self.reach = hypot(*frame) / 2 + 30
        self.climate: Climate = CLIMATES[int(rng.integers(len(CLIMATES)))]
        self.tanks: list[Tank] = []

    def at(self, u: float, v: float) -> F64:
        """(2,) layout metres of a place u metres along and v across from the middle."""
        return np.asarray(self.middle + self.along * u + self.across * v)

    def draw(self) -> list[Tank]:
        """Paint everything; the tanks, also those out of sight."""
        self._floor()
        kinds = (self._tanks, self._tanks, self._tanks, self._basins, self._sheds, self._trees)
        v, k = -self.reach + float(self.rng.uniform(0, 30)), int(self.rng.integers(len(kinds)))
        while v < self.reach:
            v += self._lane(v)
            v += kinds[k % len(kinds)](v)
            # Every kind in turn, but not always in the same order.
            k += int(self.rng.choice([1, 1, 1, 2, 5]))
        return self.tanks

    def _floor(self) -> None:
        w, h = self.frame
        wide = np.array([(-40, -40), (w + 40, -40), (w + 40, h + 40), (-40, h + 40)], np.float64)
        colour, material = ground.grass(self.sketch, self.rng, self.climate, self.angle)
        self.sketch.ground(wide, colour, material)
        if self.rng.random() < 0.7:
            gravel = self.sketch.material(Material(0.06, 0.09, 0.02))
            tone = ground.vary(self.rng, self.climate.soil, 14)
            self.sketch.ground(wide, tone, gravel, float(self.rng.uniform(0.5, 1.0)))
        area = np.array([(0, 0), self.frame], np.float64)
        ground.stains(self.sketch, self.rng, area, int(self.rng.poisson(8)))

    def _lane(self, v: float) -> float:
        """A road with cars, a pipe rack, or nothing; how wide it is."""
        what = self.rng.random()
        if what < 0.45:
            wide = float(self.rng.uniform(5, 9))
            colour, material = ground.asphalt(self.sketch, self.rng)
            middle = self.at(0, v + wide / 2)
            self.sketch.ground(
                rectangle(middle, 2 * self.reach, wide, self.angle), colour, material
            )
            for _ in range(int(self.rng.poisson(3))):
                spot = self.at(float(self.rng.uniform(-1, 1)) * self.reach, v + wide * 0.3)
                big = bool(self.rng.random() < 0.4)
                ground.vehicle(self.sketch, self.rng, spot, self.angle, big)
            if self.rng.random() < 0.3:
                self._roundabout(v + wide / 2, colour)
            return wide + 4
        if what < 0.75:
            many = int(self.rng.integers(2, 6))
            for k in range(many):
                self._pipe(np.stack([self.at(s * self.reach, v + 2 + 1.6 * k) for s in (-1, 1)]))
            return 1.6 * many + 5
        return 5.0

    def _roundabout(self, v: float, colour: Rgb) -> None:
        spot = self.at(float(self.rng.uniform(-0.7, 0.7)) * self.reach, v)
        radius = float(self.rng.uniform(9, 15))
        self.sketch.ground(circle(spot, radius), colour)
        self.sketch.ground(circle(spot, radius * 0.5), ground.vary(self.rng, self.climate.grass, 9))

    def _pipe(self, line: F64, width: float = 0.9) -> None:
        colour = ground.vary(self.rng, (178, 178, 176), 22)
        self.sketch.line(line + self.sketch.sun.offset(1.5), width, (0, 0, 0), layer=Layer.SHADOW)
        self.sketch.line(line, width, colour, layer=Layer.RAISED)

    def _places(self, step: float) -> list[float]:
        first = -self.reach + float(self.rng.uniform(0, step))
        return [first + step * k for k in range(int(2 * self.reach / step))]

    def _tanks(self, v: float) -> float:
        """A row of tanks of about one size within dykes; some stands are empty."""
        low, high = RADII_M
        radius = float(np.exp(self.rng.uniform(np.log(low), np.log(high))))
        step = 2 * radius + float(self.rng.uniform(4, 6 + radius))
        deep = step if radius > 8 else 2 * radius + 6
        height = float(self.rng.uniform(6, 16))
        paint = ground.pick(self.rng, _PAINTS)
        self._dykes(v, deep, step)
        for u in self._places(step):
            spot = self.at(u, v + deep / 2)
            if self.rng.random() < 0.1:
                self._foundation(spot, radius)
                continue
            own = float(np.clip(radius * self.rng.uniform(0.8, 1.05), low, high))
            self._pipe(np.stack([spot, self.at(u, v + deep + 3)]), 0.7)
            tone = paint if self.rng.random() < 0.8 else ground.pick(self.rng, _PAINTS)
            roof = "floating" if own > 8 and self.rng.random() < 0.35 else "cone"
            tank = Tank(float(spot[0]), float(spot[1]), own, height, roof)
            _draw_tank(self.sketch, self.rng, tank, ground.vary(self.rng, tone, 8))
            self.tanks.append(tank)
        return deep + 4

    def _dykes(self, v: float, deep: float, step: float) -> None:
        if self.rng.random() < 0.5:
            tone, material = ground.concrete(self.sketch, self.rng, self.angle)
            self.sketch.ground(
                rectangle(self.at(0, v + deep / 2), 2 * self.reach, deep, self.angle),
                tone,
                material,
                float(self.rng.uniform(0.4, 1)),
            )
        wall = ground.vary(self.rng, (166, 160, 148), 14)
        lines = [np.stack([self.at(s * self.reach, v + d) for s in (-1, 1)]) for d in (0, deep)]
        lines += [
            np.stack([self.at(u - step / 2, v), self.at(u - step / 2, v + deep)])
            for u in self._places(step * int(self.rng.integers(1, 4)))
        ]
        for line in lines:
            cast = line + self.sketch.sun.offset(1.2)
            self.sketch.line(cast, 0.8, (0, 0, 0), layer=Layer.SHADOW)
            self.sketch.line(line, 0.8, wall, layer=Layer.RAISED)

    def _foundation(self, spot: F64, radius: float) -> None:
        """Where a tank stood: flat, so it neither shades nor is shaded."""
        tone = ground.vary(self.rng, self.climate.soil, 16)
        self.sketch.ground(circle(spot, radius), ground.scale(tone, 0.85))
        rough = self.sketch.material(Material(0.06, 0.1, 0.02))
        self.sketch.ground(circle(spot, radius - 1.0), tone, rough)

    def _basins(self, v: float) -> float:
        """Clarifiers: water in a round kerb, with a bridge to the middle."""
        radius = float(self.rng.uniform(7, 17))
        step = 2 * radius + float(self.rng.uniform(5, 14))
        for u in self._places(step):
            if self.rng.random() < 0.35:
                continue
            spot = self.at(u, v + radius + 2)
            water = ground.vary(self.rng, (62, 74, 62), 12)
            self.sketch.ground(circle(spot, radius), ground.vary(self.rng, (164, 160, 150), 10))
            self.sketch.ground(circle(spot, radius - 1.2), water)
            turn = float(self.rng.uniform(0, 2 * np.pi))
            arm = np.array([np.cos(turn), np.sin(turn)]) * radius
            self._pipe(np.stack([spot, spot + arm]), 1.2)
        return 2 * radius + 6

    def _sheds(self, v: float) -> float:
        deep = float(self.rng.uniform(10, 26))
        for u in self._places(float(self.rng.uniform(28, 60))):
            if self.rng.random() < 0.7:
                size = (float(self.rng.uniform(12, 26)), deep)
                height, gable = float(self.rng.uniform(4, 10)), bool(self.rng.random() < 0.4)
                spot = self.at(u, v + deep / 2)
                ground.building(self.sketch, self.rng, spot, size, self.angle, height, gable)
        return deep + 5

    def _trees(self, v: float) -> float:
        deep = float(self.rng.uniform(10, 30))
        for _ in range(int(self.reach * deep / 60)):
            u, d = float(self.rng.uniform(-1, 1)) * self.reach, float(self.rng.uniform(0, deep))
            radius = float(self.rng.uniform(1.8, 6.0))
            ground.tree(self.sketch, self.rng, self.at(u, v + d), radius, self.climate.tree)
        return deep + 3


def _draw_tank(sketch: Sketch, rng: Rng, tank: Tank, paint: Rgb) -> None:
    """Shadow, rim, roof and stairs."""
    spot, radius = np.array([tank.x, tank.y]), tank.radius
    sketch.prism(circle(spot, radius, 32), tank.height)
    sketch.raised(tank.ring, ground.scale(paint, 0.8))
    if tank.roof == "floating":
        _floating_roof(sketch, rng, tank, paint)
    else:
        _cone_roof(sketch, rng, tank, paint)
    turn = np.linspace(0, float(rng.uniform(0.6, 1.4)), 8) + float(rng.uniform(0, 2 * np.pi))
    stairs = spot + (radius - 0.5) * np.stack([np.cos(turn), np.sin(turn)], 1)
    sketch.line(stairs, 0.8, ground.scale(paint, 0.55), alpha=0.8, layer=Layer.RAISED)


def _cone_roof(sketch: Sketch, rng: Rng, tank: Tank, paint: Rgb) -> None:
    """Sheets that rise to the middle, each as bright as the sun falls on it, and a vent."""
    spot, inner = np.array([tank.x, tank.y]), tank.radius - 0.4
    sheets = int(rng.choice([12, 16, 24]))
    rim = circle(spot, inner, sheets)
    slope = float(rng.uniform(0.12, 0.3))
    for k in range(sheets):
        following = rim[(k + 1) % sheets]
        out = (rim[k] + following) / 2 - spot
        light = float(sketch.sun.light(np.sin(slope), out / np.hypot(*out), np.cos(slope)))
        sketch.raised([spot, rim[k], following], ground.scale(paint, light * 1.06))
    sketch.raised(circle(spot, min(1.2, tank.radius / 5), 10), ground.scale(paint, 0.6))
    if rng.random() < 0.5:
        turn = float(rng.uniform(0, 2 * np.pi))
        arm = np.array([np.cos(turn), np.sin(turn)]) * inner
        walk = np.stack([spot, spot + arm])
        sketch.line(walk, 0.7, ground.scale(paint, 0.72), layer=Layer.RAISED)


def _floating_roof(sketch: Sketch, rng: Rng, tank: Tank, paint: Rgb) -> None:
    """A deck somewhere below the rim, whose sunward part lies in the wall's shadow."""
    spot = np.array([tank.x, tank.y])
    rim = Polygon(circle(spot, tank.radius - 0.6, 48))
    deck = ground.vary(rng, (150, 152, 152), 18)
    sketch.raised(shapely.get_coordinates(rim)[:-1], ground.scale(deck, 0.42))
    below = sketch.sun.offset(float(rng.uniform(0.1, 0.7)) * tank.height)
    # A deck that lies deep is all in shadow.
    lit = rim.intersection(shapely.transform(rim, lambda xy: xy + below))
    if isinstance(lit, Polygon) and not lit.is_empty:
        sketch.raised(shapely.get_coordinates(lit)[:-1], deck)
    arm = np.array([np.cos(t := float(rng.uniform(0, 2 * np.pi))), np.sin(t)]) * tank.radius
    ladder = np.stack([spot, spot + arm])
    sketch.line(ladder, 0.7, ground.scale(paint, 0.9), layer=Layer.RAISED)
