"""The ensemble: one look at a tile by every member, fused and calibrated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detectors import calibration
from detectors.catalog import choose
from detectors.device import Compute, Passes, Streams, compute, running
from detectors.fusion import Fused, fuse
from detectors.inputs import prepare
from detectors.members import BoxMember, DeferredInstances, MaskMember, load_member
from detectors.prepared import PreparedBatch, prepare_batch
from detectors.results import TileResult, no_candidates, raster_result
from detectors.views import Floats, Look, Outline, Views, iou_matrix
from detectors.windows import place
from lanner.core.config import DetectorConfig, Member
from lanner.core.errors import ConfigError
from lanner.core.machine import thread_map

if TYPE_CHECKING:
    from tiling.grid import Grid
    from tiling.reader import TileImage


SAME = 0.4
"""Least IoU of an object's box and an instance that is taken for it on a closer look."""

NEAR_PX = 40.0
"""Longer side of the box from which a detector's `closer` draws it: it learned no smaller ones."""


class Ensemble:
    """Members of one detector on one device.

    A tile's result depends on the tile alone: not on the batch, the order or the number of
    threads.

    Args:
        config: the detector.
        folder: its release folder, with the members' weights and `calibration.json`.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        members: names of the members to run; None for all.

    Raises:
        ConfigError: unknown member, or an architecture that does not fit.
        WeightsError: weights or calibration missing, unreadable or of another architecture.
        DeviceError: no such device.
    """

    def __init__(
        self,
        config: DetectorConfig,
        folder: Path,
        device: str = "auto",
        members: Sequence[str] | None = None,
    ) -> None:
        chosen = choose(config, members)
        self.config = config
        self.compute: Compute = compute(device)
        self.members = tuple(load_member(config, one, folder, self.compute) for one in chosen)
        self._drawers = tuple(one for one in self.members if isinstance(one, MaskMember))
        self._near = self._drawers
        if config.closer is not None and self._drawers:
            closer = load_member(config, config.closer, folder, self.compute)
            self._near = (closer,) if isinstance(closer, MaskMember) else ()
        whole = calibration.load_calibration(folder / calibration.FILE)
        self.curve = whole.of(self.names)
        self.vote_curves = tuple(whole.of_vote(name) for name in self.names)
        self.channels: tuple[str, ...] = _channels(config, self.members)
        self._passes = Passes(self.compute.batch)
        self._streams = Streams(self.compute)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the members, in the order of the columns of `TileResult.votes`."""
        return tuple(member.config.name for member in self.members)

    @property
    def raster_members(self) -> tuple[Member, ...]:
        """Members that each have `channels` in a tile's probability, one after another; none of a
        detector of objects. What they say together is for whole rasters (`fuse_levels`): fused
        tile by tile, what a tile's border made unsure would be heard or not before it is blended.
        """
        return tuple(one.config for one in self.members) if self.channels else ()

    @property
    def batch(self) -> int:
        """Tiles that are best handed to `run` at once."""
        return self._passes.batch

    @property
    def workers(self) -> int:
        """Threads that may call `run` at once."""
        return self.compute.workers

    @property
    def share(self) -> int:
        """Threads that a CPU gives each of `workers`."""
        return self.compute.share

    @property
    def shares_cores(self) -> bool:
        """Whether the networks run on the cores that also read tiles."""
        return self.compute.shares_cores

    @property
    def device(self) -> str:
        """Where the networks run, such as `cpu` or `cuda:0`."""
        return str(self.compute.device)

    @property
    def identity(self) -> str:
        """What results depend on besides configuration and weights: device and number format."""
        return self.compute.identity

    def run(
        self, images: Sequence[TileImage], grids: Sequence[Grid], slots: int | None = None
    ) -> list[TileResult]:
        """Look at tiles; those without a valid pixel are not shown to the networks.

        Args:
            images: tiles of one size, of one scene or several.
            grids: of each tile's plan; what reaches beyond its scene is clipped.
            slots: workers whose share of the cores it may compute with; None: all.

        Returns:
            One result a tile, in the order given.
        """
        results = [no_candidates(len(self.members))] * len(images)
        threads = self.compute.threads if slots is None else slots * self.compute.share
        with self._streams.own(), running(self.compute, threads):
            batch = prepare_batch(images, self.compute)
            if batch is None:
                return results
            for i, result in zip(
                batch.rows, self._predict_batch(batch, images, grids), strict=True
            ):
                results[i] = result
        return results

    @property
    def calibrate(self) -> Callable[[Floats], Floats] | None:
        """The curve of scores that a chain makes from rasters; None where `run` has applied it."""
        return self.curve.apply if self.config.output == "raster" else None

    @property
    def outline(self) -> Look | None:
        """Draws one object again from a picture of it; None where no member draws objects.

        The detector's `closer` draws it; the members do where there is none, and what is smaller
        than `NEAR_PX` even on the closer look.
        """
        return self._outline if self._drawers and self.config.output == "objects" else None

    def _outline(
        self, pixels: NDArray[np.float32], valid: NDArray[np.bool_], box: Floats, threshold: float
    ) -> Outline | None:
        """Show one object's picture, from four mirrored sides, to the networks that draw.

        Pictures are small: several threads with one each are quicker than all at one.

        Args:
            pixels: (bands, h, w) in 0..1, sides multiples of 32.
            valid: (h, w).
            box: (4,) where the object is, in pixels of the picture.
            threshold: least object probability of an object's pixel.

        Returns:
            The ring, in pixels of the picture, of the instance that fits the box best; None where
            none has an IoU of `SAME` with the box.
        """
        with self._streams.own(), running(self.compute, 1):
            mask = torch.from_numpy(valid)[None].to(self.compute.device)
            image = torch.from_numpy(pixels)[None].to(self.compute.device)
            inputs = prepare(image, mask).contiguous(memory_format=torch.channels_last)
            large = max(box[2] - box[0], box[3] - box[1]) >= NEAR_PX
            drawers = self._near if large else self._drawers
            predictions = [member.closely(inputs, mask, threshold) for member in drawers]
        return _best_outline(predictions, box)

    def _predict_batch(
        self, batch: PreparedBatch, images: Sequence[TileImage], grids: Sequence[Grid]
    ) -> list[TileResult]:
        if self.config.output == "raster":
            levels = self._passes.run(batch.tensors, self._probability)
            return [
                raster_result(one, images[i].valid)
                for one, i in zip(levels, batch.rows, strict=True)
            ]
        deferred = self._passes.run(batch.tensors, self._member_predictions)
        tiles = [(tile, images[i], grids[i]) for tile, i in zip(deferred, batch.rows, strict=True)]
        return thread_map(lambda tile: self._candidates(*tile), tiles)

    def _member_predictions(
        self, inputs: Tensor, valid: Tensor
    ) -> list[tuple[DeferredInstances, ...]]:
        """What each member sees on each tile of one pass, by tile."""
        by_member = [member.predict(inputs, valid) for member in self.members]
        return list(zip(*by_member, strict=True))

    def _probability(self, inputs: Tensor, valid: Tensor) -> list[NDArray[np.float32]]:
        """What each member says of each tile of one pass, one after another (`raster_members`)."""
        masks = [member for member in self.members if isinstance(member, MaskMember)]
        probabilities = [member.probability(inputs, valid) for member in masks]
        if len(probabilities) == 1:
            return probabilities[0]
        return [np.concatenate(tile) for tile in zip(*probabilities, strict=True)]

    def _candidates(
        self, deferred: Sequence[DeferredInstances], image: TileImage, grid: Grid
    ) -> TileResult:
        predictions = [finish() for finish in deferred]
        views = [
            v.rescored(curve.apply(v.scores))
            for v, curve in zip(predictions, self.vote_curves, strict=True)
        ]
        fused = fuse(views, [member.config.weight for member in self.members], self.config.fusion)
        scored = Fused(
            fused.boxes, self.curve.apply(fused.scores), fused.labels, fused.votes, fused.outlines
        )
        return place(
            scored, image.tile.window, image.valid, grid, sum(view.capped for view in views)
        )


def _best_outline(predictions: Sequence[Views], box: Floats) -> Outline | None:
    rings = [ring for views in predictions for ring in views.outlines if ring is not None]
    if not rings:
        return None
    boxes = np.stack([np.concatenate([ring.min(0), ring.max(0)]) for ring in rings])
    fit = iou_matrix(box[None], boxes)[0]
    best = int(np.argmax(fit))
    return rings[best] if fit[best] >= SAME else None


def _channels(config: DetectorConfig, members: Sequence[BoxMember | MaskMember]) -> tuple[str, ...]:
    """Names of the raster's channels; none for objects."""
    if config.output == "objects":
        return ()
    named = [member.channels for member in members if isinstance(member, MaskMember)]
    if len(set(named)) > 1:
        raise ConfigError(
            "members",
            named,
            "give different channels",
            "name the same `outputs` in the same order in each `arch`",
        )
    return named[0]
