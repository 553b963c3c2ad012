"""Streets of a town as they are painted: surface, kerbs, markings, cars, bridges."""

from __future__ import annotations

import numpy as np
import shapely

from lanner.synth import ground
from lanner.synth.ground import WHITE, YELLOW, Rng
from lanner.synth.raster import F64
from lanner.synth.roads import along, dashes, offset
from lanner.synth.sketch import Rgb, Sketch, blob, ribbon
from lanner.synth.town_look import Look
from lanner.synth.town_net import Plan, Street
from lanner.synth.town_things import cars, fill


def surface(plan: Plan, level: int | None = None, alleys: bool = True) -> shapely.Geometry:
    """All that is driven on, kerbs at junctions rounded; of one level, or of all."""
    some = [s for s in plan.streets if level in (None, s.level) and (alleys or s.kind != "track")]
    streets = [s for s in some if s.kind != "motorway" and not s.level]
    wide = [s for s in some if s.kind == "motorway" or s.level]
    round_ends = [shapely.Point(x, y).buffer(r, 6) for x, y, r in plan.bulbs if level in (None, 0)]
    net = shapely.union_all([*(_band(s, "round") for s in streets), *round_ends])
    # Closing by 4 m rounds the corners that two kerbs make.
    net = net.buffer(4, 4).buffer(-4, 4)
    return shapely.union_all([net, *(_band(s, "flat") for s in wide)])


def _band(street: Street, ends: str) -> shapely.Geometry:
    line = shapely.LineString(street.line)
    return line.buffer(street.width / 2, quad_segs=3, cap_style=ends)


def verges(sketch: Sketch, look: Look, ground_level: shapely.Geometry) -> None:
    """Pavements, or strips of grass or earth, beside the streets."""
    material = look.earth if look.dirt else look.tarmac
    fill(sketch, ground_level.buffer(look.side, 3), look.kerb, material)
    if look.walk:
        stone = ground.scale(look.paving, 1.2)
        if look.side > 2.6:
            edge = ground_level.buffer(look.side - 1.5, 3)
            fill(sketch, edge, look.region.grass, look.lawn)
        fill(sketch, ground_level.buffer(0.35, 2), stone, look.tarmac)


def paint(sketch: Sketch, rng: Rng, look: Look, plan: Plan, streets: shapely.Geometry) -> None:
    """The streets in the order they lie above each other; `streets` is `surface` of level 0."""
    low = [s for s in plan.streets if s.level < 0]
    flat = [s for s in plan.streets if s.level == 0 and s.kind != "motorway"]
    free = [s for s in plan.streets if s.level == 0 and s.kind == "motorway"]
    material = look.earth if look.dirt else look.tarmac
    if look.dirt:
        # Nobody drew its edge: it fades into the ground.
        fill(sketch, streets.buffer(1.0, 2), look.road, material, float(rng.uniform(0.15, 0.5)))
        fill(sketch, streets, look.road, material, float(rng.uniform(0.6, 0.95)))
    else:
        fill(sketch, streets, look.road, material)
    _strips(sketch, rng, look, low + flat)
    if look.sand:
        _drift(sketch, rng, look, low + flat)
    _wear(sketch, rng, look, low + flat)
    for street in low + flat:
        _markings(sketch, rng, look, street)
    if look.marked > 0.1:
        _crosswalks(sketch, rng, look, flat)
    if free:
        _freeway(sketch, rng, look, free, low)
    for street in plan.streets:
        if street.level > 0:
            _bridge(sketch, rng, look, street)


def _strips(sketch: Sketch, rng: Rng, look: Look, streets: list[Street]) -> None:
    """Some streets were paved at another time than the others."""
    material = look.earth if look.dirt else look.tarmac
    spread = float(rng.uniform(2, 14)) * (0.4 if look.dirt else 1.0)
    other = float(rng.uniform(0, 0.4))
    for street in streets:
        if rng.random() < other:
            tone = ground.vary(rng, look.road, spread)
            sketch.line(street.line, street.width, tone, material, float(rng.uniform(0.5, 1)))
        if look.dirt and rng.random() < 0.8:
            for side in (-1, 1):
                rut = offset(street.line, side * street.width * float(rng.uniform(0.1, 0.22)))
                sketch.line(
                    rut, float(rng.uniform(0.5, 1.6)), ground.scale(look.road, 1.1), -1, 0.4
                )


def _drift(sketch: Sketch, rng: Rng, look: Look, streets: list[Street]) -> None:
    """Sand that the wind and nobody's broom left along the edges."""
    for street in streets:
        for side in (-1, 1):
            wide = street.width * float(rng.uniform(0.05, 0.3))
            edge = offset(street.line, side * (street.width - wide) / 2)
            sketch.line(edge, wide, look.region.soil, look.earth, look.sand)
            at, _ = along(edge, 14.0, float(rng.uniform(0, 14)))
            for spot in at[rng.random(len(at)) < 0.5]:
                ring = blob(spot, float(rng.uniform(0.2, 0.4)) * street.width, rng, 7)
                sketch.ground(ring, look.region.soil, look.earth, look.sand * 0.6)


def _wear(sketch: Sketch, rng: Rng, look: Look, streets: list[Street]) -> None:
    """Patches, stains, seams along the middle and paths of wheels."""
    patches = float(rng.choice([0, 0, 200, 90, 40]))
    worn = rng.random() < 0.4
    for street in streets:
        if worn and not look.dirt:
            tone = ground.scale(look.road, float(rng.choice([0.8, 0.88, 1.12])))
            for by in np.array([-0.25, 0.25]) * street.width:
                sketch.line(offset(street.line, by), 0.22 * street.width, tone, -1, 0.3)
        if patches:
            at, way = along(street.line, patches, float(rng.uniform(0, patches)))
            for spot, _ in zip(at, way, strict=True):
                tone = ground.scale(look.road, float(rng.choice([0.65, 0.8, 1.15, 1.3])))
                place = spot + rng.normal(0, street.width / 5, 2)
                ring = blob(place, float(rng.uniform(0.7, 0.35 * street.width)), rng, 6)
                sketch.ground(ring, tone, alpha=float(rng.uniform(0.2, 0.7)))


def _markings(sketch: Sketch, rng: Rng, look: Look, street: Street) -> None:
    """Lines between lanes; a street of dirt, or a narrow one, has none."""
    opacity = look.marked * (1.0 if street.kind != "residential" else float(rng.random() < 0.4))
    if opacity < 0.05 or street.width < 5 or look.gsd > 1.3:
        return
    w = street.width
    lane = (w - 1.0) / street.lanes
    colour = YELLOW if rng.random() < 0.5 else WHITE
    for k in range(1, street.lanes):
        by = k * lane - (w - 1.0) / 2
        if abs(by) < 0.3 * lane and not street.oneway:
            if street.kind == "primary":
                for side in (-0.2, 0.2):
                    sketch.line(offset(street.line, by + side), 0.15, colour, -1, opacity)
            else:
                sketch.many(dashes(street.line, 3.0, 6.0, 0.15), colour, -1, opacity)
        elif look.gsd < 0.95:
            sketch.many(dashes(offset(street.line, by), 3.0, 6.0, 0.15), WHITE, -1, opacity)
    if street.kind != "residential":
        for by in (-w / 2 + 0.5, w / 2 - 0.5):
            sketch.line(offset(street.line, by), 0.15, WHITE, -1, opacity)


def _crosswalks(sketch: Sketch, rng: Rng, look: Look, streets: list[Street]) -> None:
    """Zebras and stop lines before junctions that a greater street takes part in."""
    lines = [shapely.LineString(s.line) for s in streets]
    if not lines:
        return
    often, zebra = float(rng.uniform(0, 1)), rng.random() < 0.6
    left, right = shapely.STRtree(lines).query(lines, "intersects")
    for a, b in zip(left, right, strict=True):
        if a == b or "primary" not in {streets[a].kind, streets[b].kind} or rng.random() > often:
            continue
        meet = lines[a].intersection(lines[b])
        if meet.geom_type != "Point":
            continue
        s = lines[a].project(meet)
        for by in (-1, 1):
            reach = s + by * (streets[b].width / 2 + 4.0)
            if not 2 < reach < lines[a].length - 2:
                continue
            here, ahead = (
                shapely.get_coordinates(lines[a].interpolate(reach + d))[0] for d in (0, 1)
            )
            _zebra(sketch, look, here, ahead - here, streets[a].width, zebra)


def _zebra(sketch: Sketch, look: Look, at: F64, way: F64, width: float, striped: bool) -> None:
    across = np.array([-way[1], way[0]])
    if striped and look.gsd < 0.7:
        for by in np.arange(-width / 2 + 0.6, width / 2 - 0.3, 1.0):
            bar = np.stack([at + across * by - way * 1.4, at + across * by + way * 1.4])
            sketch.line(bar, 0.5, WHITE, -1, look.marked)
    else:
        for by in (-1.5, 1.5):
            side = across * (width / 2 - 0.4)
            sketch.line(np.stack([at - side, at + side]) + way * by, 0.35, WHITE, -1, look.marked)
        if striped:
            side = across * (width / 2 - 0.4)
            sketch.line(np.stack([at - side, at + side]), 2.8, WHITE, -1, 0.4 * look.marked)


def _freeway(sketch: Sketch, rng: Rng, look: Look, free: list[Street], below: list[Street]) -> None:
    """Carriageways: shoulders, lanes each with a tone, barriers and what lies between."""
    material = look.slabs if sum(look.freeway) > 470 else look.tarmac
    shoulder = ground.scale(look.freeway, float(rng.choice([0.85, 0.95, 1.12])))
    mains = [s for s in free if s.lanes > 1]
    gap = (
        mains[0].line - mains[1].line[::-1]
        if len(mains) == 2 and len(mains[0].line) == len(mains[1].line)
        else None
    )
    for street in below:
        # The deck's edges throw shade on what passes under it.
        sketch.line(street.line, street.width, (20, 22, 26), -1, 0.45)
    if gap is not None:
        middle = mains[1].line[::-1] + gap / 2
        wide = float(np.median(np.hypot(*gap.T))) - mains[0].width
        kind = rng.random()
        tone = shoulder if kind < 0.45 else look.region.grass if kind < 0.75 else look.region.soil
        sketch.line(middle, wide + 0.8, tone, look.tarmac if kind < 0.45 else look.lawn)
    for street in sorted(free, key=lambda s: s.lanes):
        sketch.line(street.line, street.width, shoulder, material)
        sketch.line(street.line, _paved(street), look.freeway, material)
        _lanes(sketch, rng, look, street, look.freeway)
    if gap is not None and rng.random() < 0.75:
        sketch.line(middle, 0.7, (196, 192, 184), -1, 0.9)
        shade = middle + sketch.sun.offset(0.9)
        sketch.shadow(ribbon(shade, 0.6), 0.8)


def _lanes(sketch: Sketch, rng: Rng, look: Look, street: Street, colour: Rgb) -> None:
    """The lanes of a carriageway, each of its own tone and oiled along its middle; their lines."""
    paved = _paved(street)
    lane = paved / street.lanes
    for k in range(street.lanes):
        by = (k + 0.5) * lane - paved / 2
        tone = ground.vary(rng, colour, 4)
        sketch.line(offset(street.line, by), lane, tone, -1, 0.5)
        sketch.line(offset(street.line, by), 0.9, ground.scale(tone, 0.82), -1, 0.4)
        if k and look.gsd < 0.95:
            marks = dashes(offset(street.line, by - lane / 2), 3.5, 8.5, 0.18)
            sketch.many(marks, WHITE, -1, 0.85)
    for side in (-1, 1):
        edge = offset(street.line, side * (paved / 2 - 0.1))
        sketch.line(edge, 0.2, YELLOW if side < 0 else WHITE, -1, 0.3 + 0.6 * look.marked)


def _paved(street: Street) -> float:
    """Metres of a carriageway that its lanes take, shoulders aside."""
    return min(street.width, 3.5 * street.lanes if street.lanes > 1 else 4.2)


def _bridge(sketch: Sketch, rng: Rng, look: Look, street: Street) -> None:
    """A street on a bridge: shadow beside it, deck, parapets."""
    kind = look.freeway if street.kind == "motorway" or look.dirt else look.road
    deck: Rgb = ground.vary(rng, kind, 4)
    for share in (0.5, 1.0):
        shade = street.line + sketch.sun.offset(6.0 * share)
        sketch.line(shade, street.width + 1.6, (16, 18, 24), -1, 0.55)
    sketch.line(street.line, street.width + 1.6, (190, 186, 178), look.tarmac)
    sketch.line(street.line, street.width, deck, look.tarmac)
    if street.kind == "motorway":
        _lanes(sketch, rng, look, street, deck)
    else:
        _markings(sketch, rng, look, street)


def traffic(sketch: Sketch, rng: Rng, look: Look, plan: Plan) -> None:
    """Moving cars in their lanes and parked ones along the kerb; none under a bridge."""
    decks = shapely.union_all([_band(s, "flat") for s in plan.streets if s.level > 0])
    both = float(rng.random() < 0.6)
    for street in plan.streets:
        if street.level < 0:
            continue
        if street.kind == "track":
            continue
        every = {"motorway": 26.0, "primary": 60.0}.get(street.kind, 170.0) / (4 * look.moving)
        lane = street.width / street.lanes
        for k in range(street.lanes):
            by = (k + 0.5) * lane - street.width / 2
            line = offset(street.line, by)
            at, way = along(line, every, float(rng.uniform(0, every)))
            at = at + way * rng.uniform(-0.4, 0.4, (len(at), 1)) * every
            if not street.oneway and by < 0:
                way = -way
            _place(sketch, rng, look, at, way, decks if not street.level else None)
        if street.kind == "residential" and street.width >= 6.5 and not street.level:
            for side in (-1.0, 1.0)[: 1 + int(both)]:
                at, way = along(offset(street.line, side * (street.width / 2 - 1.2)), 6.2, 14.0)
                taken = rng.random(len(at)) < look.parked
                _place(sketch, rng, look, at[taken][:-2], way[taken][:-2] * -side, decks)


def _place(
    sketch: Sketch, rng: Rng, look: Look, at: F64, way: F64, decks: shapely.Geometry | None
) -> None:
    if decks is not None and not decks.is_empty:
        free = ~shapely.contains_xy(decks.buffer(2), at)
        at, way = at[free], way[free]
    cars(sketch, rng, look, at, way)
