"""Roads: their course, their true widths, and how they look from above."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from lanner.synth import ground
from lanner.synth.ground import WHITE, Climate, Rng
from lanner.synth.raster import F64
from lanner.synth.sketch import Sketch, rectangle
from lanner.synth.texture import Material

WIDTHS: dict[str, tuple[float, float]] = {
    "track": (2.6, 3.4),
    "residential": (5.6, 7.2),
    "primary": (9.0, 11.0),
    "motorway": (19.0, 21.0),
}
"""Least and greatest width in metres by class, least important class first."""

POINTS = 25
"""Vertices of one road between two junctions."""


class Road(NamedTuple):
    """One road between junctions: (n, 2) metres of its centre line, class and width in metres."""

    line: F64
    kind: str
    width: float


def hermite(a: F64, b: F64, out: F64, into: F64, n: int = POINTS) -> F64:
    """(n, 2) points of the cubic from a to b leaving along `out` and arriving along `into`."""
    t = np.linspace(0.0, 1.0, n)[:, None]
    return np.asarray(
        (2 * t**3 - 3 * t**2 + 1) * a
        + (t**3 - 2 * t**2 + t) * out
        + (3 * t**2 - 2 * t**3) * b
        + (t**3 - t**2) * into,
        np.float64,
    )


def along(line: F64, spacing: float, start: float = 0.0) -> tuple[F64, F64]:
    """Points every `spacing` metres along a polyline and the unit tangents there."""
    step = np.diff(line, axis=0)
    reach = np.concatenate([[0.0], np.cumsum(np.hypot(step[:, 0], step[:, 1]))])
    s = np.arange(start, reach[-1], spacing)
    at = np.stack([np.interp(s, reach, line[:, k]) for k in (0, 1)], 1)
    k = np.clip(np.searchsorted(reach, s, "right") - 1, 0, len(step) - 1)
    direction = step[k] / np.maximum(np.hypot(*step[k].T), 1e-9)[:, None]
    return at, direction


def offset(line: F64, by: float) -> F64:
    """The polyline moved `by` metres to its right (y down)."""
    tangent = np.gradient(line, axis=0)
    tangent /= np.maximum(np.hypot(tangent[:, 0], tangent[:, 1]), 1e-9)[:, None]
    return line + np.stack([-tangent[:, 1], tangent[:, 0]], 1) * by


def dashes(line: F64, dash: float, gap: float, width: float) -> F64:
    """(k, 4, 2) rings of a broken line."""
    at, direction = along(line, dash + gap, dash)
    normal = np.stack([-direction[:, 1], direction[:, 0]], 1) * width / 2
    half = direction * dash / 2
    return np.stack(
        [at + half + normal, at + half - normal, at - half - normal, at - half + normal], 1
    )


def draw(sketch: Sketch, roads: Iterable[Road], rng: Rng, climate: Climate, gsd: float) -> None:
    """Paint roads, lesser classes below greater ones; markings where `gsd` lets them be seen."""
    order = list(WIDTHS)
    ranked = sorted(roads, key=lambda road: order.index(road.kind))
    soil = sketch.material(Material(0.08, 0.09, 0.02))
    verge = ground.vary(rng, climate.soil, 8)
    for road in ranked:
        sketch.line(
            road.line, road.width + (0.8 if road.kind == "track" else 2.6), verge, soil, 0.7
        )
    rough = sketch.material(Material(0.04, 0.05, 0.006))
    tones = {
        "track": ground.vary(rng, climate.soil, 12),
        "residential": ground.vary(rng, (126, 124, 122), 12),
        "primary": ground.vary(rng, (104, 104, 106), 10),
        "motorway": ground.vary(rng, (122, 121, 120), 10),
    }
    for road in ranked:
        material = soil if road.kind == "track" else rough
        sketch.line(road.line, road.width, ground.vary(rng, tones[road.kind], 4), material)
    for road in ranked:
        _markings(sketch, road, climate, gsd, rough)


def _markings(sketch: Sketch, road: Road, climate: Climate, gsd: float, rough: int) -> None:
    w = road.width
    if road.kind == "track":
        sketch.line(road.line, w * 0.28, climate.grass, rough, 0.6)
    elif road.kind == "motorway":
        sketch.line(road.line, 2.4, climate.grass, rough)
        for side in (-1, 1):
            if gsd < 1.2:
                sketch.line(offset(road.line, side * 1.7), 0.2, WHITE, alpha=0.8)
                sketch.line(offset(road.line, side * (w / 2 - 2.0)), 0.2, WHITE, alpha=0.8)
            if gsd < 0.8:
                lane = offset(road.line, side * (w / 4 + 0.1))
                sketch.many(dashes(lane, 4.0, 8.0, 0.2), WHITE, alpha=0.8)
    elif gsd < 0.8:
        if road.kind == "primary":
            sketch.many(dashes(road.line, 3.0, 6.0, 0.18), WHITE, alpha=0.8)
            for side in (-1, 1):
                sketch.line(offset(road.line, side * (w / 2 - 0.5)), 0.15, WHITE, alpha=0.6)
        elif w > 6.4:
            sketch.many(dashes(road.line, 3.0, 9.0, 0.14), WHITE, alpha=0.55)


def traffic(sketch: Sketch, roads: Iterable[Road], rng: Rng) -> None:
    """Cars and lorries in their lanes, keeping right."""
    every = {"track": 900.0, "residential": 220.0, "primary": 130.0, "motorway": 60.0}
    for road in roads:
        at, direction = along(road.line, every[road.kind], float(rng.uniform(0, every[road.kind])))
        for spot, way in zip(at, direction, strict=True):
            side = float(rng.choice([-1.0, 1.0]))
            right = np.array([-way[1], way[0]]) * side
            lane = road.width * (
                0.25 if road.kind != "motorway" else float(rng.choice([0.16, 0.34]))
            )
            heading = way * side
            slip = way * rng.uniform(-20, 20)
            ground.vehicle(
                sketch,
                rng,
                spot + right * min(lane, road.width / 2 - 1) + slip * (road.kind == "motorway"),
                float(np.arctan2(heading[1], heading[0])),
                big=bool(rng.random() < 0.18 and road.kind != "track"),
            )


def alley(sketch: Sketch, road: Road, rng: Rng, climate: Climate, spacing: float) -> None:
    """Trees on both sides, whose crowns hide part of the road here and there."""
    for side in (-1, 1):
        if rng.random() < 0.35:
            continue
        at, direction = along(road.line, spacing, float(rng.uniform(0, spacing)))
        normal = np.stack([-direction[:, 1], direction[:, 0]], 1) * side
        for spot, out in zip(at, normal, strict=True):
            if rng.random() < 0.25:
                continue
            radius = float(rng.uniform(2.2, 5.5))
            place = spot + out * (road.width / 2 + rng.uniform(0.2, 5.0)) + rng.normal(0, 1.5, 2)
            ground.tree(sketch, rng, place, radius, climate.tree)


def house(sketch: Sketch, rng: Rng, at: F64, angle: float) -> None:
    """A house of one or two wings, with a drive."""
    length, width = float(rng.uniform(9, 16)), float(rng.uniform(7, 10.5))
    drive = rectangle(at - np.array([-np.sin(angle), np.cos(angle)]) * 8, 3.2, 12, angle)
    sketch.ground(drive, ground.vary(rng, (160, 156, 150), 12), alpha=0.85)
    ground.building(sketch, rng, at, (length, width), angle, 5.5, gable=True)
    if rng.random() < 0.35:
        wing = at + np.array([np.cos(angle), np.sin(angle)]) * (length / 2 - 3)
        ground.building(sketch, rng, wing, (width * 1.1, 6.0), angle + np.pi / 2, 4.5, gable=True)
