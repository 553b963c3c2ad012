"""What stands between the streets of a town: dwellings, courtyards, shops with car parks, parks."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple, TypeAlias

import numpy as np
import shapely

from lanner.synth import ground, town_open
from lanner.synth import town_things as things
from lanner.synth.ground import WHITE, Rng
from lanner.synth.raster import F64
from lanner.synth.sketch import Rgb, Sketch
from lanner.synth.town_look import Look
from lanner.synth.town_things import boxes, fill, frame, inside, roof_tone, scattered

Area: TypeAlias = shapely.Geometry


class Mix(NamedTuple):
    """How often each use comes in this town, and what its dwellings are like: metres, the share
    of lots that are built on, rows of houses behind each other, odd things a square metre.
    """

    odds: tuple[float, ...]
    lot: float
    deep: float
    setback: float
    packed: float
    rows: int
    clutter: float


def random_mix(rng: Rng, look: Look) -> Mix:
    """A quarter of villas, of terraces, of slabs or of trade: mostly one use, some others."""
    odds = rng.dirichlet([1.5, 0.55, 0.3, 0.3, 0.12, 0.16, 0.16, 0.14])
    tight = rng.random()
    if look.region.wall > 0.8:
        tight = tight**2
    small = 6 if look.region.lawn < 0.7 else 9
    return Mix(
        tuple(float(o) for o in odds),
        small + 16 * float(tight) + float(rng.uniform(0, 5)),
        float(rng.uniform(8, 14)),
        float(rng.uniform(0, 11)) * float(tight),
        float(rng.uniform(0.75, 0.99)),
        int(rng.choice([1, 2, 3, 5], p=[0.2, 0.35, 0.25, 0.2])),
        float(rng.uniform(0, 0.008)),
    )


def draw(sketch: Sketch, rng: Rng, look: Look, mix: Mix, area: Area) -> None:
    """Paint one block by a use drawn at random."""
    built = (_dwellings, _courtyard, _trade, _slabs, _mobile)
    bare = (town_open.park, town_open.waste, town_open.farm)
    use = int(rng.choice(len(built) + len(bare), p=mix.odds))
    if area.area < 500:
        use = len(built) + int(rng.integers(2))
    elif area.area > 60000 and built[min(use, 4)] is _courtyard:
        use = built.index(_slabs)
    if use < len(built):
        built[use](sketch, rng, look, mix, area)
    else:
        bare[use - len(built)](sketch, rng, look, area)


def _yard(rng: Rng, look: Look) -> tuple[Rgb, int]:
    """Colour and material of one garden."""
    if rng.random() < look.region.lawn:
        return ground.vary(rng, look.region.grass, 10), look.lawn
    return ground.vary(rng, look.region.soil, 8), look.earth


def _edge(area: Area, inset: float, step: float, start: float) -> tuple[F64, F64]:
    """Points every `step` metres along the border moved inwards; unit vectors along it there."""
    spots, ways = [np.zeros((0, 2))], [np.zeros((0, 2))]
    for part in shapely.get_parts(area.buffer(-inset, join_style="mitre").simplify(0.7)):
        if part.is_empty:
            continue
        corners = shapely.get_coordinates(part.exterior)
        for a, b in pairwise(corners):
            length = float(np.hypot(*(b - a)))
            n = int((length - 2 * start) / step) + 1 if length > 2 * start else 0
            if n:
                way = (b - a) / length
                s = (np.arange(n) - (n - 1) / 2) * step + length / 2
                spots.append(a + s[:, None] * way)
                ways.append(np.broadcast_to(way, (n, 2)))
    return np.concatenate(spots), np.concatenate(ways)


def _dwellings(sketch: Sketch, rng: Rng, look: Look, mix: Mix, area: Area) -> None:
    """Houses in rows along the streets, each on its lot with a drive."""
    colour, material = _yard(rng, look)
    fill(sketch, area, colour, material)
    rows = [mix.setback + mix.deep / 2 + 1]
    while len(rows) < mix.rows:
        # Further rows are reached by paths that are no streets.
        rows.append(rows[-1] + mix.deep + float(rng.uniform(1, 12)))
    edges = [_edge(area, inset, mix.lot, mix.deep / 2) for inset in rows]
    at, way = (np.concatenate(parts) for parts in zip(*edges, strict=True))
    if not len(at):
        return
    n = len(at)
    length = np.clip(mix.lot * rng.uniform(0.62, 0.92, n), 5, 22)
    width = np.clip(mix.deep * rng.uniform(0.75, 1.1, n), 5, 16)
    out = np.stack([way[:, 1], -way[:, 0]], 1)
    if n and not area.contains(shapely.Point(at[0] - out[0] * 0.5)):
        out = -out
    at = at + out * rng.normal(0, 0.06 * mix.deep, (n, 1))
    bodies = boxes(at, length, width, way)
    good = (
        inside(area.buffer(0.3), bodies) & things.apart(bodies, 0.8) & (rng.random(n) < mix.packed)
    )
    flat = look.region.flat
    lots = boxes(at, np.full(n, mix.lot), width + mix.setback * 1.8 + 5, way)
    mixed = rng.random() < 0.7
    drives = rng.random() < 0.7 and mix.setback > 3
    pools = float(rng.uniform(0, 0.35)) if look.region.lawn < 0.95 and not look.dirt else 0.03
    for k in np.flatnonzero(good):
        if mixed:
            tone, kind = _yard(rng, look)
            fill(sketch, area.intersection(shapely.Polygon(lots[k])), tone, kind, 0.8)
        if drives and rng.random() < 0.85:
            reach = mix.setback + look.side + 6
            foot = at[k] + way[k] * length[k] * 0.3 * float(rng.choice([-1, 1]))
            path = np.stack([foot, foot + out[k] * (width[k] / 2 + reach)])
            pave = ground.vary(rng, (184, 178, 168) if rng.random() < 0.6 else look.paving, 10)
            sketch.line(path, float(rng.uniform(2.6, 5.5)), pave, look.tarmac, 0.9)
            if rng.random() < 0.35:
                things.cars(sketch, rng, look, path[1:] - out[k] * (look.side + 4), out[k : k + 1])
        if rng.random() < pools and mix.lot > 13:
            things.pool(sketch, rng, at[k] - out[k] * (width[k] / 2 + 6), way[k])
        turn = way[k] if rng.random() < 0.75 else out[k]
        size = (length[k], width[k]) if turn is way[k] else (width[k], length[k])
        things.house(sketch, rng, look, at[k], size, turn, bool(rng.random() < flat))
    if rng.random() < look.region.wall:
        _walls(sketch, rng, look, area, lots[good])
    _clutter(sketch, rng, look, area, mix.clutter * area.area)
    bushes = scattered(rng, area.buffer(-0.5), int(rng.poisson(look.trees * area.area / 180)))
    things.trees(sketch, rng, look, bushes, rng.uniform(0.5, 1.4, len(bushes)))
    count = look.trees * area.area / 260
    spots = scattered(rng, area.buffer(-1), int(rng.poisson(count)))
    things.trees(sketch, rng, look, spots, rng.uniform(1.2, 4.8, len(spots)))


def _walls(sketch: Sketch, rng: Rng, look: Look, area: Area, lots: F64) -> None:
    """Walls or fences along the sides and rears of lots (n, 4, 2)."""
    tone = ground.vary(rng, look.region.soil if look.region.wall > 0.5 else (150, 146, 138), 14)
    lines = shapely.intersection(area, shapely.linestrings(lots))
    for part in shapely.get_parts(lines):
        if part.geom_type == "LineString" and part.length > 1:
            line = shapely.get_coordinates(part)
            sketch.line(line, 0.5, tone, -1, 0.9)
            sketch.line(line + sketch.sun.offset(1.2), 0.8, (30, 30, 34), -1, 0.4)


def _clutter(sketch: Sketch, rng: Rng, look: Look, area: Area, count: float) -> None:
    """Sheds, tanks, heaps and what else lies about in yards: small, of any colour, some high."""
    spots = scattered(rng, area.buffer(-2), int(rng.poisson(count)))
    n = len(spots)
    turn = rng.uniform(0, np.pi, n)
    way = np.stack([np.cos(turn), np.sin(turn)], 1)
    shapes = boxes(spots, rng.uniform(0.8, 4.5, n), rng.uniform(0.6, 3, n), way)
    things.cast(sketch, shapes[: n // 2], np.full(n // 2, 2.0))
    for k, ring in enumerate(shapes):
        grey = float(rng.uniform(60, 225))
        tone = ground.vary(rng, (grey, grey, grey) if k % 3 else roof_tone(rng, look), 8)
        sketch.raised(ring, tone, 1.0 if k < n // 2 else 0.6)


def _courtyard(sketch: Sketch, rng: Rng, look: Look, mix: Mix, area: Area) -> None:
    """Buildings wall to wall along the streets around yards with sheds and a few trees."""
    fill(sketch, area, ground.vary(rng, look.paving, 14), look.tarmac)
    high, deep = float(rng.uniform(5, 22)), float(rng.uniform(8, 15))
    pitched = rng.random() > look.region.flat
    for inset in (0.0, *([deep + float(rng.uniform(3, 12))] if rng.random() < 0.8 else [])):
        step = float(rng.uniform(8, 22))
        at, way = _edge(area, inset + deep / 2 + 0.4, step, deep * 0.45)
        if not len(at):
            continue
        long = np.full(len(at), step + 0.3) * np.where(rng.random(len(at)) < 0.85, 1, 0.6)
        bodies = boxes(at, long, deep * rng.uniform(0.8, 1.0, len(at)), way)
        good = inside(area.buffer(0.4), bodies) & things.apart(bodies, -1.6)
        good &= rng.random(len(at)) < (0.96 if not inset else 0.7)
        for k in np.flatnonzero(good):
            height = high * float(rng.uniform(0.6, 1.25))
            if pitched and rng.random() < 0.8:
                size = (float(long[k]), deep)
                things.house(sketch, rng, look, at[k], size, way[k], False, height)
            else:
                plant = int(rng.integers(4))
                things.block(sketch, rng, look, bodies[k], height, roof_tone(rng, look), plant)
    _clutter(sketch, rng, look, area.buffer(-deep), mix.clutter * area.area)
    spots = scattered(rng, area.buffer(-deep - 2), int(rng.poisson(look.trees * area.area / 500)))
    things.trees(sketch, rng, look, spots, rng.uniform(1.5, 4.5, len(spots)))


def _trade(sketch: Sketch, rng: Rng, look: Look, mix: Mix, area: Area) -> None:
    """A hall or two with flat roofs, and a car park on what is left."""
    fill(sketch, area, ground.vary(rng, look.region.grass, 8), look.lawn)
    lot = area.buffer(-float(rng.uniform(0, 5)), join_style="mitre")
    fill(sketch, lot, ground.vary(rng, look.paving, 9), look.tarmac)
    middle, way, length, width = frame(area)
    across = np.array([-way[1], way[0]])
    share = float(rng.choice([0.0, 0.25, 0.4, 0.6]))
    built: shapely.Geometry = shapely.Polygon()
    for _ in range(int(rng.integers(1, 4)) if share else 0):
        size = np.array([length, width]) * share * rng.uniform(0.5, 1.2, 2)
        spot = (
            middle
            + way * rng.uniform(-0.3, 0.3) * length
            + across * rng.choice([-0.25, 0.25]) * width
        )
        ring = boxes(spot[None], size[:1], size[1:], way[None])[0]
        body = shapely.Polygon(ring)
        if size.min() > 8 and lot.contains(body) and not body.buffer(4).intersects(built):
            plant = int(min(25, body.area / 150))
            things.block(
                sketch, rng, look, ring, float(rng.uniform(4, 13)), roof_tone(rng, look), plant
            )
            built = built.union(body)
    _clutter(sketch, rng, look, lot, 0.15 * mix.clutter * area.area)
    free = lot.buffer(-2.5).difference(built.buffer(7))
    _stalls(sketch, rng, look, free, middle, way, (length, width))


def _stalls(
    sketch: Sketch,
    rng: Rng,
    look: Look,
    free: shapely.Geometry,
    middle: F64,
    way: F64,
    size: tuple[float, float],
) -> None:
    """Double rows of bays with aisles between them, marked, and taken in part."""
    if rng.random() < 0.5:
        way, size = np.array([-way[1], way[0]]), size[::-1]
    across = np.array([-way[1], way[0]])
    pitch, filled = float(rng.uniform(15.5, 19)), float(rng.uniform(0.05, 0.95))
    columns = (np.arange(int(size[0] / 2.7)) + 0.5) * 2.7 - size[0] / 2
    rows = (np.arange(int(size[1] / pitch) + 1)) * pitch - size[1] / 2 + rng.uniform(2, 8)
    rows = np.sort(np.concatenate([rows - 2.6, rows + 2.6]))
    u, v = (g.ravel() for g in np.meshgrid(columns, rows))
    at = middle + u[:, None] * way + v[:, None] * across
    shapely.prepare(free)
    at = at[shapely.contains_xy(free, at)]
    if look.gsd < 1.1 and rng.random() < 0.85:
        for spot in at:
            line = np.stack([spot - across * 2.4, spot + across * 2.4]) + way * 1.35
            sketch.line(line, 0.13, WHITE, -1, 0.75)
    here = at[rng.random(len(at)) < filled]
    heading = np.where(rng.random((len(here), 1)) < 0.5, across, -across)
    things.cars(sketch, rng, look, here + across * rng.normal(0, 0.3, (len(here), 1)), heading)
    if rng.random() < 0.5:
        spots = at[rng.random(len(at)) < 0.05 * look.trees]
        things.trees(sketch, rng, look, spots, rng.uniform(1.2, 3, len(spots)))


def _slabs(sketch: Sketch, rng: Rng, look: Look, mix: Mix, area: Area) -> None:
    """Parallel blocks of flats or towers, far enough apart for light; paths and trees between."""
    colour, material = _yard(rng, look)
    fill(sketch, area, colour, material)
    middle, way, length, width = frame(area)
    across = np.array([-way[1], way[0]])
    tower = rng.random() < 0.3
    long, deep = (rng.uniform(18, 30, 2)) if tower else rng.uniform([30, 10], [75, 16])
    high = float(rng.uniform(25, 80)) if tower else float(rng.uniform(12, 40))
    # A longer shadow would leave nothing of the chip in the light.
    high = min(high, 75.0 * float(np.tan(sketch.sun.elevation)))
    gap = deep + float(rng.uniform(0.5, 1.1)) * min(high, 34)
    columns = np.arange(
        -length / 2 + long / 2 + 4, length / 2 - long / 2, long + rng.uniform(5, 20)
    )
    rows = np.arange(-width / 2 + deep / 2 + 3, width / 2 - deep / 2, gap)
    u, v = (g.ravel() for g in np.meshgrid(columns, rows))
    for row in rows:
        path = np.stack([middle - way * length / 2, middle + way * length / 2])
        path = path + across * (row + deep / 2 + 4)
        for part in shapely.get_parts(area.intersection(shapely.LineString(path))):
            if part.geom_type == "LineString" and part.length > 5:
                line = shapely.get_coordinates(part)
                sketch.line(line, 2.6, ground.vary(rng, look.paving, 8), look.tarmac)
    if len(u):
        at = middle + u[:, None] * way + v[:, None] * across
        full = np.ones(len(u))
        bodies = boxes(at, full * long, full * deep, np.broadcast_to(way, at.shape))
        tone = roof_tone(rng, look)
        for ring in bodies[inside(area, bodies)]:
            if rng.random() < 0.93:
                things.block(sketch, rng, look, ring, high, ground.vary(rng, tone, 5), 4)
    spots = scattered(rng, area.buffer(-2), int(rng.poisson(look.trees * area.area / 220)))
    things.trees(sketch, rng, look, spots, rng.uniform(1.5, 4, len(spots)))


def _mobile(sketch: Sketch, rng: Rng, look: Look, mix: Mix, area: Area) -> None:
    """Long light caravans or sheds side by side, askew to the street."""
    fill(sketch, area, ground.vary(rng, look.paving, 12), look.tarmac)
    long, wide = float(rng.uniform(10, 20)), float(rng.uniform(3.5, 6))
    at, way = _edge(area, long / 2 + 1, wide + float(rng.uniform(2, 6)), wide)
    if not len(at):
        return
    skew = float(rng.normal(0, 0.3))
    c, s = np.cos(np.pi / 2 + skew), np.sin(np.pi / 2 + skew)
    turned = way @ np.array([[c, s], [-s, c]])
    bodies = boxes(at, np.full(len(at), long), np.full(len(at), wide), turned)
    for ring in bodies[inside(area.buffer(1), bodies) & things.apart(bodies, 0.6)]:
        tone = ground.vary(rng, WHITE, 18) if rng.random() < 0.7 else roof_tone(rng, look)
        things.block(sketch, rng, look, ring, 3.2, tone)
    spots = scattered(rng, area.buffer(-1), int(rng.poisson(look.trees * area.area / 400)))
    things.trees(sketch, rng, look, spots, rng.uniform(1.2, 3.5, len(spots)))
