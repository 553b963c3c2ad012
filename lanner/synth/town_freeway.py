"""Freeways through a town: at ground level with bridges and ramps, or above the streets."""

from __future__ import annotations

import numpy as np
import shapely

from lanner.synth.ground import Rng
from lanner.synth.raster import F64
from lanner.synth.roads import hermite, offset
from lanner.synth.town_net import MARGIN, Street, parts


def _axis(rng: Rng, extent: float, angle: float) -> tuple[F64, F64]:
    """(60, 2) a bent line across the chip, half of the time along the streets; half its reach."""
    way = angle + np.pi / 2 * float(rng.integers(2))
    if rng.random() < 0.5:
        way = float(rng.uniform(0, 2 * np.pi))
    out = np.array([np.cos(way), np.sin(way)]) * (extent / 2 + MARGIN) * 1.6
    middle = extent / 2 + rng.uniform(-0.3, 0.3, 2) * extent
    bend = np.array([-out[1], out[0]]) * rng.normal(0, 0.35)
    return hermite(middle - out, middle + out, 2 * out + bend, 2 * out - bend, 60), out


def viaduct(
    rng: Rng, extent: float, angle: float, streets: list[Street]
) -> tuple[list[Street], shapely.Geometry]:
    """An elevated road above the streets, which go on below it."""
    axis, _ = _axis(rng, extent, angle)
    lanes = int(rng.integers(2, 5))
    width = lanes * 3.5 + float(rng.uniform(0.5, 2))
    by = width / 2 + float(rng.uniform(0.5, 3))
    high = [
        Street(one, "motorway", width, lanes, oneway=True, level=1)
        for one in (offset(axis, by), offset(axis[::-1], by))
    ]
    return streets + high, shapely.LineString(axis).buffer(by + width / 2 + 6, cap_style="flat")


def freeway(
    rng: Rng, extent: float, angle: float, streets: list[Street]
) -> tuple[list[Street], shapely.Geometry]:
    """A freeway across the chip: streets end at it or cross it on bridges; ramps."""
    axis, out = _axis(rng, extent, angle)
    lanes, median = int(rng.integers(2, 6)), float(np.exp(rng.uniform(0, np.log(15))))
    width = lanes * 3.5 + float(rng.uniform(0.8, 5))
    by = (median + width) / 2
    mains = [
        Street(one, "motorway", width, lanes, oneway=True)
        for one in (offset(axis, by), offset(axis[::-1], by))
    ]
    half = median / 2 + width + float(rng.uniform(3, 24))
    corridor = shapely.LineString(axis).buffer(half, cap_style="flat")
    crossing = float(rng.uniform(0, 0.5))
    kept: list[Street] = []
    for street in streets:
        line = shapely.LineString(street.line)
        kept += [street._replace(line=p) for p in parts(line.difference(corridor))]
        inside = parts(line.intersection(corridor.buffer(6)))
        for part in inside:
            gone = np.hypot(*(part[-1] - part[0]))
            steep = abs((part[-1] - part[0]) @ out) / max(gone, 1e-9) / np.hypot(*out)
            if len(inside) == 1 and gone > 2 * half - 4 and steep < 0.8 and rng.random() < crossing:
                kept.append(street._replace(line=part, level=1 if rng.random() < 0.7 else -1))
    bridges = [s for s in kept if s.level > 0]
    if bridges and rng.random() < 0.6:
        ramps, land = _interchange(rng, axis, bridges[0].line, half, by + width / 2)
        ends = shapely.MultiPoint(bridges[0].line[[0, -1]])
        clear: list[Street] = []
        for street in kept:
            line = shapely.LineString(street.line)
            if street.level or line.distance(ends) < 8:
                clear.append(street)
            else:
                clear += [street._replace(line=p) for p in parts(line.difference(land))]
        return clear + mains + ramps, corridor.union(land)
    ramps = _ramps(rng, axis, half, by + width / 2)
    if ramps or rng.random() < 0.3:
        for side in (-1, 1):
            line = offset(axis, side * (half + 5))
            service = Street(line, "residential", float(rng.uniform(6, 10)), 2, oneway=True)
            kept.append(service)
    return kept + mains + ramps, corridor


def _ramps(rng: Rng, axis: F64, half: float, edge: float) -> list[Street]:
    """Slips between the outer edge of a carriageway and the border of the freeway's land."""
    ramps = []
    for _ in range(int(rng.integers(4))):
        side, n = float(rng.choice([-1, 1])), int(rng.integers(10, 45))
        m = n + int(rng.integers(6, 12)) * int(rng.choice([-1, 1]))
        a = offset(axis, side * (edge - 1.5))[n]
        b = offset(axis, side * (half + 5))[m]
        along = axis[n + np.sign(m - n)] - axis[n]
        along *= np.hypot(*(b - a)) / np.hypot(*along)
        turn = b - axis[m]
        line = hermite(a, b, along * 1.4, along * 0.5 + turn * float(rng.uniform(0, 1.5)))
        ramps.append(Street(line, "motorway", float(rng.uniform(4.5, 8)), 1, oneway=True))
    return ramps


def _interchange(
    rng: Rng, axis: F64, bridge: F64, half: float, edge: float
) -> tuple[list[Street], shapely.Geometry]:
    """Slips between a freeway and the street on `bridge`, straight or as loops, and their land."""
    middle = bridge[[0, -1]].mean(0)
    across = (bridge[-1] - bridge[0]) / np.hypot(*(bridge[-1] - bridge[0]))
    k = int(np.clip(np.hypot(*(axis - middle).T).argmin(), 1, len(axis) - 2))
    ahead = (axis[k + 1] - axis[k - 1]) / np.hypot(*(axis[k + 1] - axis[k - 1]))
    width, slips, land = float(rng.uniform(4.8, 7.5)), [], []
    loops, t = float(rng.choice([0.0, 0.5, 1.0])), np.linspace(0, 1.5 * np.pi, 28)[:, None]
    for fore in (ahead, -ahead):
        for out in (across, -across):
            if rng.random() < 0.3:
                continue
            if rng.random() < loops:
                r = float(rng.uniform(22, 42))
                centre = middle + fore * (r + 6) + out * (edge + r - 2)
                line = centre + r * (fore * np.sin(t) - out * np.cos(t))
                land.append(shapely.Point(centre).buffer(r + 8))
            else:
                long = float(rng.uniform(70, 150))
                start, end = middle + fore * long + out * (edge - 2), middle + out * (half + 18)
                line = hermite(start, end, -fore * long, (out - 0.5 * fore) * 0.7 * long)
                land.append(shapely.MultiPoint([*line, middle]).convex_hull)
            slips.append(Street(line, "motorway", width, 1, oneway=True))
    return slips, shapely.union_all(land)
