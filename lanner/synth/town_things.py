"""Things of towns, many at a time: crowns, cars, houses, blocks, pools; rings of any polygon."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from lanner.synth import ground
from lanner.synth.ground import Rng
from lanner.synth.raster import F64
from lanner.synth.sketch import Layer, Rgb, Sketch, rectangle
from lanner.synth.town_look import Look

_CARS: tuple[Rgb, ...] = (
    (228, 228, 228), (236, 236, 232), (184, 188, 192), (52, 54, 58), (30, 32, 36),
    (96, 98, 102), (146, 34, 36), (40, 62, 112), (134, 128, 118), (210, 196, 160),
)  # fmt: skip


def rings(geometry: shapely.Geometry) -> list[F64]:
    """One ring for each polygon of `geometry`; a hole is joined to its ring by a slit, which
    the painters' even-odd rule leaves unseen.
    """
    found = []
    for part in shapely.get_parts(geometry):
        if part.geom_type != "Polygon" or part.is_empty:
            continue
        outer = shapely.get_coordinates(part.exterior)
        pieces = [outer]
        for hole in part.interiors:
            pieces += [shapely.get_coordinates(hole), outer[:1]]
        found.append(np.concatenate(pieces))
    return found


def fill(
    sketch: Sketch, geometry: shapely.Geometry, colour: Rgb, material: int = -1, alpha: float = 1.0
) -> None:
    """Paint polygons on the ground."""
    for ring in rings(geometry):
        sketch.ground(ring, colour, material, alpha)


def boxes(at: F64, length: F64, width: F64, way: F64) -> F64:
    """(n, 4, 2) rectangles around `at` (n, 2), `length` (n,) along unit vectors `way` (n, 2)."""
    along = way * (np.asarray(length) / 2)[:, None]
    across = np.stack([-way[:, 1], way[:, 0]], 1) * (np.asarray(width) / 2)[:, None]
    return np.stack(
        [at + along + across, at + along - across, at - along - across, at - along + across], 1
    )


def cast(
    sketch: Sketch, bases: F64, heights: F64, strength: float = 1.0, foot: float = 0.0
) -> None:
    """Shadows of n upright convex blocks (n, k, 2) that begin at the share `foot` of `heights`."""
    if not len(bases):
        return
    away = sketch.sun.offset(1.0) * np.asarray(heights)[:, None]
    both = np.concatenate([bases + away[:, None] * foot, bases + away[:, None]], 1)
    hulls = shapely.convex_hull(shapely.multipoints(list(both)))
    for hull in hulls:
        sketch.shadow(shapely.get_coordinates(hull)[:-1], strength)


def trees(sketch: Sketch, rng: Rng, look: Look, at: F64, radius: F64) -> None:
    """Crowns (n,) metres in radius at (n, 2): shadow, body, lit side; leafless ones are veils."""
    n = len(at)
    if not n:
        return
    angle = np.arange(8) * (2 * np.pi / 8)
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    rough = circle * (rng.uniform(0.75, 1.15, (n, 8)) * radius[:, None])[..., None]
    crowns = at[:, None] + rough
    leaf = look.region.leaf
    # A wood keeps some firs in winter.
    leaves = np.where(rng.random(n) < 0.12, 1.0, leaf)
    high = radius * rng.uniform(1.4, 2.4, n)
    cast(sketch, crowns[leaves >= 1], high[leaves >= 1], 0.92, 0.3)
    cast(sketch, crowns[leaves < 1], high[leaves < 1], 0.45, 0.2)
    to_sun = -np.array([sketch.sun.x, sketch.sun.y])
    tops = at[:, None] + to_sun * (radius * 0.24)[:, None, None] + rough[:, ::-1] * 0.62
    light = at[:, None] + to_sun * (radius * 0.42)[:, None, None] + rough * 0.3
    for k in range(n):
        tone = ground.vary(rng, look.region.tree, 9)
        clear = float(leaves[k])
        sketch.raised(crowns[k], ground.scale(tone, 0.78), clear)
        sketch.raised(tops[k], ground.scale(tone, 1.08), 0.8 * clear)
        if radius[k] > 2.0 * look.gsd:
            sketch.raised(light[k], ground.scale(tone, 1.3), 0.7 * clear)


def cars(sketch: Sketch, rng: Rng, look: Look, at: F64, way: F64) -> None:
    """Cars at (n, 2) heading along unit vectors (n, 2); one in twenty is a van or a lorry."""
    n = len(at)
    if not n:
        return
    big = rng.random(n) < 0.05
    length = np.where(big, rng.uniform(6, 12, n), rng.uniform(3.8, 5.1, n))
    width = np.where(big, 2.4, 1.85)
    bodies = boxes(at, length, width, way)
    cast(sketch, bodies, np.where(big, 3.0, 1.5), 0.9)
    glass = boxes(at + way * (length * 0.17)[:, None], length * 0.16, width * 0.8, way)
    rear = boxes(at - way * (length * 0.36)[:, None], length * 0.1, width * 0.75, way)
    for k in range(n):
        sketch.raised(bodies[k], ground.vary(rng, _CARS[int(rng.integers(len(_CARS)))], 8))
        if look.gsd < 0.8:
            sketch.raised(glass[k], (40, 46, 54), 0.9)
            if not big[k]:
                sketch.raised(rear[k], (48, 54, 62), 0.7)


def roof_tone(rng: Rng, look: Look) -> Rgb:
    """The colour of one roof of this town."""
    return ground.vary(rng, ground.pick(rng, look.roofs), 11)


def block(
    sketch: Sketch, rng: Rng, look: Look, ring: F64, height: float, tone: Rgb, plant: int = 0
) -> None:
    """A flat-roofed convex building on `ring` (n, 2); its walls show where the view leans."""
    cast(sketch, ring[None], np.array([height]))
    shift = look.lean * height
    top = ring + shift
    if np.hypot(*shift) > look.gsd:
        wall = shapely.convex_hull(shapely.MultiPoint(np.concatenate([ring, top])))
        facing = float(-(sketch.sun.x * shift[0] + sketch.sun.y * shift[1]) / np.hypot(*shift))
        sketch.raised(shapely.get_coordinates(wall), ground.scale(tone, 0.62 - 0.25 * facing))
    sketch.raised(top, ground.scale(tone, 0.84))
    middle = top.mean(0)
    sketch.raised(middle + (top - middle) * (1 - 0.8 / max(4.0, np.ptp(top, 0).min())), tone)
    for _ in range(plant):
        u = rng.dirichlet(np.ones(len(top)))
        spot = middle * 0.3 + (u @ top) * 0.7
        side = top[1] - top[0]
        unit = rectangle(
            spot, float(rng.uniform(1, 5)), float(rng.uniform(1, 3)), np.arctan2(side[1], side[0])
        )
        sketch.raised(unit + sketch.sun.offset(1.3), ground.scale(tone, 0.5), 0.8)
        sketch.raised(unit, ground.vary(rng, (180, 180, 178), 26))


def house(
    sketch: Sketch,
    rng: Rng,
    look: Look,
    at: F64,
    size: tuple[float, float],
    way: F64,
    flat: bool,
    high: float = 0.0,
) -> None:
    """A dwelling `size` (along `way`, across) metres: gabled, hipped or flat, some with a wing.

    `high` is its height in metres, that of a cottage by default; terraces have no wings.
    """
    tone = roof_tone(rng, look)
    angle = float(np.arctan2(way[1], way[0]))
    height = high or float(rng.uniform(3, 7.5))
    length, width = size
    if flat:
        block(
            sketch,
            rng,
            look,
            rectangle(at, length, width, angle),
            height,
            tone,
            int(rng.integers(3)),
        )
        return
    wings = [(at, length, width, angle)]
    if not high and rng.random() < 0.45:
        across = np.array([-way[1], way[0]]) * float(rng.choice([-1, 1]))
        spot = at + way * float(rng.uniform(-0.25, 0.25)) * length + across * width * 0.4
        wings.append((spot, width * 0.9, length * float(rng.uniform(0.35, 0.5)), angle + np.pi / 2))
    hip = float(rng.uniform(0.6, 1.0)) if not high and rng.random() < 0.5 else 0.0
    for spot, long, wide, turn in wings:
        ring = rectangle(spot, long, wide, turn)
        cast(sketch, ring[None], np.array([height]))
        roof(sketch, ring, tone, hip * min(wide, long * 0.9) / 2)


def roof(sketch: Sketch, ring: F64, tone: Rgb, hip: float) -> None:
    """The faces of a ridged roof on a rectangle (corners as `rectangle` gives them), each with its
    light; `hip` is how many metres the ridge is shorter at either end.
    """
    a, b, c, d = ring
    along = (a - d) / max(np.hypot(*(a - d)), 1e-9)
    across = (a - b) / max(np.hypot(*(a - b)), 1e-9)
    front, back = (a + b) / 2 - along * hip, (c + d) / 2 + along * hip
    light = sketch.sun.light
    faces = [
        (np.stack([a, front, back, d]), float(light(0.5, across, 0.87))),
        (np.stack([b, front, back, c]), float(light(0.5, -across, 0.87))),
    ]
    if hip > 0.3:
        faces += [
            (np.stack([a, b, front]), float(light(0.5, along, 0.87))),
            (np.stack([c, d, back]), float(light(0.5, -along, 0.87))),
        ]
    for face, factor in faces:
        sketch.raised(face, ground.scale(tone, factor))
    sketch.line(
        np.stack([front, back]), 0.3, ground.scale(tone, 1.12), alpha=0.5, layer=Layer.RAISED
    )


def pool(sketch: Sketch, rng: Rng, at: F64, way: F64) -> None:
    """A swimming pool with its paved rim."""
    t = np.linspace(0, 2 * np.pi, 11)[:-1]
    power = 1.0 if rng.random() < 0.5 else 0.4
    shape = np.stack([np.cos(t), np.sin(t)], 1)
    shape = np.sign(shape) * np.abs(shape) ** power * rng.uniform([2.4, 1.6], [5.5, 3.0])
    turned = shape @ np.array([way, [-way[1], way[0]]])
    sketch.ground(at + turned * 1.4, ground.vary(rng, (196, 188, 176), 10))
    sketch.ground(at + turned, ground.vary(rng, (72, 156, 182), 14))


def inside(area: shapely.Geometry, shapes: F64) -> NDArray[np.bool_]:
    """(n,) which of the convex rings (n, k, 2) lie within `area`."""
    shapely.prepare(area)
    return np.asarray(shapely.contains(area, shapely.polygons(list(shapes))), np.bool_)


def apart(shapes: F64, gap: float = 0.5) -> NDArray[np.bool_]:
    """(n,) a choice of rings (n, k, 2), earlier ones first, of which no two come within `gap`."""
    grown = shapely.buffer(shapely.polygons(list(shapes)), gap / 2, join_style="mitre")
    left, right = shapely.STRtree(grown).query(grown, "intersects")
    keep = np.ones(len(shapes), np.bool_)
    order = np.argsort(right, kind="stable")
    for a, b in zip(left[order], right[order], strict=True):
        if a < b and keep[a]:
            keep[b] = False
    return keep


def scattered(rng: Rng, area: shapely.Geometry, count: int) -> F64:
    """(n, 2) points anywhere in `area`."""
    if area.is_empty:
        return np.zeros((0, 2))
    x0, y0, x1, y1 = area.bounds
    at = rng.uniform([x0, y0], [x1, y1], (count, 2))
    shapely.prepare(area)
    return np.asarray(at[shapely.contains_xy(area, at)])


def frame(area: shapely.Geometry) -> tuple[F64, F64, float, float]:
    """Middle, unit vector along, length and width of the least rectangle around `area`."""
    ring = shapely.get_coordinates(shapely.oriented_envelope(area))
    a, b = ring[1] - ring[0], ring[2] - ring[1]
    if np.hypot(*a) < np.hypot(*b):
        a, b = b, a
    length, width = float(np.hypot(*a)), float(np.hypot(*b))
    return ring[:4].mean(0), a / max(length, 1e-9), length, width
