"""The one pass over all images: decode once, measure, and ask the model where one is named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lanner.core.errors import DatasetError, GsdError
from lanner.core.job import Progress
from lanner.factory.images import read_rgb
from lanner.factory.project import Project
from lanner.factory.samples import Box, Sample
from lanner.factory.steps.explore.disagree import Doubt, View, confident, rank
from lanner.factory.steps.explore.findings import Finding
from lanner.factory.steps.explore.labels import boxes_of
from lanner.factory.steps.explore.measure import Facts, measure
from lanner.factory.steps.explore.predictions import Detector, Memory, Predictions, open_detector

MEMORY = "predictions.jsonl"
"""What the model saw, by content of the image, in the folder of explore."""


@dataclass(frozen=True)
class Examined:
    """What the pass gave, by sample id, and what went wrong on the way."""

    facts: Mapping[str, Facts]
    predictions: Mapping[str, Predictions]
    findings: tuple[Finding, ...]
    detector: Detector | None = None


@dataclass(frozen=True)
class Disagreement:
    """Findings by falling suspicion, and by class the threshold of confident learning."""

    findings: tuple[Finding, ...] = ()
    confident: Mapping[str, float] = field(default_factory=dict)
    unchecked: str = ""


def examine(project: Project, samples: Sequence[Sample]) -> Examined:
    """Decode, measure and, for labelled and negative images, predict.

    Args:
        project: `config.explore.model` names the detector.
        samples: as read.

    Raises:
        LannerError: the detector cannot be opened.
        Cancelled: the caller went away; what the model said so far is kept.
    """
    folder = project.step_dir("explore")
    name = project.config.explore.model
    detector = None if name is None else open_detector(name, project.path.parent, project.cancel)
    memory = None if detector is None else Memory(folder / MEMORY, detector)
    facts: dict[str, Facts] = {}
    predictions: dict[str, Predictions] = {}
    found: list[Finding] = []
    for k, sample in enumerate(samples):
        project.cancel.check()
        project.tell(Progress("look at images", k, len(samples)))
        try:
            rgb = read_rgb(sample.image)
        except DatasetError as error:
            found.append(Finding("undecodable", sample.id, error.problem))
            continue
        facts[sample.id] = measure(rgb)
        if memory is not None and sample.role != "unlabelled":
            try:
                predictions[sample.id] = memory.predict(rgb, facts[sample.id].content, sample.gsd)
            except GsdError as error:
                found.append(Finding("not_predicted", sample.id, error.problem))
    project.tell(Progress("look at images", len(samples), len(samples)))
    return Examined(facts, predictions, tuple(found), detector)


def disagreement(samples: Sequence[Sample], examined: Examined) -> Disagreement:
    """Hold labels against what the detector saw, class by class.

    Args:
        samples: those the model looked at are judged.
        examined: by `examine`.
    """
    if examined.detector is None:
        return Disagreement(unchecked="explore.model names no detector")
    classes = examined.detector.config.classes
    judged = [one for one in samples if one.id in examined.predictions]
    ranked: list[tuple[Sample, str, Doubt]] = []
    thresholds: dict[str, float] = {}
    for name in classes:
        views = [view_of(one, examined.predictions[one.id], name) for one in judged]
        thresholds[name] = round(confident(views), 6)
        ranked += [(judged[doubt.image], name, doubt) for doubt in rank(views)]
    ranked.sort(key=lambda one: -one[2].score)
    found = [
        _finding(sample, examined.predictions[sample.id], name, d) for sample, name, d in ranked
    ]
    return Disagreement(tuple(found), thresholds)


def view_of(sample: Sample, predictions: Predictions, name: str) -> View:
    """Labels and boxes of one class of one image; labels of weight 0 are ground not judged."""
    own = [one for one in sample.labels if one.label == name]
    lone = predictions.of(name)
    return View(
        boxes_of([one for one in own if one.weight > 0]),
        lone.boxes,
        lone.scores,
        boxes_of([one for one in own if one.weight <= 0]),
        (sample.width, sample.height),
    )


def empty_classes(samples: Sequence[Sample]) -> list[Finding]:
    """Classes that a source has, but not in every split that has labelled images."""
    counts: Counter[tuple[str, str | None, str]] = Counter()
    splits: dict[str, set[str | None]] = {}
    for sample in samples:
        if sample.role == "labelled" and sample.mask is None:
            splits.setdefault(sample.source, set()).add(sample.split)
            counts.update((sample.source, sample.split, one.label) for one in sample.labels)
    names = {(source, label) for source, _, label in counts}
    return [
        Finding("empty_class", f"{source}/{split}", f"no object of the class {label!r}")
        for source, label in sorted(names)
        for split in sorted(splits[source], key=str)
        if not counts[source, split, label]
    ]


def _finding(sample: Sample, predictions: Predictions, name: str, doubt: Doubt) -> Finding:
    label = None
    if doubt.label is not None:
        own = [k for k, one in enumerate(sample.labels) if one.label == name and one.weight > 0]
        label = own[doubt.label]
    if doubt.box is None:
        box = None if label is None else sample.labels[label].box
    else:
        x0, y0, x1, y1 = np.asarray(predictions.of(name).boxes[doubt.box]).round(2).tolist()
        box = (x0, y0, x1, y1)
    where: Box | None = box
    return Finding(
        doubt.kind, sample.id, f"{name}: {doubt.detail}", label, round(doubt.score, 4), where, name
    )
