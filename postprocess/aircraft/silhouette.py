"""Outlines as small rasters, all at once: axis of symmetry, and the view with that axis upright.

An aircraft seen from above is its own mirror image about the fuselage. The degree of mirror
symmetry about every axis through the centroid is one circular autocorrelation of the polar
silhouette, so all angles are tried at the cost of a few (compare Loy and Eklundh, 2006, who do
it with feature points).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from postprocess.shapes import Bools, Floats, Ints, Shapes
from tiling.compiled import compiled

SIDE = 128
"""Side of a silhouette raster."""
TURNS = 360
"""Directions of the polar raster; an axis is found to half of 360 / TURNS degrees."""
RINGS = 48
CHUNK = 64
"""Silhouettes worked on at once: some 20 MB, which a processor's caches hold in good part."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Axes:
    """(n,) `angle` radians of the axis from +x towards +y (grid pixels, y down), 0..pi;
    `symmetry` mirror IoU about it, `rival` that about the best axis 45 degrees or more away;
    (n, 2) `centre`, the centroid in grid pixels.
    """

    angle: Floats
    symmetry: Floats
    rival: Floats
    centre: Floats


@dataclass(frozen=True)
class Silhouettes:
    """(n, SIDE, SIDE) uint8 `stack`, 1 inside; (n, 2) `centre` of each, the centroid, and (n,)
    `reach`, what half a side stands for, both in grid pixels.
    """

    stack: Bytes
    centre: Floats
    reach: Floats


def silhouettes(polygons: Shapes) -> Silhouettes:
    """Each polygon drawn so that its farthest point touches the raster's inscribed circle."""
    centre = shapely.get_coordinates(shapely.centroid(polygons)).reshape(-1, 2)
    reach = radius(polygons, centre)
    return Silhouettes(rasters(polygons, centre, reach), centre, reach)


def symmetry_axes(polygons: Shapes) -> Axes:
    """The best axis of mirror symmetry of each valid polygon."""
    parts = [
        axes(silhouettes(polygons[low : low + CHUNK])) for low in range(0, len(polygons), CHUNK)
    ]
    if not parts:
        none = np.empty(0)
        return Axes(none, none, none, np.empty((0, 2)))
    return Axes(
        np.concatenate([part.angle for part in parts]),
        np.concatenate([part.symmetry for part in parts]),
        np.concatenate([part.rival for part in parts]),
        np.concatenate([part.centre for part in parts]),
    )


def axes(shapes: Silhouettes) -> Axes:
    """The best axis of mirror symmetry of each silhouette; `CHUNK` at a time is quickest."""
    angle, symmetry, rival = _best_axes(shapes.stack)
    return Axes(angle, symmetry, rival, shapes.centre)


def radius(polygons: Shapes, centre: Floats) -> Floats:
    """(n,) distance of each polygon's farthest point from its centre."""
    points, owner = shapely.get_coordinates(polygons, return_index=True)
    far = np.zeros(len(polygons))
    np.maximum.at(far, owner, np.hypot(*(points - centre[owner]).T))
    return np.maximum(far, 1e-6)


def rasters(polygons: Shapes, centre: Floats, reach: Floats) -> Bytes:
    """(n, SIDE, SIDE) silhouettes, 1 inside, each scaled so that `reach` is half a side.

    A pixel is inside when its centre is.
    """
    rings, owner = shapely.get_rings(polygons, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    scale = (SIDE / 2 - 1) / reach
    local = (points - centre[owner[ring]]) * scale[owner[ring], None] + SIDE / 2
    edges = np.flatnonzero(ring[1:] == ring[:-1])
    stack = np.zeros((len(polygons), SIDE, SIDE), np.uint8)
    _fill(local[edges], local[edges + 1], owner[ring[edges]].astype(np.int64), stack)
    return stack


@compiled
def _fill(start: Floats, end: Floats, owner: Ints, stack: Bytes) -> None:
    """Scan lines through pixel centres; between a pair of crossings lies inside (even-odd).

    Every crossing flips all pixels to its right, so that nothing needs sorting.
    """
    side = stack.shape[1]
    for k in range(len(owner)):
        x0, y0, x1, y1 = start[k, 0], start[k, 1], end[k, 0], end[k, 1]
        if y0 > y1:
            x0, y0, x1, y1 = x1, y1, x0, y0
        # Rows whose centre is at or after the upper end and before the lower one.
        first, last = max(int(np.ceil(y0 - 0.5)), 0), min(int(np.ceil(y1 - 0.5)), side)
        for row in range(first, last):
            x = (row + 0.5 - y0) * (x1 - x0) / (y1 - y0) + x0
            col = max(int(np.floor(x + 0.5)), 0)
            if col < side:
                stack[owner[k], row, col] ^= 1
    for i in range(len(stack)):
        for row in range(side):
            inside = np.uint8(0)
            for col in range(side):
                inside ^= stack[i, row, col]
                stack[i, row, col] = inside


def upright(stack: Bytes, angle: Floats, bins: int = 64) -> Bools:
    """(n, bins, bins) silhouettes turned so that rows run along the axis, columns across it.

    Row 0 is the end the direction `angle` points to.
    """
    view = np.empty((len(stack), bins, bins), np.bool_)
    _turn(stack, np.cos(angle), np.sin(angle), view)
    return view


@compiled
def _turn(stack: Bytes, cos: Floats, sin: Floats, view: Bools) -> None:
    """Nearest pixels of each silhouette; outside is empty."""
    side, bins = stack.shape[1], view.shape[1]
    half, middle = side / 2 - 1, side / 2
    for i in range(len(view)):
        for r in range(bins):
            ahead = -((r + 0.5) / bins * 2 - 1)
            for k in range(bins):
                aside = (k + 0.5) / bins * 2 - 1
                x = (cos[i] * ahead - sin[i] * aside) * half + middle
                y = (sin[i] * ahead + cos[i] * aside) * half + middle
                inside = (x >= 0) & (x < side) & (y >= 0) & (y < side)
                view[i, r, k] = inside and stack[i, int(y), int(x)] != 0


def _polar_places() -> Ints:
    """(TURNS * RINGS,) places in a flat silhouette; all of them lie inside it."""
    turn = np.arange(TURNS) * (2 * np.pi / TURNS)
    ring = (np.arange(RINGS) + 0.5) / RINGS
    x = np.outer(np.cos(turn), ring) * (SIDE / 2 - 1) + SIDE / 2
    y = np.outer(np.sin(turn), ring) * (SIDE / 2 - 1) + SIDE / 2
    return (np.floor(y).astype(np.int64) * SIDE + np.floor(x).astype(np.int64)).ravel()


_POLAR = _polar_places()


def _best_axes(stack: Bytes) -> tuple[Floats, Floats, Floats]:
    """(n,) angle of the best axis, mirror IoU about it, and about its best rival."""
    ring = (np.arange(RINGS) + 0.5) / RINGS
    polar = stack.reshape(len(stack), -1).take(_POLAR, axis=1).astype(np.float64)
    polar = polar.reshape(-1, TURNS, RINGS)
    wave = np.fft.rfft(polar, axis=1)
    # Sum over phi of P(phi) P(k - phi): overlap with the mirror image about the axis at k / 2.
    wave *= wave
    wave *= ring
    common = np.fft.irfft(wave.sum(axis=2), TURNS, axis=1)
    whole = (polar * ring).sum(axis=(1, 2))[:, None]
    mirror = common / np.maximum(2 * whole - common, 1e-9)
    best = mirror.argmax(axis=1)
    rows = np.arange(len(stack))
    before, at, after = (mirror[rows, (best + d) % TURNS] for d in (-1, 0, 1))
    bend = before - 2 * at + after
    shift = np.where(bend < -1e-12, 0.5 * (before - after) / np.minimum(bend, -1e-12), 0.0)
    angle = (best + np.clip(shift, -0.5, 0.5)) * np.pi / TURNS
    # Half a turn of k is a quarter turn of the axis: the middle half of what follows the best.
    away = (best[:, None] + np.arange(TURNS // 4, 3 * TURNS // 4 + 1)) % TURNS
    rival = np.take_along_axis(mirror, away, axis=1).max(axis=1)
    return np.mod(angle, np.pi), np.clip(at, 0, 1), np.clip(rival, 0, 1)
