"""Street plans of towns: grids, suburbs, old towns. Metres, y down."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import shapely
from scipy.spatial import Voronoi

from lanner.synth import town_freeway
from lanner.synth.ground import Rng
from lanner.synth.raster import F64
from lanner.synth.roads import hermite, offset
from lanner.synth.town_net import MARGIN, Plan, Street, parts

Warp = Callable[[F64], F64]


def random_plan(rng: Rng, extent: float) -> Plan:
    """Streets of a square of `extent` metres whose corner is the origin."""
    kind = rng.choice(["grid", "bent", "suburb", "old", "lanes"], p=[0.3, 0.2, 0.2, 0.18, 0.12])
    angle = float(rng.uniform(0, np.pi))
    reach = (extent / 2 + MARGIN) * 1.45
    warp = _warp(rng, extent, angle, {"suburb": 0.06, "bent": 0.04, "old": 0.03}.get(kind, 0.0))
    bulbs: list[tuple[float, float, float]] = []
    streets = _old(rng, reach, warp) if kind == "old" else _grid(rng, reach, warp, str(kind), bulbs)
    corridor, draw = None, rng.random()
    if draw < 0.12:
        _roundabout(rng, extent, streets)
    elif draw < 0.4:
        streets, corridor = town_freeway.freeway(rng, extent, angle, streets)
    elif draw < 0.47:
        streets, corridor = town_freeway.viaduct(rng, extent, angle, streets)
    hidden = [b for b in bulbs if corridor is not None and corridor.distance(shapely.Point(b)) < 20]
    return Plan(_near(streets, extent), [b for b in bulbs if b not in hidden], corridor)


def _near(streets: list[Street], extent: float) -> list[Street]:
    """What lies in the planned square, cut at its border."""
    box = shapely.box(-MARGIN, -MARGIN, extent + MARGIN, extent + MARGIN)
    return [
        street._replace(line=part)
        for street in streets
        for part in parts(shapely.intersection(shapely.LineString(street.line), box))
    ]


def _warp(rng: Rng, extent: float, angle: float, steep: float) -> Warp:
    """A turn by `angle` about the chip's middle and waves whose slope is about `steep`."""
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, s], [-s, c]])
    length = rng.uniform(130, 600, 4)
    way = rng.uniform(0, 2 * np.pi, 4)
    wave = 2 * np.pi / length[:, None] * np.stack([np.cos(way), np.sin(way)], 1)
    phase, push = rng.uniform(0, 2 * np.pi, 4), rng.normal(0, 1, (4, 2))
    push *= (steep * length * rng.uniform(0.3, 1.2))[:, None]
    middle = np.array([extent / 2, extent / 2])

    def warp(points: F64) -> F64:
        moved = points + np.sin(points @ wave.T + phase) @ push if steep else points
        return np.asarray(moved @ turn + middle, np.float64)

    return warp


def _ticks(rng: Rng, between: tuple[float, float], reach: float) -> F64:
    """Places of parallel streets from -reach to reach, so many metres apart."""
    low, high = between
    steps = rng.uniform(low, high, int(2 * reach / low) + 2)
    if rng.random() < 0.4:
        # Surveyed towns: one spacing throughout, or two in turns.
        steps = np.tile(steps[:2], len(steps))[: len(steps)]
    at = np.cumsum(steps) - reach - rng.uniform(0, high)
    return np.asarray(at[at < reach])


def _dense(a: F64, b: F64, step: float = 10.0) -> F64:
    n = max(2, int(np.hypot(*(b - a)) / step) + 1)
    return a + (b - a) * np.linspace(0, 1, n)[:, None]


def _classes(
    rng: Rng, count: int, narrow: tuple[float, float]
) -> list[tuple[str, float, int, float]]:
    """Class, width, lanes and median of each of parallel streets; a town's lanes are alike."""
    usual = float(rng.uniform(*narrow))
    every, first = int(rng.integers(3, 9)), int(rng.integers(9))
    main = float(rng.uniform(10, 23) if rng.random() < 0.75 else rng.uniform(20, 34))
    median = float(rng.uniform(1, 9)) if rng.random() < 0.4 and main > 13 else 0.0
    some: list[tuple[str, float, int, float]] = []
    for k in range(count):
        if k % every == first:
            some.append(("primary", main, max(2, int(main / 3.4)), median))
        else:
            width = float(np.clip(usual + rng.normal(0, 0.7), 4.4, 20))
            some.append(("residential", width, 2, 0.0))
    return some


def _doubled(line: F64, kind: str, width: float, lanes: int, median: float) -> list[Street]:
    """One street, or both carriageways where there is a median."""
    if not median:
        return [Street(line, kind, width, lanes)]
    half = width / 2
    by = (median + half) / 2
    return [
        Street(one, kind, half, max(1, lanes // 2), oneway=True)
        for one in (offset(line, by), offset(line[::-1], by))
    ]


def _grid(
    rng: Rng, reach: float, warp: Warp, kind: str, bulbs: list[tuple[float, float, float]]
) -> list[Street]:
    spans = {"lanes": ((30, 48), (80, 180)), "suburb": ((110, 170), (120, 230))}
    low = float(rng.uniform(45, 90))
    small = spans.get(kind, ((low, low * 1.4), (60, 180)))
    us, vs = _ticks(rng, small[0], reach), _ticks(rng, small[1], reach)
    narrow = (4.6, 7.0) if kind == "lanes" else (5.5, 11.0)
    missing = float(rng.choice([0.0, 0.06, 0.16, 0.3]))
    streets: list[Street] = []
    for axis, (mine, other) in enumerate(((us, vs), (vs, us))):
        for at, what in zip(mine, _classes(rng, len(mine), narrow), strict=True):
            keep = rng.random(len(other) + 1) >= (0.0 if what[0] == "primary" else missing)
            ends = np.concatenate([[-reach], other, [reach]])
            edges = np.flatnonzero(np.diff(np.concatenate([[0], keep, [0]])))
            for a, b in edges.reshape(-1, 2):
                line = np.array([[at, ends[a]], [at, ends[b]]])[:, :: 1 - 2 * axis]
                streets += _doubled(warp(_dense(line[0], line[1])), *what)
    if kind in {"grid", "bent"} and rng.random() < 0.25:
        width = float(rng.uniform(2.6, 3.9))
        for u0, u1 in pairwise(us):
            back = np.array([[(u0 + u1) / 2, -reach], [(u0 + u1) / 2, reach]])
            streets.append(Street(warp(_dense(back[0], back[1])), "track", width, 1))
    if kind == "suburb":
        for u0, u1 in pairwise(us):
            for v0, v1 in pairwise(vs):
                streets += _inner(rng, (u0, v0, u1, v1), warp, bulbs)
    return streets


def _inner(
    rng: Rng,
    cell: tuple[float, float, float, float],
    warp: Warp,
    bulbs: list[tuple[float, float, float]],
) -> list[Street]:
    """A cul-de-sac or a loop within a block of a suburb."""
    u0, v0, u1, v1 = cell
    width, draw = float(rng.uniform(5.5, 8.5)), rng.random()
    size = np.array([u1 - u0, v1 - v0])
    foot = np.array([u0 + size[0] * rng.uniform(0.35, 0.65), v0])
    if draw < 0.55:
        top = foot + size * rng.uniform([-0.15, 0.45], [0.15, 0.7])
        line = warp(hermite(foot, top, np.array([0, size[1]]), np.array([30.0, 60.0])))
        if rng.random() < 0.8:
            bulbs.append((float(line[-1, 0]), float(line[-1, 1]), float(rng.uniform(8, 13))))
        return [Street(line, "residential", width, 2)]
    if draw < 0.75:
        a, b = np.array([u0 + 0.3 * size[0], v0]), np.array([u0 + 0.72 * size[0], v0])
        pull = np.array([0, size[1] * 2.2])
        return [Street(warp(hermite(a, b, pull, -pull)), "residential", width, 2)]
    return []


def _old(rng: Rng, reach: float, warp: Warp) -> list[Street]:
    """Edges of cells around scattered points, and one or two wider ways through."""
    step = float(rng.uniform(48, 125))
    n = int(2 * reach / step) + 1
    grid = (np.stack(np.meshgrid(*[np.arange(n)] * 2), -1).reshape(-1, 2) - n / 2) * step
    cells = Voronoi(grid + rng.uniform(-0.45, 0.45, grid.shape) * step)
    usual, missing = float(rng.uniform(4.2, 9)), float(rng.uniform(0, 0.25))
    streets = []
    for a, b in cells.ridge_vertices:
        ends = cells.vertices[[a, b]]
        if a < 0 or np.abs(ends).max() > reach * 1.2 or rng.random() < missing:
            continue
        width = float(np.clip(usual * rng.uniform(0.8, 1.35), 4.2, 12))
        streets.append(Street(warp(_dense(ends[0], ends[1])), "residential", width, 2))
    for _ in range(int(rng.integers(3))):
        way = float(rng.uniform(0, 2 * np.pi))
        out = np.array([np.cos(way), np.sin(way)]) * reach
        by = rng.uniform(-0.3, 0.3, 2) * reach
        line = warp(hermite(by - out, by + out, out * 2, rng.uniform(0.5, 1.5, 2) * out * 2))
        width = float(rng.uniform(8, 18))
        streets += _doubled(line, "primary", width, max(2, int(width / 3.5)), 0.0)
    return streets


def _roundabout(rng: Rng, extent: float, streets: list[Street]) -> None:
    """Change the streets where two of them cross near the middle: a ring around an island."""
    lines = [shapely.LineString(s.line) for s in streets]
    left, right = shapely.STRtree(lines).query(lines, "crosses")
    inner = shapely.box(0.15 * extent, 0.15 * extent, 0.85 * extent, 0.85 * extent)
    for a, b in zip(left, right, strict=True):
        meet = lines[a].intersection(lines[b])
        wide = max(streets[a].width, streets[b].width)
        if meet.geom_type != "Point" or not inner.contains(meet) or wide > 16:
            continue
        radius, width = wide * float(rng.uniform(0.9, 1.6)) + 5, float(rng.uniform(6, 10))
        disc = meet.buffer(radius, 8)
        streets[:] = [
            street._replace(line=part)
            for street, line in zip(streets, lines, strict=True)
            for part in parts(line.difference(disc))
        ]
        ring = shapely.get_coordinates(disc.exterior)
        streets.append(Street(ring, "primary", width, 1 + int(width > 8), oneway=True))
        return
