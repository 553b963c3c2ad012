"""From a RetinaNet's dense output to boxes: threshold, decode, clip, suppress."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from detectors.kernels.decode import decode
from detectors.kernels.nms import nms
from detectors.views import Views

CAP = 20_000
"""Boxes of one tile that suppression is given at most: a guard against a scene of noise, far
above any real tile. Where it bites, the result says so."""

LEAST_SIDE = 2.0
"""Boxes that a tile's border leaves thinner than this many pixels say nothing."""


def boxes_of(
    logits: Tensor, offsets: Tensor, anchors: Tensor, size: int, threshold: float, nms_iou: float
) -> Views:
    """Boxes of one tile: `boxes_of_tiles` of (a, classes) logits and (a, 4) offsets."""
    return boxes_of_tiles(logits[None], offsets[None], anchors, size, threshold, nms_iou)[0]


def boxes_of_tiles(
    logits: Tensor, offsets: Tensor, anchors: Tensor, size: int, threshold: float, nms_iou: float
) -> list[Views]:
    """Boxes of each of n tiles, best first, in one pass through the device.

    Args:
        logits: (n, a, classes) of every anchor.
        offsets: (n, a, 4).
        anchors: (a, 4) x0 y0 x1 y1 pixels.
        size: side of the tiles in pixels; boxes are clipped to it.
        threshold: least score.
        nms_iou: boxes of one class that overlap a better one by more than this go.
    """
    detections = decode(logits, offsets, anchors, (size, size), threshold)
    # Few boxes are left: suppression on the CPU is quicker than a kernel's launch.
    images, columns = (
        detections.images.cpu(),
        (detections.boxes.cpu(), detections.scores.cpu(), detections.labels.cpu()),
    )
    counts = torch.bincount(images, minlength=len(logits)).tolist()
    tiles = zip(*(torch.split(column, counts) for column in columns), strict=True)
    return [_suppressed(boxes, score, label, nms_iou) for boxes, score, label in tiles]


def _suppressed(boxes: Tensor, score: Tensor, label: Tensor, nms_iou: float) -> Views:
    """What stays of one tile's (k, 4) boxes, (k,) scores and (k,) labels."""
    capped = len(score) > CAP
    if capped:
        best = torch.sort(score, descending=True, stable=True).indices[:CAP]
        boxes, score, label = boxes[best], score[best], label[best]
    wide = ((boxes[:, 2:] - boxes[:, :2]) >= LEAST_SIDE).all(-1)
    boxes, score, label = boxes[wide], score[wide], label[wide]
    keep = nms(boxes, score, label, nms_iou)
    return Views.of(
        np.asarray(boxes[keep]), np.asarray(score[keep]), np.asarray(label[keep]), capped=capped
    )
