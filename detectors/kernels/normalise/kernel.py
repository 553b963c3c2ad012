"""Normalisation in one pass: read each value once, write it once, bands side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from detectors.inputs import MEAN, STD
from detectors.kernels.normalise.reference import stretch_of

BLOCK = 1024
"""Pixels a program."""


def normalise(
    raw: Tensor, valid: Tensor, low: Sequence[float], high: Sequence[float], dtype: torch.dtype
) -> Tensor:
    """See `detectors.kernels.normalise.normalise`."""
    n, bands, h, w = raw.shape
    out = torch.empty(
        (n, bands, h, w), dtype=dtype, device=raw.device, memory_format=torch.channels_last
    )
    if out.numel() == 0:
        return out
    base, span, flat = stretch_of(low, high)
    # One row of numbers a band; a constant band is 0.5 whatever it holds.
    table = torch.tensor([base, span, [float(f) for f in flat]], device=raw.device)
    grid = (triton.cdiv(h * w, BLOCK), n)
    _normalise[grid](
        raw.contiguous(),
        valid.contiguous(),
        table.T.contiguous(),
        out,
        h * w,
        bands,
        triton.next_power_of_2(bands),
        BLOCK,
        MEAN,
        STD,
        enable_fp_fusion=False,
    )
    return out


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _normalise(
    raw: tl.tensor,
    valid: tl.tensor,
    table: tl.tensor,
    out: tl.tensor,
    pixels: tl.tensor,
    bands: tl.tensor,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
    MEAN: tl.constexpr,
    STD: tl.constexpr,
) -> None:
    image = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    band = tl.arange(0, WIDE)
    there = pixel < pixels
    both = there[:, None] & (band < bands)[None, :]
    at = (image * bands + band[None, :]) * pixels + pixel[:, None]
    present = tl.load(valid + image * pixels + pixel, mask=there, other=0) != 0
    low = tl.load(table + band * 3, mask=band < bands, other=0.0)
    span = tl.load(table + band * 3 + 1, mask=band < bands, other=1.0)
    flat = tl.load(table + band * 3 + 2, mask=band < bands, other=0.0)
    x = tl.load(raw + at, mask=both, other=0).to(tl.float32)
    # Rounded division, as on a CPU; the quick one would be a bit off.
    x = tl.div_rn(x - low[None, :], tl.broadcast_to(span[None, :], (BLOCK, WIDE)))
    x = tl.minimum(tl.maximum(x, 0.0), 1.0)
    x = tl.where(flat[None, :] != 0, 0.5, x)
    x = tl.div_rn(x - MEAN, tl.full((BLOCK, WIDE), STD, tl.float32))
    x = tl.where(present[:, None], x, 0.0)
    to = (image * pixels + pixel[:, None]) * bands + band[None, :]
    tl.store(out + to, x.to(out.dtype.element_ty), mask=both)
