"""A display list in metres, and the pixels of any rectangle of it.

Painting order: ground polygons, their textures, cast shadows, raised polygons; within each in
the order they were added. A pixel depends on the list and its own position only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from math import atan2, degrees, hypot, tan

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lanner.synth import raster, texture
from lanner.synth.raster import F64, U8
from lanner.synth.texture import Material

Rgb = tuple[float, float, float]


class Layer(IntEnum):
    """What a polygon is to the light: flat ground, a shadow, or something standing up."""

    GROUND = 0
    SHADOW = 1
    RAISED = 2


@dataclass(frozen=True)
class Sun:
    """Where shadows fall: unit vector (x right, y down), the sun's elevation in radians, and how
    much darker shadows are than the usual (1; 1.4 is nearly black).
    """

    x: float
    y: float
    elevation: float
    depth: float = 1.0

    @classmethod
    def random(
        cls,
        rng: np.random.Generator,
        elevation: tuple[float, float] = (30.0, 62.0),
        depth: tuple[float, float] = (1.0, 1.0),
    ) -> Sun:
        """A sun from anywhere, by default high enough for a survey flight.

        Args:
            rng: where it is drawn from.
            elevation: degrees, least and greatest.
            depth: of shadows, least and greatest.
        """
        angle = rng.uniform(0, 2 * np.pi)
        high = float(np.radians(rng.uniform(*elevation)))
        deep = depth[0] if depth[0] == depth[1] else float(rng.uniform(*depth))
        return cls(float(np.cos(angle)), float(np.sin(angle)), high, deep)

    def offset(self, height: float) -> F64:
        """(2,) metres by which the shadow of a point `height` metres up is displaced."""
        reach = height / tan(self.elevation)
        return np.array([self.x * reach, self.y * reach])

    def light(self, lateral: ArrayLike, across: F64, up: ArrayLike) -> F64:
        """Brightness factor of faces with normal `lateral` * `across` + `up` * vertical."""
        slope = -(self.x * across[0] + self.y * across[1])
        lit = np.asarray(up) * np.sin(self.elevation) + np.asarray(lateral) * slope * np.cos(
            self.elevation
        )
        return np.asarray(0.5 + 0.55 * np.maximum(lit, 0.0), np.float64)


class Sketch:
    """Collects polygons; `done` freezes them for painting."""

    def __init__(self, sun: Sun) -> None:
        self.sun = sun
        self._rings: list[F64] = []
        self._colours: list[Rgb] = []
        self._materials: list[int] = []
        self._alphas: list[float] = []
        self._layers: list[int] = []
        self._table: list[Material] = [Material()]

    def material(self, material: Material) -> int:
        """A number for `material`, the same for equal ones met in a row."""
        if self._table[-1] != material:
            self._table.append(material)
        return len(self._table) - 1

    def add(
        self,
        ring: ArrayLike,
        colour: Rgb,
        material: int = -1,
        alpha: float = 1.0,
        layer: Layer = Layer.GROUND,
    ) -> None:
        """Append one polygon: `ring` (n, 2) metres, colour 0..255, opacity 0..1."""
        self._rings.append(np.asarray(ring, np.float64))
        self._colours.append(colour)
        self._materials.append(material)
        self._alphas.append(alpha)
        self._layers.append(int(layer))

    def many(
        self,
        rings: F64,
        colour: Rgb,
        material: int = -1,
        alpha: float = 1.0,
        layer: Layer = Layer.GROUND,
    ) -> None:
        """Append polygons alike in all but place: (k, n, 2) metres."""
        for ring in rings:
            self.add(ring, colour, material, alpha, layer)

    def ground(self, ring: ArrayLike, colour: Rgb, material: int = -1, alpha: float = 1.0) -> None:
        """A flat surface or a marking on it."""
        self.add(ring, colour, material, alpha, Layer.GROUND)

    def raised(self, ring: ArrayLike, colour: Rgb, alpha: float = 1.0) -> None:
        """A face that stands above all shadows."""
        self.add(ring, colour, -1, alpha, Layer.RAISED)

    def shadow(self, ring: ArrayLike, strength: float = 1.0) -> None:
        """A cast shadow, where it falls."""
        self.add(ring, (0.0, 0.0, 0.0), -1, strength, Layer.SHADOW)

    def line(
        self,
        points: ArrayLike,
        width: float,
        colour: Rgb,
        material: int = -1,
        alpha: float = 1.0,
        layer: Layer = Layer.GROUND,
    ) -> None:
        """A polyline of constant width: (n, 2) metres, mitred at its bends."""
        self.add(ribbon(np.asarray(points, np.float64), width), colour, material, alpha, layer)

    def prism(self, ring: ArrayLike, height: float) -> None:
        """The shadow of an upright block: the ring swept along the sun by `height` metres."""
        base = np.asarray(ring, np.float64)
        away = self.sun.offset(height)
        following = np.roll(base, -1, 0)
        for a, b in zip(base, following, strict=True):
            self.shadow([a, b, b + away, a + away])
        self.shadow(base + away)

    def done(self) -> Picture:
        """The finished list."""
        sizes = [len(r) for r in self._rings]
        start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        coords = np.concatenate(self._rings) if sizes else np.zeros((0, 2))
        if sizes:
            low = np.minimum.reduceat(coords, start[:-1], axis=0)
            high = np.maximum.reduceat(coords, start[:-1], axis=0)
        else:
            low = high = np.zeros((0, 2))
        return Picture(
            np.ascontiguousarray(coords),
            start,
            np.concatenate([low, high], 1),
            np.clip(np.array(self._colours).reshape(-1, 3), 0, 255).astype(np.uint8),
            np.array(self._materials, np.int16),
            np.array(self._alphas, np.float32),
            np.array(self._layers, np.int8),
            texture.pack(self._table),
            self.sun.depth,
        )


@dataclass(frozen=True)
class Picture:
    """A frozen display list: see `raster.paint` for the columns; `bounds` is (m, 4) metres;
    `depth` is the `Sun`'s.
    """

    coords: F64
    start: NDArray[np.int64]
    bounds: F64
    colours: U8
    materials: NDArray[np.int16]
    alphas: NDArray[np.float32]
    layers: NDArray[np.int8]
    table: F64
    depth: float

    def render(
        self,
        origin: tuple[int, int],
        shape: tuple[int, int],
        scale: tuple[float, float],
        backdrop: Rgb = (96.0, 110.0, 72.0),
    ) -> U8:
        """(rows, columns, 3) uint8 of the rectangle whose corner is pixel `origin` (x, y).

        Args:
            origin: pixel corner of the rectangle.
            shape: rows, columns.
            scale: pixels a metre along x and y.
            backdrop: colour where nothing was painted.
        """
        view = np.array([origin[0], origin[1], scale[0], scale[1]], np.float64)
        x0, y0 = origin[0] / scale[0], origin[1] / scale[1]
        x1, y1 = x0 + shape[1] / scale[0], y0 + shape[0] / scale[1]
        b = self.bounds
        inside = (b[:, 0] < x1) & (b[:, 2] > x0) & (b[:, 1] < y1) & (b[:, 3] > y0)
        rgb = np.empty((*shape, 3), np.uint8)
        rgb[:] = np.array(backdrop, np.uint8)
        material = np.zeros(shape, np.int16)

        def chosen(layer: Layer) -> NDArray[np.int64]:
            return np.flatnonzero(inside & (self.layers == layer))

        raster.paint(
            rgb,
            material,
            self.coords,
            self.start,
            chosen(Layer.GROUND),
            self.colours,
            self.materials,
            self.alphas,
            view,
        )
        texture.apply(rgb, material, self.table, *texture.noise(), view)
        dark = chosen(Layer.SHADOW)
        if len(dark):
            shadow = np.zeros(shape, np.float32)
            raster.cover(shadow, self.coords, self.start, dark, self.alphas, view)
            texture.darken(rgb, shadow * np.float32(self.depth))
        raster.paint(
            rgb,
            material,
            self.coords,
            self.start,
            chosen(Layer.RAISED),
            self.colours,
            self.materials,
            self.alphas,
            view,
        )
        return rgb


def ribbon(points: F64, width: float) -> F64:
    """Ring around a polyline, `width` metres wide, mitred (at most twofold) at bends."""
    step = np.diff(points, axis=0)
    step /= np.maximum(np.hypot(step[:, 0], step[:, 1]), 1e-9)[:, None]
    normal = np.stack([-step[:, 1], step[:, 0]], 1)
    first = np.concatenate([normal[:1], normal])
    second = np.concatenate([normal, normal[-1:]])
    miter = first + second
    miter /= np.maximum((miter * first).sum(1), 0.5)[:, None]
    side = miter * width / 2
    return np.asarray(np.concatenate([points + side, (points - side)[::-1]]), np.float64)


def rectangle(centre: ArrayLike, length: float, width: float, angle: float) -> F64:
    """(4, 2) corners of a rectangle whose long side points along `angle` (radians, y down)."""
    along = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    across = np.array([-np.sin(angle), np.cos(angle)]) * width / 2
    c = np.asarray(centre, np.float64)
    return np.stack(
        [c + along + across, c + along - across, c - along - across, c - along + across]
    )


def blob(centre: ArrayLike, radius: float, rng: np.random.Generator, corners: int = 9) -> F64:
    """A rounded irregular ring, as of a tree's crown."""
    angle = np.arange(corners) * (2 * np.pi / corners)
    r = radius * rng.uniform(0.78, 1.15, corners)
    ring = np.stack([np.cos(angle) * r, np.sin(angle) * r], 1)
    return np.asarray(np.asarray(centre, np.float64) + ring)


def bearing(vector: ArrayLike) -> float:
    """Degrees clockwise from the top of the picture of an (x, y) vector with y down."""
    x, y = np.asarray(vector, np.float64)
    return degrees(atan2(x, -y)) % 360.0 if hypot(x, y) else 0.0
