"""One side of a comparison: raw predictions and the variant of a detector that reads them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from detectors.calibration import Calibration
from lanner.core.config import DetectorConfig, load_config
from lanner.core.errors import ConfigError, DatasetError
from lanner.factory.config import Evaluate
from lanner.factory.project import STEPS
from lanner.factory.step_status import read_settings

if TYPE_CHECKING:
    from lanner.factory.metrics.bootstrap import Statistic
    from lanner.factory.steps.evaluate.raw import RawSet

Floats = NDArray[np.float64]

LOWER_IS_BETTER = frozenset({"ece", "review"})
EVALUATE = f"{STEPS.index('evaluate') + 1:02d}_evaluate"
RAW = "raw"
LEAST_DRAWS = 200


@dataclass(frozen=True)
class EvaluatedDetector:
    """A variant and what it is judged on."""

    name: str
    raw: RawSet
    config: DetectorConfig
    calibration: Calibration
    settings: Evaluate

    @cached_property
    def statistics(self) -> Mapping[str, Statistic]:
        """Its figures as functions of how often each of its images counts."""
        from lanner.factory.steps.evaluate.figures import statistics_of

        return statistics_of(self.raw, self.config, self.calibration, self.settings)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Its images."""
        return tuple(sample.id for sample in self.raw.samples)


def evaluate_folder(path: Path) -> Path:
    """The folder of step evaluate, of that folder or of the factory's, in full: its neighbours are
    looked for from there.

    Raises:
        DatasetError: there is none.
    """
    for folder in (path, path / EVALUATE):
        if (folder / RAW).is_dir():
            return Path(os.path.abspath(folder))
    raise DatasetError(
        "RUN", path, "is no folder of an evaluation", f"name a folder such as runs/NAME/{EVALUATE}"
    )


def open_evaluated(
    name: str, folder: Path, split: str, detector: Path | None = None
) -> EvaluatedDetector:
    """A side of a comparison.

    Args:
        name: what it is called in tables.
        folder: of step evaluate.
        split: which images.
        detector: another variant that reads the same predictions; calibrated anew for it.

    Raises:
        DatasetError: not run, or without that split.
        ConfigError: the variant needs the networks to run again.
    """
    from lanner.factory.steps.evaluate.calibrate import fit_calibration
    from lanner.factory.steps.evaluate.raw import load_raw

    folder = evaluate_folder(folder)
    recorded, config = read_settings(folder)
    settings = recorded.evaluate
    if detector is not None:
        config = load_config(detector)
    held = load_raw(split_folder(folder, settings.calibrate_on), settings.chain_until)
    raw = load_raw(split_folder(folder, split), settings.chain_until)
    return EvaluatedDetector(name, raw, config, fit_calibration(held, config, settings), settings)


def split_folder(folder: Path, split: str) -> Path:
    """The raw predictions of a split in the folder of step evaluate.

    Raises:
        DatasetError: there are none, with the splits that there are.
    """
    path = folder / RAW / split
    if not path.is_dir():
        there = ", ".join(sorted(p.name for p in (folder / RAW).glob("*"))) or "none"
        raise DatasetError(
            "split", split, f"was not predicted; there are: {there}", "add it to evaluate.splits"
        )
    return path


def judged_as(a: EvaluatedDetector, b: EvaluatedDetector) -> EvaluatedDetector:
    """A, judged by B's settings and, on the images that both saw, by B's labels.

    Labels mended between two evaluations, or another overlap asked for, would else pass for a
    difference of detectors. An image that was resampled since keeps its own labels.
    """
    theirs = {(one.id, one.width, one.height): one for one in b.raw.samples}
    samples = tuple(theirs.get((one.id, one.width, one.height), one) for one in a.raw.samples)
    return replace(a, raw=replace(a.raw, samples=samples), settings=b.settings)


def differences(
    a: EvaluatedDetector, b: EvaluatedDetector, draws: int, figures: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """How much each figure of B is above A's on the images that both saw.

    Paired bootstrap over images (Efron and Tibshirani, 1993): an image that is hard for both
    says nothing of either.

    Args:
        a: one side.
        b: the other.
        draws: of the bootstrap, at least `LEAST_DRAWS` are made.
        figures: which; None for all that both have.

    Returns:
        A row a figure: figure, a, b, difference, low, high, verdict (better, worse, same).

    Raises:
        ConfigError: a figure that is none, with the nearest.
        DatasetError: no image in common.
    """
    from lanner.factory.metrics.bootstrap import draws as drawn
    from lanner.factory.metrics.bootstrap import paired

    ids = set(b.ids)
    common = [one for one in a.ids if one in ids]
    if not common:
        raise DatasetError(
            "compare", f"{a.name}, {b.name}", "saw no image in common", "compare on one dataset"
        )
    known = [name for name in a.statistics if name in b.statistics]
    weights = drawn(len(common), max(draws, LEAST_DRAWS))
    rows = []
    for name in known if figures is None else figures:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            remedy = f"did you mean {near[0]!r}?" if near else f"choose among {', '.join(known)}"
            raise ConfigError("figure", name, "is no figure of both", remedy)
        one, two = (_within(side.statistics[name], side.ids, common) for side in (a, b))
        once = np.ones((1, len(common)))
        first, second = float(one(once)[0]), float(two(once)[0])
        if not np.isfinite([first, second]).all():
            continue
        found = paired(one, two, weights)
        rows.append(
            {
                "figure": name,
                "a": round(first, 6),
                "b": round(second, 6),
                "difference": found["value"],
                "low": found["low"],
                "high": found["high"],
                "verdict": verdict(name, found["low"], found["high"]),
            }
        )
    return rows


def verdict(figure: str, low: float | None, high: float | None) -> str:
    """What an interval of a difference says: better, worse, or same where it holds 0."""
    if low is None or high is None or low <= 0 <= high:
        return "same"
    return "better" if (low > 0) != (figure in LOWER_IS_BETTER) else "worse"


def _within(statistic: Statistic, ids: Sequence[str], common: Sequence[str]) -> Statistic:
    """A statistic of a side as one of the common images, in their order."""
    where = {one: i for i, one in enumerate(ids)}
    columns = [where[one] for one in common]

    def part(weights: Floats) -> Floats:
        spread = np.zeros((len(weights), len(ids)))
        spread[:, columns] = weights
        return statistic(spread)

    return part


__all__ = [
    "EvaluatedDetector",
    "differences",
    "evaluate_folder",
    "judged_as",
    "open_evaluated",
    "split_folder",
    "verdict",
]
