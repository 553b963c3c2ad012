"""Clusters of boxes: groups side by side, the boxes of one in turn, its clusters side by side.

The boxes of one group depend on each other, so one large group keeps one multiprocessor busy
and the rest idle: worth it where boxes are on the device already and the groups are many.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 512
"""Clusters a box is compared with at once."""


def clusters(boxes: Tensor, say: Tensor, groups: Tensor, least: float) -> Tensor:
    """See `detectors.kernels.fuse.clusters`."""
    n, device = len(boxes), boxes.device
    if n == 0:
        return torch.empty(0, dtype=torch.int64, device=device)
    kinds, order = torch.sort(groups, stable=True)
    _, many = torch.unique_consecutive(kinds, return_counts=True)
    starts = torch.cat([many.new_zeros(1), many.cumsum(0)])
    mean, weighted = torch.empty((2, 4, n), device=device)
    slot, founder = torch.empty((2, n), dtype=torch.int64, device=device)
    _clusters[(len(many),)](
        boxes[order].to(torch.float32).contiguous(),
        say[order].to(torch.float32).contiguous(),
        starts,
        mean,
        weighted,
        torch.empty(n, device=device),
        slot,
        founder,
        n,
        float(least),
        BLOCK,
        # A product and a sum that are one rounding would say otherwise than a CPU.
        enable_fp_fusion=False,
    )
    row = torch.empty_like(order)
    row[order] = order[founder[slot]]
    founds = row == torch.arange(n, device=device)
    return (founds.cumsum(0) - 1)[row]


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _clusters(
    boxes: tl.tensor,
    say: tl.tensor,
    starts: tl.tensor,
    mean: tl.tensor,
    weighted: tl.tensor,
    total: tl.tensor,
    slot: tl.tensor,
    founder: tl.tensor,
    n: tl.tensor,
    least: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    start = tl.load(starts + tl.program_id(0))
    end = tl.load(starts + tl.program_id(0) + 1)
    worker = tl.arange(0, BLOCK).to(tl.int64)
    # Columns of `mean` and `weighted`, which hold one side after the other.
    corner = tl.arange(0, 4).to(tl.int64)
    side = corner * n
    count = start - start
    for i in range(start, end):
        x0 = tl.load(boxes + i * 4)
        y0 = tl.load(boxes + i * 4 + 1)
        x1 = tl.load(boxes + i * 4 + 2)
        y1 = tl.load(boxes + i * 4 + 3)
        area = (x1 - x0) * (y1 - y0)
        most = tl.zeros((BLOCK,), tl.float32) + least
        best = tl.zeros((BLOCK,), tl.int64) + n
        for k in range(0, count, BLOCK):
            at = worker + k
            there = at < count
            m0 = tl.load(mean + start + at, mask=there, other=0.0)
            m1 = tl.load(mean + n + start + at, mask=there, other=0.0)
            m2 = tl.load(mean + 2 * n + start + at, mask=there, other=0.0)
            m3 = tl.load(mean + 3 * n + start + at, mask=there, other=0.0)
            wide = tl.minimum(x1, m2) - tl.maximum(x0, m0)
            high = tl.minimum(y1, m3) - tl.maximum(y0, m1)
            shared = wide * high
            other = (m2 - m0) * (m3 - m1)
            both = there & (wide > 0.0) & (high > 0.0)
            overlap = tl.div_rn(shared, tl.where(both, area + other - shared, 1.0))
            better = both & (overlap > most)
            most = tl.where(better, overlap, most)
            best = tl.where(better, at, best)
        # Of equal overlaps the first counts; workers that found nothing hold n.
        top = tl.max(most, 0)
        found = tl.min(tl.where(most == top, best, n), 0)
        joins = found < n
        to = start + tl.where(joins, found, count)
        # For each side of the box; one mask for a row of addresses is not taken everywhere.
        known = corner * 0 + found < n
        box = tl.load(boxes + i * 4 + corner)
        heavy = tl.load(say + i)
        whole = tl.load(total + to, mask=joins, other=0.0) + heavy
        sums = tl.load(weighted + side + to, mask=known, other=0.0) + heavy * box
        old = tl.load(mean + side + to, mask=known, other=0.0)
        # What counts for nothing moves nothing.
        moved = tl.where(whole > 0.0, tl.div_rn(sums, tl.where(whole > 0.0, whole, 1.0)), old)
        # Whoever is slow reads what was, not what is written here.
        tl.debug_barrier()
        tl.store(total + to, whole)
        tl.store(weighted + side + to, sums)
        tl.store(mean + side + to, tl.where(known, moved, box))
        tl.store(slot + i, to)
        tl.store(founder + to, i, mask=found >= n)
        count += tl.where(joins, 0, 1)
        # The next box is compared with what other threads just wrote.
        tl.debug_barrier()
