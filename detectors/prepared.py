"""Tiles as networks are prepare_batch them: those with a valid pixel, on the device, normalised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from detectors.device import Compute
from detectors.kernels.normalise import normalise
from detectors.kernels.normalise.cpu import fill
from lanner.core.machine import thread_map

if TYPE_CHECKING:
    from tiling.reader import TileImage


@dataclass(frozen=True)
class PreparedBatch:
    """What networks see of some tiles.

    `rows` are the places of those tiles in what was handed over, `inputs` (n, bands, h, w)
    channels last, `valid` (n, h, w), both on the device.
    """

    rows: tuple[int, ...]
    inputs: Tensor
    valid: Tensor

    @property
    def tensors(self) -> tuple[Tensor, Tensor]:
        """What a pass is cut from."""
        return self.inputs, self.valid


def prepare_batch(images: Sequence[TileImage], where: Compute) -> PreparedBatch | None:
    """Tiles of one size for the networks; None where none has a valid pixel."""
    rows = tuple(i for i, image in enumerate(images) if image.valid.any())
    if not rows:
        return None
    tiles = [images[i] for i in rows]
    valid = torch.from_numpy(np.stack([image.valid for image in tiles]))
    if where.device.type == "cpu":
        return PreparedBatch(rows, _on_cpu(tiles), valid)
    bands = len(tiles[0].pixels)
    pixels = torch.from_numpy(np.stack([image.pixels for image in tiles]))
    if where.device.type == "cuda":
        # From pinned memory the copy goes on while this thread does something else.
        pixels, valid = pixels.pin_memory(), valid.pin_memory()
    pixels = pixels.to(where.device, non_blocking=True)
    valid = valid.to(where.device, non_blocking=True)
    # Tiles come stretched to 0..1 already.
    dtype = where.autocast or torch.float32
    return PreparedBatch(rows, normalise(pixels, valid, [0.0] * bands, [1.0] * bands, dtype), valid)


def _on_cpu(tiles: Sequence[TileImage]) -> Tensor:
    """Each tile by a thread of its own."""
    shape = (len(tiles), *tiles[0].pixels.shape)
    out = torch.empty(shape, dtype=torch.float32, memory_format=torch.channels_last)
    low, high = [0.0] * shape[1], [1.0] * shape[1]
    thread_map(
        lambda k: fill(tiles[k].pixels, tiles[k].valid, low, high, out[k]), range(len(tiles))
    )
    return out
