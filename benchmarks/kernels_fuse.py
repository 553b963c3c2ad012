"""Box fusion, components and blending beside a peer or their reference, medians of runs by turns.

python benchmarks/kernels_fuse.py

The peer of box fusion is the package ensemble-boxes, where it can be imported.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from detectors.kernels import blend, fuse, label
from detectors.kernels.blend import reference as plain_blend
from detectors.kernels.fuse import reference as plain_fuse
from detectors.kernels.fuse.grid import clusters as indexed
from detectors.kernels.label import reference as plain_label
from tiling.blend import window_weights

REPEATS = 5
BOXES, OBJECTS, MODELS = 8_000, 5_000, 2
"""Boxes a model, of so many objects."""
LEAST = 0.55
CLOSE = 1e-5
"""The peer keeps its means in float32."""

Timed = Callable[[], Any]


def rows() -> list[dict[str, Any]]:
    """Measure on the CPU, then on a CUDA device if there is one.

    Returns:
        One row a case: `name`, `size`, `device`, `seconds` of ours, what the `other` is,
        `other_s`, the `ratio` of the second to the first, and whether both say the `same`.
    """
    result = []
    for classes in (1, 20):
        result += _against_peer(classes)
        result.append(_index(classes))
    if torch.cuda.is_available():
        result += [_clusters_on_device(), _label_on_device(), _blend_on_device()]
    return result


def _views(classes: int) -> list[list[NDArray[Any]]]:
    """Boxes, scores and labels of each model: noisy views of objects in a unit square."""
    rng = np.random.default_rng(0)
    centre, side = rng.uniform(0.02, 0.98, (OBJECTS, 2)), rng.uniform(0.004, 0.02, (OBJECTS, 2))
    true = np.concatenate([centre - side / 2, centre + side / 2], 1)
    kind = rng.integers(classes, size=OBJECTS)
    boxes, scores, labels = [], [], []
    for _ in range(MODELS):
        which = rng.integers(OBJECTS, size=BOXES)
        boxes.append((true[which] + rng.normal(0, 6e-4, (BOXES, 4))).clip(0, 1))
        scores.append(rng.uniform(0.05, 1, BOXES))
        labels.append(kind[which])
    return [boxes, scores, labels]


def _against_peer(classes: int) -> list[dict[str, Any]]:
    try:
        peer = importlib.import_module("ensemble_boxes").weighted_boxes_fusion
    except ModuleNotFoundError:
        return []
    views = _views(classes)

    def same(ours: Any, theirs: Any) -> bool:
        one, two = (np.column_stack(found) for found in (ours, theirs))
        if one.shape != two.shape:
            return False
        # Objects of one score to rounding come in any order.
        order = [np.lexsort((*some[:, :4].round(4).T, some[:, 5])) for some in (one, two)]
        return bool(np.abs(one[order[0]] - two[order[1]]).max(initial=0) <= CLOSE)

    return [
        _row(
            _named("box fusion", classes),
            f"{MODELS * BOXES} boxes",
            "cpu",
            ("ensemble-boxes", lambda: peer(*views, iou_thr=LEAST)),
            lambda: fuse.weighted_boxes_fusion(*views, least=LEAST),
            same,
        )
    ]


def _index(classes: int) -> dict[str, Any]:
    args = _ordered(classes)
    return _row(
        _named("clusters of boxes", classes),
        f"{MODELS * BOXES} boxes",
        "cpu",
        ("compared with all", lambda: plain_fuse.clusters(*args, LEAST)),
        lambda: indexed(*args, LEAST),
        lambda one, two: bool((one == two).all()),
    )


def _clusters_on_device() -> dict[str, Any]:
    """Sixteen images at once, of twenty classes each."""
    boxes, say, labels = _ordered(20)
    image = np.arange(len(boxes)) % 16
    args = (boxes.astype(np.float32), say.astype(np.float32), labels + 20 * image)
    there = [torch.from_numpy(one).cuda() for one in args]
    return _row(
        "clusters of boxes, 16 images, 20 classes",
        f"{len(boxes)} boxes",
        "cuda",
        ("compared with all on the CPU", lambda: plain_fuse.clusters(*args, LEAST)),
        lambda: fuse.clusters(there[0], there[1], there[2], LEAST),
        lambda one, two: bool((one.cpu().numpy() == two).all()),
    )


def _label_on_device() -> dict[str, Any]:
    rng = torch.Generator().manual_seed(0)
    coarse = torch.rand((16, 1, 128, 128), generator=rng)
    mask = torch.nn.functional.interpolate(coarse, scale_factor=8, mode="bilinear")[:, 0] > 0.55
    there = mask.cuda()
    return _row(
        "components, 8 neighbours",
        "16 x 1024 x 1024",
        "cuda",
        ("scipy", lambda: plain_label.label(mask)),
        lambda: label.label(there),
        lambda one, two: all(torch.equal(a.cpu(), b) for a, b in zip(one, two, strict=True)),
    )


def _blend_on_device() -> dict[str, Any]:
    """A row of tiles of 512 into a band of 8192 columns, to bytes."""
    rng = torch.Generator().manual_seed(0)
    values = torch.rand((24, 3, 512, 512), generator=rng)
    valid = torch.rand((24, 512, 512), generator=rng) > 0.1
    weights = torch.from_numpy(window_weights(512))
    args = (values, valid, weights)
    there = tuple(one.cuda() for one in args)
    at = [(0, 352 * i - 80) for i in range(24)]

    def run(op: Any, device: str, given: tuple[torch.Tensor, ...]) -> torch.Tensor:
        mean = torch.zeros((3, 512, 8192), device=device)
        total = torch.zeros((512, 8192), device=device)
        op.add(mean, total, *given, at)
        done: torch.Tensor = op.quantise(mean, total)
        return done

    return _row(
        "blending to bytes, 3 channels",
        "24 tiles of 512",
        "cuda",
        ("plain torch on the CPU", lambda: run(plain_blend, "cpu", args)),
        lambda: run(blend, "cuda", there),
        lambda one, two: torch.equal(one.cpu(), two),
    )


def _ordered(classes: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    boxes, scores, labels = (np.concatenate(part) for part in _views(classes))
    order = np.argsort(-scores, kind="stable")
    return boxes[order], scores[order], labels[order]


def _named(name: str, classes: int) -> str:
    return f"{name}, {'one class' if classes == 1 else f'{classes} classes'}"


def _row(
    name: str,
    size: str,
    device: str,
    other: tuple[str, Timed],
    ours: Timed,
    same: Callable[[Any, Any], bool],
) -> dict[str, Any]:
    # The first runs compile, and say whether the figures are worth having.
    alike = same(ours(), other[1]())
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(REPEATS):
        for run, seconds in zip((ours, other[1]), taken, strict=True):
            _wait(device)
            start = time.perf_counter()
            run()
            _wait(device)
            seconds.append(time.perf_counter() - start)
    mine, theirs = (median(seconds) for seconds in taken)
    return {
        "name": name,
        "size": size,
        "device": device,
        "seconds": mine,
        "other": other[0],
        "other_s": theirs,
        "ratio": theirs / mine,
        "same": alike,
    }


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    for row in rows():
        print(
            f"{row['name']}, {row['size']}, {row['device']}: {row['seconds'] * 1e3:.2f} ms,"
            f" {row['other']} {row['other_s'] * 1e3:.1f} ms, {row['ratio']:.1f} x,"
            f" {'same' if row['same'] else 'NOT THE SAME'}"
        )
