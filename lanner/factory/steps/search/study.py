"""The search itself: Optuna asks, a bench measures, batch by batch.

Akiba et al., 2019, "Optuna: A next-generation hyperparameter optimization framework"; one
objective by TPE (Bergstra et al., 2011), several by NSGA-II (Deb et al., 2002). Batches are of
one size whatever the number of workers, so that a seed gives the same points everywhere.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanner.core.errors import ConfigError, DatasetError
from lanner.factory.files import write_text
from lanner.factory.steps.search.points import Measure, Measured
from lanner.factory.steps.search.space import Axis, Point

if TYPE_CHECKING:
    import optuna

BATCH = 16
DIGITS, NAMED_DIGITS = 4, 12
"""Significant digits of a value that is tried, in a continuous range and of steps and choices:
what is written is what was measured."""


@dataclass(frozen=True)
class Objective:
    """A figure to raise, or to lower."""

    figure: str
    lower: bool = False

    @property
    def text(self) -> str:
        """As in the file."""
        return f"-{self.figure}" if self.lower else self.figure


@dataclass(frozen=True)
class Searched:
    """Every point in the order tried, and the study that asked for them.

    `values[i]` are the objectives of `points[i]`, None where it has no figures or finds nothing
    that an objective could be told of: such a point is behind all others. `front` are the numbers
    of points that no other beats in every objective; `best` the one chosen, None where there is
    none that has its objectives.
    """

    points: tuple[Measured, ...]
    values: tuple[tuple[float, ...] | None, ...]
    front: tuple[int, ...]
    best: int | None
    study: optuna.Study


def parse_objectives(texts: Sequence[str]) -> tuple[Objective, ...]:
    """`f1` is raised, `-review` lowered.

    Raises:
        ConfigError: none, or one twice.
    """
    found = tuple(Objective(text.lstrip("-+"), text.startswith("-")) for text in texts)
    names = [one.figure for one in found]
    if not found or "" in names or len(set(names)) < len(names):
        raise ConfigError(
            "search.objectives", list(texts), "must name figures once each", "such as [f1, -review]"
        )
    return found


def search_points(
    axes: Sequence[Axis],
    objectives: Sequence[Objective],
    measure: Measure,
    *,
    points: int,
    seed: int,
    now: Mapping[str, Any] | None = None,
    kept: Kept | None = None,
    tell: Callable[[int], None] = lambda done: None,
) -> Searched:
    """Try points, the present one first.

    Args:
        axes: the space.
        objectives: what is raised or lowered.
        measure: gives figures of a batch of points.
        points: how many are tried.
        seed: everything random follows from it.
        now: the present values, tried first where the space holds them.
        kept: where measured points are kept, so that a search that was stopped goes on.
        tell: told how many are done, after each batch; may raise to stop.

    Raises:
        ConfigError: an objective that is no figure.
        DatasetError: every point is refused by the chain.
    """
    study = _study(objectives, points, seed)
    if now is not None and _holds(axes, now):
        study.enqueue_trial(dict(now))
    ranges = {axis.path: _distribution(axis) for axis in axes}
    free = {axis.path: axis for axis in axes if axis.kind != "one_of" and axis.step is None}
    cache = kept or Kept()
    done: list[Measured] = []
    values: list[tuple[float, ...] | None] = []
    while len(done) < points:
        trials = [study.ask(ranges) for _ in range(min(BATCH, points - len(done)))]
        batch = [_rounded(trial.params, free, now or {}) for trial in trials]
        found = cache.through(batch, measure, [one.figure for one in objectives])
        for trial, one in zip(trials, found, strict=True):
            point, got = _judged(one, objectives)
            _tell_study(study, trial, got)
            done.append(point)
            values.append(got)
        tell(len(done))
    if not any(one.figures for one in done):
        raise DatasetError(
            "search",
            f"{len(done)} points",
            f"none has figures: {done[0].error}",
            "narrow the space",
        )
    front = pareto_front(values, objectives)
    return Searched(tuple(done), tuple(values), front, _best(front, values, objectives), study)


def pareto_front(
    values: Sequence[tuple[float, ...] | None], objectives: Sequence[Objective]
) -> tuple[int, ...]:
    """Numbers of the points that no other beats: as good everywhere and better somewhere."""
    known = {i: _upward(v, objectives) for i, v in enumerate(values) if v is not None}
    return tuple(
        i
        for i, mine in known.items()
        if not any(
            all(b >= a for a, b in zip(mine, other, strict=True)) and other != mine
            for other in known.values()
        )
    )


def _upward(value: tuple[float, ...], objectives: Sequence[Objective]) -> tuple[float, ...]:
    return tuple(-v if o.lower else v for v, o in zip(value, objectives, strict=True))


TIE = 0.001
"""What the first objective may lose where the others gain: less than any interval can tell."""


def _best(
    front: Sequence[int],
    values: Sequence[tuple[float, ...] | None],
    objectives: Sequence[Objective],
) -> int | None:
    """The best by the first objective; of those within `TIE` of it the best by the others."""
    if not front:
        return None
    ranked = {i: _upward(values[i] or (), objectives) for i in front}
    top = max(one[0] for one in ranked.values())
    close = [i for i, one in ranked.items() if one[0] >= top - TIE]
    return max(close, key=lambda i: (ranked[i][1:], ranked[i][0], -i))


def _study(objectives: Sequence[Objective], points: int, seed: int) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    directions = ["minimize" if one.lower else "maximize" for one in objectives]
    sampler: optuna.samplers.BaseSampler
    if len(objectives) == 1:
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=min(32, points // 4 + 1))
    else:
        size = max(8, min(50, points // 8))
        sampler = optuna.samplers.NSGAIISampler(population_size=size, seed=seed)
    return optuna.create_study(directions=directions, sampler=sampler)  # type: ignore[arg-type]


def _distribution(axis: Axis) -> optuna.distributions.BaseDistribution:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if axis.kind == "one_of":
        return CategoricalDistribution(axis.choices)
    # A step that does not divide the range ends below it; said here, Optuna need not warn.
    high = axis.high if axis.step is None else axis.low + (axis.levels - 1) * axis.step
    if axis.kind == "int":
        return IntDistribution(int(axis.low), int(high), step=int(axis.step or 1))
    return FloatDistribution(axis.low, high, log=axis.kind == "log", step=axis.step)


def _holds(axes: Sequence[Axis], point: Mapping[str, Any]) -> bool:
    return all(_on(axis, point.get(axis.path)) for axis in axes)


def _on(axis: Axis, value: Any) -> bool:
    if axis.kind == "one_of":
        return value in axis.choices
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    if axis.step is not None:
        steps = (value - axis.low) / axis.step
        if abs(steps - round(steps)) > 1e-9:
            return False
    return axis.low <= value <= axis.high


def _rounded(params: Mapping[str, Any], free: Mapping[str, Axis], now: Mapping[str, Any]) -> Point:
    """The values to try: those of `free` ranges with `DIGITS`, what is named as it is named.

    A step is a sum of floats, of which the last digits are noise.
    """
    point: Point = {}
    for path, value in params.items():
        if not isinstance(value, float) or value == now.get(path):
            point[path] = value
        elif path in free:
            # Rounding must not lead out of the range, whose ends may have more digits.
            low, high = free[path].ends
            point[path] = min(max(float(f"{value:.{DIGITS}g}"), low), high)
        else:
            point[path] = float(f"{value:.{NAMED_DIGITS}g}")
    return point


def _judged(
    one: Measured, objectives: Sequence[Objective]
) -> tuple[Measured, tuple[float, ...] | None]:
    """A point and its objectives; with the reason where one of them has no value there.

    Raises:
        ConfigError: an objective that is no figure.
    """
    if one.error:
        return one, None
    for objective in objectives:
        if objective.figure not in one.figures:
            near = difflib.get_close_matches(objective.figure, one.figures, n=1)
            names = ", ".join(one.figures)
            raise ConfigError(
                "search.objectives",
                objective.text,
                "is no figure of this detector",
                f"did you mean {near[0]!r}?" if near else f"choose among {names}",
            )
    values = {objective.figure: one.figures[objective.figure] for objective in objectives}
    known = tuple(value for value in values.values() if value is not None)
    if len(known) == len(values):
        return one, known
    # Such as the precision where nothing is found.
    missing = ", ".join(name for name, value in values.items() if value is None)
    return replace(one, error=f"nothing can be said of {missing}"), None


def _tell_study(study: optuna.Study, trial: optuna.Trial, values: tuple[float, ...] | None) -> None:
    from optuna.trial import TrialState

    if values is None:
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, list(values))


class Kept:
    """Measured points, in a file one JSON line each after a line with the key.

    `key` is what they depend on; points under another key are measured anew.

    Raises:
        DatasetError: the file is damaged.
    """

    def __init__(self, path: Path | None = None, key: str = "") -> None:
        self._path, self._key = path, key
        self._known: dict[str, Measured] = {}
        if path is not None and path.exists():
            try:
                self._read(path.read_text(encoding="utf-8"))
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise DatasetError(
                    "points", path, f"cannot be read ({error})", "delete it and search again"
                ) from error

    def _read(self, text: str) -> None:
        first, *lines = text.splitlines()
        if json.loads(first)["key"] == self._key:
            for line in lines:
                facts = json.loads(line)
                self._known[_text(facts["point"])] = Measured(**facts)

    def through(
        self, points: Sequence[Point], measure: Measure, names: Sequence[str] = ()
    ) -> list[Measured]:
        """Known points as they are known, the others measured and kept.

        Files of earlier versions leave out figures without a value: points there that say
        nothing of one of `names` are measured anew.
        """
        fresh = {_text(p): p for p in points if not self._tells(_text(p), names)}
        if fresh:
            for one in measure(list(fresh.values())):
                self._known[_text(one.point)] = one
            self._write()
        return [self._known[_text(point)] for point in points]

    def _tells(self, text: str, names: Sequence[str]) -> bool:
        one = self._known.get(text)
        return one is not None and (bool(one.error) or all(n in one.figures for n in names))

    def _write(self) -> None:
        if self._path is None:
            return
        lines = [{"key": self._key}, *(vars(one) for one in self._known.values())]
        text = "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines)
        write_text(text, self._path)


def _text(point: Point) -> str:
    return json.dumps(point, sort_keys=True)


__all__ = ["Kept", "Objective", "Searched", "pareto_front", "parse_objectives", "search_points"]
