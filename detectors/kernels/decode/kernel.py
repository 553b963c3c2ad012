"""Decoding in two looks at the logits: count what is chosen, then write it where it belongs."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from detectors.kernels.decode.reference import Decoded
from detectors.retinanet import BOX_CLAMP

BLOCK = 1024
"""Logits a program."""


def decode(
    logits: Tensor, offsets: Tensor, anchors: Tensor, size: tuple[int, int], threshold: float
) -> Decoded:
    """See `detectors.kernels.decode.decode`."""
    n, a, classes = logits.shape
    logits = logits.contiguous()
    each = triton.cdiv(a * classes, BLOCK)
    counts = torch.zeros((n, each), dtype=torch.int64, device=logits.device)
    if counts.numel() > 0:
        _count[(each, n)](logits, counts, a * classes, threshold, BLOCK, enable_fp_fusion=False)
    # Blocks in order and workers in order: nothing depends on who is done first.
    ends = counts.view(-1).cumsum(0)
    k = int(ends[-1]) if counts.numel() > 0 else 0
    found = _room(k, logits.device)
    if k > 0:
        _write[(each, n)](
            logits,
            offsets.contiguous(),
            anchors.float().contiguous(),
            counts,
            ends,
            found.boxes,
            found.scores,
            found.labels,
            found.images,
            found.anchors,
            a,
            classes,
            float(size[0]),
            float(size[1]),
            threshold,
            BLOCK,
            BOX_CLAMP,
            # Products and sums are rounded one by one, as in the reference.
            enable_fp_fusion=False,
        )
    return found


def _room(k: int, device: torch.device) -> Decoded:
    """Place for so many boxes."""
    real = torch.empty((k, 4), device=device), torch.empty(k, device=device)
    labels, images, anchors = torch.empty((3, k), dtype=torch.int64, device=device)
    return Decoded(*real, labels, images, anchors)


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _scores(
    logits: tl.tensor, image: tl.tensor, at: tl.tensor, per: tl.tensor, mask: tl.tensor
) -> tl.tensor:
    x = tl.load(logits + image * per + at, mask=mask, other=0.0).to(tl.float32)
    down = tl.exp(-x)
    return tl.div_rn(tl.zeros_like(down) + 1.0, 1.0 + down)


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _count(
    logits: tl.tensor, counts: tl.tensor, per: tl.tensor, threshold: tl.tensor, BLOCK: tl.constexpr
) -> None:
    image = tl.program_id(1).to(tl.int64)
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    score = _scores(logits, image, at, per, at < per)
    chosen = (score >= threshold) & (at < per)
    total = tl.sum(chosen.to(tl.int32), axis=0)
    tl.store(counts + image * tl.num_programs(0) + tl.program_id(0), total.to(tl.int64))


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _write(
    logits: tl.tensor,
    offsets: tl.tensor,
    anchors: tl.tensor,
    counts: tl.tensor,
    ends: tl.tensor,
    boxes: tl.tensor,
    scores: tl.tensor,
    labels: tl.tensor,
    images: tl.tensor,
    sources: tl.tensor,
    a: tl.tensor,
    classes: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    threshold: tl.tensor,
    BLOCK: tl.constexpr,
    CLAMP: tl.constexpr,
) -> None:
    image = tl.program_id(1).to(tl.int64)
    block = image * tl.num_programs(0) + tl.program_id(0)
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    count = tl.load(counts + block)
    per = a * classes
    # Where nothing was counted nothing is read again.
    mask = at < tl.where(count > 0, per, 0)
    score = _scores(logits, image, at, per, mask)
    chosen = (score >= threshold) & mask
    to = tl.load(ends + block) - count + tl.cumsum(chosen.to(tl.int32), 0) - 1
    anchor = at // classes
    there = anchors + anchor.to(tl.int64) * 4
    x0 = tl.load(there, mask=chosen, other=0.0)
    y0 = tl.load(there + 1, mask=chosen, other=0.0)
    wide = tl.load(there + 2, mask=chosen, other=0.0) - x0
    high = tl.load(there + 3, mask=chosen, other=0.0) - y0
    there = offsets + (image * a + anchor) * 4
    dx = tl.load(there, mask=chosen, other=0.0).to(tl.float32)
    dy = tl.load(there + 1, mask=chosen, other=0.0).to(tl.float32)
    dw = tl.load(there + 2, mask=chosen, other=0.0).to(tl.float32)
    dh = tl.load(there + 3, mask=chosen, other=0.0).to(tl.float32)
    x, y = x0 + 0.5 * wide + dx * wide, y0 + 0.5 * high + dy * high
    # Comparisons let through what is not a number, as the reference does.
    half = 0.5 * wide * tl.exp(tl.where(dw > CLAMP, CLAMP, dw))
    rise = 0.5 * high * tl.exp(tl.where(dh > CLAMP, CLAMP, dh))
    tl.store(boxes + to * 4, _clip(x - half, width), mask=chosen)
    tl.store(boxes + to * 4 + 1, _clip(y - rise, height), mask=chosen)
    tl.store(boxes + to * 4 + 2, _clip(x + half, width), mask=chosen)
    tl.store(boxes + to * 4 + 3, _clip(y + rise, height), mask=chosen)
    tl.store(scores + to, score, mask=chosen)
    tl.store(labels + to, (at - anchor * classes).to(tl.int64), mask=chosen)
    tl.store(images + to, tl.zeros((BLOCK,), tl.int64) + image, mask=chosen)
    tl.store(sources + to, anchor.to(tl.int64), mask=chosen)


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _clip(x: tl.tensor, most: tl.tensor) -> tl.tensor:
    x = tl.where(x < 0.0, 0.0, x)
    return tl.where(x > most, most, x)
