"""Compiled painters: antialiased polygons and soft masks on small canvases.

Scan conversion with four sub-rows a pixel row and exact horizontal coverage, even-odd rule.
All coordinates are metres of the layout (x right, y down); `scale` turns them into pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]

_SUB = 4
_NOTHING = 1.0 / 512.0


@njit(cache=True, nogil=True, error_model="numpy")
def _cover_row(pts: Any, row: int, delta: Any, xs: Any) -> tuple[int, int]:
    """Add one row's coverage to `delta` (its running sum is 0..1); the touched columns."""
    width = delta.shape[0] - 2
    low, high = width, -1
    n = pts.shape[0]
    for sub in range(_SUB):
        y = row + (sub + 0.5) / _SUB
        count = 0
        x1, y1 = pts[n - 1, 0], pts[n - 1, 1]
        for k in range(n):
            x0, y0 = x1, y1
            x1, y1 = pts[k, 0], pts[k, 1]
            if (y0 <= y) != (y1 <= y):
                x = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
                j = count
                while j > 0 and xs[j - 1] > x:
                    xs[j] = xs[j - 1]
                    j -= 1
                xs[j] = x
                count += 1
        for j in range(0, count - 1, 2):
            a, b = max(xs[j], 0.0), min(xs[j + 1], float(width))
            if b <= a:
                continue
            ia, ib = int(a), int(b)
            delta[ia] += (ia + 1 - a) / _SUB
            delta[ia + 1] += (a - ia) / _SUB
            delta[ib] -= (ib + 1 - b) / _SUB
            delta[ib + 1] -= (b - ib) / _SUB
            low = min(low, ia)
            high = max(high, ib)
    return low, min(high, width - 1)


@njit(cache=True, nogil=True, error_model="numpy")
def _local(coords: Any, a: int, b: int, view: Any) -> Any:
    """Points a..b of the layout in canvas pixels; `view` is (x0, y0, x scale, y scale)."""
    pts = np.empty((b - a, 2))
    for k in range(b - a):
        pts[k, 0] = coords[a + k, 0] * view[2] - view[0]
        pts[k, 1] = coords[a + k, 1] * view[3] - view[1]
    return pts


@njit(cache=True, nogil=True, error_model="numpy")
def paint(  # noqa: PLR0913, PLR0917  # flat arrays are what compiled code can take
    rgb: U8,
    material: NDArray[np.int16],
    coords: F64,
    start: Any,
    chosen: Any,
    colours: Any,
    materials: Any,
    alphas: Any,
    view: F64,
) -> None:
    """Blend the chosen polygons over `rgb` in order; `material` takes theirs where they cover.

    Args:
        rgb: (h, w, 3) canvas, changed in place.
        material: (h, w) index of the texture; a negative material leaves it as it is.
        coords: (n, 2) metres of all polygons; polygon i is rows start[i]..start[i + 1].
        start: (m + 1,) row of each polygon's first point.
        chosen: indices of the polygons to paint, in order.
        colours: (m, 3) uint8.
        materials: (m,) int16.
        alphas: (m,) float32 opacity.
        view: (4,) canvas origin in pixels (x, y) and pixels a metre (x, y).
    """
    h, w = rgb.shape[0], rgb.shape[1]
    delta = np.zeros(w + 2, np.float32)
    for i in chosen:
        pts = _local(coords, start[i], start[i + 1], view)
        xs = np.empty(pts.shape[0] + 1)
        red, green, blue = float(colours[i, 0]), float(colours[i, 1]), float(colours[i, 2])
        kind, opacity = materials[i], alphas[i]
        top = max(0, int(np.floor(pts[:, 1].min())))
        bottom = min(h, int(np.floor(pts[:, 1].max())) + 1)
        for row in range(top, bottom):
            low, high = _cover_row(pts, row, delta, xs)
            cover = np.float32(0.0)
            for x in range(low, high + 1):
                cover += delta[x]
                delta[x] = 0.0
                if cover <= _NOTHING:
                    continue
                a = min(cover, np.float32(1.0)) * opacity
                p = rgb[row, x]
                p[0] = np.uint8(p[0] + (red - p[0]) * a + 0.5)
                p[1] = np.uint8(p[1] + (green - p[1]) * a + 0.5)
                p[2] = np.uint8(p[2] + (blue - p[2]) * a + 0.5)
                if kind >= 0 and a >= 0.5:
                    material[row, x] = kind
            delta[max(high, -1) + 1] = 0.0
            delta[w] = delta[w + 1] = 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def cover(
    mask: NDArray[np.float32], coords: F64, start: Any, chosen: Any, alphas: Any, view: F64
) -> None:
    """Raise `mask` (h, w) to the coverage times opacity of the chosen polygons (their maximum)."""
    h, w = mask.shape
    delta = np.zeros(w + 2, np.float32)
    for i in chosen:
        pts = _local(coords, start[i], start[i + 1], view)
        xs = np.empty(pts.shape[0] + 1)
        top = max(0, int(np.floor(pts[:, 1].min())))
        bottom = min(h, int(np.floor(pts[:, 1].max())) + 1)
        for row in range(top, bottom):
            low, high = _cover_row(pts, row, delta, xs)
            total = np.float32(0.0)
            for x in range(low, high + 1):
                total += delta[x]
                delta[x] = 0.0
                mask[row, x] = max(mask[row, x], min(total, np.float32(1.0)) * alphas[i])
            delta[max(high, -1) + 1] = 0.0
            delta[w] = delta[w + 1] = 0.0


def polygon_mask(xy: F64, shape: tuple[int, int], origin: tuple[int, int] = (0, 0)) -> U8:
    """Pixels at least half covered by one polygon given in pixels.

    Args:
        xy: (n, 2) ring in pixels.
        shape: (rows, columns) of the mask.
        origin: pixel (x, y) of the mask's corner.

    Returns:
        `shape` uint8, 1 inside.
    """
    mask = np.zeros(shape, np.float32)
    ring = np.ascontiguousarray(xy, np.float64)
    cover(
        mask,
        ring,
        np.array([0, len(ring)]),
        np.array([0]),
        np.ones(1, np.float32),
        np.array([origin[0], origin[1], 1.0, 1.0]),
    )
    return (mask >= 0.5).astype(np.uint8)
