"""Outlines as small rasters, all at once: axis of symmetry, and the view with that axis upright.

An aircraft seen from above is its own mirror image about the fuselage. The degree of mirror
symmetry about every axis through the centroid is one circular autocorrelation of the polar
silhouette, so all angles are tried at the cost of a few (compare Loy and Eklundh, 2006, who do
it with feature points).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import rasterio.features
import shapely

from postprocess.shapes import Floats, Shapes

SIDE = 128
"""Side of a silhouette raster."""
TURNS = 360
"""Directions of the polar raster; an axis is found to half of 360 / TURNS degrees."""
RINGS = 48
CHUNK = 512
"""Silhouettes worked on at once: about 100 MB."""


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


def symmetry_axes(polygons: Shapes) -> Axes:
    """The best axis of mirror symmetry of each valid polygon."""
    centre = shapely.get_coordinates(shapely.centroid(polygons)).reshape(-1, 2)
    reach = radius(polygons, centre)
    found = np.zeros((3, len(polygons)))
    for low in range(0, len(polygons), CHUNK):
        part = slice(low, low + CHUNK)
        stack = rasters(polygons[part], centre[part], reach[part])
        found[:, part] = _best_axes(stack)
    return Axes(found[0], found[1], found[2], centre)


def radius(polygons: Shapes, centre: Floats) -> Floats:
    """(n,) distance of each polygon's farthest point from its centre."""
    points, owner = shapely.get_coordinates(polygons, return_index=True)
    far = np.zeros(len(polygons))
    np.maximum.at(far, owner, np.hypot(*(points - centre[owner]).T))
    return np.maximum(far, 1e-6)


def rasters(polygons: Shapes, centre: Floats, reach: Floats) -> Floats:
    """(n, SIDE, SIDE) silhouettes, 1 inside, each scaled so that `reach` is half a side."""
    n = len(polygons)
    points, owner = shapely.get_coordinates(polygons, return_index=True)
    scale = (SIDE / 2 - 1) / reach
    local = (points - centre[owner]) * scale[owner, None] + SIDE / 2
    local[:, 1] += owner * SIDE  # one under the other on a tall canvas: a single call draws all
    moved = shapely.set_coordinates(polygons.copy(), local)
    canvas = rasterio.features.rasterize(
        moved.tolist(), out_shape=(n * SIDE, SIDE), fill=0, default_value=1, dtype="uint8"
    )
    return np.asarray(canvas.reshape(n, SIDE, SIDE), np.float32).astype(np.float64)


def upright(stack: Floats, angle: Floats, bins: int = 64) -> Floats:
    """(n, bins, bins) silhouettes turned so that rows run along the axis, columns across it.

    Row 0 is the end the direction `angle` points to.
    """
    at = (np.arange(bins) + 0.5) / bins * 2 - 1
    ahead, aside = np.meshgrid(-at, at, indexing="ij")
    c, s = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    x = (c * ahead - s * aside) * (SIDE / 2 - 1) + SIDE / 2
    y = (s * ahead + c * aside) * (SIDE / 2 - 1) + SIDE / 2
    return _at(stack, x, y)


def _at(stack: Floats, x: Floats, y: Floats) -> Floats:
    """Nearest values of each raster at its own (x, y); 0 outside."""
    col, row = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    inside = (col >= 0) & (col < SIDE) & (row >= 0) & (row < SIDE)
    which = np.arange(len(stack)).reshape(-1, *[1] * (x.ndim - 1))
    values = stack[which, np.clip(row, 0, SIDE - 1), np.clip(col, 0, SIDE - 1)]
    return np.asarray(np.where(inside, values, 0.0), np.float64)


def _best_axes(stack: Floats) -> Floats:
    turn = np.arange(TURNS) * (2 * np.pi / TURNS)
    ring = (np.arange(RINGS) + 0.5) / RINGS
    x = np.outer(np.cos(turn), ring) * (SIDE / 2 - 1) + SIDE / 2
    y = np.outer(np.sin(turn), ring) * (SIDE / 2 - 1) + SIDE / 2
    polar = _at(stack, x[None], y[None])  # (n, TURNS, RINGS)
    wave = np.fft.rfft(polar, axis=1)
    # Sum over phi of P(phi) P(k - phi): overlap with the mirror image about the axis at k / 2.
    common = np.fft.irfft((wave * wave * ring).sum(axis=2), TURNS, axis=1)
    whole = (polar * polar * ring).sum(axis=(1, 2))[:, None]
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
    return np.stack([np.mod(angle, np.pi), np.clip(at, 0, 1), np.clip(rival, 0, 1)])
