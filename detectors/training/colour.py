"""Changes of colour, sensor and sharpness, so that one camera's look is not learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]

STYLES_A_SOURCE = 48
"""Pictures of one source whose colours go into the table of styles."""

INFRARED = 0.4
"""Share of the made-up sensors whose bands reach into the near infrared."""

ENOUGH = 100
"""Pixels under which statistics say nothing."""


def plain(image: NDArray[np.uint8]) -> Float:
    """uint8 (h, w, 3) -> float32 0..1, nothing changed."""
    return image.astype(np.float32) / np.float32(255)


def recolour(rng: np.random.Generator, image: NDArray[np.uint8], strength: float = 1.0) -> Float:
    """Another sun, haze, exposure, focus and coding: uint8 (h, w, 3) -> float32 0..1."""
    x: Any = image.astype(np.float32) / 255
    if rng.random() < 0.15:
        lo, hi = np.percentile(x, [rng.uniform(0, 3), rng.uniform(97, 100)])
        x = (x - np.float32(lo)) / np.float32(max(hi - lo, 0.1))
    if rng.random() < 0.15:
        x = np.repeat((x @ np.array([0.3, 0.59, 0.11], np.float32))[..., None], 3, 2)
    elif rng.random() < 0.6:
        grey = x.mean(2, keepdims=True)
        x = grey + (x - grey) * np.float32(rng.uniform(1 - 0.7 * strength, 1 + 0.6 * strength))
    if rng.random() < 0.6:
        x = x * rng.uniform(1 - 0.15 * strength, 1 + 0.15 * strength, 3).astype(np.float32)
        x = x + rng.uniform(-0.06 * strength, 0.06 * strength, 3).astype(np.float32)
    if rng.random() < 0.8:
        mean = x.mean()
        x = (x - mean) * np.float32(rng.uniform(1 - 0.4 * strength, 1 + 0.45 * strength)) + mean
        x = x + np.float32(rng.uniform(-0.18, 0.18) * strength)
    x = np.clip(x, 0, 1)
    if rng.random() < 0.5:
        x = x ** np.float32(np.exp(rng.uniform(-0.5, 0.5) * strength))
    kind = rng.random()
    if kind < 0.2:
        x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.4, 0.6 + 0.8 * strength))
    elif kind < 0.4:
        soft = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.8, 1.6))
        x = x + np.float32(rng.uniform(0.3, 1.2)) * (x - soft)
    if rng.random() < 0.3:
        noise = rng.standard_normal(x.shape, np.float32)
        x = x + noise * np.float32(rng.uniform(0.005, 0.035))
    x = np.clip(x, 0, 1)
    if rng.random() < 0.2:
        x = _coded(x, int(rng.integers(35, 90)))
    return np.ascontiguousarray(x, np.float32)


def _coded(image: Float, quality: int) -> Float:
    """Through JPEG and back."""
    _, code = cv2.imencode(
        ".jpg", (image * 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    back: Any = cv2.imdecode(code, cv2.IMREAD_COLOR)
    return np.asarray(back, np.float32) / np.float32(255)


def other_sensor(rng: np.random.Generator, image: Float, there: NDArray[np.bool_]) -> Float:
    """One band for all, bands mixed or in another order, each stretched to its own percentiles.

    Of some the bands reach into the near infrared, as panchromatic ones do: what is green is
    bright there.

    Args:
        rng: where the kind and strength are drawn from.
        image: float32 (h, w, 3) 0..1.
        there: bool (h, w), the pixels that percentiles are taken of.
    """
    kind = rng.random()
    x: Any = image
    if rng.random() < INFRARED:
        x = infrared(rng, x, 1 if kind < 0.35 else 3)
    if kind < 0.35:
        x = single_band(rng, x)
    elif kind < 0.6:
        mix = np.eye(3) * rng.uniform(0.4, 1.0) + rng.dirichlet([1.0] * 3, 3) * rng.uniform(0, 0.6)
        x = np.clip(x @ (mix / mix.sum(0)).astype(np.float32), 0, 1)
    elif kind < 0.75:
        x = x[..., rng.permutation(3)]
    if kind > 0.5 or rng.random() < 0.6:
        pixels = x[there]
        if len(pixels) > ENOUGH:
            low, high = np.percentile(pixels, [rng.uniform(0.2, 3), rng.uniform(97, 99.8)], axis=0)
            x = np.clip((x - low) / np.maximum(high - low, 0.08), 0, 1)
    return np.ascontiguousarray(x, np.float32)


def single_band(rng: np.random.Generator, image: Float) -> Float:
    """All bands as one of any spectral response, which is shown for each of three."""
    weights = rng.dirichlet([1.0, 1.0, 1.0]).astype(np.float32)
    return np.repeat((image @ weights)[..., None], 3, 2)


def infrared(rng: np.random.Generator, image: Float, bands: int) -> Float:
    """As bands see that reach into the near infrared: what is green is bright there."""
    gain = rng.uniform(0, 3, bands).astype(np.float32)
    return np.asarray(np.clip(image + excess_green(image) * gain, 0, 1), np.float32)


def excess_green(image: Float) -> Float:
    """(h, w, 1) how much greener than red and blue a pixel of (h, w, 3) is, 0 where it is not.

    Woebbecke et al., 1995; what grows reflects the near infrared about as far.
    """
    return np.asarray(np.maximum(2 * image[..., 1:2] - image[..., :1] - image[..., 2:], 0))


def style_of(image: NDArray[np.uint8], known: NDArray[np.bool_] | None = None) -> Float:
    """Mean and spread of each colour, 0..255.

    Args:
        image: uint8 (h, w, 3).
        known: bool (h, w), the pixels that count; None: all.

    Returns:
        float32 (2, 3).
    """
    every = np.s_[:: max(1, image.shape[0] // 128), :: max(1, image.shape[1] // 128)]
    flat = image[every].reshape(-1, 3).astype(np.float32)
    if known is not None and np.count_nonzero(known[every]) > ENOUGH:
        flat = flat[known[every].ravel()]
    return np.stack([flat.mean(0), flat.std(0)])


def some_of(count: int, most: int = STYLES_A_SOURCE) -> Sequence[int]:
    """At most `most` of the indices 0 .. count - 1, evenly spread."""
    return [int(k) for k in np.unique(np.linspace(0, count - 1, min(count, most)).round())]


def restyle(
    rng: np.random.Generator, image: NDArray[np.uint8], valid: NDArray[np.bool_], styles: Float
) -> NDArray[np.uint8]:
    """Colour statistics of another picture (Reinhard et al., 2001), part of the way.

    Args:
        rng: where the style and the way are drawn from.
        image: uint8 (h, w, 3).
        valid: bool (h, w), the pixels that count.
        styles: float32 (n, 2, 3), see `style_of`.
    """
    mean, spread = styles[rng.integers(len(styles))]
    t = np.float32(rng.uniform(0.4, 1.0))
    own = image[valid].astype(np.float32)
    if len(own) < ENOUGH:
        return image
    new = (image - own.mean(0)) / (own.std(0) + 8) * np.maximum(spread, 15) + mean
    return np.asarray(np.clip(image * (1 - t) + new * t, 0, 255)).astype(np.uint8)
