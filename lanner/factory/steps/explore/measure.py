"""What one image is like: brightness, contrast, sharpness, and two hashes of its content."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

THUMB = 32
"""Side in pixels of the grey thumbnail that hashes and comparisons are made on."""
_LARGEST = 2048
_SIDE = 8


@dataclass(frozen=True)
class Facts:
    """Measured on one image.

    `brightness` and `contrast` are mean and standard deviation of the grey values (0..255),
    `sharpness` the variance of their Laplacian. `content` is the SHA-256 of the pixels, so that
    a lossless copy in another format is the same image. `phash` is a 64-bit perceptual hash and
    `thumb` (THUMB * THUMB,) float32 the thumbnail, of mean 0 and length 1; all 0 where flat.
    """

    brightness: float
    contrast: float
    sharpness: float
    content: str
    phash: int
    thumb: Floats


def measure(rgb: Pixels) -> Facts:
    """Measure one image.

    Sharpness is that of stored pixels (Pech-Pacheco et al., 2000, "Diatom autofocusing in
    brightfield microscopy"), of the middle of images over 2048 pixels.

    Args:
        rgb: (h, w, 3) uint8.
    """
    h, w = rgb.shape[:2]
    top, left = max(0, (h - _LARGEST) // 2), max(0, (w - _LARGEST) // 2)
    grey = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY)
    middle = grey[top : top + _LARGEST, left : left + _LARGEST]
    edges = cv2.Laplacian(middle, cv2.CV_32F)
    small = thumbnail(np.asarray(grey, np.uint8))
    return Facts(
        float(grey.mean()),
        float(grey.std()),
        float(edges.var()),
        content_hash(rgb),
        perceptual_hash(small),
        _unit(small),
    )


def content_hash(rgb: Pixels) -> str:
    """SHA-256 of size and pixels, hexadecimal."""
    digest = hashlib.sha256(repr(rgb.shape).encode())
    digest.update(np.ascontiguousarray(rgb).data)
    return digest.hexdigest()


def thumbnail(grey: Pixels) -> Floats:
    """(h, w) uint8 to (THUMB, THUMB) float32, averaged over whole areas."""
    small = cv2.resize(grey.astype(np.float32), (THUMB, THUMB), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def perceptual_hash(small: Floats) -> int:
    """A 64-bit perceptual hash: which low frequencies lie above their median.

    The discrete cosine transform hash of Zauner, 2010, "Implementation and benchmarking of
    perceptual image hash functions": it hardly changes when an image is encoded again, made
    lighter or scaled, and is quite another for turned or mirrored images.

    Args:
        small: (THUMB, THUMB) float32 thumbnail.
    """
    waves = cv2.dct(small)
    # Row and column 0 are the mean and its like; 64 of the frequencies behind them are kept.
    low = np.asarray(waves[1 : _SIDE + 1, 1 : _SIDE + 1]).ravel()
    bits = low > np.median(low)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _unit(small: Floats) -> Floats:
    flat = (small - small.mean()).ravel()
    length = float(np.linalg.norm(flat))
    # A standard deviation under one grey level is noise: nothing to compare.
    return flat / length if length > THUMB else np.zeros_like(flat)
