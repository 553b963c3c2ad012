"""Suppression on a CUDA device: who overlaps whom as bits, then one sweep a group.

Boxes lie by group, then by score, in blocks of 32 that never hold two groups. For each pair of
blocks of one group a word of 32 bits a box says which boxes of the better block overlap it; the
upper triangle alone is kept. One program a group then goes from block to block.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from detectors.kernels.nms.reference import bar_of, best_first

BLOCK = 32
"""Boxes a block: the bits of a word."""

PER = 8
"""Pairs of blocks a program of `_overlaps`."""

MANY = 256
"""Blocks that `_sweep` takes at once, at most."""


def nms(boxes: Tensor, scores: Tensor, groups: Tensor, iou: float) -> Tensor:
    """See `detectors.kernels.nms.nms`.

    The bits take n * n / 16 bytes where all boxes are of one group, 625 MB for 100,000.
    """
    order = best_first(scores)
    if len(order) == 0:
        return order
    sorted_groups = torch.sort(groups[order], stable=True)
    rows = order[sorted_groups.indices]
    # Coordinate by coordinate, so that neighbouring workers read neighbouring numbers.
    laid = boxes[rows].float().T.contiguous()
    blocks, spans, tiles, widest = _plan(sorted_groups.values)
    words = torch.empty((tiles, BLOCK), dtype=torch.int32, device=boxes.device)
    gone = torch.zeros(len(rows), dtype=torch.int32, device=boxes.device)
    keep = torch.empty(len(rows), dtype=torch.int32, device=boxes.device)
    # Products and sums are rounded one by one, as everywhere else.
    _overlaps[(len(blocks), triton.cdiv(widest, PER))](
        laid, blocks, words, len(rows), bar_of(iou), BLOCK, PER, enable_fp_fusion=False
    )
    many = min(MANY, triton.next_power_of_2(widest))
    warps = 4 if many <= BLOCK else 16
    _sweep[(len(spans),)](
        words, blocks, spans, gone, keep, BLOCK, many, num_warps=warps, enable_fp_fusion=False
    )
    flags = torch.zeros(len(rows), dtype=torch.bool, device=boxes.device)
    flags[rows] = keep != 0
    return order[flags[order]]


def _plan(groups: Tensor) -> tuple[Tensor, Tensor, int, int]:
    """How boxes lie in blocks, from their sorted (n,) groups.

    Returns:
        (blocks, 4) int64: first box, end of the group, blocks of it from here on, first tile of
        bits; (groups, 2) int64: first block, number of blocks; number of tiles; blocks of the
        largest group.
    """
    counts = torch.unique_consecutive(groups, return_counts=True)[1]
    per = (counts + BLOCK - 1) // BLOCK
    ends, stops = per.cumsum(0), counts.cumsum(0)
    facts = torch.stack([ends[-1], (per * (per + 1) // 2).sum(), per.max()])
    total, tiles, widest = facts.tolist()
    owner = torch.repeat_interleave(per, output_size=total)
    within = torch.arange(total, device=groups.device) - (ends - per)[owner]
    first = (stops - counts)[owner] + BLOCK * within
    left = per[owner] - within
    blocks = torch.stack([first, stops[owner], left, left.cumsum(0) - left], dim=1)
    return blocks, torch.stack([ends - per, per], dim=1), tiles, widest


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _overlaps(
    boxes: tl.tensor,
    blocks: tl.tensor,
    words: tl.tensor,
    n: tl.tensor,
    bar: tl.tensor,
    BLOCK: tl.constexpr,
    PER: tl.constexpr,
) -> None:
    """A word for each box of a few later blocks: bit r is set where row r overlaps it."""
    block = tl.program_id(0).to(tl.int64)
    first = tl.load(blocks + block * 4)
    end = tl.load(blocks + block * 4 + 1)
    left = tl.load(blocks + block * 4 + 2).to(tl.int32)
    tile = tl.load(blocks + block * 4 + 3)
    worker = tl.arange(0, BLOCK)
    row = first + worker
    there = row < end
    x0 = tl.load(boxes + row, mask=there, other=0.0)[:, None]
    y0 = tl.load(boxes + n + row, mask=there, other=0.0)[:, None]
    x1 = tl.load(boxes + 2 * n + row, mask=there, other=0.0)[:, None]
    y1 = tl.load(boxes + 3 * n + row, mask=there, other=0.0)[:, None]
    area = (x1 - x0) * (y1 - y0)
    start = tl.program_id(1) * PER
    for k in range(start, tl.minimum(start + PER, left)):
        column = first + k * BLOCK + worker
        inside = column < end
        a0 = tl.load(boxes + column, mask=inside, other=0.0)[None, :]
        b0 = tl.load(boxes + n + column, mask=inside, other=0.0)[None, :]
        a1 = tl.load(boxes + 2 * n + column, mask=inside, other=0.0)[None, :]
        b1 = tl.load(boxes + 3 * n + column, mask=inside, other=0.0)[None, :]
        wide = tl.maximum(tl.minimum(x1, a1) - tl.maximum(x0, a0), 0.0)
        high = tl.maximum(tl.minimum(y1, b1) - tl.maximum(y0, b0), 0.0)
        shared = wide * high
        overlap = tl.div_rn(shared, area + (a1 - a0) * (b1 - b0) - shared)
        later = (row[:, None] < column[None, :]) & inside[None, :]
        hit = (overlap > bar) & later
        word = tl.sum(hit.to(tl.int32) << worker[:, None], axis=0)
        tl.store(words + (tile + k) * BLOCK + worker, word)


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _sweep(
    words: tl.tensor,
    blocks: tl.tensor,
    spans: tl.tensor,
    gone: tl.tensor,
    keep: tl.tensor,
    BLOCK: tl.constexpr,
    MANY: tl.constexpr,
) -> None:
    """The blocks of one group in order: who stays, and whom those who stay send away."""
    group = tl.program_id(0).to(tl.int64)
    start = tl.load(spans + group * 2)
    number = tl.load(spans + group * 2 + 1).to(tl.int32)
    worker = tl.arange(0, BLOCK)
    step = tl.arange(0, MANY)
    for b in range(0, number):
        block = start + b
        first = tl.load(blocks + block * 4)
        end = tl.load(blocks + block * 4 + 1)
        tile = tl.load(blocks + block * 4 + 3)
        box = first + worker
        # Written by other threads of this program since; `volatile` reads it again.
        away = tl.load(gone + box, mask=box < end, other=1, volatile=True)
        dead = tl.sum((away != 0).to(tl.int32) << worker, axis=0)
        kept = dead & 0
        for c in tl.static_range(BLOCK):
            word = tl.load(words + tile * BLOCK + c)
            stays = ((word & kept) == 0) & (((dead >> c) & 1) == 0)
            kept = kept | (stays.to(tl.int32) << c)
        tl.store(keep + box, (kept >> worker) & 1, mask=box < end)
        for k in range(1, number - b, MANY):
            ahead = (k + step)[:, None]
            at = (tile + ahead) * BLOCK + worker[None, :]
            later = first + ahead * BLOCK + worker[None, :]
            hit = (tl.load(words + at, mask=ahead < number - b, other=0) & kept) != 0
            tl.store(gone + later, hit.to(tl.int32), mask=hit & (later < end))
        tl.debug_barrier()
