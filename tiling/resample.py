"""Separable, antialiased, validity-weighted resampling onto the global grid.

Each grid pixel's taps and weights follow from its place in the grid alone, and its sum runs over
those taps in one order, so its value is the same to the last bit whichever tile it is read for.

The kernel is a triangle as wide as the larger of a scene and a grid pixel: bilinear when
enlarging, and antialiased when reducing (Pillow's and scikit-image's "bilinear with
antialiasing"; Turkowski, Filters for common resampling tasks, 1990).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiling.compiled import compiled

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Taps:
    """Taps of a run of grid pixels along one axis.

    Attributes:
        start: (n,) int64, first scene pixel of each grid pixel.
        weights: (n, taps) float32, 0 where a tap is not needed; each row sums to about 1.
    """

    start: NDArray[np.int64]
    weights: Floats

    @property
    def span(self) -> tuple[int, int]:
        """Half-open range of scene pixels that all taps touch."""
        return int(self.start[0]), int(self.start[-1]) + self.weights.shape[1]


def taps(first: int, count: int, scale: float, size: int) -> Taps:
    """Taps of grid pixels first .. first+count-1.

    Args:
        first: grid pixel, 0 at the scene's edge.
        count: grid pixels, at least 1.
        scale: scene pixels a grid pixel.
        size: scene pixels along the axis; taps stay inside it.
    """
    radius = max(1.0, scale)
    number = min(ceil(2 * radius), size)
    centre = (np.arange(first, first + count) + 0.5) * scale
    start = np.clip(np.floor(centre - radius + 0.5).astype(np.int64), 0, size - number)
    at = start[:, None] + np.arange(number) + 0.5
    weights = np.maximum(0.0, 1 - np.abs(at - np.minimum(centre, size - 0.5)[:, None]) / radius)
    total = np.zeros(count)
    for column in weights.T:  # in one order, whatever the count
        total += column
    weights /= total[:, None]
    return Taps(start, weights.astype(np.float32))


def resample(
    pixels: NDArray[Any], weight: NDArray[Any], origin: tuple[int, int], x: Taps, y: Taps
) -> tuple[Floats, NDArray[np.bool_]]:
    """Weighted means of scene pixels at grid pixels.

    Args:
        pixels: (bands, h, w) scene pixels, 0 where invalid.
        weight: (h, w) bool or float32, how valid each is (0..1).
        origin: scene pixel (x, y) of `pixels[:, 0, 0]`.
        x: taps along x, all inside `pixels`.
        y: taps along y, all inside `pixels`.

    Returns:
        (bands, rows, cols) float32, 0 where invalid, and (rows, cols) bool: at least half of
        the pixel's weight is valid.
    """
    xs, ys = x.start - origin[0], y.start - origin[1]
    whole = weight.dtype == np.bool_ and bool(weight.all())
    # Adding a pixel of value 0 changes no sum, so the numerators are the same either way; the
    # denominators of a wholly valid block need one row.
    below = (
        _rows_of_ones(y.weights, weight.shape[1])
        if whole
        else _down(np.ascontiguousarray(weight)[None], ys, y.weights)[0]
    )
    total = _across(below[None], xs, x.weights)[0]
    valid = total >= np.float32(0.5)
    out = _across(_down(np.ascontiguousarray(pixels), ys, y.weights), xs, x.weights)
    _divide(out, total, valid)
    return out, valid


@compiled
def _down(pixels, start, weights):  # type: ignore[no-untyped-def]  # compiled for each type
    """Sum of weighted rows: (bands, h, w) to float32 (bands, rows, w)."""
    bands, _, width = pixels.shape
    rows, number = weights.shape
    out = np.zeros((bands, rows, width), np.float32)
    for b in range(bands):
        for j in range(rows):
            for t in range(number):
                w = weights[j, t]
                row = pixels[b, start[j] + t]
                for i in range(width):
                    out[b, j, i] += w * np.float32(row[i])
    return out


@compiled
def _across(pixels, start, weights):  # type: ignore[no-untyped-def]  # compiled
    """Sum of weighted columns: float32 (bands, h, w) to float32 (bands, h, cols)."""
    bands, height, _ = pixels.shape
    cols, number = weights.shape
    out = np.empty((bands, height, cols), np.float32)
    for b in range(bands):
        for j in range(height):
            for i in range(cols):
                total = np.float32(0)
                for t in range(number):
                    total += weights[i, t] * pixels[b, j, start[i] + t]
                out[b, j, i] = total
    return out


@compiled
def _rows_of_ones(weights, width):  # type: ignore[no-untyped-def]  # compiled
    """What `_down` makes of a (h, width) plane of ones, without the plane."""
    rows, number = weights.shape
    out = np.empty((rows, width), np.float32)
    for j in range(rows):
        total = np.float32(0)
        for t in range(number):
            total += weights[j, t]
        out[j, :] = total
    return out


@compiled
def _divide(out, total, valid):  # type: ignore[no-untyped-def]  # compiled
    """Divide in place where valid, else 0."""
    bands, height, width = out.shape
    for b in range(bands):
        for j in range(height):
            for i in range(width):
                out[b, j, i] = out[b, j, i] / total[j, i] if valid[j, i] else np.float32(0)


@compiled
def decimate(pixels, valid, factor):  # type: ignore[no-untyped-def]  # compiled for each type
    """Means over blocks of `factor` x `factor` valid pixels, last ones possibly in part.

    Args:
        pixels: (bands, h, w).
        valid: (h, w) bool.
        factor: side of a block.

    Returns:
        (bands, ceil(h / factor), ceil(w / factor)) float32 and the valid share of each block.
    """
    bands, height, width = pixels.shape
    rows, cols = -(-height // factor), -(-width // factor)
    out = np.zeros((bands, rows, cols), np.float32)
    share = np.zeros((rows, cols), np.float32)
    for j in range(rows):
        y0, y1 = j * factor, min((j + 1) * factor, height)
        for i in range(cols):
            x0, x1 = i * factor, min((i + 1) * factor, width)
            count = 0
            for y in range(y0, y1):
                for x in range(x0, x1):
                    count += valid[y, x]
            share[j, i] = count / ((y1 - y0) * (x1 - x0))
            if count == 0:
                continue
            for b in range(bands):
                total = 0.0
                for y in range(y0, y1):
                    for x in range(x0, x1):
                        if valid[y, x]:
                            total += pixels[b, y, x]
                out[b, j, i] = total / count
    return out, share
