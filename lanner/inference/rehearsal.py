"""An ensemble that looks as always and then says that it saw one object, or a crossing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from detectors.boxes import boxes_of_tiles
from detectors.ensemble import Ensemble
from detectors.instances import instances
from detectors.members import BoxMember, MaskMember
from detectors.results import TileResult, raster_result
from detectors.views import Floats, Outline, Views

if TYPE_CHECKING:
    from tiling.grid import Grid
    from tiling.reader import TileImage

OBJECT_PX = 44.0
"""Side in pixels of the object on a tile: an airliner at the released detector's sampling."""

ROAD_PX = 4
"""Half the width in pixels of the crossing's roads."""


class Rehearsal(Ensemble):
    """Shares networks, device and calibration with an ensemble that is loaded.

    Args:
        ensemble: the one that requests will be answered by; it is not changed.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        vars(self).update(vars(ensemble))

    def run(
        self, images: Sequence[TileImage], grids: Sequence[Grid], slots: int | None = None
    ) -> list[TileResult]:
        """As `Ensemble.run`, but for what is found."""
        super().run(images, grids, slots)
        if self.config.output == "raster":
            count = len(self.channels) * len(self.members)
            return [raster_result(_crossing(count, len(one.valid)), one.valid) for one in images]
        return [self._placeholder(*tile) for tile in zip(images, grids, strict=True)]

    def _outline(
        self, pixels: NDArray[np.float32], valid: NDArray[np.bool_], box: Floats, threshold: float
    ) -> Outline | None:
        """As `Ensemble.outline`, but for what is found."""
        super()._outline(pixels, valid, box, threshold)
        views = instances(_airliner(len(valid), box), threshold, self._drawers[0].config.instances)
        return next(iter(views.outlines), None)

    def _placeholder(self, image: TileImage, grid: Grid) -> TileResult:
        side = len(image.valid)
        low, high = (side - OBJECT_PX) / 2, (side + OBJECT_PX) / 2
        box = np.array([low, low, high, high])
        predictions = [self._view(member, side, box) for member in self.members]
        return self._candidates([partial(_same, views) for views in predictions], image, grid)

    def _view(self, member: BoxMember | MaskMember, side: int, box: Floats) -> Views:
        """What one member would have seen, by way of the functions that make it of its output."""
        config = member.config
        if isinstance(member, MaskMember):
            return instances(_airliner(side, box), config.threshold, config.instances)
        device = self.compute.device
        anchors = torch.tensor(np.stack([box, box + 1]), dtype=torch.float32, device=device)
        logits = torch.full((1, 2, len(self.config.classes)), 4.0, device=device)
        offsets = torch.zeros((1, 2, 4), device=device)
        return boxes_of_tiles(logits, offsets, anchors, side, config.threshold, config.nms_iou)[0]


def _airliner(side: int, box: Floats) -> NDArray[np.float32]:
    """Object, boundary and centre, (3, side, side): fuselage, wing and tailplane in a box."""
    y, x = np.mgrid[:side, :side] + 0.5
    across = np.abs((x - box[0]) / (box[2] - box[0]) - 0.5)
    down = (y - box[1]) / (box[3] - box[1])
    fuselage = (across < 0.06) & (down > 0) & (down < 1)
    wing = (across < 0.5) & (np.abs(down - 0.4 - 0.3 * across) < 0.06)
    tail = (across < 0.18) & (np.abs(down - 0.92 - 0.2 * across) < 0.04)
    shape = np.where(fuselage | wing | tail, 0.95, 0.02)
    centre = np.exp(-((across / 0.05) ** 2) - ((down - 0.5) / 0.05) ** 2)
    return np.stack([shape, np.zeros_like(shape), centre]).astype(np.float32)


def _crossing(channels: int, side: int) -> NDArray[np.float32]:
    """Probabilities (channels, side, side) of two roads that cross in the middle."""
    near = np.abs(np.arange(side) + 0.5 - side / 2) < ROAD_PX
    road = np.where(near[:, None] | near[None], 0.95, 0.02)
    return np.repeat(road[None], channels, axis=0).astype(np.float32)


def _same(views: Views) -> Views:
    return views
