"""Plan view of an aircraft type as polygons in its own frame.

Frame: metres, x forward, y to starboard, origin midway between nose and tail. Every frame is
fitted so that the outline is exactly the type's length and wingspan.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import radians, tan

import numpy as np
import shapely
from shapely.geometry import Polygon

from lanner.synth.catalogue import AircraftType
from lanner.synth.raster import F64


@dataclass(frozen=True)
class Surface:
    """One wing or stabiliser: four or more corners from root leading edge round to the root."""

    ring: F64
    height: float


@dataclass(frozen=True)
class Airframe:
    """Everything that is drawn; rings are (n, 2) metres in the aircraft's frame.

    `profile` is (n, 2): station x from nose to tail and half width; `nacelles` and `pylons`
    are rings; `fins` are (2, 2) base lines (front, rear); `propellers` are (x, y, radius).
    `outline` is the union of what is solid: the exact ground truth.
    """

    kind: AircraftType
    profile: F64
    wings: tuple[Surface, Surface]
    tails: tuple[Surface, Surface]
    nacelles: tuple[F64, ...]
    pylons: tuple[F64, ...]
    fins: tuple[F64, ...]
    propellers: tuple[tuple[float, float, float], ...]
    outline: F64

    def body(self, low: float = -1.0, high: float = 1.0) -> F64:
        """Ring of the fuselage between two shares of the half width (-1 port, 1 starboard)."""
        x, half = self.profile.T
        return np.concatenate([np.stack([x, half * low], 1), np.stack([x, half * high], 1)[::-1]])


def _mirror(ring: F64) -> F64:
    return np.asarray(ring * np.array([1.0, -1.0]), np.float64)


def _profile(kind: AircraftType) -> F64:
    """Ellipse-nosed, cone-tailed fuselage; fighters are pointed in front and blunt behind."""
    length, half = kind.length, kind.body / 2
    t = np.linspace(0.0, 1.0, 9)
    if kind.role == "fighter":
        station = np.array([0, 0.06, 0.16, 0.30, 0.40, 0.55, 0.78, 0.92, 1.0])
        width = np.array([0.0, 0.22, 0.42, 0.62, 0.95, 1.0, 1.0, 0.82, 0.62])
        if kind.engines == "rear":
            width = np.array([0.10, 0.6, 0.85, 1.0, 1.0, 0.95, 0.8, 0.5, 0.2])
        return np.stack([length / 2 - station * length, half * width], 1)
    nose = min(1.9 * kind.body, 0.2 * length)
    tail = (0.30 if kind.role in ("airliner", "military") else 0.42) * length
    front = np.stack([length / 2 - nose * t, half * np.sqrt(1 - (1 - t) ** 2)], 1)
    back = np.stack([-length / 2 + tail * (1 - t), half * (1 - 0.88 * t**1.5)], 1)
    return np.concatenate([front, back])


def _surface(at: float, root: float, tip: float, sweep: float, half: float, kink: float) -> F64:
    """Starboard surface: leading edge at x = `at`; `kink` (0 for none) squares the inner rear."""
    back = half * tan(radians(sweep))
    corners = [
        (at, 0.0),
        (at - back * 0.985, half * 0.985),
        (at - back - tip * 0.35, half),
        (at - back - tip, half * 0.985),
    ]
    if kink:
        # Swept jets carry a trailing edge that turns square inboard of about a third of the span.
        rear_tip, rear_root = at - back - tip, at - root * 0.72
        corners.append((rear_root + (rear_tip - rear_root) * kink, kink * half))
    corners.append((at - root, 0.0))
    return np.array(corners)


def _nacelle(x: float, y: float, length: float, width: float) -> F64:
    """Blunt in front, tapering behind; `x` is its front."""
    s = np.array([0.0, 0.04, 0.3, 0.6, 1.0])
    w = np.array([0.42, 0.49, 0.5, 0.45, 0.24]) * width
    side = np.stack([x - s * length, y + w], 1)
    return np.concatenate([side, np.stack([x - s * length, y - w], 1)[::-1]])


def _engines(
    kind: AircraftType, wing_x: float
) -> tuple[list[F64], list[F64], list[tuple[float, float, float]]]:
    """Nacelles, pylons and propellers of both sides."""
    nacelles: list[F64] = []
    pylons: list[F64] = []
    propellers: list[tuple[float, float, float]] = []
    length, width = kind.nacelle
    half = kind.span / 2
    if kind.engines == "nose":
        propellers.append((kind.length / 2 - 0.1, 0.0, max(0.95, kind.body * 0.85)))
    for share in kind.engine_at:
        y = share * half
        if kind.engines == "rear":
            x = kind.length / 2 - (kind.tail_at - 0.2) * kind.length
            pylons.append(
                np.array(
                    [
                        (x - 0.3 * length, 0),
                        (x - 0.3 * length, y),
                        (x - 0.7 * length, y),
                        (x - 0.7 * length, 0),
                    ]
                )
            )
        else:
            x = wing_x - y * tan(radians(kind.sweep)) + length * 0.62
        nacelles.append(_nacelle(x, y, length, width))
        if kind.engines == "prop":
            propellers.append((x, y, 1.95 if kind.length > 20 else 1.25))
    return (
        nacelles + [_mirror(n) for n in nacelles],
        pylons + [_mirror(p) for p in pylons],
        propellers + [(x, -y, r) for x, y, r in propellers if y],
    )


def build(kind: AircraftType, stretch: tuple[float, float, float] = (1.0, 1.0, 0.0)) -> Airframe:
    """The airframe of a type.

    Args:
        kind: from the catalogue.
        stretch: factors on chord and fuselage width and degrees added to the sweep; variety
            for training. Length and wingspan stay true.
    """
    chord, girth, more = stretch
    sweep = kind.sweep + (more if kind.sweep > 8 else 0.0)
    half, nose = kind.span / 2, kind.length / 2
    wing_x = nose - kind.wing_at * kind.length
    swept = kind.sweep > 20 and kind.role != "fighter"
    wing = _surface(wing_x, kind.root * chord, kind.tip * chord, sweep, half, 0.36 if swept else 0)
    tail_x = nose - kind.tail_at * kind.length
    tail = _surface(
        tail_x, kind.tail_root, kind.tail_root * 0.42, kind.tail_sweep, kind.tail_span / 2, 0.0
    )
    profile = _profile(kind) * np.array([1.0, girth])
    nacelles, pylons, propellers = _engines(kind, wing_x)
    root = kind.tail_root * 1.5
    offset = kind.body * 0.42 if kind.fins == 2 else 0.0
    fin = np.array([(tail_x + root * 0.35, offset), (tail_x - root * 0.65, offset)])
    rings = [wing, _mirror(wing), tail, _mirror(tail), *nacelles, *pylons]
    x, w = profile.T
    rings.append(np.concatenate([np.stack([x, w], 1), np.stack([x, -w], 1)[::-1]]))
    points = np.concatenate(rings)
    (x0, y0), (x1, y1) = points.min(0), points.max(0)
    scale = np.array([kind.length / (x1 - x0), kind.span / (y1 - y0)])
    shift = np.array([(x0 + x1) / 2, 0.0])

    def fit(ring: F64) -> F64:
        return np.asarray((ring - shift) * scale, np.float64)

    solid = shapely.union_all([Polygon(fit(r)).buffer(0) for r in rings])
    if solid.geom_type != "Polygon":
        solid = max(solid.geoms, key=lambda g: g.area)
    low, high = kind.body * 0.5, kind.body * 1.15
    high_wing = kind.icao in ("C17", "C130", "B52", "C172", "AT76", "DH8D")
    tee = kind.icao in ("CRJ9", "MD83", "AT76", "DH8D", "BE20", "PC12", "GLF5", "LJ35", "C17")
    wing_z, tail_z = (high if high_wing else low), (kind.height * 0.95 if tee else high)
    return Airframe(
        kind=kind,
        profile=np.stack([fit(profile)[:, 0], profile[:, 1]], 1),
        wings=(Surface(fit(wing), wing_z), Surface(fit(_mirror(wing)), wing_z)),
        tails=(Surface(fit(tail), tail_z), Surface(fit(_mirror(tail)), tail_z)),
        nacelles=tuple(fit(n) for n in nacelles),
        pylons=tuple(fit(p) for p in pylons),
        fins=tuple([fit(fin), fit(_mirror(fin))][: kind.fins]),
        propellers=tuple((float((px - shift[0]) * scale[0]), py, r) for px, py, r in propellers),
        outline=np.asarray(shapely.get_coordinates(solid.exterior))[:-1],
    )


@lru_cache(maxsize=64)
def true_airframe(kind: AircraftType) -> Airframe:
    """The airframe of a type without variation, built once."""
    return build(kind)
