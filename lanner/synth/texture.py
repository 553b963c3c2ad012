"""Ground materials: what each surface does to its flat colour, pixel by pixel.

Every value is a function of the absolute pixel and the place in metres alone, so a picture
does not depend on how it is cut into pieces. Noise tables tile seamlessly and are made once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lanner.synth.raster import F64, U8

SIDE = 1024
_MASK = SIDE - 1
_CROWN_M = 0.5

I8 = NDArray[np.int8]


class Material(NamedTuple):
    """How a surface looks: amplitudes are shares of its brightness, lengths metres.

    `fine` pixel grain, `broad` blotches, `hue` drift between red and blue; `row` and `period`
    ploughing or mowing lines across `angle` (radians); `joint` slab spacing, `line` how dark
    its joints are, `slab` how much slabs differ; `crown` tree tops.
    """

    fine: float = 0.05
    broad: float = 0.05
    hue: float = 0.02
    row: float = 0.0
    period: float = 3.0
    angle: float = 0.0
    joint: float = 0.0
    line: float = 0.0
    slab: float = 0.0
    crown: float = 0.0


def pack(materials: list[Material]) -> F64:
    """(m, 11) float64 table for `apply`: the angle becomes its cosine and sine."""
    rows = [
        (
            m.fine,
            m.broad,
            m.hue,
            m.row,
            m.period,
            np.cos(m.angle),
            np.sin(m.angle),
            m.joint,
            m.line,
            m.slab,
            m.crown,
        )
        for m in materials
    ]
    return np.array(rows, np.float64)


@lru_cache(maxsize=1)
def noise() -> tuple[I8, I8, I8]:
    """Three tileable tables (1024, 1024) int8: grain, 1/f blotches and tree crowns.

    1/f noise by shaping white noise in the Fourier domain (Peitgen & Saupe, 1988); it looks
    alike at every scale, so one table serves every ground sampling.
    """
    rng = np.random.default_rng(20240229)
    white = rng.standard_normal((SIDE, SIDE))
    grain = np.clip(white * 42, -127, 127)
    f = np.fft.fftfreq(SIDE)
    radius = np.hypot(f[:, None], f[None])
    radius[0, 0] = 1.0
    spectrum = np.fft.fft2(rng.standard_normal((SIDE, SIDE))) / np.maximum(radius, 3 / SIDE) ** 1.25
    pink = np.real(np.fft.ifft2(spectrum))
    pink = np.clip(pink / pink.std() * 42, -127, 127)
    return grain.astype(np.int8), pink.astype(np.int8), _crowns(rng)


def _crowns(rng: np.random.Generator) -> I8:
    """Tree tops seen from above: hemispheres lit from the upper left, dark between."""
    height = np.zeros((SIDE, SIDE), np.float32)
    for x, y, r in zip(
        rng.integers(0, SIDE, 9000),
        rng.integers(0, SIDE, 9000),
        rng.uniform(3.5, 9.5, 9000),
        strict=True,
    ):
        k = int(r) + 1
        g = np.arange(-k, k + 1)
        square = r * r - g[:, None] ** 2 - g[None] ** 2
        dome = np.where(square > 0, np.sqrt(np.maximum(square, 0)) + r * 0.4, 0)
        rows, cols = (y + g) % SIDE, (x + g) % SIDE
        patch = np.ix_(rows, cols)
        height[patch] = np.maximum(height[patch], dome)
    light = (height - np.roll(height, (2, 2), (0, 1))) * 9 + (height - height.mean()) * 5
    return np.asarray(np.clip(light * 1.2, -127, 127), np.int8)


@njit(cache=True, nogil=True, error_model="numpy")
def apply(
    rgb: U8, material: NDArray[np.int16], table: F64, grain: I8, pink: I8, crowns: I8, view: Any
) -> None:
    """Give every pixel of `rgb` (h, w, 3) the texture of its material, in place.

    Args:
        rgb: flat colours.
        material: (h, w) row of `table`.
        table: from `pack`.
        grain: first of `noise`.
        pink: second of `noise`.
        crowns: third of `noise`.
        view: canvas origin in pixels (x, y), pixels a metre (x, y).
    """
    h, w = material.shape
    ox, oy = int(view[0]), int(view[1])
    mx, my = 1.0 / view[2], 1.0 / view[3]
    pixel = max(mx, my)
    for y in range(h):
        gy = y + oy
        ym = (gy + 0.5) * my
        for x in range(w):
            k = material[y, x]
            t = table[k]
            gx = x + ox
            xm = (gx + 0.5) * mx
            jump = k * 389
            n0 = grain[(gy + jump) & _MASK, gx & _MASK]
            n1 = pink[(gy + jump) & _MASK, (gx + jump * 3) & _MASK]
            n2 = pink[((gx * 5 + gy * 2) >> 4) & _MASK, ((gy * 5 - gx * 2) >> 4) & _MASK]
            shade = 1.0 + (n0 * t[0] + (n1 + n2) * t[1] * 0.7) * 0.0238
            hue = n2 * t[2] * 0.0238
            if t[3] > 0.0:
                phase = (xm * t[5] + ym * t[6]) / t[4] + n2 * 0.002
                phase -= np.floor(phase)
                # A triangle wave, fading where its period nears two pixels.
                fade = min(1.0, max(0.0, t[4] / pixel / 2.0 - 1.0))
                shade += t[3] * fade * (abs(phase - 0.5) * 4.0 - 1.0)
            if t[7] > 0.0:
                u = (xm * t[5] + ym * t[6]) / t[7]
                v = (ym * t[5] - xm * t[6]) / t[7]
                iu, iv = np.floor(u), np.floor(v)
                du = min(u - iu, iu + 1.0 - u) * t[7] / pixel
                dv = min(v - iv, iv + 1.0 - v) * t[7] / pixel
                near = min(du, dv)
                if near < 0.9:
                    shade -= t[8] * (0.9 - near) * min(1.0, 0.35 / pixel)
                slab = (int(iu) * 73856093) ^ (int(iv) * 19349663)
                slab = (slab ^ (slab >> 7)) & 255
                shade += t[9] * (slab - 127.5) / 127.5
            if t[10] > 0.0:
                fx, fy = xm / _CROWN_M, ym / _CROWN_M
                ix, iy = int(np.floor(fx)), int(np.floor(fy))
                fx -= ix
                fy -= iy
                above, below = crowns[iy & _MASK], crowns[(iy + 1) & _MASK]
                jx = (ix + 1) & _MASK
                ix &= _MASK
                c = (above[ix] * (1 - fx) + above[jx] * fx) * (1 - fy) + (
                    below[ix] * (1 - fx) + below[jx] * fx
                ) * fy
                shade += t[10] * c * 0.008
            p = rgb[y, x]
            p[0] = np.uint8(min(255.0, max(0.0, p[0] * (shade + hue))))
            p[1] = np.uint8(min(255.0, max(0.0, p[1] * shade)))
            p[2] = np.uint8(min(255.0, max(0.0, p[2] * (shade - hue))))


@njit(cache=True, nogil=True, error_model="numpy")
def darken(rgb: U8, shadow: NDArray[np.float32]) -> None:
    """Take light from `rgb` (h, w, 3) in place where `shadow` (h, w) is above 0; bluish."""
    h, w = shadow.shape
    for y in range(h):
        for x in range(w):
            s = shadow[y, x]
            if s > 0.0:
                p = rgb[y, x]
                p[0] = np.uint8(p[0] * (1.0 - 0.68 * s))
                p[1] = np.uint8(p[1] * (1.0 - 0.64 * s))
                p[2] = np.uint8(p[2] * (1.0 - 0.56 * s))
