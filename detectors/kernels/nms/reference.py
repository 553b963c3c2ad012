"""Suppression in plain torch: each box that stays is compared with all others."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


def nms(boxes: Tensor, scores: Tensor, groups: Tensor, iou: float) -> Tensor:
    """See `detectors.kernels.nms.nms`."""
    boxes, bar = boxes.float(), bar_of(iou)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    gone = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    kept = []
    for i in best_first(scores).tolist():
        if gone[i]:
            continue
        kept.append(i)
        low = torch.maximum(boxes[i, :2], boxes[:, :2])
        high = torch.minimum(boxes[i, 2:], boxes[:, 2:])
        side = (high - low).clamp(min=0)
        shared = side[:, 0] * side[:, 1]
        # Not a number where both have no area: more than nothing.
        overlap = shared / (area[i] + area - shared)
        gone |= (overlap > bar) & (groups == groups[i])
    return torch.tensor(kept, dtype=torch.int64, device=boxes.device)


def best_first(scores: Tensor) -> Tensor:
    """(n,) indices by falling score; of equal ones the lower index first."""
    return torch.sort(scores, descending=True, stable=True).indices


def bar_of(iou: float) -> float:
    """The largest float32 that is not above `iou`: a float32 exceeds both or neither."""
    near = float(np.float32(iou))
    return near if near <= iou else float(np.nextafter(np.float32(near), np.float32(-math.inf)))
