"""Normalisation on a CPU: compiled, one pass, the same bits as the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detectors.inputs import MEAN, STD
from detectors.kernels.normalise.reference import stretch_of
from tiling.compiled import compiled


def normalise(
    raw: Tensor, valid: Tensor, low: Sequence[float], high: Sequence[float], dtype: torch.dtype
) -> Tensor:
    """See `detectors.kernels.normalise.normalise`."""
    out = torch.empty(raw.shape, dtype=torch.float32, memory_format=torch.channels_last)
    for k in range(len(raw)):
        fill(raw[k].contiguous().numpy(), valid[k].contiguous().numpy(), low, high, out[k])
    return out.to(dtype)


def fill(
    raw: NDArray[Any],
    valid: NDArray[np.bool_],
    low: Sequence[float],
    high: Sequence[float],
    out: Tensor,
) -> None:
    """Normalise one tile into `out`; lets other threads run.

    Args:
        raw: (bands, h, w).
        valid: (h, w).
        low: see `normalise`.
        high: see `normalise`.
        out: float32 (bands, h, w), of a batch with channels last.
    """
    base, span, flat = stretch_of(low, high)
    _fill(
        raw,
        valid,
        np.asarray(base, np.float32),
        np.asarray(span, np.float32),
        np.asarray(flat),
        np.float32(MEAN),
        np.float32(STD),
        out.permute(1, 2, 0).numpy(),
    )


@compiled
def _fill(raw, valid, low, span, flat, mean, std, out):  # type: ignore[no-untyped-def]  # compiled
    bands, height, width = raw.shape
    zero, half, one = np.float32(0), np.float32(0.5), np.float32(1)
    for y in range(height):
        for b in range(bands):
            for x in range(width):
                value = (np.float32(raw[b, y, x]) - low[b]) / span[b]
                value = half if flat[b] else min(max(value, zero), one)
                out[y, x, b] = (value - mean) / std if valid[y, x] else zero
