"""From a clean picture to what a camera delivers: blur, haze, tone, noise."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lanner.synth.raster import U8


@njit(cache=True, nogil=True, error_model="numpy")
def blur(rgb: U8, share: float) -> NDArray[np.float32]:
    """Separable three-tap blur with weights (share, 1 - 2 share, share); drops a 1 px border.

    Args:
        rgb: (h + 2, w + 2, 3).
        share: 0 (none) to 1/3; 0.18 resembles a sensor's modulation transfer at Nyquist.

    Returns:
        (h, w, 3) float32, 0..255.
    """
    h, w = rgb.shape[0] - 2, rgb.shape[1] - 2
    out = np.empty((h, w, 3), np.float32)
    line = np.empty((w + 2, 3), np.float32)
    side, mid = np.float32(share), np.float32(1 - 2 * share)
    for y in range(h):
        for x in range(w + 2):
            for c in range(3):
                line[x, c] = mid * rgb[y + 1, x, c] + side * (
                    np.float32(rgb[y, x, c]) + np.float32(rgb[y + 2, x, c])
                )
        for x in range(w):
            for c in range(3):
                out[y, x, c] = mid * line[x + 1, c] + side * (line[x, c] + line[x + 2, c])
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def develop(light: Any, grain: Any, at: Any, noise: float, gain: Any, lift: Any) -> U8:
    """Tone and noise: uint8 of gain * light + lift + noise * grain.

    Args:
        light: (h, w, 3) float32.
        grain: (1024, 1024) int8 table of white noise, standard deviation 42.
        at: (2,) where to begin in it.
        noise: standard deviation in grey levels.
        gain: (3,) per band.
        lift: (3,) per band (haze).
    """
    h, w = light.shape[0], light.shape[1]
    out = np.empty((h, w, 3), np.uint8)
    level = np.float32(noise / 42.0)
    for y in range(h):
        for x in range(w):
            for c in range(3):
                n = grain[(y + at[0] + 331 * c) & 1023, (x + at[1] + 97 * c) & 1023]
                v = gain[c] * light[y, x, c] + lift[c] + level * n + np.float32(0.5)
                out[y, x, c] = np.uint8(min(np.float32(255.0), max(np.float32(0.0), v)))
    return out


def random_develop(
    light: NDArray[np.float32], grain: NDArray[np.int8], rng: np.random.Generator
) -> U8:
    """`develop` with a camera and an atmosphere drawn at random."""
    haze = rng.uniform(0, 0.3) ** 1.5
    contrast = rng.uniform(0.75, 1.25) * (1 - haze)
    tint = rng.normal(1.0, 0.018, 3)
    gain = (contrast * tint).astype(np.float32)
    lift = (
        haze * np.array([150, 158, 168]) + rng.normal(0, 9) + (1 - contrast - haze) * 110 * 0.6
    ).astype(np.float32)
    at = rng.integers(0, 1024, 2)
    return np.asarray(develop(light, grain, at, float(rng.uniform(0.5, 5.0)), gain, lift))


@njit(cache=True, nogil=True, error_model="numpy")
def expose(light: Any, grain: Any, at: Any, noise: float, scale: Any, out: Any) -> None:
    """Samples of a scene from light, in place in `out` (bands, h, w) of any sample type.

    Args:
        light: (h, w, 3) float32, 0..255.
        grain: (1024, 1024) int8 table of white noise, standard deviation 42.
        at: (2,) where to begin in it.
        noise: standard deviation in levels of `light`.
        scale: (4,) factor, offset, least and greatest sample.
        out: 1 band (grey), 3 (red, green, blue) or 4 (near infrared last). Integer samples
            are rounded: the offset carries their half.
    """
    bands, h, w = out.shape
    level = np.float32(noise / 42.0)
    factor, add = np.float32(scale[0]), np.float32(scale[1])
    low, high = np.float32(scale[2]), np.float32(scale[3])
    for y in range(h):
        for x in range(w):
            p = light[y, x]
            for c in range(bands):
                if bands == 1:
                    v = np.float32(0.3) * p[0] + np.float32(0.5) * p[1] + np.float32(0.2) * p[2]
                elif c == 3:
                    # Leaves shine in the infrared: what is greener than grey is brighter.
                    green = p[1] - np.float32(0.5) * (p[0] + p[2])
                    v = np.float32(0.75) * p[0] + np.float32(5.0) * max(np.float32(0.0), green)
                else:
                    v = p[c]
                n = grain[(y + at[0] + 331 * c) & 1023, (x + at[1] + 97 * c) & 1023]
                out[c, y, x] = min(high, max(low, (v + level * n) * factor + add))
