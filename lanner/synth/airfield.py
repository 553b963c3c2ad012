"""An airfield: runway, taxiways, aprons with stands, terminal, hangars, roads around."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely

from lanner.synth import airframe, ground, roads
from lanner.synth.catalogue import TYPES, AircraftType
from lanner.synth.ground import Climate, Rng
from lanner.synth.parked import Pose
from lanner.synth.raster import F64
from lanner.synth.roads import Road
from lanner.synth.sketch import Sketch, blob

Slot = tuple[AircraftType, Pose]


@dataclass(frozen=True)
class Airfield:
    """A rectangle of ground around an apron; metres.

    `x`, `y` is the middle of the apron, `angle` (radians) the runway's direction, `apron` its
    length and depth, `reach` how far the fence is along, behind (runway) and before (town).
    """

    x: float
    y: float
    angle: float
    apron: tuple[float, float]
    reach: tuple[float, float, float]

    @classmethod
    def sized(cls, at: tuple[float, float], angle: float, extent: float) -> Airfield:
        """An airfield to suit a scene `extent` metres across."""
        apron = (float(np.clip(0.8 * extent, 260, 1400)), float(np.clip(0.5 * extent, 170, 330)))
        along = max(apron[0] / 2 + 220, min(1500.0, 0.45 * extent))
        return cls(*at, angle, apron, (along, apron[1] / 2 + 350, apron[1] / 2 + 250))

    def xy(self, ab: F64) -> F64:
        """(n, 2) local metres (along the runway, towards the town) to the layout's."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        turn = np.array([[c, s], [-s, c]])
        return np.asarray(np.asarray(ab, np.float64) @ turn + np.array([self.x, self.y]))

    def box(self, a0: float, b0: float, a1: float, b1: float) -> F64:
        """(4, 2) ring of a local rectangle."""
        return self.xy(np.array([(a0, b0), (a1, b0), (a1, b1), (a0, b1)]))

    @property
    def fence(self) -> F64:
        """(4, 2) ring of the whole ground."""
        along, behind, before = self.reach
        return self.box(-along, -behind, along, before)

    def inside(self, point: F64) -> bool:
        """Whether (2,) metres lie within the fence, or close by."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        d = point - np.array([self.x, self.y])
        a, b = d[0] * c + d[1] * s, d[1] * c - d[0] * s
        along, behind, before = self.reach
        return bool(abs(a) < along + 12 and -behind - 12 < b < before + 12)

    def perimeter(self) -> list[Road]:
        """The road along the fence and the one to the terminal."""
        ring = self.fence
        sides = [np.linspace(ring[k], ring[(k + 1) % 4], 9) for k in range(4)]
        access = self.apron[1] / 2 + 150
        along = self.reach[0]
        sides.append(self.xy(np.stack([np.linspace(-along, along, 9), np.full(9, access)], 1)))
        return [Road(side, "residential", 6.0) for side in sides]

    def draw(self, sketch: Sketch, rng: Rng, climate: Climate, with_roads: bool) -> list[Slot]:
        """Paint the ground; the stands where aircraft may be, none overlapping."""
        colour, mown = ground.grass(sketch, rng, climate, self.angle)
        sketch.ground(self.fence, colour, mown)
        along, _, _ = self.reach
        length, depth = self.apron
        paved = ground.concrete(sketch, rng, self.angle)
        tarmac = ground.asphalt(sketch, rng)
        low = -depth / 2
        taxi, runway = low - 62.0, low - 245.0
        self._runway(sketch, rng, runway, along - 90)
        for a in np.arange(-along + 130, along - 100, 430.0):
            sketch.ground(self.box(a - 15, runway, a + 15, taxi), *tarmac)
            sketch.ground(self.box(a - 0.2, runway, a + 0.2, taxi), ground.YELLOW, alpha=0.8)
        for a in (-length * 0.4, length * 0.02, length * 0.4):
            sketch.ground(self.box(a - 14, taxi, a + 14, low + 1), *tarmac)
            sketch.ground(self.box(a - 0.2, taxi, a + 0.2, low + 30), ground.YELLOW, alpha=0.8)
        sketch.ground(self.box(-along + 110, taxi - 12, along - 110, taxi + 12), *tarmac)
        sketch.ground(self.box(-along + 110, taxi - 0.25, along - 110, taxi + 0.25), ground.YELLOW)
        sketch.ground(self.box(-length / 2 - 9, low - 9, length / 2 + 9, depth / 2 + 9), *tarmac)
        sketch.ground(self.box(-length / 2, low, length / 2, depth / 2), *paved)
        self._wear(sketch, rng)
        slots = self._stands(sketch, rng, runway, taxi)
        self._town(sketch, rng, climate)
        if with_roads:
            roads.draw(sketch, self.perimeter(), rng, climate, 0.5)
        return slots

    def _runway(self, sketch: Sketch, rng: Rng, b: float, half: float) -> None:
        shoulder, rough = ground.asphalt(sketch, rng)
        sketch.ground(self.box(-half, b - 30, half, b + 30), ground.scale(shoulder, 0.85), rough)
        sketch.ground(self.box(-half, b - 22.5, half, b + 22.5), shoulder, rough)
        for k in range(14):
            fade = 0.03 + 0.02 * (k % 7)
            start = (-half + 200 + k * 22) if k < 7 else (half - 560 + k * 14)
            sketch.ground(
                self.box(start, b - 6 + k % 3, start + 180, b + 6 - k % 2), (48, 48, 50), alpha=fade
            )
        for a in np.arange(-half + 110, half - 140, 50.0):
            sketch.ground(self.box(a, b - 0.45, a + 30, b + 0.45), ground.WHITE, alpha=0.9)
        for side in (-1, 1):
            sketch.ground(
                self.box(-half, b + side * 21.5 - 0.45, half, b + side * 21.5 + 0.45),
                ground.WHITE,
                alpha=0.85,
            )
            for k in range(12):
                s = b - 20 + k * 3.6
                end = side * (half - 6)
                sketch.ground(self.box(end - side * 30, s, end, s + 1.8), ground.WHITE, alpha=0.9)
            for s in (-11, 8):
                end = side * (half - 330)
                sketch.ground(
                    self.box(end, b + s - 2, end + side * 45, b + s + 5), ground.WHITE, alpha=0.85
                )

    def _wear(self, sketch: Sketch, rng: Rng) -> None:
        """Repairs in other tones, oil, and soot."""
        length, depth = self.apron
        for _ in range(int(length * depth / 9000)):
            a, b = rng.uniform(-0.5, 0.5) * length, rng.uniform(-0.5, 0.5) * depth
            tone = float(rng.uniform(110, 205))
            w, h = float(rng.uniform(6, 40)), float(rng.uniform(5, 18))
            ring = np.clip(
                np.array([(a, b), (a + w, b), (a + w, b + h), (a, b + h)]),
                [-length / 2, -depth / 2],
                [length / 2, depth / 2],
            )
            sketch.ground(
                self.xy(ring), (tone, tone * 0.98, tone * 0.95), alpha=float(rng.uniform(0.1, 0.55))
            )
        for _ in range(int(length * depth / 1500)):
            ab = rng.uniform(-0.48, 0.48, 2) * [length, depth]
            ring = blob(self.xy(ab[None])[0], float(rng.uniform(0.6, 4)), rng)
            sketch.ground(ring, (52, 50, 48), alpha=float(rng.uniform(0.08, 0.35)))

    def _stands(self, sketch: Sketch, rng: Rng, runway: float, taxi: float) -> list[Slot]:
        """Rows of stands from the terminal outwards, then single places elsewhere."""
        length, depth = self.apron
        slots: list[Slot] = []
        front = depth / 2 - 6
        groups = [("airliner",), ("military",), ("fighter",), ("business", "turboprop"), ("light",)]
        first = True
        while True:
            row = groups[0 if first and depth > 200 else int(rng.integers(len(groups)))]
            kinds = [t for t in TYPES if t.role in row]
            lead = kinds[int(rng.integers(len(kinds)))]
            same = rng.random() < 0.6
            deep = max(t.length for t in ([lead] if same else kinds))
            if front - deep < -depth / 2 + 4:
                break
            gap = float(rng.choice([0.35, 1.2, 4.0, 8.0] if lead.span < 45 else [4.0, 9.0]))
            nose = 1.0 if first or rng.random() < 0.5 else -1.0
            a = -length / 2 + 8
            while True:
                kind = lead if same else kinds[int(rng.integers(len(kinds)))]
                if a + kind.span > length / 2 - 4:
                    break
                middle = np.array([a + kind.span / 2, front - kind.length / 2])
                if rng.random() < 0.82:
                    slots.append((kind, self._pose(middle, nose, rng, 0.0 if gap < 1 else 0.015)))
                    if rng.random() < (0.6 if kind.span > 16 else 0.12):
                        self._service(sketch, rng, middle, kind)
                    if first and kind.role == "airliner":
                        self._bridge(sketch, middle, kind, depth)
                line = self.xy(np.stack([middle, middle - [0, nose * (deep / 2 + 10)]]))
                sketch.line(line, 0.3, ground.YELLOW, alpha=0.75)
                a += kind.span + gap
            lane = front - deep - 11
            sketch.ground(
                self.box(-length / 2, lane - 0.2, length / 2, lane + 0.2), ground.YELLOW, alpha=0.75
            )
            front = lane - 11
            first = False
        for b, share in ((taxi, 0.3), (taxi, -0.55), (runway, 0.12)):
            kind = TYPES[int(rng.integers(len(TYPES)))]
            x, y = self.xy(np.array([[share * self.reach[0], b]]))[0]
            slots.append(
                (kind, Pose(float(x), float(y), self.angle + float(rng.choice([0, np.pi]))))
            )
        return _apart(slots)

    def _pose(self, ab: F64, nose: float, rng: Rng, shake: float) -> Pose:
        x, y = self.xy(ab[None])[0]
        return Pose(float(x), float(y), self.angle + nose * np.pi / 2 + rng.normal(0, 1) * shake)

    def _bridge(self, sketch: Sketch, middle: F64, kind: AircraftType, depth: float) -> None:
        """A passenger bridge from the terminal to the left front door."""
        side = kind.body / 2 + 2.2
        foot = middle[1] + kind.length * 0.36
        ring = self.box(middle[0] + side, foot, middle[0] + side + 3.0, depth / 2 + 14)
        sketch.prism(ring, 5.0)
        sketch.raised(ring, (178, 180, 182))
        head = self.box(
            middle[0] + kind.body / 2 - 0.2, foot - 0.5, middle[0] + side + 3.2, foot + 3
        )
        sketch.raised(head, (150, 152, 156))

    def _service(self, sketch: Sketch, rng: Rng, middle: F64, kind: AircraftType) -> None:
        for _ in range(int(rng.integers(1, 4)) if kind.span > 16 else 1):
            way = float(rng.choice([-1, 1]))
            ab = middle + np.array(
                [
                    way * kind.span * rng.uniform(0.16, 0.42),
                    kind.length * rng.choice([-0.36, 0.36]) + rng.normal(0, 1.5),
                ]
            )
            ground.vehicle(
                sketch,
                rng,
                self.xy(ab[None])[0],
                self.angle + float(rng.choice([0.0, np.pi / 2])),
                big=bool(kind.span > 20 and rng.random() < 0.5),
            )

    def _town(self, sketch: Sketch, rng: Rng, climate: Climate) -> None:
        """Terminal, hangars, car parks and trees before the access road."""
        length, depth = self.apron
        edge = depth / 2 + 14
        a = -length / 2 + 4
        while a < length / 2 - 60:
            wide = min(float(rng.uniform(50, 230)), length / 2 - 4 - a)
            deep = float(rng.uniform(26, 44))
            middle = self.xy(np.array([[a + wide / 2, edge + deep / 2]]))[0]
            ground.building(
                sketch, rng, middle, (wide, deep), self.angle, float(rng.uniform(8, 17))
            )
            spot = self.xy(np.array([[a + wide / 2, edge + 85]]))[0]
            if wide > 40 and rng.random() < 0.75:
                ground.car_park(sketch, rng, spot, 4, int((wide - 12) / 2.7), self.angle)
            a += wide + float(rng.choice([6.0, 22.0]))
        for _ in range(int(length / 9)):
            ab = (rng.uniform(-0.95, 0.95) * self.reach[0], edge + rng.uniform(150, 220))
            ground.tree(
                sketch, rng, self.xy(np.array([ab]))[0], float(rng.uniform(2.5, 6)), climate.tree
            )


def _apart(slots: list[Slot]) -> list[Slot]:
    """The slots whose outlines touch no earlier one's."""
    rings = [
        shapely.Polygon(pose.place(airframe.true_airframe(kind).outline)) for kind, pose in slots
    ]
    tree = shapely.STRtree(rings)
    first, second = tree.query(rings, predicate="intersects")
    clash = {int(b) for a, b in zip(first, second, strict=True) if a < b}
    return [slot for k, slot in enumerate(slots) if k not in clash]
