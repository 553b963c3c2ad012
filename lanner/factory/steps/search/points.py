"""One operating point, measured on stored raw predictions."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanner.core.config import DetectorConfig
from lanner.core.errors import ConfigError, StepError
from lanner.factory.config import Evaluate
from lanner.factory.steps.search.space import Point, at_point

if TYPE_CHECKING:
    from detectors.calibration import Calibration
    from lanner.factory.steps.evaluate.raw import RawSet


@dataclass(frozen=True)
class Bench:
    """What points are measured on: small, so that it can be sent to any process.

    `detector` and `settings` are JSON text of the detector and of section evaluate; `held` is
    the folder of the predictions that curves are fitted on.
    """

    folder: str
    detector: str
    settings: str
    held: str


@dataclass(frozen=True)
class Measured:
    """One point with its figures by name, None where nothing can be said.

    `error` says why there are none, or none for an objective.
    """

    point: Point
    figures: dict[str, float | None]
    error: str = ""


_WHOLE = "merge_seams"

Measure = Callable[[Sequence[Point]], list[Measured]]


def bench_of(
    folder: Path, detector: DetectorConfig, settings: Evaluate, held: Path | None = None
) -> Bench:
    """The bench of a folder of raw predictions, calibrated on others, or on the same if None."""
    facts = json.dumps(settings.model_dump(mode="json"))
    return Bench(str(folder), detector.model_dump_json(), facts, str(held or folder))


def measure(bench: Bench, point: Point) -> Measured:
    """Figures of the detector at one point, calibrated anew for it.

    A combination that the chain refuses is a point without figures.
    """
    from lanner.factory.steps.evaluate.figures import figures_of

    bed = ready(bench)
    try:
        config = at_point(bed.detector, point)
        figures = figures_of(bed.raw, config, bed.calibration(config), bed.settings, True)
    except (ConfigError, StepError) as error:
        return Measured(point, {}, str(error))
    except ValueError as error:  # pydantic: two values that each alone would do
        return Measured(point, {}, " ".join(str(error).split()))
    return Measured(point, plain_figures(figures))


def plain_figures(figures: dict[str, Any]) -> dict[str, float | None]:
    """Values by name out of what `figures_of` gives, None where nothing can be said."""
    values = {name: one["value"] for name, one in figures["figures"].items()}
    return {name: None if value is None else float(value) for name, value in values.items()}


class Ready:
    """A bench that is loaded; keeps the calibration of variants that fuse alike."""

    def __init__(self, bench: Bench) -> None:
        from lanner.factory.steps.evaluate.raw import load_raw

        self.detector = DetectorConfig.model_validate_json(bench.detector)
        self.settings = Evaluate.model_validate_json(bench.settings)
        until = self.settings.chain_until
        self.raw: RawSet = load_raw(Path(bench.folder), until)
        same = bench.held == bench.folder
        self._held = self.raw if same else load_raw(Path(bench.held), until)
        self._calibrations: dict[str, Calibration] = {}

    def calibration(self, config: DetectorConfig) -> Calibration:
        """The curves of a variant, fitted once for all that fuse alike."""
        from lanner.factory.steps.evaluate.calibrate import fit_calibration

        fusing = {"members": [m.model_dump() for m in config.members], "f": config.fusion}
        key = repr(fusing)
        if key not in self._calibrations:
            fused = {"members": config.members, "fusion": config.fusion}
            # The detector's own chain: a curve must not hang on the point that came first.
            lean = _lean(self.detector.model_copy(update=fused), self.settings.chain_until)
            self._calibrations[key] = fit_calibration(self._held, lean, self.settings)
        return self._calibrations[key]


def _lean(config: DetectorConfig, until: str | None) -> DetectorConfig:
    """The same with a chain that ends where objects are whole.

    What follows rejects few of them and would double the cost of a point.
    """
    names = [spec.step for spec in config.chain]
    if _WHOLE not in names or until not in (None, _WHOLE):
        return config
    return config.model_copy(update={"chain": config.chain[: names.index(_WHOLE) + 1]})


@lru_cache(maxsize=1)
def ready(bench: Bench) -> Ready:
    """The bench loaded, once a process.

    Raises:
        DatasetError: its raw predictions are missing or damaged.
    """
    return Ready(bench)


__all__ = [
    "Bench",
    "Measure",
    "Measured",
    "Ready",
    "bench_of",
    "measure",
    "plain_figures",
    "ready",
]
