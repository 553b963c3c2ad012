"""Countryside without end: a net of roads on a shaken grid, and blocks of land between them.

Every block is drawn from its own random stream (seed, column, row), so it is the same however
large a piece of the country is laid out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lanner.synth import ground, roads
from lanner.synth.ground import CLIMATES, Climate, Rng
from lanner.synth.raster import F64
from lanner.synth.roads import Road
from lanner.synth.sketch import Rgb, Sketch, blob
from lanner.synth.texture import Material

Inside = Callable[[F64], bool]

_CROPS: tuple[Rgb, ...] = (
    (122, 130, 78),
    (96, 116, 62),
    (150, 140, 96),
    (168, 150, 110),
    (110, 100, 78),
    (136, 118, 92),
    (82, 104, 58),
    (176, 166, 120),
    (104, 122, 84),
    (126, 106, 82),
)


@dataclass(frozen=True)
class Country:
    """A country: `seed`, `spacing` of its main grid in metres, `gsd` it will be seen at."""

    seed: int
    spacing: float
    gsd: float

    @property
    def climate(self) -> Climate:
        """Colours of the region."""
        return CLIMATES[self.rng(0).integers(len(CLIMATES))]

    def rng(self, *key: int) -> Rng:
        """The random stream that belongs to `key`."""
        return np.random.default_rng((self.seed, *(k + 2**20 for k in key)))

    def node(self, i: int, j: int) -> F64:
        """(2,) metres of the junction in column i, row j."""
        shake = self.rng(1, i, j).uniform(-0.27, 0.27, 2)
        return (np.array([i, j]) + 0.5 + shake) * self.spacing

    def kind(self, axis: int, line: int) -> tuple[str, float]:
        """Class and width of a whole grid line (axis 0: rows, 1: columns)."""
        rng = self.rng(2, axis, line)
        draw = rng.random()
        kind = "residential"
        if axis == 0 and line % 5 == self.seed % 5:
            kind = "motorway"
        elif draw < 0.38:
            kind = "primary"
        low, high = roads.WIDTHS[kind]
        return kind, float(np.round(rng.uniform(low, high), 1))

    def edge(self, i: int, j: int, axis: int) -> Road:
        """The road from node (i, j) to its neighbour right (axis 0) or below (axis 1)."""
        di, dj = (1, 0) if axis == 0 else (0, 1)
        before, a, b, after = (self.node(i + di * k, j + dj * k) for k in (-1, 0, 1, 2))
        kind, width = self.kind(axis, j if axis == 0 else i)
        return Road(roads.hermite(a, b, (b - before) / 2, (after - a) / 2), kind, width)

    def lay(
        self, sketch: Sketch, extent: tuple[float, float, float, float], inside: Inside
    ) -> list[Road]:
        """Paint all blocks that touch `extent` (x0, y0, x1, y1 metres) except what is `inside`.

        Returns:
            The roads in and around `extent`, in a fixed order, not yet painted.
        """
        s = self.spacing
        i0, j0 = int(extent[0] // s) - 1, int(extent[1] // s) - 1
        i1, j1 = int(extent[2] // s) + 1, int(extent[3] // s) + 1
        found = [
            self.edge(i, j, axis)
            for j in range(j0, j1 + 1)
            for i in range(i0, i1 + 1)
            for axis in (0, 1)
        ]
        for j in range(j0, j1 + 1):
            for i in range(i0, i1 + 1):
                block = Block(
                    self,
                    (i, j),
                    self.edge(i, j, 0).line,
                    self.edge(i, j + 1, 0).line,
                    self.edge(i, j, 1).line,
                    self.edge(i + 1, j, 1).line,
                )
                low, high = block.bounds()
                if (low < extent[2:]).all() and (high > extent[:2]).all():
                    found += block.draw(sketch, inside)
        return found


@dataclass(frozen=True)
class Block:
    """Land between four roads, addressed by (u, v) in 0..1 through a Coons patch (1967)."""

    country: Country
    at: tuple[int, int]
    top: F64
    bottom: F64
    left: F64
    right: F64

    def bounds(self) -> tuple[F64, F64]:
        """Least and greatest x, y."""
        points = np.concatenate([self.top, self.bottom, self.left, self.right])
        return points.min(0), points.max(0)

    def xy(self, u: F64, v: F64) -> F64:
        """(n, 2) metres of n points (u, v); borders fall exactly on the roads' polylines."""
        t = np.linspace(0, 1, len(self.top))

        def on(line: F64, s: F64) -> F64:
            return np.stack([np.interp(s, t, line[:, 0]), np.interp(s, t, line[:, 1])], 1)

        u_, v_ = u[:, None], v[:, None]
        ruled = (1 - v_) * on(self.top, u) + v_ * on(self.bottom, u)
        ruled += (1 - u_) * on(self.left, v) + u_ * on(self.right, v)
        corners = (
            (1 - u_) * (1 - v_) * self.top[0]
            + u_ * (1 - v_) * self.top[-1]
            + (1 - u_) * v_ * self.bottom[0]
            + u_ * v_ * self.bottom[-1]
        )
        return np.asarray(ruled - corners)

    def ring(self, box: tuple[float, float, float, float]) -> F64:
        """Ring of the part u0..u1, v0..v1 (u0, v0, u1, v1)."""
        u0, v0, u1, v1 = box
        t = np.linspace(0, 1, 9)[:-1]
        one = np.ones_like(t)
        u = np.concatenate([u0 + (u1 - u0) * t, one * u1, u1 - (u1 - u0) * t, one * u0])
        v = np.concatenate([v0 * one, v0 + (v1 - v0) * t, one * v1, v1 - (v1 - v0) * t])
        return self.xy(u, v)

    def line(self, a: tuple[float, float], b: tuple[float, float]) -> F64:
        """Polyline from (u, v) a to b."""
        t = np.linspace(0, 1, roads.POINTS)
        return self.xy(a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t)

    def draw(self, sketch: Sketch, inside: Inside) -> list[Road]:
        """Paint the block; the roads within it."""
        rng = self.country.rng(3, *self.at)
        use = rng.random()
        if use < 0.22:
            return self._village(sketch, rng, inside)
        if use < 0.37:
            return self._forest(sketch, rng, inside)
        return self._fields(sketch, rng, inside)

    def _fields(self, sketch: Sketch, rng: Rng, inside: Inside) -> list[Road]:
        climate = self.country.climate
        size = self.country.spacing
        tracks: list[Road] = []
        hedges: list[F64] = []
        stack = [(0.0, 0.0, 1.0, 1.0)]
        while stack:
            box = stack.pop()
            wide, tall = (box[2] - box[0]) * size, (box[3] - box[1]) * size
            small = max(wide, tall) < 0.3 * size or rng.random() < 0.08
            if small and (wide, tall) != (size, size):
                self._field(sketch, rng, box, inside)
                continue
            cut = float(rng.uniform(0.32, 0.68))
            if wide > tall:
                u = box[0] + (box[2] - box[0]) * cut
                stack += [(box[0], box[1], u, box[3]), (u, box[1], box[2], box[3])]
                ends = ((u, box[1]), (u, box[3]))
            else:
                v = box[1] + (box[3] - box[1]) * cut
                stack += [(box[0], box[1], box[2], v), (box[0], v, box[2], box[3])]
                ends = ((box[0], v), (box[2], v))
            if len(tracks) < 3 and rng.random() < 0.42:
                tracks.append(Road(self.line(*ends), "track", 3.0))
            elif rng.random() < 0.6:
                hedges.append(self.line(*ends))
        for hedge in hedges:  # after the fields on both sides
            self._hedge(sketch, rng, hedge, inside)
        if not tracks:
            spot = self.xy(np.array([0.5]), np.array([0.45]))[0]
            water = sketch.material(Material(0.02, 0.03, 0.02))
            sketch.ground(blob(spot, size * 0.125, rng, 17), climate.soil, water)
            sketch.ground(blob(spot, size * 0.11, rng, 17), (52, 68, 72), water)
        return tracks

    def _field(
        self, sketch: Sketch, rng: Rng, box: tuple[float, float, float, float], inside: Inside
    ) -> None:
        ring = self.ring(box)
        side = ring[8] - ring[0]
        angle = float(np.arctan2(side[1], side[0])) + np.pi / 2 * float(rng.integers(2))
        crop = ground.vary(rng, ground.pick(rng, _CROPS), 9)
        mix = 0.35 * np.asarray(self.country.climate.grass) + 0.65 * np.asarray(crop)
        rows = float(rng.choice([0.0, 0.025, 0.06, 0.1]))
        material = Material(
            float(rng.uniform(0.03, 0.07)),
            float(rng.uniform(0.03, 0.11)),
            float(rng.uniform(0.01, 0.035)),
            rows,
            float(rng.choice([2.0, 3.0, 6.0, 12.0, 24.0])),
            angle,
        )
        sketch.ground(
            ring, (float(mix[0]), float(mix[1]), float(mix[2])), sketch.material(material)
        )
        for _ in range(int(rng.poisson(0.7))):
            u, v = rng.uniform(box[:2], box[2:])
            spot = self.xy(np.array([u]), np.array([v]))[0]
            if not inside(spot):
                ground.tree(sketch, rng, spot, float(rng.uniform(3, 7)), self.country.climate.tree)

    def _hedge(self, sketch: Sketch, rng: Rng, line: F64, inside: Inside) -> None:
        climate = self.country.climate
        rough = sketch.material(Material(0.12, 0.12, 0.03, crown=0.6))
        sketch.line(line, float(rng.uniform(2, 5)), climate.tree, rough)
        at, _ = roads.along(line, 26.0, float(rng.uniform(0, 26)))
        for spot in at:
            if rng.random() < 0.5 and not inside(spot):
                ground.tree(
                    sketch,
                    rng,
                    spot + rng.normal(0, 1.5, 2),
                    float(rng.uniform(2.5, 6)),
                    climate.tree,
                )

    def _forest(self, sketch: Sketch, rng: Rng, inside: Inside) -> list[Road]:
        climate = self.country.climate
        colour, mown = ground.grass(sketch, rng, climate)
        sketch.ground(self.ring((0, 0, 1, 1)), colour, mown)
        wood = sketch.material(Material(0.07, 0.07, 0.03, crown=1.0))
        ring = self.ring((0.03, 0.03, 0.97, 0.97))
        centre = ring.mean(0)
        ragged = centre + (ring - centre) * rng.uniform(0.93, 1.0, (len(ring), 1))
        # Painted as ground, so that what is built over the wood later is not left in its shade.
        sketch.ground(ragged + sketch.sun.offset(8.0), (22, 28, 30), alpha=0.55)
        sketch.ground(ragged, ground.vary(rng, climate.tree, 6), wood)
        track = Road(self.line((0.0, 0.4), (1.0, 0.55)), "track", 3.0)
        _lined(sketch, rng, track, climate, inside, 7.0)
        return [track]

    def _village(self, sketch: Sketch, rng: Rng, inside: Inside) -> list[Road]:
        climate = self.country.climate
        colour, material = ground.grass(sketch, rng, climate)
        sketch.ground(self.ring((0, 0, 1, 1)), colour, material)
        size = self.country.spacing
        count = max(1, int(size / 130))
        shares = (np.arange(count) + 1) / (count + 1)
        shares = shares + rng.uniform(-0.12, 0.12, count) / (count + 1)
        width = float(np.round(rng.uniform(*roads.WIDTHS["residential"]), 1))
        across = [
            Road(self.line((0.0, float(s)), (1.0, float(s))), "residential", width) for s in shares
        ]
        down = [
            Road(self.line((float(s), 0.0), (float(s), 1.0)), "residential", width)
            for s in shares[::3]
        ]
        for road in across:
            _lined(sketch, rng, road, climate, inside, 30.0)
            for side in (-1, 1):
                self._row(sketch, rng, road, side, inside, down)
        return across + down

    def _row(
        self, sketch: Sketch, rng: Rng, road: Road, side: int, inside: Inside, down: list[Road]
    ) -> None:
        """Houses along one side of a street, clear of the streets that cross it."""
        climate = self.country.climate
        at, direction = roads.along(road.line, 25.0, 18.0)
        crossing = np.concatenate([r.line for r in down])
        for spot, way in zip(at, direction, strict=True):
            out = np.array([-way[1], way[0]]) * side
            place = spot + out * (16 + rng.uniform(-2, 4)) + way * rng.uniform(-3, 3)
            gap = np.hypot(*(crossing - place).T).min()
            if rng.random() < 0.14 or gap < 20 or inside(place):
                continue
            roads.house(
                sketch,
                rng,
                place,
                float(np.arctan2(*(out[::-1]))) - np.pi / 2 + rng.normal(0, 0.04),
            )
            for _ in range(int(rng.integers(0, 3))):
                garden = place + out * rng.uniform(10, 30) + way * rng.uniform(-11, 11)
                ground.tree(sketch, rng, garden, float(rng.uniform(1.5, 5)), climate.tree)


def _lined(
    sketch: Sketch, rng: Rng, road: Road, climate: Climate, inside: Inside, spacing: float
) -> None:
    if not any(inside(p) for p in road.line[::4]):
        roads.alley(sketch, road, rng, climate, spacing)
