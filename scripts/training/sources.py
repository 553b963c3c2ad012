"""Where training pictures come from: labelled images, composites, rendered chips, negatives."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

HOLDOUT_EVERY = 5
"""Every fifth HRPlanes validation image stays out of training, for calibration."""


@dataclass
class Picture:
    """One image with its boxes and, where known, the mask of each object."""

    rgb: np.ndarray
    boxes: np.ndarray
    mask: np.ndarray | None = None
    name: str = ""


def read_rgb(path):
    """uint8 (h, w, 3) RGB."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise FileNotFoundError(path)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def read_coco(root: Path, split: str) -> list[Picture]:
    """A COCO split as pictures with x0, y0, x1, y1 boxes."""
    data = json.loads((root / f"{split}.json").read_text())
    boxes: dict[int, list] = {image["id"]: [] for image in data["images"]}
    for a in data["annotations"]:
        x, y, w, h = a["bbox"]
        if w > 2 and h > 2:
            boxes[a["image_id"]].append([x, y, x + w, y + h])
    return [
        Picture(
            read_rgb(root / image["file_name"]),
            np.array(boxes[image["id"]], np.float32).reshape(-1, 4),
            name=image["file_name"],
        )
        for image in data["images"]
    ]


def hrplanes(root: Path):
    """(training, calibration) pictures of HRPlanes."""
    base = root / "aircraft/hrplanes"
    valid = read_coco(base, "valid")
    held = valid[::HOLDOUT_EVERY]
    rest = [p for i, p in enumerate(valid) if i % HOLDOUT_EVERY]
    return read_coco(base, "train") + rest, held


def aerial(root: Path):
    """Training pictures of Aerial Airport."""
    base = root / "aircraft/aerial-airport"
    return read_coco(base, "train") + read_coco(base, "valid")


def negatives(root: Path, per_class=25):
    """Pictures without aircraft: empty airbases (about 1 m) and scene classes (0.3 m)."""
    out = [read_rgb(p) for p in sorted((root / "aircraft/empty-airbases").glob("*.webp"))]
    for folder in sorted((root / "scenes-by-class/ucmerced").iterdir()):
        if folder.name not in {"airplane"}:
            out += [read_rgb(p) for p in sorted(folder.glob("*.webp"))[:per_class]]
    return [Picture(rgb, np.zeros((0, 4), np.float32)) for rgb in out]


class Compositor:
    """Cut-out aircraft pasted, turned and shadowed, on images without any: masks are exact."""

    def __init__(self, root: Path, backgrounds: list[Picture]):
        files = sorted((root / "aircraft/cutouts/no-background").glob("*/*.webp"))
        self.cutouts = [
            cv2.cvtColor(im, cv2.COLOR_BGRA2RGBA)
            for f in files
            if (im := cv2.imread(str(f), cv2.IMREAD_UNCHANGED)) is not None
            and im.ndim == 3
            and im.shape[2] == 4
        ]
        self.backgrounds = backgrounds

    def chip(self, rng, size: int) -> Picture:
        """A `size` square with 1 to 9 aircraft of 10 to 110 px; `mask` numbers them from 1."""
        bg = self.backgrounds[rng.integers(len(self.backgrounds))].rgb
        scale = max(size / min(bg.shape[:2]), rng.uniform(0.5, 1.2))
        rgb = cv2.resize(
            bg,
            None,
            fx=scale,
            fy=scale,
            interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR,
        )
        y, x = (int(rng.integers(0, rgb.shape[i] - size + 1)) for i in (0, 1))
        rgb = rgb[y : y + size, x : x + size].astype(np.float32)
        mask = np.zeros((size, size), np.int32)
        boxes = []
        base = np.exp(rng.uniform(np.log(12), np.log(80)))
        sun = rng.uniform(0, 2 * np.pi)
        for _ in range(int(rng.integers(1, 10))):
            patch = self._turned(rng, base * np.exp(rng.normal(0, 0.2)))
            if patch is None or max(patch.shape[:2]) >= size:
                continue
            h, w = patch.shape[:2]
            py, px = int(rng.integers(0, size - h)), int(rng.integers(0, size - w))
            alpha = patch[..., 3:].astype(np.float32) / 255
            if (mask[py : py + h, px : px + w][alpha[..., 0] > 0.3] > 0).any():
                continue
            rgb = _shadow(rgb, alpha[..., 0], py, px, sun, max(h, w))
            tone = patch[..., :3].astype(np.float32) * rng.uniform(0.75, 1.3) + rng.uniform(-15, 25)
            region = rgb[py : py + h, px : px + w]
            rgb[py : py + h, px : px + w] = region * (1 - alpha) + np.clip(tone, 0, 255) * alpha
            solid = alpha[..., 0] > 0.5
            if solid.sum() < 20:
                continue
            mask[py : py + h, px : px + w][solid] = len(boxes) + 1
            ys, xs = np.nonzero(solid)
            boxes.append([px + xs.min(), py + ys.min(), px + xs.max() + 1, py + ys.max() + 1])
        return Picture(
            np.clip(rgb, 0, 255).astype(np.uint8), np.array(boxes, np.float32).reshape(-1, 4), mask
        )

    def _turned(self, rng, target):
        cut = self.cutouts[rng.integers(len(self.cutouts))]
        h, w = cut.shape[:2]
        scale = target / max(h, w)
        if scale < 0.5:
            cut = cv2.GaussianBlur(cut, (0, 0), 0.4 / scale)
        side = int(np.ceil(np.hypot(h, w) * scale)) + 2
        m = cv2.getRotationMatrix2D((w / 2, h / 2), rng.uniform(0, 360), scale)
        m[:, 2] += side / 2 - np.array([w / 2, h / 2])
        out = cv2.warpAffine(cut, m, (side, side), flags=cv2.INTER_LINEAR)
        ys, xs = np.nonzero(out[..., 3] > 60)
        if len(ys) < 20:
            return None
        return out[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]


def _shadow(rgb, alpha, py, px, sun, extent):
    """Darken the ground behind the object, away from the sun."""
    size = rgb.shape[0]
    d = 0.06 * extent
    dy, dx = round(np.sin(sun) * d), round(np.cos(sun) * d)
    h, w = alpha.shape
    y0, x0 = max(0, py + dy), max(0, px + dx)
    y1, x1 = min(size, py + dy + h), min(size, px + dx + w)
    if y1 > y0 and x1 > x0:
        part = alpha[y0 - py - dy : y1 - py - dy, x0 - px - dx : x1 - px - dx, None]
        rgb[y0:y1, x0:x1] *= 1 - 0.5 * part
    return rgb
