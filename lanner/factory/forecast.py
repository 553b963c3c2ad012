"""How many labels a target needs: a learning curve, and where it crosses the target.

The error of a network falls with the number of its labels as an inverse power law towards what
no number of labels mends: error = a n^-b + c (Hestness et al., 2017, "Deep Learning Scaling is
Predictable, Empirically").
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lanner.core.errors import ConfigError, DatasetError
from lanner.factory.files import save_figure, write_text

if TYPE_CHECKING:
    from lanner.factory.project import Project

Floats = NDArray[np.float64]
Points = list[tuple[int, float]]
"""Labels and the score that training with so many reached."""

FRACTIONS = (1 / 8, 1 / 4, 1 / 2, 1.0)
EXPONENTS: Floats = np.linspace(0.05, 1.5, 146)
LEAST_NOISE = 0.005
"""Two trainings on one dataset differ by about so much of a score; less is not believed."""

DRAWS, LEVEL = 1000, 0.95

LEAST_POINTS = 3
"""Numbers of labels: the law has as many parameters."""

FAR = 10**9
"""Labels that nobody draws: more than these are not counted out."""


@dataclass(frozen=True)
class Law:
    """error(n) = a n^-b + c, n in labels."""

    a: float
    b: float
    c: float

    def error(self, labels: Floats) -> Floats:
        """(n,) errors at (n,) numbers of labels."""
        result: Floats = self.a * labels**-self.b + self.c
        return result

    def labels(self, error: float) -> float:
        """Labels that an error takes; infinite where no number does."""
        if error <= self.c or self.a <= 0:
            return math.inf if error <= self.c else 0.0
        try:
            return float((self.a / (error - self.c)) ** (1 / self.b))
        except OverflowError:
            return math.inf


@dataclass(frozen=True)
class Forecast:
    """What the target needs. `low` and `high` bound `needed`; infinite: never, as far as seen."""

    target: float
    have: int
    needed: float
    low: float
    high: float
    law: Law
    points: Points
    show: tuple[Path, ...] = ()

    @property
    def share(self) -> float:
        """What there is of what is needed, 0..1; 1 where the target is reached."""
        return min(1.0, self.have / self.needed) if self.needed > 0 else 1.0

    @property
    def sentence(self) -> str:
        """For people."""
        span = f"95 % interval {_count(self.low)} to {_count(self.high)}"
        if not math.isfinite(self.needed):
            best = 1 - self.law.c
            return (
                f"More labels of this kind do not reach {self.target:g}: the curve flattens at "
                f"{best:.3f} ({span}). Look at the worst cases and at what the labels say."
            )
        if self.needed >= FAR and self.share < 1:
            return (
                f"More labels of this kind hardly reach {self.target:g}: it takes {_count(FAR)} "
                f"labels ({span}). Look at the worst cases and at what the labels say."
            )
        if self.share >= 1:
            return (
                f"You have what you need: {self.target:g} takes {_count(self.needed)} labels "
                f"({span}), you have {self.have:,}."
            )
        return (
            f"You have {100 * self.share:.0f} % of what you need: {self.target:g} takes about "
            f"{_count(self.needed)} labels ({span}), {_count(self.needed - self.have)} more than "
            f"the {self.have:,} you have."
        )

    def facts(self) -> dict[str, Any]:
        """The same as JSON data; null for never."""
        return {
            "target": self.target,
            "have": self.have,
            "needed": _whole(self.needed),
            "low": _whole(self.low),
            "high": _whole(self.high),
            "share": round(self.share, 4),
            "law": {"a": self.law.a, "b": self.law.b, "c": self.law.c},
            "points": [list(point) for point in self.points],
            "says": self.sentence,
            "show": [str(path) for path in self.show],
        }


def read_points(path: Path | None) -> Points:
    """Columns `labels` and `score` of a CSV file.

    Raises:
        ConfigError: no file, no such columns, or no numbers in them.
    """
    if path is None:
        raise ConfigError(
            "--points", "", "is not given", "give --points FILE.csv, or CONFIG.yaml with --run"
        )
    try:
        # Spreadsheets begin UTF-8 with a mark of their own.
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = csv.DictReader(stream, skipinitialspace=True)
            return [(int(row["labels"]), float(row["score"])) for row in rows]
    except OSError as error:
        raise ConfigError(
            "--points", path, f"cannot be read ({error.strerror})", "give an existing file"
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            "--points", path, f"is no table of labels and score ({error})", "see docs/factory.md"
        ) from error


def forecast_points(
    points: Points, target: float, out: Path, have: int | None = None, seed: int = 1
) -> Forecast:
    """Fit the law, say what the target needs, and draw the curve.

    The interval is of the law fitted again to scores with noise of the size that the fit (or
    repeated trainings) shows. Of few scores that size is itself not well known: each draw has
    another one (Student, 1908).

    Args:
        points: at least three different numbers of labels.
        target: score to reach, below 1.
        out: folder for `forecast.png` and `forecast.json`; made if need be.
        have: labels there are; None for the most of a point.
        seed: of the noise.

    Raises:
        ConfigError: too few points, or numbers that are no labels or scores.
        OutputError: the folder cannot be written.
    """
    _check(points, target)
    labels = np.asarray([n for n, _ in points], np.float64)
    errors = 1 - np.asarray([score for _, score in points], np.float64)
    law = fit_laws(labels, errors[None])[0]
    noise, free = _noise(labels, errors, law)
    rng = np.random.default_rng(seed)
    spread = noise * np.sqrt(free / rng.chisquare(free, (DRAWS, 1)))
    apart = rng.standard_normal((DRAWS, len(labels))) * np.maximum(spread, LEAST_NOISE)
    drawn = law.error(labels) + apart
    laws = fit_laws(labels, np.clip(drawn, 0, 1))
    needed = np.asarray([one.labels(1 - target) for one in laws])
    low, high = _span(needed)
    result = Forecast(
        target,
        int(labels.max()) if have is None else have,
        law.labels(1 - target),
        low,
        high,
        law,
        sorted(points),
        (out / "forecast.png", out / "forecast.json"),
    )
    _draw(result, laws, result.show[0])
    write_text(json.dumps(result.facts(), indent=1) + "\n", result.show[1], "--out")
    return result


def fit_laws(labels: Floats, errors: Floats) -> list[Law]:
    """The best law of each row, by least squares.

    For a given exponent the law is linear in a and c; both stay at or above zero.

    Args:
        labels: (n,).
        errors: (k, n).
    """
    best = np.full(len(errors), np.inf)
    found = np.zeros((len(errors), 3))
    scale = labels.max()
    for b in EXPONENTS.tolist():
        x = (labels / scale) ** -b
        a, c = _line(x, errors)
        loss = np.square(errors - a[:, None] * x - c[:, None]).sum(axis=1)
        better = loss < best - 1e-15
        best[better] = loss[better]
        found[better] = np.stack([a * scale**b, np.full(len(a), b), c], axis=1)[better]
    return [Law(float(a), float(b), float(c)) for a, b, c in found]


def measure_points(project: Project, out: Path, *, steps: int, figure: str) -> Points:
    """Train and evaluate on nested parts of the training images, in folders of their own.

    Args:
        project: its dataset must be frozen.
        out: a folder a part goes there; one that was finished is not done again.
        steps: of each training; few are enough where the parts are to be compared.
        figure: of the first split that is evaluated.

    Raises:
        DatasetError: the dataset was not frozen, or its training images are too few.
        ConfigError: no such figure, or one that says nothing of a training.
    """
    from lanner.factory.short_runs import parts_of, trained_figures

    parts = parts_of(project, FRACTIONS, out, steps)
    if len({labels for _, labels in parts}) < LEAST_POINTS:
        raise DatasetError(
            "forecast",
            f"{parts[-1][1]} labels",
            f"of split train make fewer than {LEAST_POINTS} parts of different size",
            "label more images, or give --points",
        )
    points = []
    for part, labels in parts:
        project.cancel.check()
        points.append((labels, score_of(trained_figures(part), figure, labels)))
    return points


def score_of(figures: Mapping[str, float | None], figure: str, labels: int) -> float:
    """One figure of a training on so many labels.

    Raises:
        ConfigError: there is none of that name, or it says nothing of this training.
    """
    if figure not in figures:
        raise ConfigError(
            "--figure", figure, "was not measured", f"choose among {', '.join(figures)}"
        )
    value = figures[figure]
    if value is None:
        raise ConfigError(
            "--figure",
            figure,
            f"says nothing of the training on {labels} labels, which found too little",
            "raise --steps, or choose a figure such as f1",
        )
    return float(value)


def _line(x: Floats, errors: Floats) -> tuple[Floats, Floats]:
    """Least squares of a x + c with both at least 0, for each row."""
    mean_x, mean_y = x.mean(), errors.mean(axis=1)
    spread = np.square(x - mean_x).sum()
    a = ((errors - mean_y[:, None]) @ (x - mean_x)) / max(spread, 1e-300)
    c = mean_y - a * mean_x
    alone = np.maximum(errors @ x / np.square(x).sum(), 0)
    a, c = np.where(c < 0, alone, a), np.maximum(c, 0)
    return np.maximum(a, 0), np.where(a < 0, mean_y, c)


def _noise(labels: Floats, errors: Floats, law: Law) -> tuple[float, int]:
    """Standard deviation of a score, by repeated trainings where there are any, and the degrees of
    freedom that it is known by.
    """
    groups = [errors[labels == n] for n in np.unique(labels)]
    repeats = [one for one in groups if len(one) > 1]
    if repeats:
        free = sum(len(one) - 1 for one in repeats)
        squares = sum(float(np.square(one - one.mean()).sum()) for one in repeats)
        return math.sqrt(squares / free), free
    free = max(len(errors) - LEAST_POINTS, 1)
    return math.sqrt(float(np.square(errors - law.error(labels)).sum()) / free), free


def _span(values: Floats) -> tuple[float, float]:
    """The middle `LEVEL` of values of which some are infinite."""
    ranked = np.sort(values)
    last = len(ranked) - 1
    low, high = ((1 - LEVEL) / 2 * last, (1 + LEVEL) / 2 * last)
    return float(ranked[round(low)]), float(ranked[round(high)])


def _check(points: Points, target: float) -> None:
    if len({n for n, _ in points}) < LEAST_POINTS:
        raise ConfigError(
            "--points", len(points), "are too few", "measure three numbers of labels or more"
        )
    if not all(n > 0 and 0 <= score <= 1 for n, score in points):
        raise ConfigError(
            "--points",
            points,
            "hold what is no label count or score",
            "labels > 0, 0 <= score <= 1",
        )
    if not 0 < target < 1:
        raise ConfigError("--target", target, "cannot be forecast", "name a score below 1")


def _whole(value: float) -> int | None:
    return math.ceil(value) if math.isfinite(value) else None


def _count(value: float) -> str:
    if math.isfinite(value):
        return f"{math.ceil(value):,}" if value < FAR else f"more than {FAR:,}"
    return "never"


def _draw(result: Forecast, laws: Sequence[Law], path: Path) -> None:
    from matplotlib.figure import Figure

    points = np.asarray(result.points, np.float64)
    far = result.needed if result.needed < 1e7 else points[:, 0].max() * 20
    grid = np.geomspace(points[:, 0].min() / 2, max(far, result.have, points[:, 0].max()) * 2, 200)
    bundle = np.stack([1 - law.error(grid) for law in laws])
    low, high = np.quantile(bundle, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.fill_between(grid, low, high, color="#d1e5f0", label="95 % interval")
    axes.plot(grid, 1 - result.law.error(grid), color="#2166ac", label="learning curve")
    axes.plot(points[:, 0], points[:, 1], "o", color="#222222", label="measured")
    axes.axhline(result.target, color="#b2182b", lw=1, label=f"target {result.target:g}")
    axes.axvline(result.have, color="#777777", lw=1, ls=":", label=f"there are {result.have:,}")
    axes.set(xscale="log", xlabel="labels", ylabel="score")
    axes.set_ylim(max(0.0, float(points[:, 1].min()) - 0.1), 1.0)
    axes.legend(frameon=False, loc="lower right")
    save_figure(figure, path, argument="--out")


__all__ = [
    "Forecast",
    "Law",
    "fit_laws",
    "forecast_points",
    "measure_points",
    "read_points",
    "score_of",
]
