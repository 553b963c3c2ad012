"""Res-UNet of lines: random views with mask, centreline and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from detectors.training.geometry import warp
from detectors.training.metrics import PixelMeter
from detectors.training.pictures import Album
from detectors.training.tasks import Batch
from detectors.training.views import ColourJitter, Pool, Recipe, View

JITTER = ColourJitter(1.2, 0.4, 0.35)
TRIES = 8
LEAST_KNOWN = 0.4
"""Views of which less is known are drawn anew, `TRIES` times at most."""

THINNINGS = 6
"""Rounds of soft skeletonisation: half the width of a wide road, pixels."""


class RoadTask:
    """Roads, or any lines: the foreground is every class of the mask.

    What is missing in a picture is left out in one half of the views and white in the other:
    users' images come both ways, and a white border must not look like a road.

    Args:
        album: pictures, decoded with class masks.
        recipe: what batches look like.
        outputs: the network's channels; the first is the road, `centreline` is used if there.
        thin: whether the term `cldice` is asked for.
    """

    terms: ClassVar[Mapping[str, float]] = {
        "bce": 1.0,
        "dice": 1.0,
        "centreline": 0.3,
        "cldice": 0.0,
    }
    metric: ClassVar[str] = "f1"

    def __init__(
        self, album: Album, recipe: Recipe, outputs: tuple[str, ...], thin: bool = False
    ) -> None:
        self.album, self.recipe, self._thin = album, recipe, thin
        facts = [_facts(one.mask) for one in album.pictures]
        self.pool = Pool(album, recipe, np.array([known for known, _ in facts]))
        drawn = {one.name for one in self.pool.members()}
        self._roads = sum(
            road for one, (_, road) in zip(album.pictures, facts, strict=True) if one.name in drawn
        )
        self._line = outputs.index("centreline") if "centreline" in outputs else None

    def objects(self) -> int:
        """Pictures with some foreground."""
        return self._roads

    def batch(self, rng: np.random.Generator) -> Batch:
        """`target` float32 (n, 2, s, s) foreground and centreline, `judged` bool (n, s, s)."""
        size = self.recipe.size(rng)
        items = [self.item(rng, size) for _ in range(self.recipe.count(size))]
        rgb, valid, target, judged = (np.stack(part) for part in zip(*items, strict=True))
        return {
            "images": torch.from_numpy(np.ascontiguousarray(rgb.transpose(0, 3, 1, 2))),
            "valid": torch.from_numpy(valid),
            "target": torch.from_numpy(target),
            "judged": torch.from_numpy(judged),
        }

    def item(
        self, rng: np.random.Generator, size: int
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float32], NDArray[np.bool_]]:
        """Colours float32 (s, s, 3), shown bool, target float32 (2, s, s), judged bool."""
        for _ in range(TRIES):
            view = self.pool.view(rng, size, 0.0)
            assert view.loaded.known is not None
            judged = view.flags(view.loaded.known)
            if judged.mean() > LEAST_KNOWN:
                break
        there = view.there()
        image = self.pool.colours(rng, view, judged if judged.any() else there, JITTER)
        valid = there
        if view.loaded.missing is not None:
            gap = view.flags(view.loaded.missing) | ~there
            valid = ~gap
            if rng.random() < 0.5:
                valid = np.ones(there.shape, bool)
                if rng.random() < 0.7:
                    image[gap] = 1.0
        return image, valid, line_targets(view), judged

    def losses(self, outputs: Any, batch: Batch) -> dict[str, Tensor]:
        """See `road_loss`."""
        line = None if self._line is None else outputs[:, self._line]
        return road_loss(outputs[:, 0], line, batch["target"], batch["judged"], self._thin)

    def meter(self) -> _Meter:
        """F1 of road pixels."""
        return _Meter()


def _facts(mask: Any) -> tuple[float, bool]:
    """Share of a picture that is known, and whether it has any foreground."""
    if mask is None:
        return 1.0, False
    values = mask()
    known = values != 255
    return float(known.mean()), bool((known & (values > 0)).any())


def line_targets(view: View) -> NDArray[np.float32]:
    """float32 (2, s, s): foreground 0 or 1, and centreline 0..1 about three pixels wide."""
    road, line = view.loaded.road, view.loaded.line
    assert road is not None and line is not None
    args = (view.matrix, view.size, view.scale)
    solid = warp(road.astype(np.uint8) * 255, *args) > 127
    wide: Any = cv2.dilate(line.astype(np.uint8) * 255, np.ones((3, 3), np.uint8))
    near = warp(wide, *args).astype(np.float32) / 255
    # Shrinking pales a thin line.
    centre = np.clip(near * max(1.0, 1.0 / view.scale), 0, 1)
    return np.stack([solid.astype(np.float32), centre])


def road_loss(
    road: Tensor, line: Tensor | None, target: Tensor, judged: Tensor, thin: bool = False
) -> dict[str, Tensor]:
    """Loss terms of foreground and centreline, judged pixels only.

    Args:
        road: (n, s, s) logits of the foreground.
        line: (n, s, s) logits of the centreline, or None.
        target: float32 (n, 2, s, s).
        judged: bool (n, s, s).
        thin: whether to work `cldice` out, which takes its time.

    Returns:
        `bce` and soft `dice` of the foreground, BCE of the `centreline`, and if asked for
        `cldice`, see `soft_cldice`.
    """
    w = judged.float()
    n = w.sum().clamp(min=1)
    road = road.float()
    bce = F.binary_cross_entropy_with_logits(road, target[:, 0], reduction="none")
    p, t = torch.sigmoid(road) * w, target[:, 0] * w
    dice = 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
    centre = road.sum() * 0
    if line is not None:
        each = F.binary_cross_entropy_with_logits(line.float(), target[:, 1], reduction="none")
        centre = (each * w * (1 + 4 * target[:, 1])).sum() / n
    terms = {"bce": (bce * w).sum() / n, "dice": dice, "centreline": centre}
    return {**terms, "cldice": soft_cldice(p, t)} if thin else terms


def soft_skeleton(mask: Tensor, rounds: int = THINNINGS) -> Tensor:
    """Differentiable skeleton of (n, s, s) in 0..1 by repeated opening (Shit et al., 2021)."""
    image = mask[:, None]
    opened = _dilate(_erode(image))
    skeleton = F.relu(image - opened)
    for _ in range(rounds):
        image = _erode(image)
        rest = F.relu(image - _dilate(_erode(image)))
        skeleton = skeleton + F.relu(rest - skeleton * rest)
    return skeleton[:, 0]


def _erode(image: Tensor) -> Tensor:
    across = -F.max_pool2d(-image, (3, 1), (1, 1), (1, 0))
    along = -F.max_pool2d(-image, (1, 3), (1, 1), (0, 1))
    return torch.minimum(across, along)


def _dilate(image: Tensor) -> Tensor:
    return F.max_pool2d(image, 3, 1, 1)


def soft_cldice(probability: Tensor, truth: Tensor) -> Tensor:
    """1 - clDice (Shit et al., 2021): what of each one's skeleton lies inside the other.

    Args:
        probability: (n, s, s) 0..1, 0 where not judged.
        truth: (n, s, s) 0 or 1, 0 where not judged.

    Returns:
        A scalar 0 (same lines) .. 1.
    """
    skeleton, true = soft_skeleton(probability), soft_skeleton(truth)
    precise = ((skeleton * truth).sum() + 1) / (skeleton.sum() + 1)
    found = ((true * probability).sum() + 1) / (true.sum() + 1)
    return 1 - 2 * precise * found / (precise + found)


class _Meter(PixelMeter):
    """F1 of foreground pixels."""

    def add(self, outputs: Any, batch: Batch) -> None:
        self.pixels(outputs[:, 0], batch["target"][:, 0] > 0.5, batch["judged"])
