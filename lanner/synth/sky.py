"""What comes between the camera and the ground: clouds, their shadows, the swath's edge."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lanner.synth.raster import F64
from lanner.synth.sketch import Sun
from lanner.synth.texture import SIDE

F32 = NDArray[np.float32]

_TEXEL_M = 5.0
_SOFT = 0.24
_BASE_M = 350.0


@lru_cache(maxsize=1)
def _billows() -> F32:
    """(1024, 1024) tileable 1/f noise, steeper than the ground's, with unit deviation."""
    rng = np.random.default_rng(77)
    f = np.fft.fftfreq(SIDE)
    radius = np.maximum(np.hypot(f[:, None], f[None]), 4 / SIDE)
    noise = np.real(np.fft.ifft2(np.fft.fft2(rng.standard_normal((SIDE, SIDE))) / radius**1.75))
    return np.asarray(noise / noise.std(), np.float32)


@njit(cache=True, nogil=True, error_model="numpy")
def _texel(table: Any, x: float, y: float) -> Any:
    """Bilinear sample of a tileable table."""
    fx, fy = np.floor(x), np.floor(y)
    ix, iy = int(fx) & (SIDE - 1), int(fy) & (SIDE - 1)
    jx, jy = (ix + 1) & (SIDE - 1), (iy + 1) & (SIDE - 1)
    u, v = x - fx, y - fy
    return (table[iy, ix] * (1 - u) + table[iy, jx] * u) * (1 - v) + (
        table[jy, ix] * (1 - u) + table[jy, jx] * u
    ) * v


@njit(cache=True, nogil=True, error_model="numpy")
def _sample(table: Any, x: float, y: float) -> Any:
    """Noise at a point in texels: the table and its turned, larger self, so nothing repeats."""
    return 0.8 * _texel(table, x, y) + 0.6 * _texel(
        table, x * 0.37 + y * 0.23 + 311.0, y * 0.37 - x * 0.23 + 77.0
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _cover(table: Any, xs: Any, ys: Any, threshold: float) -> Any:
    """Opacity of cloud over points given in texels."""
    out = np.empty(xs.shape[0], np.float32)
    for k in range(xs.shape[0]):
        t = (_sample(table, xs[k], ys[k]) - threshold + _SOFT) / (2 * _SOFT)
        t = min(1.0, max(0.0, t))
        out[k] = t * t * (3.0 - 2.0 * t)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _veil(light: Any, table: Any, view: Any, away: Any, threshold: float) -> None:
    """Lay cloud shadow, then cloud, over `light` (h, w, 3) in place."""
    h, w = light.shape[0], light.shape[1]
    for y in range(h):
        ty = (y + view[1] + 0.5) * view[3]
        for x in range(w):
            tx = (x + view[0] + 0.5) * view[2]
            s = (_sample(table, tx - away[0], ty - away[1]) - threshold + _SOFT) / (2 * _SOFT)
            s = min(1.0, max(0.0, s))
            c = _sample(table, tx, ty)
            t = min(1.0, max(0.0, (c - threshold + _SOFT) / (2 * _SOFT)))
            if s > 0.0 or t > 0.0:
                t = t * t * (3.0 - 2.0 * t)
                dim = 1.0 - 0.5 * s * s * (3.0 - 2.0 * s)
                white = min(250.0, 196.0 + 34.0 * (c - threshold))
                for k in range(3):
                    light[y, x, k] = light[y, x, k] * dim * (1.0 - t) + white * t


@dataclass(frozen=True)
class Sky:
    """Clouds and swath of one scene of (width, height) pixels with `gsd` (x, y) metres.

    `threshold` is the noise level above which there is cloud (infinite: none); `edges` are
    (a, b, c) with a x + b y > c for every valid pixel centre.
    """

    gsd: tuple[float, float]
    shift: tuple[float, float]
    away: tuple[float, float]
    threshold: float
    edges: tuple[tuple[float, float, float], ...]

    def cloud(self, xy: F64) -> F32:
        """(n,) opacity 0..1 of cloud over (n, 2) scene pixels."""
        if not np.isfinite(self.threshold):
            return np.zeros(len(xy), np.float32)
        tx = xy[:, 0] * self.gsd[0] / _TEXEL_M + self.shift[0]
        ty = xy[:, 1] * self.gsd[1] / _TEXEL_M + self.shift[1]
        return np.asarray(_cover(_billows(), tx, ty, self.threshold))

    def valid(self, xy: F64) -> NDArray[np.bool_]:
        """(n,) whether the sensor saw the (n, 2) scene pixels."""
        valid = np.ones(len(xy), bool)
        for a, b, c in self.edges:
            valid &= a * xy[:, 0] + b * xy[:, 1] > c
        return valid

    def veil(self, light: F32, origin: tuple[int, int]) -> None:
        """Cover `light` (h, w, 3), whose corner is pixel `origin`, with clouds, in place."""
        if not np.isfinite(self.threshold):
            return
        sx, sy = self.gsd[0] / _TEXEL_M, self.gsd[1] / _TEXEL_M
        view = np.array([origin[0] + self.shift[0] / sx, origin[1] + self.shift[1] / sy, sx, sy])
        _veil(light, _billows(), view, np.array(self.away), self.threshold)

    def validity(self, origin: tuple[int, int], shape: tuple[int, int]) -> NDArray[np.bool_]:
        """`shape` bool: pixels that the swath holds."""
        valid = np.ones(shape, bool)
        x = np.arange(shape[1])[None] + origin[0] + 0.5
        y = np.arange(shape[0])[:, None] + origin[1] + 0.5
        for a, b, c in self.edges:
            valid &= a * x + b * y > c
        return valid


def make_sky(
    size: tuple[int, int],
    gsd: tuple[float, float],
    sun: Sun,
    seed: int,
    clouds: float,
    wedge: bool,
) -> Sky:
    """The sky of a scene; `clouds` is met to about a percent of the scene's area."""
    rng = np.random.default_rng((seed, 31))
    shift = tuple(float(v) for v in rng.uniform(0, SIDE, 2))
    reach = sun.offset(1.0) / np.hypot(*sun.offset(1.0)) * _BASE_M / _TEXEL_M
    slant = float(rng.uniform(0.12, 0.26))
    w, h = size
    edges = ((1.0, slant, w * 0.10 + h * slant * 0.75), (-slant, -1.0, -h * 0.97)) if wedge else ()
    sky = Sky(gsd, (shift[0], shift[1]), (float(reach[0]), float(reach[1])), np.inf, edges)
    if clouds <= 0:
        return sky
    gx, gy = np.meshgrid((np.arange(400) + 0.5) * w / 400, (np.arange(400) + 0.5) * h / 400)
    tx = gx.ravel() * gsd[0] / _TEXEL_M + shift[0]
    ty = gy.ravel() * gsd[1] / _TEXEL_M + shift[1]
    # `_cover` is half where the noise meets the threshold: its quantile gives the share.
    level = np.array([_sample(_billows(), a, b) for a, b in zip(tx, ty, strict=True)])
    return Sky(sky.gsd, sky.shift, sky.away, float(np.quantile(level, 1 - clouds)), edges)
