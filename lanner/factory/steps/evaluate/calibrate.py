"""Curves from images with truth: of each member's votes, then of what is fused from them."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from detectors.calibration import AnyCurve, Calibration, Identity, fit_platt
from detectors.matching import Bools, match
from detectors.views import Floats
from lanner.core.config import DetectorConfig
from lanner.factory.config import Evaluate
from lanner.factory.steps.evaluate.truth import truth_of

if TYPE_CHECKING:
    from lanner.factory.steps.evaluate.raw import RawSet


def fit_calibration(
    raw: RawSet, config: DetectorConfig, settings: Evaluate | None = None
) -> Calibration:
    """Curves of the votes, then of what is fused from calibrated votes (Platt, 1999).

    A raster detector's probabilities stay as they are; its curve is for the lines of its chain.

    Args:
        raw: predictions of images that no member learned from.
        config: the variant.
        settings: section evaluate, which says what is right.
    """
    settings = settings or Evaluate()
    if config.output == "raster":
        return Calibration(curve=_of_lines(raw, config, settings))
    iou = settings.iou
    votes = {one.name: _curve(*_lone(raw, config, k, iou)) for k, one in enumerate(config.members)}
    comparable = Calibration(votes=votes)
    # A member alone is as calibrated as its votes.
    subsets: dict[str, AnyCurve] = {}
    if len(config.members) > 1:
        subsets = {one.name: Identity() for one in config.members}
    for size in range(2, len(config.members)):
        for part in combinations(config.members, size):
            variant = config.model_copy(update={"members": part})
            names = "+".join(sorted(one.name for one in part))
            subsets[names] = _curve(*_fused(raw, variant, comparable, iou))
    whole = _curve(*_fused(raw, config, comparable, iou))
    return Calibration(votes=votes, curve=whole, subsets=subsets)


def _of_lines(raw: RawSet, config: DetectorConfig, settings: Evaluate) -> AnyCurve:
    """Of the lines of the whole chain: each is right by a share of its length.

    Pixels along a line are not judged independently of each other, so that all lines together
    count as many as they are, each by its length.
    """
    from lanner.factory.steps.evaluate.network import judged_lines

    score, share, length, _ = judged_lines(raw, config, Calibration(), settings)
    if not length.any():
        return Identity()
    count = length / length.sum() * np.count_nonzero(length)
    right, wrong = count * share, count * (1 - share)
    if not right.any() or not wrong.any():
        return Identity()
    hits = np.repeat([True, False], len(score))
    return fit_platt(np.tile(score, 2), hits, np.concatenate([right, wrong]))


def _curve(scores: Floats, hits: Bools) -> AnyCurve:
    """Platt's curve; scores as they are where there is nothing to tell right from wrong by."""
    if hits.all() or not hits.any():
        return Identity()
    return fit_platt(scores, hits)


def _fused(
    raw: RawSet, config: DetectorConfig, calibration: Calibration, iou: float
) -> tuple[Floats, Bools]:
    """Fused scores of all candidates that count, and whether each is right."""
    found = raw.detect(config, calibration)
    parts = []
    for name in config.classes:
        for one, sample in zip(found, raw.samples, strict=True):
            mine = np.asarray([label == name for label in one.labels], bool)
            truth = truth_of(sample, name)
            parts.append(
                _judged(one.boxes[mine], one.scores[mine], truth.boxes, truth.ignored, iou)
            )
    return _together(parts)


def _lone(raw: RawSet, config: DetectorConfig, number: int, iou: float) -> tuple[Floats, Bools]:
    """The same of one member's own boxes, each from the tile in whose core its middle lies."""
    member = config.members[number]
    predictions = raw.member_predictions(member)
    parts = []
    for i, sample in enumerate(raw.samples):
        for k, name in enumerate(config.classes):
            rows = (predictions.image == i) & (predictions.labels == k)
            truth = truth_of(sample, name)
            parts.append(
                _judged(
                    predictions.boxes[rows],
                    predictions.scores[rows],
                    truth.boxes,
                    truth.ignored,
                    iou,
                )
            )
    return _together(parts)


def _judged(
    boxes: Floats, scores: Floats, truth: Floats, ignored: Bools, iou: float
) -> tuple[Floats, Bools]:
    found = match(boxes, scores, truth, np.asarray([iou]), None, ignored)
    counts = ~found.ignored[0]
    return scores[counts], found.hit[0][counts]


def _together(parts: list[tuple[Floats, Bools]]) -> tuple[Floats, Bools]:
    scores = np.concatenate([np.empty(0), *(score for score, _ in parts)])
    return scores, np.concatenate([np.empty(0, bool), *(hit for _, hit in parts)])
