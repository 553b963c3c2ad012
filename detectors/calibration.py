"""Scores that mean what they say: of candidates scored 0.8, 80 % are right.

Isotonic regression (Zadrozny and Elkan, 2002, "Transforming Classifier Scores into Accurate
Multiclass Probability Estimates") as monotone piecewise linear knots, or temperature scaling
(Guo et al., 2017, "On Calibration of Modern Neural Networks"). Applied after fusion.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, ValidationError, model_validator

from detectors.views import Floats, Ints
from lanner.core.config import Strict
from lanner.core.errors import WeightsError

FILE = "calibration.json"
"""Its name in a release folder."""


class Identity(Strict):
    """Scores as they are."""

    kind: Literal["identity"] = "identity"

    def apply(self, scores: Floats) -> Floats:
        """(n,) scores, unchanged."""
        return scores


class Isotonic(Strict):
    """Straight lines between `knots` (score, probability), both rising; flat beyond the ends."""

    kind: Literal["isotonic"] = "isotonic"
    knots: tuple[tuple[float, float], ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _rising(self) -> Isotonic:
        xy = np.asarray(self.knots)
        if not np.isfinite(xy).all() or xy.min() < 0 or xy.max() > 1:
            raise ValueError("knots must lie in 0..1")
        if (np.diff(xy[:, 0]) <= 0).any() or (np.diff(xy[:, 1]) < 0).any():
            raise ValueError("knots must rise in score and not fall in probability")
        return self

    def apply(self, scores: Floats) -> Floats:
        """(n,) scores to (n,) probabilities."""
        x, y = np.asarray(self.knots).T
        result: Floats = np.interp(scores, x, y)
        return result


class Temperature(Strict):
    """The logit divided by `temperature`."""

    kind: Literal["temperature"] = "temperature"
    temperature: float = Field(gt=0)

    def apply(self, scores: Floats) -> Floats:
        """(n,) scores to (n,) probabilities."""
        clipped = np.clip(scores, 1e-7, 1 - 1e-7)
        result: Floats = 1 / (1 + (1 / clipped - 1) ** (1 / self.temperature))
        return result


class Platt(Strict):
    """A line on the logit (Platt, 1999): strictly rising, so that it never ties what differed."""

    kind: Literal["platt"] = "platt"
    slope: float = Field(gt=0)
    intercept: float

    def apply(self, scores: Floats) -> Floats:
        """(n,) scores to (n,) probabilities."""
        clipped = np.clip(scores, 1e-7, 1 - 1e-7)
        logit = np.log(clipped / (1 - clipped))
        result: Floats = 1 / (1 + np.exp(-(self.slope * logit + self.intercept)))
        return result


AnyCurve = Identity | Isotonic | Temperature | Platt
Curve = Annotated[AnyCurve, Field(discriminator="kind")]


class Calibration(Strict):
    """`calibration.json`: curves of the votes, of the whole ensemble, and of parts of it.

    `votes` is keyed by member name and makes members' scores comparable before they are fused;
    `curve` is for fused scores. `subsets` is keyed by member names joined with `+` in
    alphabetical order. A part without a curve of its own takes that of the whole.
    """

    votes: dict[str, Curve] = Field(default_factory=dict)
    curve: Curve = Identity()
    subsets: dict[str, Curve] = Field(default_factory=dict)

    def of(self, members: tuple[str, ...]) -> AnyCurve:
        """The curve for the fused scores of an ensemble of these members."""
        return self.subsets.get("+".join(sorted(members)), self.curve)

    def of_vote(self, member: str) -> AnyCurve:
        """The curve for the scores of one member before fusion."""
        return self.votes.get(member, Identity())


def load_calibration(path: Path) -> Calibration:
    """Read `calibration.json`.

    Raises:
        WeightsError: missing, not JSON, or not a calibration.
    """
    try:
        return Calibration.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        problem = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise WeightsError(
            "weights",
            path,
            f"is no calibration ({problem})",
            "get it back from the repository or package that it came with",
        ) from error


def fit_isotonic(scores: ArrayLike, hits: ArrayLike, least: int = 20) -> Isotonic:
    """Fit knots to candidates that were checked against the truth.

    Candidates are first pooled by score into groups of at least `least`, so that no probability
    rests on fewer; pool-adjacent-violators then makes the groups' hit rates monotone. Knots
    stand at the mean score of each group of equal rate. Below the first the line runs to (0, 0);
    above the last it is flat, since no score vouches for more than was seen.

    Args:
        scores: (n,) fused scores, 0..1.
        hits: (n,) whether each was right.
        least: smallest group.

    Raises:
        ValueError: sizes differ, or fewer than two groups.
    """
    x, y = np.asarray(scores, np.float64), np.asarray(hits, np.float64)
    if x.shape != y.shape or x.ndim != 1 or len(x) < 2 * least:
        raise ValueError(f"need two equal rows of at least {2 * least}, got {x.shape}, {y.shape}")
    order = np.lexsort((y, x))
    groups = _groups(x[order], least)
    size = np.bincount(groups).astype(np.float64)
    mean_x = np.bincount(groups, x[order]) / size
    rate = np.bincount(groups, y[order]) / size
    from scipy.optimize import isotonic_regression  # slow to import, and only fitting needs it

    fitted = isotonic_regression(rate, weights=size)
    block = np.repeat(np.arange(len(fitted.blocks) - 1), np.diff(fitted.blocks))
    weight = np.bincount(block, size)
    knots_x = np.bincount(block, size * mean_x) / weight
    knots_y = np.bincount(block, size * fitted.x) / weight
    knots_x, first = np.unique(knots_x.round(6), return_index=True)
    knots_y = np.clip(knots_y[first], 0, 1).round(6)
    inner = (knots_x > 0) & (knots_x < 1)
    middle = zip(knots_x[inner].tolist(), knots_y[inner].tolist(), strict=True)
    return Isotonic(knots=((0.0, 0.0), *middle, (1.0, float(knots_y[-1]))))


def _groups(rising: Floats, least: int) -> Ints:
    """Numbers from 0 of groups of at least `least`, what is equal in one: (n,) rising scores."""
    _, which, counts = np.unique(rising, return_inverse=True, return_counts=True)
    number, held, of_value = 0, 0, []
    for count in counts.tolist():
        of_value.append(number)
        held += count
        if held >= least:
            number, held = number + 1, 0
    # What is left over is too few for a group and goes with the last.
    groups: Ints = np.minimum(of_value, max(number - 1, 0))[which].astype(np.int64)
    return groups


def fit_platt(scores: ArrayLike, hits: ArrayLike, weights: ArrayLike | None = None) -> Platt:
    """Fit by maximum likelihood, with Platt's softened targets against over-confidence.

    Args:
        scores: (n,) scores, 0..1.
        hits: (n,) whether each was right.
        weights: (n,) how many candidates each stands for; None: one.

    Raises:
        ValueError: sizes differ, or only hits, or only misses.
    """
    x, y = np.asarray(scores, np.float64), np.asarray(hits, bool)
    count = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    if x.shape != y.shape or x.ndim != 1 or y.all() or not y.any():
        raise ValueError(f"need two equal rows with hits and misses, got {x.shape}, {y.shape}")
    clipped = np.clip(x, 1e-7, 1 - 1e-7)
    logit = np.log(clipped / (1 - clipped))
    right, wrong = count[y].sum(), count[~y].sum()
    target = np.where(y, (right + 1) / (right + 2), 1 / (wrong + 2))

    def loss(params: Floats) -> float:
        z = params[0] * logit + params[1]
        return float(np.average(np.logaddexp(0, z) - target * z, weights=count))

    from scipy.optimize import minimize

    slope, intercept = minimize(
        loss, [1.0, 0.0], method="L-BFGS-B", bounds=[(1e-3, None), (None, None)]
    ).x
    return Platt(slope=round(float(slope), 6), intercept=round(float(intercept), 6))
