"""Cut-out objects pasted, turned and shadowed, on images without any: masks are exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lanner.core.errors import DatasetError
from lanner.factory.images import read_rgb

Pixels = NDArray[np.uint8]
Floats = NDArray[Any]
Rng = np.random.Generator


@dataclass(frozen=True)
class Cutout:
    """An object to paste.

    `rgb` (h, w, 3), `solid` (h, w) its silhouette and `paste` (h, w) the share of each pixel that
    is pasted, all uint8. A photograph brings its own ground and shadow. `kind` is its type.
    """

    rgb: Pixels
    solid: Pixels
    paste: Pixels
    photograph: bool
    kind: str


@dataclass(frozen=True)
class Sun:
    """Where shadows fall (radians), how far (share of the object) and how dark they are."""

    angle: float
    reach: float
    dark: float


@dataclass(frozen=True)
class Composite:
    """`rgb` (s, s, 3) uint8; `ids` (s, s) int32 numbers objects from 1; one box and kind each."""

    rgb: Pixels
    ids: NDArray[np.int32]
    boxes: tuple[tuple[int, int, int, int], ...]
    kinds: tuple[str, ...]


def read_cutouts(cut: Sequence[Path], whole: Path | None, top: Path) -> list[Cutout]:
    """Objects with the background removed, and the photographs that they were cut from.

    Args:
        cut: images with alpha, in order; the folder's name is the kind.
        whole: folder of the photographs, under the same relative paths; None for none.
        top: folder that the paths of `cut` are relative to.

    Raises:
        DatasetError: none of them has an alpha band.
    """
    out = []
    for path in cut:
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if image is None or image.ndim != 3 or image.shape[2] != 4:
            continue
        rgba = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA), np.uint8)
        if not (rgba[..., 3] > 127).any():
            continue
        kind = path.parent.name
        out.append(Cutout(rgba[..., :3], rgba[..., 3], rgba[..., 3], False, kind))
        photograph = None if whole is None else whole / path.relative_to(top)
        if photograph is not None and photograph.is_file():
            found = registered(rgba, read_rgb(photograph), kind)
            out += [] if found is None else [found]
    if not out:
        raise DatasetError(
            "process.composites.cutouts", top, "holds no image with alpha", "correct the folder"
        )
    return out


def registered(
    cutout: Pixels, photo: Pixels, kind: str = "", side: int = 160, least: float = 0.94
) -> Cutout | None:
    """The photograph with the silhouette laid where its cut-out matches; None where it does not.

    Args:
        cutout: (h, w, 4) uint8 RGBA.
        photo: (h, w, 3) uint8, perhaps of another scale.
        kind: type of the object.
        side: longest side in pixels at which they are compared and kept.
        least: normalised correlation that counts as a match.
    """
    shrink = side / max(photo.shape[:2])
    small_photo = cv2.resize(photo, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    best, found = least, None
    for share in np.linspace(0.6, 1.0, 33):
        scale = float(share) * side / max(cutout.shape[:2])
        small = cv2.resize(cutout, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        if small.shape[0] > small_photo.shape[0] or small.shape[1] > small_photo.shape[1]:
            continue
        opaque = np.repeat((small[..., 3:] > 127).astype(np.float32), 3, 2)
        fit = np.asarray(
            cv2.matchTemplate(
                small_photo.astype(np.float32),
                np.ascontiguousarray(small[..., :3], np.float32),
                cv2.TM_CCOEFF_NORMED,
                mask=opaque,
            )
        )
        fit = np.where(np.isfinite(fit), fit, -1)
        if fit.max() > best:
            top, left = divmod(int(fit.argmax()), fit.shape[1])
            best, found = float(fit.max()), (np.asarray(small[..., 3]), top, left)
    if found is None:
        return None
    alpha, y, x = found
    solid = np.zeros(small_photo.shape[:2], np.uint8)
    solid[y : y + alpha.shape[0], x : x + alpha.shape[1]] = alpha
    paste = np.zeros_like(solid)
    paste[4:-4, 4:-4] = 255
    paste = np.maximum(cv2.blur(paste, (7, 7)), solid)
    return Cutout(np.asarray(small_photo, np.uint8), solid, paste.astype(np.uint8), True, kind)


def composite(
    rng: Rng, cutouts: Sequence[Cutout], background: Pixels, size: int, most: int,
    sides: tuple[float, float],
) -> Composite:  # fmt: skip
    """A square with one to `most` objects of like size.

    Args:
        rng: source of everything random; equal states give equal pictures.
        cutouts: to choose from.
        background: (h, w, 3) uint8 without objects.
        size: side in pixels.
        most: objects tried.
        sides: least and greatest length of objects in pixels (log-uniform).
    """
    rgb = _ground(rng, background, size)
    ids, taken = np.zeros((size, size), np.int32), np.zeros((size, size), bool)
    boxes: list[tuple[int, int, int, int]] = []
    kinds: list[str] = []
    base = float(np.exp(rng.uniform(*np.log(sides))))
    sun = Sun(
        float(rng.uniform(0, 2 * np.pi)),
        float(rng.uniform(0.03, 0.2)),
        float(rng.uniform(0.3, 0.75)),
    )
    dark = rng.random() < 0.25
    for _ in range(int(rng.integers(1, most + 1))):
        cut = turned(
            rng, cutouts[int(rng.integers(len(cutouts)))], base * float(np.exp(rng.normal(0, 0.2)))
        )
        if cut is None or max(cut.solid.shape) >= size:
            continue
        h, w = cut.solid.shape
        py, px = int(rng.integers(0, size - h)), int(rng.integers(0, size - w))
        place = np.s_[py : py + h, px : px + w]
        solid = cut.solid > 127
        if (taken[place] & (cut.paste > 80)).any() or solid.sum() < 20:
            continue
        alpha = cut.paste[..., None].astype(np.float32) / 255
        dimmed = dark and not cut.photograph
        gain = rng.uniform(0.3, 0.7) if dimmed else rng.uniform(0.75, 1.3)
        if not cut.photograph:
            _shadow(rgb, alpha[..., 0], (py, px), sun)
        tone = cut.rgb.astype(np.float32) * gain + rng.uniform(-15, 25)
        rgb[place] = rgb[place] * (1 - alpha) + np.clip(tone, 0, 255) * alpha
        taken[place] |= cut.paste > 80
        ids[place][solid] = len(boxes) + 1
        ys, xs = np.nonzero(solid)
        boxes.append(
            (int(px + xs.min()), int(py + ys.min()), int(px + xs.max() + 1), int(py + ys.max() + 1))
        )
        kinds.append(cut.kind)
    return Composite(np.clip(rgb, 0, 255).astype(np.uint8), ids, tuple(boxes), tuple(kinds))


def turned(rng: Rng, cut: Cutout, target: float) -> Cutout | None:
    """A cut-out at a random angle, its object about `target` pixels long; None when too small."""
    h, w = cut.solid.shape
    ys, xs = np.nonzero(cut.solid > 127)
    scale = target / max(float(np.ptp(ys)), float(np.ptp(xs)), 1.0)
    side = int(np.ceil(np.hypot(h, w) * scale)) + 2
    turn = cv2.getRotationMatrix2D((w / 2, h / 2), float(rng.uniform(0, 360)), scale)
    m: Floats = np.array(turn, np.float64)
    m[:, 2] += side / 2 - np.array([w / 2, h / 2])

    def warped(image: Pixels) -> Pixels:
        soft = cv2.GaussianBlur(image, (0, 0), 0.4 / scale) if scale < 0.5 else image
        return np.asarray(cv2.warpAffine(soft, m, (side, side), flags=cv2.INTER_LINEAR), np.uint8)

    rgb, solid, paste = warped(cut.rgb), warped(cut.solid), warped(cut.paste)
    ys, xs = np.nonzero(paste > 60)
    if len(ys) < 20:
        return None
    box = np.s_[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    return Cutout(rgb[box], solid[box], paste[box], cut.photograph, cut.kind)


def _ground(rng: Rng, background: Pixels, size: int) -> Floats:
    scale = max(size / min(background.shape[:2]), float(rng.uniform(0.5, 1.2)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    high, wide = (max(size, round(n * scale)) for n in background.shape[:2])
    rgb = cv2.resize(background, (wide, high), interpolation=how)
    y, x = (int(rng.integers(0, rgb.shape[i] - size + 1)) for i in (0, 1))
    return np.asarray(rgb[y : y + size, x : x + size], np.float32)


def _shadow(rgb: Floats, alpha: Floats, corner: tuple[int, int], sun: Sun) -> None:
    """Darken the ground behind the object, away from the sun, in place."""
    size, (h, w) = rgb.shape[0], alpha.shape
    d = sun.reach * max(h, w)
    py, px = corner[0] + round(np.sin(sun.angle) * d), corner[1] + round(np.cos(sun.angle) * d)
    y0, x0, y1, x1 = max(0, py), max(0, px), min(size, py + h), min(size, px + w)
    if y1 > y0 and x1 > x0:
        part = alpha[y0 - py : y1 - py, x0 - px : x1 - px, None]
        rgb[y0:y1, x0:x1] *= 1 - sun.dark * part
