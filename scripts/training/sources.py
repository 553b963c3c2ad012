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


def read_chips(path):
    """Rendered chips as pictures, and their masks by name."""
    data = np.load(path)
    count = len(data.files) // 3
    pictures = [Picture(data[f"rgb{k}"], data[f"boxes{k}"], name=f"chip{k}") for k in range(count)]
    return pictures, {f"chip{k}": data[f"ids{k}"] for k in range(count)}


@dataclass
class Cutout:
    """An aircraft to paste: uint8 `rgb` (h, w, 3), `solid` its silhouette and `paste` the share of
    each pixel that is pasted, both uint8 (h, w). A photograph brings its own ground and shadow.
    """

    rgb: np.ndarray
    solid: np.ndarray
    paste: np.ndarray
    photograph: bool


def read_cutouts(root: Path) -> list[Cutout]:
    """Aircraft with the background removed, and the photographs that they were cut from."""
    out = []
    for path in sorted((root / "aircraft/cutouts/no-background").glob("*/*.webp")):
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if image is None or image.ndim != 3 or image.shape[2] != 4:
            continue
        image = cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA)
        out.append(Cutout(image[..., :3], image[..., 3], image[..., 3], False))
        whole = Path(str(path).replace("no-background", "with-background"))
        photo = registered(image, read_rgb(whole)) if whole.exists() else None
        if photo is not None:
            out.append(photo)
    return out


def registered(cutout, photo, side=160, least=0.94) -> Cutout | None:
    """The photograph with the silhouette laid where its cut-out matches; None where it does not."""
    photo = cv2.resize(
        photo,
        None,
        fx=side / max(photo.shape[:2]),
        fy=side / max(photo.shape[:2]),
        interpolation=cv2.INTER_AREA,
    )
    best, found = least, None
    for share in np.linspace(0.6, 1.0, 33):
        scale = share * side / max(cutout.shape[:2])
        small = cv2.resize(cutout, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        if small.shape[0] > photo.shape[0] or small.shape[1] > photo.shape[1]:
            continue
        seen = np.repeat((small[..., 3:] > 127).astype(np.float32), 3, 2)
        fit = cv2.matchTemplate(
            photo.astype(np.float32),
            small[..., :3].astype(np.float32),
            cv2.TM_CCOEFF_NORMED,
            mask=seen,
        )
        fit[~np.isfinite(fit)] = -1
        if fit.max() > best:
            best, found = fit.max(), (small[..., 3], *np.unravel_index(fit.argmax(), fit.shape))
    if found is None:
        return None
    alpha, y, x = found
    solid = np.zeros(photo.shape[:2], np.uint8)
    solid[y : y + alpha.shape[0], x : x + alpha.shape[1]] = alpha
    paste = np.zeros_like(solid)
    paste[4:-4, 4:-4] = 255
    paste = np.maximum(cv2.blur(paste, (7, 7)), solid)
    return Cutout(photo, solid, paste, True)


class Compositor:
    """Cut-out aircraft pasted, turned and shadowed, on images without any: masks are exact."""

    def __init__(self, root: Path, backgrounds: list[Picture]):
        self.cutouts = read_cutouts(root)
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
        mask, taken = np.zeros((size, size), np.int32), np.zeros((size, size), bool)
        boxes = []
        base = np.exp(rng.uniform(np.log(12), np.log(130)))
        sun = Sun(rng.uniform(0, 2 * np.pi), rng.uniform(0.03, 0.2), rng.uniform(0.3, 0.75))
        dark = rng.random() < 0.35
        for _ in range(int(rng.integers(1, 10))):
            cut = self._turned(rng, base * np.exp(rng.normal(0, 0.2)))
            if cut is None or max(cut.solid.shape) >= size:
                continue
            h, w = cut.solid.shape
            py, px = int(rng.integers(0, size - h)), int(rng.integers(0, size - w))
            place = np.s_[py : py + h, px : px + w]
            if (taken[place] & (cut.paste > 80)).any():
                continue
            solid, alpha = cut.solid > 127, cut.paste[..., None].astype(np.float32) / 255
            if solid.sum() < 20:
                continue
            gain = rng.uniform(0.3, 0.7) if dark and not cut.photograph else rng.uniform(0.75, 1.3)
            if not cut.photograph:
                rgb = _shadow(rgb, alpha[..., 0], py, px, sun)
            tone = cut.rgb.astype(np.float32) * gain + rng.uniform(-15, 25)
            rgb[place] = rgb[place] * (1 - alpha) + np.clip(tone, 0, 255) * alpha
            taken[place] |= cut.paste > 80
            mask[place][solid] = len(boxes) + 1
            ys, xs = np.nonzero(solid)
            boxes.append([px + xs.min(), py + ys.min(), px + xs.max() + 1, py + ys.max() + 1])
        return Picture(
            np.clip(rgb, 0, 255).astype(np.uint8), np.array(boxes, np.float32).reshape(-1, 4), mask
        )

    def _turned(self, rng, target) -> Cutout | None:
        """A random cut-out at a random angle, its aircraft about `target` pixels long."""
        cut = self.cutouts[rng.integers(len(self.cutouts))]
        h, w = cut.solid.shape
        ys, xs = np.nonzero(cut.solid > 127)
        scale = target / max(np.ptp(ys), np.ptp(xs), 1)
        side = int(np.ceil(np.hypot(h, w) * scale)) + 2
        m = cv2.getRotationMatrix2D((w / 2, h / 2), rng.uniform(0, 360), scale)
        m[:, 2] += side / 2 - np.array([w / 2, h / 2])

        def turned(image):
            if scale < 0.5:
                image = cv2.GaussianBlur(image, (0, 0), 0.4 / scale)
            return cv2.warpAffine(image, m, (side, side), flags=cv2.INTER_LINEAR)

        rgb, solid, paste = turned(cut.rgb), turned(cut.solid), turned(cut.paste)
        ys, xs = np.nonzero(paste > 60)
        if len(ys) < 20:
            return None
        box = np.s_[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
        return Cutout(rgb[box], solid[box], paste[box], cut.photograph)


@dataclass
class Sun:
    """Where shadows fall (radians), how far (share of the object) and how dark they are."""

    angle: float
    reach: float
    dark: float


def _shadow(rgb, alpha, py, px, sun: Sun):
    """Darken the ground behind the object, away from the sun."""
    size = rgb.shape[0]
    h, w = alpha.shape
    d = sun.reach * max(h, w)
    dy, dx = round(np.sin(sun.angle) * d), round(np.cos(sun.angle) * d)
    y0, x0 = max(0, py + dy), max(0, px + dx)
    y1, x1 = min(size, py + dy + h), min(size, px + dx + w)
    if y1 > y0 and x1 > x0:
        part = alpha[y0 - py - dy : y1 - py - dy, x0 - px - dx : x1 - px - dx, None]
        rgb[y0:y1, x0:x1] *= 1 - sun.dark * part
    return rgb
