"""Normalisation in plain torch, one pass over memory for each operation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from detectors.inputs import MEAN, STD


def normalise(
    raw: Tensor, valid: Tensor, low: Sequence[float], high: Sequence[float], dtype: torch.dtype
) -> Tensor:
    """See `detectors.kernels.normalise.normalise`."""
    base, span, flat = stretch_of(low, high)
    shape = (1, len(base), 1, 1)
    x = raw.to(torch.float32) - torch.tensor(base, device=raw.device).view(shape)
    x = (x / torch.tensor(span, device=raw.device).view(shape)).clamp(0, 1)
    x = torch.where(torch.tensor(flat, device=raw.device).view(shape), 0.5, x)
    x = torch.where(valid[:, None], (x - MEAN) / STD, 0.0)
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


def stretch_of(
    low: Sequence[float], high: Sequence[float]
) -> tuple[list[float], list[float], list[bool]]:
    """Of each band what is taken off, what the rest is divided by, and whether it is constant."""
    flat = [not h > lo for lo, h in zip(low, high, strict=True)]
    span = [1.0 if f else h - lo for lo, h, f in zip(low, high, flat, strict=True)]
    return list(low), span, flat
