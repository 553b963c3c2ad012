"""From a RetinaNet's dense output to boxes: threshold, decode, clip, suppress."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image

from detectors.retinanet import decode_boxes
from detectors.views import Views

CAP = 20_000
"""Boxes of one tile that suppression is given at most: a guard against a scene of noise, far
above any real tile. Where it bites, the result says so."""

LEAST_SIDE = 2.0
"""Boxes that a tile's border leaves thinner than this many pixels say nothing."""


def boxes_of(
    logits: Tensor, offsets: Tensor, anchors: Tensor, size: int, threshold: float, nms_iou: float
) -> Views:
    """Boxes of one tile, best first.

    Args:
        logits: (a, classes) of every anchor.
        offsets: (a, 4).
        anchors: (a, 4) x0 y0 x1 y1 pixels.
        size: side of the tile in pixels; boxes are clipped to it.
        threshold: least score.
        nms_iou: boxes of one class that overlap a better one by more than this go.
    """
    scores = torch.sigmoid(logits.float())
    anchor, label = torch.nonzero(scores >= threshold, as_tuple=True)
    score = scores[anchor, label]
    capped = len(score) > CAP
    if capped:
        best = torch.sort(score, descending=True, stable=True).indices[:CAP]
        anchor, label, score = anchor[best], label[best], score[best]
    boxes = decode_boxes(offsets[anchor], anchors[anchor])
    boxes = clip_boxes_to_image(boxes, (size, size))
    wide = ((boxes[:, 2:] - boxes[:, :2]) >= LEAST_SIDE).all(-1)
    # Few boxes are left: suppression on the CPU is quick and gives the same order everywhere.
    boxes, score, label = boxes[wide].cpu(), score[wide].cpu(), label[wide].cpu()
    keep = batched_nms(boxes, score, label, nms_iou)
    return Views.of(
        np.asarray(boxes[keep]), np.asarray(score[keep]), np.asarray(label[keep]), capped=capped
    )
