"""Suppression and decoding beside torchvision's own, medians of runs that take turns.

python benchmarks/kernels_boxes.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import batched_nms, clip_boxes_to_image
from torchvision.ops import nms as plain_nms

from detectors.kernels.decode import decode
from detectors.kernels.nms import nms

REPEATS = 5
IOU, THRESHOLD = 0.5, 0.3
THREADS = (1, 2)
SIDE = 1024
STRIDES, ANCHOR_SIDES = (8, 16, 32), (2.0, 3.0, 4.0)
"""Pyramid levels of the detector, and the sides of each place's anchors in strides."""

Boxes = tuple[Tensor, Tensor, Tensor]


def rows() -> list[dict[str, Any]]:
    """Measure on the CPU with one thread and with two, then on a CUDA device if there is one.

    Returns:
        One row a case: `name`, `size`, `device`, `threads`, `seconds` of ours, `torchvision_s`,
        `ratio` of the second to the first, and whether both gave the `same` boxes.
    """
    before = torch.get_num_threads()
    result: list[dict[str, Any]] = []
    try:
        for threads in THREADS:
            torch.set_num_threads(threads)
            result += _on(torch.device("cpu"), threads)
    finally:
        torch.set_num_threads(before)
    if torch.cuda.is_available():
        result += _on(torch.device("cuda"), before)
    return result


def _on(device: torch.device, threads: int) -> list[dict[str, Any]]:
    one = _crowd(33_337, 2_000, 4096.0, 1, device)
    many = _crowd(100_000, 6_000, 8192.0, 80, device)
    tile, tiles = _heads(1, 1, device), _heads(8, 4, device)
    cases: list[tuple[str, str, Callable[[], Tensor], Callable[[], Tensor]]] = [
        (
            "nms, one class",
            "33,337 boxes of 2,000 objects",
            lambda: nms(*one, IOU),
            lambda: plain_nms(one[0], one[1], IOU),
        ),
        (
            "nms, 80 classes",
            "100,000 boxes of 6,000 objects",
            lambda: nms(*many, IOU),
            lambda: batched_nms(*many, IOU),
        ),
        (
            "decode",
            f"1 tile, {len(tile[2]):,} anchors, 1 class",
            lambda: decode(*tile, (SIDE, SIDE), THRESHOLD).boxes,
            lambda: _by_torchvision(*tile),
        ),
        (
            "decode",
            f"8 tiles, {len(tiles[2]):,} anchors, 4 classes",
            lambda: decode(*tiles, (SIDE, SIDE), THRESHOLD).boxes,
            lambda: _by_torchvision(*tiles),
        ),
    ]
    return [_row(*case, device, threads) for case in cases]


def _row(
    name: str,
    size: str,
    ours: Callable[[], Tensor],
    theirs: Callable[[], Tensor],
    device: torch.device,
    threads: int,
) -> dict[str, Any]:
    same = _same(ours(), theirs())  # also the first run of both, which is not timed
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(REPEATS):
        for call, seconds in zip((ours, theirs), taken, strict=True):
            seconds.append(_seconds(call, device))
    mine, other = median(taken[0]), median(taken[1])
    return {
        "name": name,
        "size": size,
        "device": device.type,
        "threads": threads,
        "seconds": mine,
        "torchvision_s": other,
        "ratio": other / mine,
        "same": same,
    }


def _same(one: Tensor, two: Tensor) -> bool:
    """Indices as sets, since torchvision leaves equal scores in any order; boxes to 0.001 px."""
    if one.dtype == torch.int64:
        return torch.equal(one.sort().values, two.sort().values)
    return one.shape == two.shape and torch.allclose(one, two, rtol=0, atol=1e-3)


def _seconds(call: Callable[[], Tensor], device: torch.device) -> float:
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _by_torchvision(logits: Tensor, offsets: Tensor, anchors: Tensor) -> Tensor:
    """What torchvision's RetinaNet does with its heads, but for its cap on boxes."""
    coder, found = BoxCoder(weights=(1.0, 1.0, 1.0, 1.0)), []
    for one, two in zip(logits, offsets, strict=True):
        scores = torch.sigmoid(one).flatten()
        chosen = torch.where(scores > THRESHOLD)[0]
        anchor = torch.div(chosen, one.shape[-1], rounding_mode="floor")
        boxes = coder.decode_single(two[anchor], anchors[anchor])
        found.append(clip_boxes_to_image(boxes, (SIDE, SIDE)))
    return torch.cat(found)


def _crowd(n: int, objects: int, side: float, classes: int, device: torch.device) -> Boxes:
    """Boxes, scores and classes as a detector gives them: several boxes an object."""
    rng = np.random.default_rng(0)
    centre, size = rng.uniform(0, side, (objects, 2)), rng.uniform(12, 120, (objects, 1))
    of = rng.integers(0, objects, n)
    middle = centre[of] + rng.normal(0, 0.08, (n, 2)) * size[of]
    half = size[of] * np.exp(rng.normal(0, 0.12, (n, 2))) / 2
    boxes = np.concatenate([middle - half, middle + half], axis=1).astype(np.float32)
    scores, groups = rng.random(n, dtype=np.float32), rng.integers(0, classes, n)
    return _there(boxes, device), _there(scores, device), _there(groups, device)


def _heads(n: int, classes: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, offsets and anchors of n tiles; one anchor in a hundred is sure enough."""
    rng = np.random.default_rng(0)
    anchors = np.concatenate([_anchors(stride) for stride in STRIDES])
    a = len(anchors)
    logits = rng.normal(-4.0, 0.5, (n, a, classes)).astype(np.float32)
    logits[rng.random(logits.shape) < 0.01] = 1.0
    offsets = rng.normal(0, 0.2, (n, a, 4)).astype(np.float32)
    return _there(logits, device), _there(offsets, device), _there(anchors, device)


def _anchors(stride: int) -> NDArray[np.float32]:
    centres = np.arange(0, SIDE, stride, dtype=np.float32)
    y, x, side = np.meshgrid(centres, centres, np.float32(ANCHOR_SIDES) * stride, indexing="ij")
    corners = [x - side / 2, y - side / 2, x + side / 2, y + side / 2]
    return np.stack(corners, axis=-1).reshape(-1, 4)


def _there(values: NDArray[Any], device: torch.device) -> Tensor:
    return torch.from_numpy(values).to(device)


if __name__ == "__main__":
    for row in rows():
        print("  ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()))
