"""Two thresholds: from which confidence objects are accepted, and from which worth a look."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from detectors.calibration import Calibration
from lanner.core.config import DetectorConfig
from lanner.core.errors import GateError
from lanner.factory.config import Evaluate
from lanner.factory.files import save_figure
from lanner.factory.steps.search.space import at_point

if TYPE_CHECKING:
    from lanner.factory.steps.evaluate.raw import RawSet

Floats = NDArray[np.float64]

PATH = "chain.triage.accept_at"
FLOOR = "chain.triage.floor"
Z = 1.6449
"""One-sided 95 %: nothing is lost by a precision above the target."""

LEAST = 10
"""Fewer accepted objects say nothing of a precision."""

GRID: Floats = np.round(np.arange(1, 1000) / 1000, 3)


@dataclass(frozen=True)
class Curve:
    """What would be accepted at each threshold: (t,) thresholds, how many, how many of them
    right (for lines the sum of the right shares of their length), and the share of everything.
    """

    at: Floats
    accepted: Floats
    right: Floats
    share: Floats

    @property
    def precision(self) -> Floats:
        """(t,) nan where nothing is accepted."""
        blank = np.full(len(self.at), np.nan)
        share: Floats = np.divide(self.right, self.accepted, out=blank, where=self.accepted > 0)
        return share

    @property
    def lower(self) -> Floats:
        """(t,) lower bound of the precision (Wilson, 1927)."""
        n, p = np.maximum(self.accepted, 1e-9), np.nan_to_num(self.precision)
        middle = p + Z**2 / (2 * n)
        spread = Z * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
        bound: Floats = np.where(self.accepted > 0, (middle - spread) / (1 + Z**2 / n), 0.0)
        return bound


@dataclass(frozen=True)
class Threshold:
    """What was chosen; `by` says whether the bound or the bare share reached the target."""

    at: float
    precision: float
    lower: float
    share: float
    accepted: int
    by: str

    def facts(self) -> dict[str, Any]:
        """The same as JSON data."""
        return {
            "accept_at": self.at,
            "precision": round(self.precision, 4),
            "lower_bound": round(self.lower, 4),
            "accepted_share": round(self.share, 4),
            "accepted": self.accepted,
            "reached_by": self.by,
        }


def accept_curve(
    raw: RawSet, config: DetectorConfig, calibration: Calibration, settings: Evaluate
) -> Curve:
    """What each threshold would accept, other reasons to review taken into account.

    Args:
        raw: predictions that the calibration was fitted on.
        config: the detector; its present threshold does not matter.
        calibration: its curves.
        settings: section evaluate.
    """
    if config.output == "raster":
        return _by_length(raw, config, calibration, settings)
    from lanner.factory.steps.evaluate.objects import judged

    free = at_point(config, {PATH: 0.0})
    found = raw.detect(free, calibration)
    every = judged(found, raw.samples, config.classes, settings.iou)
    counted = [one for one in every if one.outcome in ("hit", "false")]
    open_ = [one for one in counted if one.decision == "accept"]
    # As triage has them.
    score = np.round([one.score for one in open_], 4)
    hit = np.asarray([one.outcome == "hit" for one in open_], np.float64)
    return curve_of(score, hit, len(counted))


def curve_of(score: Floats, right: Floats, total: int) -> Curve:
    """The curve of (n,) confidences that are right or not, out of `total` objects."""
    order = np.argsort(score, kind="stable")
    below = np.searchsorted(np.asarray(score)[order], GRID, side="left")
    rest = np.concatenate([np.cumsum(np.asarray(right)[order][::-1])[::-1], [0.0]])
    accepted = (len(order) - below).astype(np.float64)
    return Curve(GRID, accepted, rest[below], accepted / max(total, 1))


def choose(curve: Curve, target: float) -> Threshold:
    """The lowest threshold that reaches the target.

    By the bound where any threshold does (a new set of images will most likely reach it too).
    A small set leaves only the bare share, and the first threshold at which that touches the
    target is mostly luck: of those that reach it, the lowest whose bound is nearly the
    best: one object's worth of precision, or less, lies between them.

    Raises:
        GateError: none does, or too few objects are accepted to say so.
    """
    enough = curve.accepted >= LEAST
    if not enough.any():
        raise GateError(
            "release.precision",
            target,
            f"cannot be judged: at most {int(curve.accepted.max())} objects would be accepted on "
            f"the images of evaluate.calibrate_on, {LEAST} are the least",
            "give that split more images, or see why step triage leaves the others to review",
        )
    lower, share = curve.lower, np.nan_to_num(curve.precision)
    good = np.flatnonzero(enough & (lower >= target))
    if len(good):
        return _at(curve, int(good[0]), "lower bound")
    good = np.flatnonzero(enough & (share >= target))
    if len(good):
        best_at = good[np.argmax(lower[good])]
        near = good[lower[good] >= lower[best_at] - 1 / curve.accepted[best_at]]
        return _at(curve, int(near[0]), "share")
    best = float(share[enough].max())
    raise GateError(
        "release.precision",
        target,
        f"no threshold reaches it, the best is {best:.3f}",
        "train further, look at the false ones, or ask for less",
    )


@dataclass(frozen=True)
class ReviewFloor:
    """Where the review list ends: its least confidence, and the share of the list that is right.

    `precision` is nan for an empty list, and `kept` the share of what is right among everything
    not accepted that the list holds.
    """

    at: float
    precision: float
    kept: float

    def facts(self) -> dict[str, Any]:
        """The same as JSON data."""
        return {
            "floor": self.at,
            "review_precision": None if np.isnan(self.precision) else round(self.precision, 4),
            "review_kept": round(self.kept, 4),
        }


def review_floor(
    raw: RawSet,
    config: DetectorConfig,
    calibration: Calibration,
    settings: Evaluate,
    target: float,
) -> ReviewFloor:
    """The lowest confidence at which a share `target` of the review list is right.

    Args:
        raw: predictions that the calibration was fitted on.
        config: the detector, with the threshold of acceptance that was chosen.
        calibration: its curves.
        settings: section evaluate.
        target: least share; of lines by length.
    """
    if config.output == "raster":
        from lanner.factory.steps.evaluate.network import judged_lines

        score, share, length, accepted = judged_lines(raw, config, calibration, settings)
        open_ = accepted <= 0
        return floor_of(score[open_], share[open_], length[open_], target)
    from lanner.factory.steps.evaluate.objects import judged

    found = raw.detect(config, calibration)
    rows = [
        one
        for one in judged(found, raw.samples, config.classes, settings.iou)
        if one.outcome in ("hit", "false") and one.decision == "review"
    ]
    right = np.asarray([one.outcome == "hit" for one in rows], np.float64)
    score = np.asarray([one.score for one in rows], np.float64)
    return floor_of(score, right, np.ones(len(rows)), target)


def floor_of(score: Floats, right: Floats, weight: Floats, target: float) -> ReviewFloor:
    """The lowest of (n,) confidences from which the list, best first, reaches the target.

    Args:
        score: of everything that is not accepted.
        right: 0 to 1 each.
        weight: of each.
        target: least weighted share that is right.
    """
    rounded = np.floor(np.asarray(score) * 1000) / 1000  # a floor keeps what it was taken from
    order = np.argsort(-rounded, kind="stable")
    values, weights = rounded[order], np.asarray(weight)[order]
    good = np.cumsum(weights * np.asarray(right)[order])
    share = good / np.maximum(np.cumsum(weights), 1e-12)
    # Equal ones go together: a list may end only where the next one is lower.
    ends = np.append(values[1:] < values[:-1], True) if len(values) else np.empty(0, bool)
    fit = np.flatnonzero(ends & (share >= target))
    if not len(fit):
        return ReviewFloor(1.0, float("nan"), 0.0)
    last = int(fit[-1])
    return ReviewFloor(
        float(values[last]), float(share[last]), float(good[last] / max(good[-1], 1e-12))
    )


def draw_curve(curve: Curve, chosen: Threshold, target: float, path: Path) -> None:
    """Precision, its bound, and the accepted share along the threshold."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(curve.at, curve.precision, color="#2166ac", label="precision of accepted")
    axes.plot(curve.at, curve.lower, color="#92c5de", label="its lower bound")
    axes.plot(curve.at, curve.share, color="#777777", label="accepted share")
    axes.axhline(target, color="#b2182b", lw=1, label=f"target {target:g}")
    axes.axvline(chosen.at, color="#222222", lw=1, ls=":", label=f"accept_at {chosen.at:g}")
    axes.set(xlabel="accept_at", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(frameon=False, loc="lower left")
    save_figure(figure, path)


def _at(curve: Curve, i: int, by: str) -> Threshold:
    return Threshold(
        float(curve.at[i]),
        float(curve.precision[i]),
        float(curve.lower[i]),
        float(curve.share[i]),
        int(curve.accepted[i]),
        by,
    )


def _by_length(
    raw: RawSet, config: DetectorConfig, calibration: Calibration, settings: Evaluate
) -> Curve:
    """The curve of lines, each right by a share of its length."""
    from lanner.factory.steps.evaluate.network import judged_lines

    variant = at_point(config, {PATH: 0.0})
    score, share, length, free = judged_lines(raw, variant, calibration, settings)
    # As triage has them.
    taken = (np.round(score, 4)[None] >= GRID[:, None]) & (free > 0)
    count = taken.sum(axis=1).astype(np.float64)
    total = taken @ length
    right = np.divide(taken @ (length * share), total, out=np.zeros(len(GRID)), where=total > 0)
    return Curve(GRID, count, count * right, total / max(float(length.sum()), 1e-9))
