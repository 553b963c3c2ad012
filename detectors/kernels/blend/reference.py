"""Blending in plain torch, a tile at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def add(
    mean: Tensor,
    total: Tensor,
    values: Tensor,
    valid: Tensor,
    weights: Tensor,
    at: Sequence[tuple[int, int]],
) -> None:
    """See `detectors.kernels.blend.add`."""
    for value, mask, (y, x) in zip(values, valid, at, strict=True):
        ours, theirs = _shared(y, total.shape[0], len(weights))
        here, there = _shared(x, total.shape[1], len(weights))
        weight = weights[theirs, there] * mask[theirs, there]
        whole = total[ours, here]
        whole += weight
        share = torch.where(weight > 0, weight / whole, 0.0)
        part = mean[:, ours, here]
        new = value[:, theirs, there].to(torch.float32)
        part += (torch.where(weight > 0, new, part) - part) * share


def quantise(mean: Tensor, total: Tensor) -> Tensor:
    """See `detectors.kernels.blend.quantise`."""
    known = (total > 0) & ~mean.isnan()
    return torch.where(known, (mean.clamp(0, 1) * 255).round(), 0.0).to(torch.uint8)


def argmax(mean: Tensor, total: Tensor) -> Tensor:
    """See `detectors.kernels.blend.argmax`."""
    best = torch.zeros(total.shape, dtype=torch.uint8, device=mean.device)
    most = mean[0].clone()
    for number, plane in enumerate(mean):
        better = plane > most
        most = torch.where(better, plane, most)
        best = torch.where(better, number, best)
    return torch.where(total > 0, best + 1, 0).to(torch.uint8)


def _shared(start: int, size: int, tile: int) -> tuple[slice, slice]:
    """Where a tile and the band share rows or columns: in the band, and in the tile."""
    low, high = max(start, 0), max(min(start + tile, size), 0)
    low = min(low, high)
    return slice(low, high), slice(low - start, high - start)
