"""An aircraft on the ground, drawn onto a sketch: shadow, then surfaces from low to high."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from shapely.geometry import Polygon

from lanner.synth.airframe import Airframe, Surface
from lanner.synth.livery import Livery
from lanner.synth.raster import F64
from lanner.synth.sketch import Layer, Rgb, Sketch

_STRIPS = (-1.0, -0.8, -0.5, -0.15, 0.2, 0.55, 0.82)
_DARK: Rgb = (28, 30, 34)


@dataclass(frozen=True)
class Pose:
    """Where an aircraft stands: centre (2,) metres and the direction of its nose in radians
    from the x axis towards y (clockwise on a picture). `lean` is how far (x, y) metres a
    point is displaced for each metre of height where the camera looks aslant.
    """

    x: float
    y: float
    angle: float
    lean: tuple[float, float] = (0.0, 0.0)

    def lean_m(self, height: float) -> F64:
        """(2,) metres of displacement of a point at `height` metres."""
        return np.array(self.lean) * height

    def place(self, ring: F64) -> F64:
        """(n, 2) points of the aircraft's frame in metres of the layout."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        turn = np.array([[c, s], [-s, c]])
        return np.asarray(ring @ turn + np.array([self.x, self.y]), np.float64)

    @property
    def starboard(self) -> F64:
        """(2,) unit vector to the right of the nose."""
        return np.array([-np.sin(self.angle), np.cos(self.angle)])


def _lit(colour: Rgb, factor: float) -> Rgb:
    r, g, b = colour
    return min(r * factor, 255.0), min(g * factor, 255.0), min(b * factor, 255.0)


def draw(sketch: Sketch, frame: Airframe, livery: Livery, pose: Pose) -> None:
    """Add one aircraft to the sketch."""
    _shadows(sketch, frame, pose)
    high = frame.wings[0].height > frame.kind.body
    if not high:
        _wings(sketch, frame, livery, pose)
    for ring in frame.pylons:
        sketch.raised(pose.place(ring), _lit(livery.wing, 0.85))
    _engines(sketch, frame, livery, pose)
    if not high:
        _inner(sketch, frame.wings, livery.wing, pose)
    _fuselage(sketch, frame, livery, pose)
    if high:
        _wings(sketch, frame, livery, pose)
    for side, surface in zip((1, -1), frame.tails, strict=True):
        _surface(sketch, surface, livery.stabiliser, pose, side)
    _fins(sketch, frame, livery, pose)
    for x, y, radius in frame.propellers:
        _propeller(sketch, pose, (x, y), radius)
    if frame.kind.rotodome:
        _rotodome(sketch, frame, pose)


def _shadows(sketch: Sketch, frame: Airframe, pose: Pose) -> None:
    sun, kind = sketch.sun, frame.kind
    for surface in (*frame.wings, *frame.tails):
        sketch.shadow(pose.place(surface.ring) + sun.offset(surface.height))
    for share in (0.3, 0.75, 1.2):
        sketch.shadow(pose.place(frame.body()) + sun.offset(share * kind.body))
    for ring in frame.nacelles:
        sketch.shadow(pose.place(ring) + sun.offset(frame.wings[0].height * 0.6))
    for base in frame.fins:
        front, rear = pose.place(base)
        top = sun.offset(kind.height)
        low = sun.offset(kind.body)
        chord = rear - front
        sketch.shadow(
            [front + low, rear + low, rear + chord * 0.25 + top, front + chord * 0.75 + top]
        )


def _wings(sketch: Sketch, frame: Airframe, livery: Livery, pose: Pose) -> None:
    for side, surface in zip((1, -1), frame.wings, strict=True):
        _surface(sketch, surface, livery.wing, pose, side)
        ring = surface.ring
        # Flaps and ailerons: a line along the rear third from the root to the tip.
        a = ring[0] + (ring[-1] - ring[0]) * 0.76
        b = ring[1] + (ring[3] - ring[1]) * 0.74
        sketch.line(
            pose.place(np.stack([a + (b - a) * 0.14, a + (b - a) * 0.94])),
            0.14,
            _lit(livery.wing, 0.62),
            layer=Layer.RAISED,
        )
        if livery.roundel and side == 1 and frame.kind.role != "light":
            mid = ring[0] * 0.4 + ring[-1] * 0.4 + ring[1] * 0.2
            spot = mid + (ring[1] - ring[0]) * 0.45
            circle = np.linspace(0, 2 * np.pi, 13)[:-1]
            disc = np.stack([np.cos(circle), np.sin(circle)], 1) * frame.kind.root * 0.11
            sketch.raised(pose.place(spot + disc), _lit(livery.wing, 0.6))


def _surface(sketch: Sketch, surface: Surface, colour: Rgb, pose: Pose, side: int) -> None:
    """A wing or stabiliser: its own tilt to the sun, bright leading edge, darker rear."""
    ring = surface.ring
    light = float(sketch.sun.light(0.10 * side, pose.starboard, 0.99))
    sketch.raised(pose.place(ring), _lit(colour, light))
    root, tip = ring[-1] - ring[0], ring[3] - ring[1]
    edge = np.stack([ring[0], ring[1], ring[1] + tip * 0.14, ring[0] + root * 0.08])
    sketch.raised(pose.place(edge), _lit(colour, min(light * 1.14, 1.25)))
    back = np.stack([ring[0] + root * 0.76, ring[1] + tip * 0.74, *ring[3:]])
    sketch.raised(pose.place(back), _lit(colour, light * 0.90))


def _inner(sketch: Sketch, wings: tuple[Surface, Surface], colour: Rgb, pose: Pose) -> None:
    """The fuselage's shadow on the wing that lies away from the sun."""
    away = float(pose.starboard @ np.array([sketch.sun.x, sketch.sun.y]))
    ring = wings[0 if away > 0 else 1].ring
    width = abs(away) * float(np.hypot(*sketch.sun.offset(1.6)))
    reach = float(min(0.25, (2.0 + width) / max(abs(ring[1, 1]), 1.0)))
    root, tip = ring[-1] - ring[0], ring[3] - ring[1]
    front, rear = ring[1] - ring[0], (ring[1] + tip) - (ring[0] + root * 0.75)
    shade = np.stack(
        [ring[0], ring[0] + front * reach, ring[0] + root * 0.75 + rear * reach, ring[-1]]
    )
    sketch.raised(pose.place(shade), _lit(colour, 0.45), 0.8 * min(1.0, abs(away) * 1.6))


def _engines(sketch: Sketch, frame: Airframe, livery: Livery, pose: Pose) -> None:
    for ring in frame.nacelles:
        sketch.raised(pose.place(ring), _lit(livery.nacelle, 0.62))
        axis = (ring[0] + ring[-1]) / 2
        lit = float(np.sign(-(pose.starboard @ np.array([sketch.sun.x, sketch.sun.y])))) or 1.0
        bright = ring.copy()
        bright[:, 1] = axis[1] + (ring[:, 1] - axis[1]) * 0.55 + lit * 0.22 * np.ptp(ring[:, 1])
        sketch.raised(pose.place(bright), _lit(livery.nacelle, 1.02))
        mouth = np.stack([ring[0], ring[-1], ring[-1] - [0.22, 0], ring[0] - [0.22, 0]])
        sketch.raised(pose.place(mouth), _DARK, 0.75)


def _fuselage(sketch: Sketch, frame: Airframe, livery: Livery, pose: Pose) -> None:
    """A round body in strips, each with the light its slope catches."""
    middle = np.array(_STRIPS) + 0.5 * np.diff([*_STRIPS, 1.0])
    light = sketch.sun.light(middle, pose.starboard, np.sqrt(1 - middle**2))
    for low, factor in zip(_STRIPS, light, strict=True):
        # Each strip runs on under the next, so no background shines through the joint.
        sketch.raised(pose.place(frame.body(low)), _lit(livery.body, float(factor)))
    kind = frame.kind
    nose, half = kind.length / 2, kind.body / 2
    if livery.stripe is not None:
        for side in (-1, 1):
            ring = frame.body(0.45, 0.85) if side == 1 else frame.body(-0.85, -0.45)
            sketch.raised(pose.place(ring), livery.stripe, 0.85)
    if livery.rear is not None:
        _section(sketch, frame, livery.rear, pose, (-0.5, -0.24))
    if livery.nose is not None:
        _section(sketch, frame, livery.nose, pose, (livery.nose_from, 0.51))
    if kind.role == "fighter":
        t = np.linspace(0, 2 * np.pi, 11)[:-1]
        canopy = np.stack([nose - kind.length * (0.24 + 0.09 * np.cos(t)), 0.42 * np.sin(t)], 1)
        sketch.raised(pose.place(canopy), (40, 46, 56))
    elif kind.role == "light":
        x = nose - kind.length * 0.27
        glass = np.array(
            [(x, -half * 0.85), (x, half * 0.85), (x - 0.5, half * 0.9), (x - 0.5, -half * 0.9)]
        )
        sketch.raised(pose.place(glass), (48, 56, 66))
    else:
        x = nose - min(0.75 * kind.body, 0.075 * kind.length)
        glass = np.array(
            [
                (x + 0.5, -half * 0.25),
                (x + 0.5, half * 0.25),
                (x - 0.25, half * 0.62),
                (x - 0.85, half * 0.66),
                (x - 0.25, 0),
                (x - 0.85, -half * 0.66),
                (x - 0.25, -half * 0.62),
            ]
        )
        sketch.raised(pose.place(glass), (46, 52, 60), 0.9)


def _section(
    sketch: Sketch, frame: Airframe, colour: Rgb, pose: Pose, between: tuple[float, float]
) -> None:
    """Paint the fuselage in one colour between two stations (shares of the length)."""
    low, high = (share * frame.kind.length for share in between)
    x, half = frame.profile[::-1].T
    station = np.linspace(low, min(high, float(x[-1])), 6)
    width = np.interp(station, x, half)
    for share, tone in ((1.0, 0.8), (0.62, 1.0)):
        ring = np.concatenate(
            [np.stack([station, width * share], 1), np.stack([station, -width * share], 1)[::-1]]
        )
        sketch.raised(pose.place(ring), _lit(colour, tone), 0.95)


def _fin_rings(frame: Airframe, pose: Pose) -> list[F64]:
    """What shows of each fin: a sliver from straight above, more where the view leans."""
    thick = 0.011 * frame.kind.length
    rings = []
    for (x0, y), (x1, _) in frame.fins:
        chord = x0 - x1
        foot = np.array(
            [
                (x0, y),
                (x0 - thick * 3, y - thick * 0.6),
                (x1, y - thick * 0.3),
                (x1, y + thick * 0.3),
                (x0 - thick * 3, y + thick * 0.6),
            ]
        )
        tilt = pose.lean_m(frame.kind.height - frame.kind.body * 1.1)
        line = pose.place(
            np.array([(x0, y), (x1, y), (x1 - chord * 0.25, y), (x0 - chord * 0.72, y)])
        )
        line[2:] += tilt
        rings += [pose.place(foot), line]
    return rings


def visible_outline(frame: Airframe, pose: Pose) -> F64:
    """(n, 2) metres: the ring of all that is seen, leaning fins included."""
    ring = pose.place(frame.outline)
    if pose.lean == (0.0, 0.0):
        return ring
    parts = [Polygon(ring), *(Polygon(r).buffer(0) for r in _fin_rings(frame, pose))]
    whole = shapely.union_all(parts)
    if whole.geom_type != "Polygon":
        whole = max(whole.geoms, key=lambda g: g.area)
    return np.asarray(shapely.get_coordinates(whole.exterior)[:-1], np.float64)


def _fins(sketch: Sketch, frame: Airframe, livery: Livery, pose: Pose) -> None:
    away = float(pose.starboard @ np.array([sketch.sun.x, sketch.sun.y]))
    rings = _fin_rings(frame, pose)
    # The dark side of the fin lies where its shadow begins.
    dark = pose.starboard * np.sign(away) * 0.010 * frame.kind.length
    facing = -away * float(np.sign(pose.starboard @ np.array(pose.lean)))
    for foot, side in zip(rings[::2], rings[1::2], strict=True):
        sketch.raised(foot + dark, _DARK, 0.5)
        sketch.raised(side, _lit(livery.tail, 0.85 + 0.2 * facing))
        sketch.raised(foot, _lit(livery.tail, 0.98))


def _propeller(sketch: Sketch, pose: Pose, hub: tuple[float, float], radius: float) -> None:
    """Standing blades seen from above: a thin bar across the axis, and the spinner."""
    x, y = hub
    bar = np.array(
        [
            (x + 0.09, y - radius),
            (x + 0.09, y + radius),
            (x - 0.09, y + radius),
            (x - 0.09, y - radius),
        ]
    )
    sketch.raised(pose.place(bar), (52, 52, 54), 0.8)


def _rotodome(sketch: Sketch, frame: Airframe, pose: Pose) -> None:
    t = np.linspace(0, 2 * np.pi, 33)[:-1]
    radius = frame.kind.rotodome / 2
    disc = np.stack([np.cos(t), np.sin(t)], 1) * radius - [frame.kind.length * 0.17, 0]
    sketch.shadow(pose.place(disc) + sketch.sun.offset(frame.kind.body * 1.9))
    sketch.raised(pose.place(disc), (64, 68, 74))
    stripe = disc * [1.0, 0.16] - [0.0, 0.0]
    sketch.raised(pose.place(stripe), (196, 198, 200))
