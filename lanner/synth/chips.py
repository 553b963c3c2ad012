"""Small training pictures with exact masks: aircraft on airfields, roads in country."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from lanner.synth import airframe, parked, sensor, stage, texture
from lanner.synth.catalogue import TYPES, AircraftType, Role
from lanner.synth.imagined import imagined
from lanner.synth.livery import Livery, bold_livery, random_livery
from lanner.synth.parked import Pose
from lanner.synth.raster import F64, U8, polygon_mask
from lanner.synth.sketch import Picture, Sketch, Sun, bearing

Mask = NDArray[np.bool_]

_GROUPS: dict[str, tuple[AircraftType, ...]] = {
    "airliner": tuple(t for t in TYPES if t.role == "airliner"),
    "military": tuple(t for t in TYPES if t.role == "military"),
    "fighter": tuple(t for t in TYPES if t.role == "fighter"),
    "small": tuple(t for t in TYPES if t.role in ("business", "turboprop")),
    "light": tuple(t for t in TYPES if t.role == "light"),
}
_SHARES = {"airliner": 0.34, "military": 0.22, "fighter": 0.17, "small": 0.17, "light": 0.10}
_NEAR_SHARES = {"airliner": 0.15, "military": 0.25, "fighter": 0.45, "small": 0.10, "light": 0.05}


@dataclass(frozen=True)
class Instance:
    """One aircraft of a chip; everything in chip pixels unless named otherwise.

    `polygon` (n, 2) exact outline, possibly beyond the chip; `mask` (h, w) bool of the pixels
    it covers by half or more, cut to `box` (x0, y0, x1, y1; half open, within the chip);
    `heading_deg` clockwise from the top of the chip.
    """

    polygon: F64
    centre: tuple[float, float]
    icao: str
    box: tuple[int, int, int, int]
    mask: Mask
    length_m: float
    wingspan_m: float
    heading_deg: float


class AircraftChip(NamedTuple):
    """`rgb` (s, s, 3) uint8; `mask` and `boundary` (s, s) bool; instances, none overlapping.

    `boundary` is the rim of every aircraft, one pixel inside and one outside, so two that
    touch have it between them.
    """

    rgb: U8
    mask: Mask
    boundary: Mask
    instances: tuple[Instance, ...]


def render_aircraft_chip(
    rng: np.random.Generator,
    size: int,
    gsd: float,
    elevation: tuple[float, float] = (30.0, 62.0),
    depth: tuple[float, float] = (1.0, 1.0),
) -> AircraftChip:
    """A random airfield corner with one to eight aircraft.

    Args:
        rng: source of everything random; equal states give equal chips.
        size: side in pixels.
        gsd: metres a pixel; sensible from 0.2 to 2.
        elevation: of the sun in degrees, least and greatest.
        depth: of shadows, least and greatest; see `Sun`.

    Returns:
        Picture and exact truth; see `AircraftChip`.
    """
    sketch = Sketch(Sun.random(rng, elevation, depth))
    group = _GROUPS[str(rng.choice(list(_SHARES), p=list(_SHARES.values())))]
    # Below about nine pixels an aircraft is no longer a shape.
    visible = tuple(t for t in group if t.length / gsd >= 9) or _GROUPS["airliner"]
    small = tuple(t for t in visible if t.span < 0.8 * size * gsd)
    return _chip(
        sketch, rng, small or (min(visible, key=lambda t: t.span),), size, gsd, random_livery
    )


def render_closeup(
    rng: np.random.Generator,
    size: int,
    across: tuple[float, float],
    elevation: tuple[float, float] = (15.0, 62.0),
    depth: tuple[float, float] = (1.0, 1.4),
) -> tuple[AircraftChip, float]:
    """Aircraft of one kind, seen from near; most are variations that nobody ever built.

    Args:
        rng: source of everything random; equal states give equal chips.
        size: side in pixels.
        across: longer of length and wingspan in pixels, least and greatest.
        elevation: of the sun in degrees, least and greatest.
        depth: of shadows, least and greatest; see `Sun`.

    Returns:
        Picture and exact truth, and metres a pixel.
    """
    sketch = Sketch(Sun.random(rng, elevation, depth))
    group = _GROUPS[str(rng.choice(list(_NEAR_SHARES), p=list(_NEAR_SHARES.values())))]
    kind = imagined(rng, group[int(rng.integers(len(group)))])
    gsd = max(kind.length, kind.span) / float(np.exp(rng.uniform(*np.log(across))))
    return _chip(sketch, rng, (kind,), size, gsd, bold_livery), gsd


def _chip(
    sketch: Sketch,
    rng: np.random.Generator,
    kinds: tuple[AircraftType, ...],
    size: int,
    gsd: float,
    paint: Callable[[np.random.Generator, Role], Livery],
) -> AircraftChip:
    extent = size * gsd
    angle = stage.airfield(sketch, rng, extent)
    poses = _park(rng, kinds, extent, angle)
    aslant = float(rng.uniform(0, 0.35)) * np.array([np.cos(t := rng.uniform(0, 7)), np.sin(t)])
    frames = []
    for kind, upright in poses:
        pose = replace(upright, lean=(float(aslant[0]), float(aslant[1])))
        stretch = (rng.uniform(0.9, 1.12), rng.uniform(0.92, 1.08), rng.normal(0, 1.5))
        frame = airframe.build(kind, stretch)
        frames.append((frame, pose))
        parked.draw(sketch, frame, paint(rng, kind.role), pose)
    rgb = _expose(sketch.done(), rng, size, gsd)
    instances = [_instance(frame, pose, size, gsd) for frame, pose in frames]
    kept = tuple(i for i in instances if i is not None)
    mask = np.zeros((size, size), bool)
    boundary = np.zeros((size, size), bool)
    for one in kept:
        x0, y0, x1, y1 = one.box
        mask[y0:y1, x0:x1] |= one.mask
        a, b = max(y0 - 1, 0), max(x0 - 1, 0)
        view = boundary[a : y1 + 1, b : x1 + 1]
        padded = np.zeros(view.shape, bool)
        padded[y0 - a : y1 - a, x0 - b : x1 - b] = one.mask
        # The chip's own border is no rim: outside it the aircraft goes on.
        view |= ndimage.binary_dilation(padded) & ~ndimage.binary_erosion(padded, border_value=1)
    return AircraftChip(rgb, mask, boundary, kept)


def _expose(picture: Picture, rng: np.random.Generator, size: int, gsd: float) -> U8:
    scale = (1 / gsd, 1 / gsd)
    flat = picture.render((-1, -1), (size + 2, size + 2), scale)
    light = sensor.blur(flat, float(rng.uniform(0.0, 0.28)))
    return sensor.random_develop(light, texture.noise()[0], rng)


def _park(
    rng: np.random.Generator, kinds: tuple[AircraftType, ...], extent: float, angle: float
) -> list[tuple[AircraftType, Pose]]:
    """Kinds and poses that do not overlap: a row of stands, or scattered."""
    wanted = int(rng.integers(1, 9))
    found: list[tuple[AircraftType, Pose]] = []
    outlines: list[shapely.Polygon] = []

    def put(kind: AircraftType, pose: Pose, gap: float) -> None:
        ring = shapely.Polygon(pose.place(airframe.true_airframe(kind).outline))
        # Chips vary chords and sweeps: leave room for the widest variant.
        room = ring.buffer(gap + 0.06 * kind.root)
        if not any(room.intersects(other) for other in outlines):
            found.append((kind, pose))
            outlines.append(ring)

    lead = kinds[int(rng.integers(len(kinds)))]
    if rng.random() < 0.65:
        gap = float(rng.choice([0.4, 1.5, 4.0, 9.0]))
        lean = float(rng.choice([0.0, 0.0, 0.5, -0.5, 0.8]))
        heading = angle + np.pi / 2 * float(rng.choice([-1, 1])) + lean
        along = np.array([np.cos(angle), np.sin(angle)])
        step = (lead.span + gap) * (1.0 if not lean else float(rng.uniform(0.85, 1.0)))
        first = rng.uniform(0.2, 0.8, 2) * extent - along * step * (wanted - 1) / 2
        for k in range(wanted):
            kind = lead if rng.random() < 0.8 else kinds[int(rng.integers(len(kinds)))]
            x, y = first + along * step * k + rng.normal(0, 0.25, 2)
            turned = np.pi if rng.random() < 0.04 else 0.0
            put(kind, Pose(float(x), float(y), heading + rng.normal(0, 0.02) + turned), gap * 0.2)
    else:
        for _ in range(wanted * 2):
            kind = kinds[int(rng.integers(len(kinds)))]
            x, y = rng.uniform(0.02, 0.98, 2) * extent
            put(kind, Pose(float(x), float(y), float(rng.uniform(0, 2 * np.pi))), 0.3)
            if len(found) >= wanted:
                break
    inside = [f for f in found if 0 <= f[1].x < extent and 0 <= f[1].y < extent]
    return inside or [(lead, Pose(extent / 2, extent / 2, angle))]


def _instance(frame: airframe.Airframe, pose: Pose, size: int, gsd: float) -> Instance | None:
    polygon = parked.visible_outline(frame, pose) / gsd
    (x0, y0), (x1, y1) = np.floor(polygon.min(0)), np.ceil(polygon.max(0))
    box = (max(int(x0), 0), max(int(y0), 0), min(int(x1), size), min(int(y1), size))
    if box[2] <= box[0] or box[3] <= box[1]:
        return None
    mask = polygon_mask(polygon, (box[3] - box[1], box[2] - box[0]), box[:2]).astype(bool)
    if not mask.any():
        return None
    nose = np.array([np.cos(pose.angle), np.sin(pose.angle)])
    return Instance(
        polygon,
        (pose.x / gsd, pose.y / gsd),
        frame.kind.icao,
        box,
        mask,
        frame.kind.length,
        frame.kind.span,
        bearing(nose),
    )
