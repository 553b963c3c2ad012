"""Connected components by union-find with atomics (Playne and Hawick, 2018, A new algorithm for
parallel connected-component labelling on GPUs).

A pixel's parent is a pixel of its component that comes no later in raster order; a root is its
own parent. Trees only ever merge downwards, so whatever an old parent says is still true, and a
component's root ends as its first pixel, whichever thread came first.
"""

from __future__ import annotations

from typing import Literal

import torch
import triton
import triton.language as tl
from torch import Tensor

HOW = {"num_warps": 4, "enable_fp_fusion": False}
_LEAST, _MOST = 128, 1024
"""Pixels a program; at least one for each of 128 threads, so that no atomic is done twice."""


def label(mask: Tensor, neighbours: Literal[4, 8] = 8) -> tuple[Tensor, Tensor]:
    """See `detectors.kernels.label.label`."""
    n, h, w = mask.shape
    numbers = torch.empty((n, h, w), dtype=torch.int32, device=mask.device)
    if mask.numel() == 0:
        return numbers, torch.zeros(n, dtype=torch.int32, device=mask.device)
    mask = mask.contiguous()
    block = min(max(triton.next_power_of_2(w), _LEAST), _MOST)
    grid = (n * h, triton.cdiv(w, block))
    parent, first = torch.empty_like(numbers), torch.empty_like(mask)
    _runs[grid](mask, parent, h, w, block, **HOW)
    _merge[grid](mask, parent, h, w, neighbours == 8, grid[1] > 1, block, **HOW)
    _flatten[grid](mask, parent, first, h, w, block, **HOW)
    rank = first.view(n, h * w).cumsum(1, dtype=torch.int32)
    _number[grid](mask, parent, rank, numbers, h, w, block, **HOW)
    return numbers, rank[:, -1].contiguous()


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _place(h: tl.tensor, w: tl.tensor, BLOCK: tl.constexpr) -> tl.tensor:
    """Offset of the image, row in it, columns of this program, and which of them there are."""
    row = tl.program_id(0)
    image = (row // h).to(tl.int64)
    x = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    return image * h * w, row % h, x, x < w


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _larger(a: tl.tensor, b: tl.tensor) -> tl.tensor:
    return tl.maximum(a, b)


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _root(parent: tl.tensor, pixel: tl.tensor, active: tl.tensor) -> tl.tensor:
    """Root of each active pixel; the others stay."""
    # Past the first cache, which does not see what other multiprocessors write.
    above = tl.load(parent + pixel, mask=active, other=0, cache_modifier=".cg")
    above = tl.where(active, above, pixel)
    while tl.max((above != pixel).to(tl.int32), 0) > 0:
        pixel = above
        above = tl.load(parent + pixel, mask=active, other=0, cache_modifier=".cg")
        above = tl.where(active, above, pixel)
    return pixel


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _join(parent: tl.tensor, one: tl.tensor, two: tl.tensor, active: tl.tensor) -> None:
    """Merge the trees of pairs of pixels."""
    while tl.max(active.to(tl.int32), 0) > 0:
        one = _root(parent, one, active)
        two = _root(parent, two, active)
        high = tl.maximum(one, two)
        low = tl.minimum(one, two)
        active = active & (high != low)
        old = tl.atomic_min(parent + high, low, mask=active, sem="relaxed")
        # Another was faster where `high` is no root any more: what it joined is joined too.
        active = active & (old != high)
        one = tl.where(active, old, low)
        two = low


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _runs(
    mask: tl.tensor, parent: tl.tensor, h: tl.tensor, w: tl.tensor, BLOCK: tl.constexpr
) -> None:
    """Each pixel's parent is the first of its run in this program's part of the row."""
    base, y, x, inside = _place(h, w, BLOCK)
    at = y * w + x
    worker = tl.arange(0, BLOCK)
    on = tl.load(mask + base + at, mask=inside, other=0) != 0
    left = tl.load(mask + base + at - 1, mask=inside & (worker > 0), other=0) != 0
    begins = tl.where(on & ~left, x, 0)
    start = tl.associative_scan(begins, 0, _larger)
    tl.store(parent + base + at, tl.where(on, y * w + start, -1), mask=inside)


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _merge(
    mask: tl.tensor,
    parent: tl.tensor,
    h: tl.tensor,
    w: tl.tensor,
    CORNERS: tl.constexpr,
    PARTS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Join runs with those of the row above, each pair that touches at one pixel or a few."""
    base, y, x, inside = _place(h, w, BLOCK)
    at = y * w + x
    over = inside & (at >= w)
    on = tl.load(mask + base + at, mask=inside, other=0) != 0
    left = tl.load(mask + base + at - 1, mask=inside & (x > 0), other=0) != 0
    up = tl.load(mask + base + at - w, mask=over, other=0) != 0
    before = tl.load(mask + base + at - w - 1, mask=over & (x > 0), other=0) != 0
    # With both on the left, those have joined already.
    straight = on & up & ~(left & before)
    tree = parent + base
    if CORNERS:
        within = x < w - 1
        right = tl.load(mask + base + at + 1, mask=inside & within, other=0) != 0
        after = tl.load(mask + base + at - w + 1, mask=over & within, other=0) != 0
        # A neighbour in the row would see the corner straight above.
        slanted = on & ~up & before & ~left
        other = on & ~up & after & ~right
        _join(tree, at, tl.where(straight, at - w, at - w - 1), straight | slanted)
        _join(tree, at, at - w + 1, other)
    else:
        _join(tree, at, at - w, straight)
    if PARTS:
        _join(tree, at, at - 1, on & left & (x % BLOCK == 0))


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _flatten(
    mask: tl.tensor,
    parent: tl.tensor,
    first: tl.tensor,
    h: tl.tensor,
    w: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Each pixel's parent is its root, and `first` says which pixels are one."""
    base, y, x, inside = _place(h, w, BLOCK)
    at = y * w + x
    on = tl.load(mask + base + at, mask=inside, other=0) != 0
    root = _root(parent + base, at, on)
    tl.store(parent + base + at, root, mask=on)
    tl.store(first + base + at, on & (root == at), mask=inside)


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _number(
    mask: tl.tensor,
    parent: tl.tensor,
    rank: tl.tensor,
    numbers: tl.tensor,
    h: tl.tensor,
    w: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """A root's number is how many roots there are up to it."""
    base, y, x, inside = _place(h, w, BLOCK)
    at = y * w + x
    on = tl.load(mask + base + at, mask=inside, other=0) != 0
    root = tl.load(parent + base + at, mask=on, other=0)
    number = tl.load(rank + base + root, mask=on, other=0)
    tl.store(numbers + base + at, number, mask=inside)
