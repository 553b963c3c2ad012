"""ensemble-boxes: weighted box fusion of what RetinaNet and Res-UNet see in a scene."""

from __future__ import annotations

import numpy as np
import torch
from common import ensemble, quiet, task, tell, tiles, timed
from ensemble_boxes import weighted_boxes_fusion
from numpy.typing import NDArray

from detectors.device import running
from detectors.fusion import fuse
from detectors.inputs import prepare
from detectors.views import Views

MOST = 32
"""Tiles that are looked at; what is seen on them is fused as one picture."""


def main() -> None:
    asked = task()
    whole = ensemble(asked)
    views = _views(whole, asked)
    weights = [member.config.weight for member in whole.members]
    # The method as published: no second round for boxes that no member saw both of.
    fusion = whole.config.fusion.model_copy(
        update={"cross_member_iou": 1.0, "missing": 1.0, "min_score": 0.0}
    )
    extent = max([1.0, *(float(view.boxes.max()) for view in views if len(view))])

    def theirs() -> NDArray[np.float64]:
        boxes, _, _ = weighted_boxes_fusion(
            [view.boxes / extent for view in views],
            [view.scores for view in views],
            [view.labels for view in views],
            weights=weights,
            iou_thr=fusion.iou,
            skip_box_thr=0.0,
        )
        return boxes * extent

    def ours() -> NDArray[np.float64]:
        return fuse(views, weights, fusion).boxes

    for one in (theirs, ours):
        one()
    peers, seconds = timed(theirs, whole.compute)
    own, ours_s = timed(ours, whole.compute)
    count = sum(map(len, views))
    tell(asked, "ensemble-boxes", f"{count} boxes fused", seconds, ours_s, boxes=peers, ours=own)


def _views(whole, asked) -> list[Views]:
    """What each member sees, in pixels of the scene; overlaps of tiles are kept as they are."""
    per_member: list[list[Views]] = [[] for _ in whole.members]
    with quiet(), running(whole.compute):
        for x, y, picture in tiles(asked.scene, asked, MOST):
            valid = torch.ones(1, asked.tile, asked.tile, dtype=torch.bool)
            valid = valid.to(whole.compute.device)
            inputs = prepare(picture[None].to(whole.compute.device), valid)
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            for k, member in enumerate(whole.members):
                view = member.predict(inputs, valid)[0]()
                shift = np.array([x, y, x, y], np.float64)
                per_member[k].append(Views.of(view.boxes + shift, view.scores, view.labels))
    return [
        Views.of(
            np.concatenate([one.boxes for one in views]),
            np.concatenate([one.scores for one in views]),
            np.concatenate([one.labels for one in views]),
        )
        for views in per_member
    ]


if __name__ == "__main__":
    main()
