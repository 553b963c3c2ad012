"""Roads training set: random views with mask, centreline and validity; loss for both channels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from skimage.morphology import skeletonize
from torch.utils.data import IterableDataset

from training.augment import recolour, view_matrix, warp
from training.sources import read_rgb


def read_massachusetts(root: Path, split: str):
    """[(rgb, road bool, valid bool, name)]: pure white is no image."""
    base = root / "roads/massachusetts" / split
    out = []
    for path in sorted((base / "images").iterdir()):
        rgb = read_rgb(path)
        mask = (
            cv2.imread(str(next((base / "masks").glob(path.stem + ".*"))), cv2.IMREAD_GRAYSCALE) > 0
        )
        white = (rgb > 250).all(2).astype(np.uint8)
        # Only large white areas are missing image; bright roofs are not.
        count, labels, stats, _ = cv2.connectedComponentsWithStats(white)
        large = np.isin(labels, [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] > 2000])
        valid = ~cv2.dilate(large.astype(np.uint8), np.ones((9, 9))).astype(bool)
        out.append((rgb, mask, valid, path.stem))
    return out


def read_road_chips(path: Path):
    """The same of rendered chips; tracks count as missing."""
    data = np.load(path)
    count = len(data.files) // 3
    return [
        (data[f"rgb{k}"], data[f"road{k}"], data[f"judged{k}"], f"chip{k}") for k in range(count)
    ]


ROADLESS = ("agricultural", "baseballdiamond", "beach", "chaparral", "forest", "golfcourse")
ROADLESS += ("harbor", "river", "storagetanks", "tenniscourt")


def read_roadless(root: Path, per_class=30):
    """The same of scene classes in which hardly a road is to be seen."""
    out = []
    for name in ROADLESS:
        for path in sorted((root / "scenes-by-class/ucmerced" / name).glob("*.webp"))[:per_class]:
            rgb = read_rgb(path)
            nothing = np.zeros(rgb.shape[:2], bool)
            out.append((rgb, nothing, ~nothing, path.stem))
    return out


def style_table(root: Path):
    """Mean and spread of each colour in the scene-class images: looks of another sensor."""
    stats = []
    for path in sorted((root / "scenes-by-class/ucmerced").glob("*/*0.webp")):
        x = read_rgb(path).reshape(-1, 3).astype(np.float32)
        stats.append([x.mean(0), x.std(0)])
    return np.array(stats)


@dataclass(frozen=True)
class Source:
    """Pictures of one kind, how often they are shown and the scales they are shown at."""

    pictures: list
    odds: float
    low: float
    high: float


class RoadBatches(IterableDataset):
    """Endless batches: random scale, free rotation, strong changes of colour and sharpness.

    What is missing in a picture is masked in one half of the views and left white in the other:
    users' images come both ways, and a white border must not look like a road. The first source
    is shown `gentle` of its times at its own scale with little changed.
    """

    def __init__(self, sources, styles, seed, gentle=0.0, pixels=1_000_000):
        self.styles, self.seed, self.pixels, self.gentle = styles, seed, pixels, gentle
        self.sources = [
            [(rgb, mask, skeletonize(mask), valid) for rgb, mask, valid, _ in one.pictures]
            for one in sources
        ]
        self.scales = [(one.low, one.high) for one in sources]
        self.odds = np.array([one.odds for one in sources]) / sum(one.odds for one in sources)
        self.inner = []
        for group in self.sources:
            share = np.array([valid.mean() for *_, valid in group])
            self.inner.append(share / share.sum())

    def __iter__(self):
        info = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, info.id if info else 0])
        while True:
            size = int(rng.choice([256, 320, 384, 512], p=[0.4, 0.3, 0.2, 0.1]))
            items = [self.view(rng, size) for _ in range(max(2, round(self.pixels / size**2)))]
            rgb, target, shown, judged = (np.stack(x) for x in zip(*items, strict=True))
            yield (
                torch.from_numpy(rgb).permute(0, 3, 1, 2),
                torch.from_numpy(shown),
                torch.from_numpy(target),
                torch.from_numpy(judged),
            )

    def view(self, rng, size):
        """float32 (s, s, 3), float32 (2, s, s) road and centreline, bool shown, bool judged."""
        kind = int(rng.choice(len(self.sources), p=self.odds))
        mild = kind == 0 and rng.random() < self.gentle
        low, high = (0.85, 1.2) if mild else self.scales[kind]
        group = self.sources[kind]
        for _ in range(8):
            rgb, mask, line, valid = group[rng.choice(len(group), p=self.inner[kind])]
            scale = float(np.exp(rng.uniform(np.log(low), np.log(high))))
            m = view_matrix(rng, rgb.shape, size, scale, free_rotation=True)
            ok = warp(valid.astype(np.uint8), m, size, scale, nearest=True) > 0
            if ok.mean() > 0.4:
                break
        image = warp(rgb, m, size, scale)
        road = warp(mask.astype(np.uint8) * 255, m, size, scale) > 127
        near = warp(cv2.dilate(line.astype(np.uint8) * 255, np.ones((3, 3))), m, size, scale)
        centre = np.clip(near.astype(np.float32) / 255 * max(1.0, 1.0 / scale), 0, 1)
        there = warp(np.full(rgb.shape[:2], 1, np.uint8), m, size, scale, nearest=True) > 0
        if not mild and rng.random() < 0.4:
            image = self.restyle(rng, image, ok)
        image = recolour(rng, image, 0.5 if mild else 1.2)
        if not mild and rng.random() < 0.35:
            image = other_sensor(rng, image, there)
        if kind:
            return image, np.stack([road.astype(np.float32), centre]), there, ok & there
        shown = ok
        if rng.random() < 0.5:
            shown = np.ones(ok.shape, bool)
            if rng.random() < 0.7:
                image[~ok] = 1.0
        return image, np.stack([road.astype(np.float32), centre]), shown, ok

    def restyle(self, rng, image, ok):
        """Colour statistics of another picture (Reinhard et al., 2001), part of the way."""
        mean, std = self.styles[rng.integers(len(self.styles))]
        seen = image[ok].astype(np.float32)
        if len(seen) < 100:
            return image
        t = rng.uniform(0.4, 1.0)
        new = (image - seen.mean(0)) / (seen.std(0) + 8) * np.maximum(std, 15) + mean
        return np.clip(image * (1 - t) + new * t, 0, 255).astype(np.uint8)


def other_sensor(rng, image, there):
    """One band for all, mixed bands, or each band stretched to its own percentiles."""
    kind = rng.random()
    if kind < 0.35:
        weights = rng.dirichlet([1.0, 1.0, 1.0]).astype(np.float32)
        image = np.repeat((image @ weights)[..., None], 3, 2)
    elif kind < 0.6:
        mix = np.eye(3) * rng.uniform(0.4, 1.0) + rng.dirichlet([1.0] * 3, 3) * rng.uniform(0, 0.6)
        image = np.clip(image @ (mix / mix.sum(0)).astype(np.float32), 0, 1)
    if kind > 0.5 or rng.random() < 0.6:
        seen = image[there]
        if len(seen) > 100:
            low, high = np.percentile(seen, [rng.uniform(0.2, 3), rng.uniform(97, 99.8)], axis=0)
            image = np.clip((image - low) / np.maximum(high - low, 0.08), 0, 1)
    return np.ascontiguousarray(image, np.float32)


def road_loss(logits, target, valid):
    """BCE and soft Dice on the road, BCE on the centreline, valid pixels only."""
    w = valid[:, None].float()
    n = w.sum().clamp(min=1)
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    p = torch.sigmoid(logits[:, 0]) * w[:, 0]
    t = target[:, 0] * w[:, 0]
    dice = 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
    return (bce[:, :1] * w).sum() / n, dice, (bce[:, 1:] * w * (1 + 4 * target[:, 1:])).sum() / n
