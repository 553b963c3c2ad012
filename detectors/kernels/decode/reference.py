"""Decoding in plain torch, tile by tile: only what is chosen is decoded."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from detectors.libraries import torchvision
from detectors.retinanet import decode_boxes


@dataclass(frozen=True)
class Decoded:
    """Boxes of a batch of tiles.

    `boxes` (k, 4) float32 x0 y0 x1 y1 pixels; `scores` (k,) float32; `labels`, `images` and
    `anchors` (k,) int64: class, tile of the batch, and anchor each box came from.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    images: Tensor
    anchors: Tensor


def decode(
    logits: Tensor, offsets: Tensor, anchors: Tensor, size: tuple[int, int], threshold: float
) -> Decoded:
    """See `detectors.kernels.decode.decode`."""
    found = []
    for image, one in enumerate(logits):
        # A tile by itself: the last bit of a sigmoid depends on where in memory a number lies.
        scores = torch.sigmoid(one.float())
        anchor, label = torch.nonzero(scores >= threshold, as_tuple=True)
        boxes = decode_boxes(offsets[image, anchor], anchors[anchor])
        boxes = torchvision.ops.clip_boxes_to_image(boxes, size)
        which = torch.full_like(anchor, image)
        found.append((boxes, scores[anchor, label], label, which, anchor))
    if len(found) == 1:  # as it is, without a copy
        return Decoded(*found[0])
    if not found:
        whole = torch.empty(0, dtype=torch.int64, device=logits.device)
        real = torch.empty((0, 4), device=logits.device)
        return Decoded(real, real[:, 0], whole, whole, whole)
    return Decoded(*(torch.cat(column) for column in zip(*found, strict=True)))
