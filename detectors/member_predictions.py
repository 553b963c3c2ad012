"""What each member of an ensemble sees on a tile, before votes are calibrated and fused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from detectors.device import Compute, Passes, compute, running
from detectors.members import BoxMember, DeferredInstances, MaskMember, load_member
from detectors.prepared import prepare_batch
from detectors.results import TileResult, no_candidates, raster_result
from detectors.views import Views, no_views
from lanner.core.config import DetectorConfig
from lanner.core.machine import thread_map

if TYPE_CHECKING:
    from tiling.reader import TileImage


@dataclass(frozen=True)
class MemberPredictions:
    """The networks of one detector, asked one by one.

    They see what `detectors.ensemble.Ensemble` shows them: the same inputs, in the same passes.
    """

    members: tuple[BoxMember | MaskMember, ...]
    compute: Compute

    @classmethod
    def load(
        cls, config: DetectorConfig, weights: Mapping[str, Path], device: str = "auto"
    ) -> MemberPredictions:
        """Build the members of `config` and fill each from its file.

        Raises:
            ConfigError: an architecture that does not fit.
            WeightsError: weights missing, unreadable or of another architecture.
            DeviceError: no such device.
        """
        where = compute(device)
        placed = [
            one.model_copy(update={"weights": str(Path(weights[one.name]).resolve())})
            for one in config.members
        ]
        return cls(tuple(load_member(config, one, Path(), where) for one in placed), where)

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels of a raster detector's first member."""
        first = self.members[0]
        return first.channels if isinstance(first, MaskMember) else ()

    @property
    def batch(self) -> int:
        """Tiles that are best handed over at once: a pass, or on a CPU one for each worker."""
        return max(self.compute.batch, self.compute.workers)

    @property
    def identity(self) -> str:
        """What results depend on besides configuration and weights."""
        return self.compute.identity

    def views(self, images: Sequence[TileImage]) -> list[tuple[Views, ...]]:
        """What each member sees on each tile, in tile pixels; nothing where nothing is valid."""
        nothing = tuple(no_views() for _ in self.members)
        result = [nothing] * len(images)
        batch = prepare_batch(images, self.compute)
        if batch is None:
            return result

        def predict(inputs: Tensor, valid: Tensor) -> list[tuple[DeferredInstances, ...]]:
            return list(zip(*(m.predict(inputs, valid) for m in self.members), strict=True))

        with running(self.compute):
            found = Passes(self.compute.batch).run(batch.tensors, predict)
        views = thread_map(lambda tile: tuple(finish() for finish in tile), found)
        for i, one in zip(batch.rows, views, strict=True):
            result[i] = one
        return result

    def rasters(self, images: Sequence[TileImage]) -> list[tuple[TileResult, ...]]:
        """The probability of each member on each tile, in steps of 1/255, of raster detectors."""
        nothing = tuple(no_candidates(0) for _ in self.members)
        result = [nothing] * len(images)
        batch = prepare_batch(images, self.compute)
        if batch is None:
            return result
        masks = [member for member in self.members if isinstance(member, MaskMember)]

        def predict(inputs: Tensor, valid: Tensor) -> list[tuple[NDArray[np.float32], ...]]:
            return list(zip(*(m.probability(inputs, valid) for m in masks), strict=True))

        with running(self.compute):
            found = Passes(self.compute.batch).run(batch.tensors, predict)
            for i, levels in zip(batch.rows, found, strict=True):
                result[i] = tuple(raster_result(one, images[i].valid) for one in levels)
        return result
