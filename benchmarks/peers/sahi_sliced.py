"""SAHI: sliced prediction over a whole scene, with our RetinaNet in torchvision's form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from common import Boxes, task, tell, timed
from sahi.models.torchvision import TorchVisionDetectionModel
from sahi.predict import get_sliced_prediction
from torch import Tensor

SHARED = 0.5
"""Boxes of which one shares more of its area with the other are one object: SAHI's own measure
and limit, by which the part that a slice cuts off goes with the whole."""


class Detection(torch.nn.Module):
    """What SAHI expects of a torchvision detector: pictures in, dicts of tensors out."""

    def __init__(self, boxes: Boxes) -> None:
        super().__init__()
        self.predict = boxes

    def forward(self, pictures: Sequence[Tensor]) -> list[dict[str, Tensor]]:
        """One dict a picture."""
        predictions = [self.predict(picture) for picture in pictures]
        return [{"boxes": b, "scores": s, "labels": n} for b, s, n in predictions]


def main() -> None:
    asked = task()
    predictor = Boxes(asked)
    model = TorchVisionDetectionModel(
        model=Detection(predictor),
        device=asked.device,
        confidence_threshold=0.0,  # the network's own thresholds are applied before
        category_mapping={"0": "object"},
    )

    def work() -> list[tuple[list[float], float]]:
        # The look at the whole scene at once is left out: Lanner takes none either.
        result = get_sliced_prediction(
            str(asked.scene),
            model,
            slice_height=asked.tile,
            slice_width=asked.tile,
            overlap_height_ratio=asked.overlap,
            overlap_width_ratio=asked.overlap,
            perform_standard_pred=False,
            postprocess_type="NMS",
            postprocess_match_metric="IOS",
            postprocess_match_threshold=SHARED,
            verbose=0,
        )
        found = result.object_prediction_list
        return [(one.bbox.to_xyxy(), float(one.score.value)) for one in found]

    found, seconds = timed(work, predictor.where)
    boxes = np.reshape([box for box, _ in found], (-1, 4))
    scores = np.asarray([score for _, score in found])
    what = "scene to boxes, float32" if asked.usual else "scene to boxes, as ours"
    tell(asked, "sahi", what, seconds, boxes=boxes, scores=scores)


if __name__ == "__main__":
    main()
