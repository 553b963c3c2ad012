"""Operation: labels for images that have none, from a detector that is sure of them."""

from __future__ import annotations

import numpy as np
from pydantic import Field, model_validator

from lanner.core.config import Strict
from lanner.core.errors import GsdError
from lanner.factory.images import read_rgb
from lanner.factory.ops.work import Samples, Work, of_sources, replaced
from lanner.factory.samples import Label
from lanner.factory.steps.explore.disagree import assign
from lanner.factory.steps.explore.labels import pairwise_iou
from lanner.factory.steps.explore.measure import content_hash
from lanner.factory.steps.explore.predictions import Memory, Predictions, open_detector

MEMORY = "predictions.jsonl"


class Params(Strict):
    """Whose word is taken, and how far.

    `model` is a released detector or a YAML file. What scores `accept` becomes a label of weight
    `weight`; what scores `ignore` is left out of training; below is background. With `agree`
    the detector looks twice, the second time at the mirrored image: what only one look sees
    counts half. `empty: drop` leaves out images without a single label.
    """

    model: str
    sources: tuple[str, ...] = ()
    accept: float = Field(0.8, gt=0, le=1)
    ignore: float = Field(0.15, ge=0, le=1)
    agree: bool = True
    weight: float = Field(1.0, gt=0)
    empty: str = Field("keep", pattern="^(keep|drop)$")

    @model_validator(mode="after")
    def _rising(self) -> Params:
        if self.ignore > self.accept:
            raise ValueError(f"ignore {self.ignore} is above accept {self.accept}")
        return self


def run(samples: Samples, work: Work, params: Params) -> Samples:
    """Label the unlabelled images of some sources (all of them where none is named).

    What the detector said is remembered by content of the image; images that it cannot look at
    stay unlabelled, which is recorded.

    Raises:
        LannerError: the detector cannot be opened, or an image does not decode.
    """
    work.require_sources(params.sources, samples, "sources")
    todo = [one for one in of_sources(samples, params.sources) if one.role == "unlabelled"]
    if not todo:
        return samples
    detector = open_detector(params.model, work.project.path.parent, work.project.cancel)
    memory = Memory(work.project.step_dir("process") / MEMORY, detector)
    changed, dropped = {}, set()
    for sample in work.each(todo):
        rgb = read_rgb(sample.image)
        try:
            predictions = memory.predict(rgb, content_hash(rgb), sample.gsd)
            if params.agree:
                other = np.ascontiguousarray(rgb[:, ::-1])
                again = memory.predict(other, content_hash(other), sample.gsd)
                predictions = agreed(predictions, mirrored(again, sample.width))
        except GsdError as error:
            work.note(sample.id, f"stays unlabelled: {error.problem}")
            continue
        labels = labels_of(predictions, params)
        sure = sum(one.weight > 0 for one in labels)
        if not sure and params.empty == "drop":
            dropped.add(sample.id)
            work.note(sample.id, "dropped: nothing is sure enough to be a label")
            continue
        changed[sample.id] = sample.but(role="labelled", labels=labels)
        work.note(sample.id, f"{sure} labels and {len(labels) - sure} ignored, by {params.model}")
    return tuple(one for one in replaced(samples, changed) if one.id not in dropped)


def mirrored(predictions: Predictions, width: int) -> Predictions:
    """What was seen on the mirrored image, in the image's own pixels."""
    x0, y0, x1, y1 = predictions.boxes.T
    return Predictions(
        np.stack([width - x1, y0, width - x0, y1], 1), predictions.scores, predictions.labels
    )


def agreed(first: Predictions, second: Predictions) -> Predictions:
    """Two looks at one image as one: means of boxes and scores; half the score of a lone look.

    Boxes of one class that overlap by half are the same object.
    """
    iou = pairwise_iou(first.boxes, second.boxes)
    same = np.array([[a == b for b in second.labels] for a in first.labels], bool).reshape(
        iou.shape
    )
    pairs = assign(iou, (iou >= 0.5) & same)
    boxes = [(first.boxes[i] + second.boxes[j]) / 2 for i, j in pairs]
    scores = [float(first.scores[i] + second.scores[j]) / 2 for i, j in pairs]
    labels = [first.labels[i] for i, _ in pairs]
    for side, taken in ((first, {i for i, _ in pairs}), (second, {j for _, j in pairs})):
        for k in range(len(side.boxes)):
            if k not in taken:
                boxes.append(side.boxes[k])
                scores.append(float(side.scores[k]) / 2)
                labels.append(side.labels[k])
    order = sorted(range(len(scores)), key=lambda k: (-scores[k], boxes[k].tolist()))
    return Predictions(
        np.array([boxes[k] for k in order], np.float64).reshape(-1, 4),
        np.array([scores[k] for k in order], np.float64),
        tuple(labels[k] for k in order),
    )


def labels_of(predictions: Predictions, params: Params) -> tuple[Label, ...]:
    """Labels of what is sure, ignored ones of what may be."""
    out = []
    for box, score, name in zip(
        predictions.boxes, predictions.scores, predictions.labels, strict=True
    ):
        if score >= params.ignore:
            x0, y0, x1, y1 = box.round(2).tolist()
            weight = params.weight if score >= params.accept else 0.0
            out.append(Label(name, (x0, y0, x1, y1), weight=weight, flags=("pseudo",)))
    return tuple(out)
