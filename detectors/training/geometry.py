"""Random views of pictures: one affine map for pixels, masks and boxes alike."""

from __future__ import annotations

from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Pixels = TypeVar("Pixels", bound=np.generic)


def view_matrix(
    rng: np.random.Generator,
    size: int,
    scale: float,
    centre: tuple[float, float],
    free: bool = False,
) -> Matrix:
    """Random turn and mirroring about a point that comes to lie in the middle of the view.

    Args:
        rng: where the turn is drawn from.
        size: side of the square view, pixels.
        scale: view pixels a source pixel.
        centre: x, y in the source, on pixel corners.
        free: any angle; otherwise quarter turns, which keep boxes tight.

    Returns:
        float64 (2, 3): source x, y, 1 -> view x, y.
    """
    angle = rng.uniform(0, 2 * np.pi) if free else rng.integers(4) * np.pi / 2
    c, s = np.cos(angle), np.sin(angle)
    if not free:
        c, s = round(c), round(s)
    flip = rng.choice([-1.0, 1.0])
    linear = scale * np.array([[c, -s], [s, c]]) @ np.array([[flip, 0], [0, 1.0]])
    shift = size / 2 - linear @ np.asarray(centre, float)
    return np.hstack([linear, shift[:, None]])


def random_centre(
    rng: np.random.Generator, width: int, height: int, half: float
) -> tuple[float, float]:
    """A centre that keeps most of a view of 2 x `half` source pixels on the picture."""
    return _inside(rng, half, width), _inside(rng, half, height)


def _inside(rng: np.random.Generator, half: float, length: int) -> float:
    low, high = min(half, length / 2), max(length - half, length / 2)
    return float(rng.uniform(low - half * 0.15, high + half * 0.15))


def centre_near(
    rng: np.random.Generator, box: NDArray[np.float32], width: int, height: int, half: float
) -> tuple[float, float]:
    """A centre that shows `box`, somewhere in the view."""
    limit = np.array([width, height], float)
    near = np.minimum(0.85 * half, limit / 2)
    x, y = ((box[:2] + box[2:]) / 2 + rng.uniform(-half, half, 2) * 0.9).clip(near, limit - near)
    return float(x), float(y)


def warp(
    image: NDArray[Pixels],
    matrix: Matrix,
    size: int,
    scale: float,
    fill: int = 0,
    nearest: bool = False,
) -> NDArray[Pixels]:
    """The view of an array under `matrix`; shrinking is blurred first against aliasing.

    Args:
        image: (h, w) or (h, w, channels), a type that OpenCV warps.
        matrix: float64 (2, 3), see `view_matrix`.
        size: side of the view, pixels.
        scale: of the matrix; says whether to blur.
        fill: value outside the picture.
        nearest: for labels: no values but those of the array.

    Returns:
        (size, size[, channels]) of the same type.
    """
    flags = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    source: Any = image
    if not nearest and scale < 0.8:
        source = cv2.GaussianBlur(source, (0, 0), 0.45 / scale)
    # OpenCV puts integers on pixel centres, we on pixel corners.
    moved = matrix.copy()
    moved[:, 2] += moved[:, :2] @ [0.5, 0.5] - 0.5
    out: Any = cv2.warpAffine(
        source,
        moved,
        (size, size),
        flags=flags,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(fill, fill, fill, fill),
    )
    return np.asarray(out, image.dtype)


def warp_flags(
    flags: NDArray[np.bool_], matrix: Matrix, size: int, scale: float
) -> NDArray[np.bool_]:
    """The view of a bool (h, w) array, nearest pixel; False outside."""
    moved: NDArray[np.uint8] = warp(flags.astype(np.uint8), matrix, size, scale, nearest=True)
    return moved > 0


def warp_boxes(boxes: NDArray[np.float32], matrix: Matrix) -> NDArray[np.float32]:
    """Axis-aligned boxes (n, 4) of the moved ellipses that fill the boxes.

    At quarter turns that is the moved box itself; at other angles the box of the moved corners
    would grow far beyond the object.
    """
    if len(boxes) == 0:
        return np.zeros((0, 4), np.float32)
    given = np.asarray(boxes, float)
    centre = (given[:, :2] + given[:, 2:]) / 2 @ matrix[:, :2].T + matrix[:, 2]
    half = np.sqrt(((given[:, 2:] - given[:, :2]) / 2) ** 2 @ (matrix[:, :2].T ** 2))
    return np.concatenate([centre - half, centre + half], 1).astype(np.float32)


def cut_boxes(
    boxes: NDArray[np.float32], width: int, height: int
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Boxes (n, 4) clipped to a window from 0, 0, and the share of each that is left (n,)."""
    limit = np.array([width, height, width, height], np.float32)
    cut = boxes.clip(0, limit)
    whole = (boxes[:, 2:] - boxes[:, :2]).prod(1).astype(float)
    return cut, (cut[:, 2:] - cut[:, :2]).prod(1) / whole.clip(1e-6)
