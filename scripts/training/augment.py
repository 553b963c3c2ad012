"""Random views of labelled images: one affine warp, then colour and sensor changes."""

from __future__ import annotations

import cv2
import numpy as np

cv2.setNumThreads(1)


def view_matrix(rng, shape, size, scale, centre=None, free_rotation=False):
    """2x3 matrix that maps source pixels into a `size` x `size` view.

    Quarter turns and mirrors keep boxes tight; `free_rotation` is for masks.
    """
    h, w = shape[:2]
    if centre is None:
        half = size / (2 * scale)
        centre = [_inside(rng, half, w), _inside(rng, half, h)]
    angle = rng.uniform(0, 2 * np.pi) if free_rotation else rng.integers(4) * np.pi / 2
    c, s = np.cos(angle), np.sin(angle)
    flip = rng.choice([-1.0, 1.0])
    linear = scale * np.array([[c, -s], [s, c]]) @ np.array([[flip, 0], [0, 1.0]])
    shift = size / 2 - linear @ np.asarray(centre, float)
    return np.hstack([linear, shift[:, None]])


def _inside(rng, half, length):
    """A centre that keeps most of the view on the image."""
    lo, hi = min(half, length / 2), max(length - half, length / 2)
    return rng.uniform(lo - half * 0.15, hi + half * 0.15)


def warp(image, matrix, size, scale, fill=0, nearest=False):
    """The view of an array under `matrix`; shrinking is blurred first against aliasing."""
    if nearest:
        flags = cv2.INTER_NEAREST
    else:
        flags = cv2.INTER_LINEAR
        if scale < 0.8:
            image = cv2.GaussianBlur(image, (0, 0), 0.45 / scale)
    # cv2 puts integers on pixel centres, we on pixel corners.
    m = matrix.copy()
    m[:, 2] += m[:, :2] @ [0.5, 0.5] - 0.5
    return cv2.warpAffine(
        image, m, (size, size), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=fill
    )


def warp_boxes(boxes, matrix):
    """Axis-aligned boxes (n, 4) of the warped corners."""
    if len(boxes) == 0:
        return np.zeros((0, 4), np.float32)
    x0, y0, x1, y1 = np.asarray(boxes, float).T
    corners = np.stack(
        [
            np.stack([x0, y0], 1),
            np.stack([x1, y0], 1),
            np.stack([x1, y1], 1),
            np.stack([x0, y1], 1),
        ],
        1,
    )
    moved = corners @ matrix[:, :2].T + matrix[:, 2]
    return np.concatenate([moved.min(1), moved.max(1)], 1).astype(np.float32)


def recolour(rng, image, strength=1.0):
    """Another sensor, sun and haze: uint8 (h, w, 3) -> float32 0..1."""
    x = image.astype(np.float32) / 255
    if rng.random() < 0.15:
        lo, hi = np.percentile(x, [rng.uniform(0, 3), rng.uniform(97, 100)])
        x = (x - lo) / max(hi - lo, 0.1)
    if rng.random() < 0.15:
        x = np.repeat((x @ np.float32([0.3, 0.59, 0.11]))[..., None], 3, 2)
    elif rng.random() < 0.6:
        grey = x.mean(2, keepdims=True)
        x = grey + (x - grey) * rng.uniform(1 - 0.7 * strength, 1 + 0.6 * strength)
    if rng.random() < 0.6:
        x = x * rng.uniform(1 - 0.15 * strength, 1 + 0.15 * strength, 3).astype(np.float32)
        x = x + rng.uniform(-0.06 * strength, 0.06 * strength, 3).astype(np.float32)
    if rng.random() < 0.8:
        mean = x.mean()
        x = (x - mean) * rng.uniform(1 - 0.4 * strength, 1 + 0.45 * strength) + mean
        x = x + rng.uniform(-0.18, 0.18) * strength
    x = np.clip(x, 0, 1)
    if rng.random() < 0.5:
        x = x ** np.exp(rng.uniform(-0.5, 0.5) * strength)
    kind = rng.random()
    if kind < 0.2:
        x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.4, 0.6 + 0.8 * strength))
    elif kind < 0.4:
        soft = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.8, 1.6))
        x = x + rng.uniform(0.3, 1.2) * (x - soft)
    if rng.random() < 0.3:
        x = x + rng.normal(0, rng.uniform(0.005, 0.035), x.shape).astype(np.float32)
    x = np.clip(x, 0, 1)
    if rng.random() < 0.2:
        quality = int(rng.integers(35, 90))
        _, code = cv2.imencode(
            ".jpg", (x * 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality]
        )
        x = cv2.imdecode(code, cv2.IMREAD_COLOR).astype(np.float32) / 255
    return np.ascontiguousarray(x, np.float32)
