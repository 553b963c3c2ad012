"""torchvision: its RetinaNet's own post-processing of the raw output of our RetinaNet."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from common import Boxes, quiet, raw_output, task, tell, tiles, timed
from numpy.typing import NDArray
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.retinanet import RetinaNet

from detectors.boxes import CAP, boxes_of

MOST = 32
"""Tiles whose raw output is held."""

STRIDES = (8, 16, 32)
APART = 1e5
"""Boxes of one tile lie this far from those of the next, so that they can be compared at once."""


def main() -> None:
    asked = task()
    predictor = Boxes(asked)
    config = predictor.member.config
    raw = [
        raw_output(predictor.member.net, picture[None], predictor.where)
        for _, _, picture in tiles(asked.scene, asked, MOST)
    ]
    each = [len(sizes) for sizes in predictor.member.net.spec.anchor_sizes]
    counts = [n * (asked.tile // stride) ** 2 for n, stride in zip(each, STRIDES, strict=True)]
    peer = SimpleNamespace(
        score_thresh=config.threshold,
        topk_candidates=CAP,
        detections_per_img=CAP,
        nms_thresh=config.nms_iou,
        box_coder=BoxCoder(weights=(1.0, 1.0, 1.0, 1.0)),
    )

    def theirs(logits: Tensor, offsets: Tensor, anchors: Tensor) -> Tensor:
        heads = {
            "cls_logits": list(logits.float().split(counts, 1)),
            "bbox_regression": list(offsets.float().split(counts, 1)),
        }
        shape = (asked.tile, asked.tile)
        found = RetinaNet.postprocess_detections(
            peer, heads, [list(anchors.split(counts))], [shape]
        )
        return found[0]["boxes"].cpu()

    def ours(logits: Tensor, offsets: Tensor, anchors: Tensor) -> NDArray[np.float64]:
        args = (logits[0], offsets[0], anchors, asked.tile, config.threshold, config.nms_iou)
        return boxes_of(*args).boxes

    with quiet():
        for one in (theirs, ours):
            one(*raw[0])
        peers, seconds = timed(lambda: [theirs(*one) for one in raw], predictor.where)
        own, ours_s = timed(lambda: [ours(*one) for one in raw], predictor.where)
    tell(
        asked,
        "torchvision",
        f"raw output of {len(raw)} tiles to boxes",
        seconds,
        ours_s,
        boxes=_apart([torch.as_tensor(one) for one in peers]),
        ours=_apart([torch.as_tensor(one) for one in own]),
    )


def _apart(boxes: list[Tensor]) -> Tensor:
    return torch.cat([one.double() + k * APART for k, one in enumerate(boxes)])


if __name__ == "__main__":
    main()
