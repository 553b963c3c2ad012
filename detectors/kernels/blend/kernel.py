"""Blending by the pixels of the band: each is read once, sees its tiles in order, is written once.

No two programs share a pixel, so that nothing depends on which comes first.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 256
"""Pixels of one row a program."""


def add(
    mean: Tensor,
    total: Tensor,
    values: Tensor,
    valid: Tensor,
    weights: Tensor,
    at: Sequence[tuple[int, int]],
) -> None:
    """See `detectors.kernels.blend.add`."""
    channels, rows, width = mean.shape
    tile = len(weights)
    tops = [y for y, _ in at]
    # Rows that no tile reaches stay as they are.
    first = max(min(tops, default=0), 0)
    last = min(max(tops, default=0) + tile, rows)
    if not (len(at) and first < last and width):
        return
    _add[(last - first, triton.cdiv(width, BLOCK))](
        mean,
        total,
        values.contiguous(),
        valid.contiguous(),
        weights.contiguous(),
        torch.tensor(at, dtype=torch.int32, device=mean.device),
        len(at),
        first,
        rows,
        width,
        tile,
        channels,
        triton.next_power_of_2(channels),
        BLOCK,
        # A product and a sum that are one rounding would say otherwise than a CPU.
        enable_fp_fusion=False,
    )


def quantise(mean: Tensor, total: Tensor) -> Tensor:
    """See `detectors.kernels.blend.quantise`."""
    out = torch.empty(mean.shape, dtype=torch.uint8, device=mean.device)
    if out.numel():
        pixels = total.numel()
        grid = (triton.cdiv(pixels, 4 * BLOCK), len(mean))
        _quantise[grid](mean, total, out, pixels, 4 * BLOCK, enable_fp_fusion=False)
    return out


def argmax(mean: Tensor, total: Tensor) -> Tensor:
    """See `detectors.kernels.blend.argmax`."""
    out = torch.empty(total.shape, dtype=torch.uint8, device=mean.device)
    if out.numel():
        pixels = total.numel()
        grid = (triton.cdiv(pixels, BLOCK),)
        _argmax[grid](mean, total, out, pixels, len(mean), BLOCK, enable_fp_fusion=False)
    return out


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _add(
    mean: tl.tensor,
    total: tl.tensor,
    values: tl.tensor,
    valid: tl.tensor,
    weights: tl.tensor,
    places: tl.tensor,
    n: tl.tensor,
    first: tl.tensor,
    rows: tl.tensor,
    width: tl.tensor,
    tile: tl.tensor,
    channels: tl.tensor,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    row = tl.program_id(0) + first
    left = tl.program_id(1) * BLOCK
    col = left + tl.arange(0, BLOCK)
    band = tl.arange(0, WIDE).to(tl.int64)
    inside = col < width
    both = (band < channels)[:, None] & inside[None, :]
    pixel = row.to(tl.int64) * width + col
    plane = band[:, None] * rows * width + pixel[None, :]
    whole = tl.load(total + pixel, mask=inside, other=0.0)
    now = tl.load(mean + plane, mask=both, other=0.0)
    for i in range(0, n):
        y = row - tl.load(places + i * 2)
        start = tl.load(places + i * 2 + 1)
        if (y >= 0) & (y < tile) & (start < left + BLOCK) & (start + tile > left):
            x = col - start
            there = inside & (x >= 0) & (x < tile)
            at = y * tile + x
            image = tl.cast(i, tl.int64) * tile * tile
            present = tl.load(valid + image + at, mask=there, other=0) != 0
            weight = tl.load(weights + at, mask=there & present, other=0.0)
            counts = weight > 0.0
            whole += weight
            share = tl.div_rn(weight, tl.where(counts, whole, 1.0))
            to = image * channels + band[:, None] * tile * tile + at[None, :]
            value = tl.load(values + to, mask=both & counts[None, :], other=0.0).to(tl.float32)
            now += (tl.where(counts[None, :], value, now) - now) * share[None, :]
    tl.store(total + pixel, whole, mask=inside)
    tl.store(mean + plane, now, mask=both)


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _quantise(
    mean: tl.tensor, total: tl.tensor, out: tl.tensor, pixels: tl.tensor, BLOCK: tl.constexpr
) -> None:
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    plane = tl.program_id(1).to(tl.int64) * pixels
    there = pixel < pixels
    level = tl.load(mean + plane + pixel, mask=there, other=0.0)
    # What is no number is not above 0 either.
    known = (tl.load(total + pixel, mask=there, other=0.0) > 0.0) & (level > 0.0)
    level = tl.minimum(level, 1.0) * 255.0
    # Above 2^23 a float32 has no fraction: adding it rounds half to even.
    level = (level + 8388608.0) - 8388608.0
    level = tl.where(known, level, 0.0).to(tl.int32).to(tl.uint8)
    tl.store(out + plane + pixel, level, mask=there)


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _argmax(
    mean: tl.tensor,
    total: tl.tensor,
    out: tl.tensor,
    pixels: tl.tensor,
    channels: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = pixel < pixels
    most = tl.load(mean + pixel, mask=there, other=0.0)
    best = tl.zeros((BLOCK,), tl.int32)
    for number in range(1, channels):
        level = tl.load(mean + tl.cast(number, tl.int64) * pixels + pixel, mask=there, other=0.0)
        better = level > most
        most = tl.where(better, level, most)
        best = tl.where(better, number, best)
    known = tl.load(total + pixel, mask=there, other=0.0) > 0.0
    tl.store(out + pixel, tl.where(known, best + 1, 0).to(tl.uint8), mask=there)
