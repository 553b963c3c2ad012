"""Pictures of a search: what was reached, and which parameters mattered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanner.factory.files import save_figure
from lanner.factory.steps.search.points import Measured
from lanner.factory.steps.search.study import Objective, Searched

if TYPE_CHECKING:
    import optuna

INK, GREY, BLUE, RED = "#222222", "#b8b8b8", "#2166ac", "#b2182b"


def importances(
    study: optuna.Study, objectives: Sequence[Objective]
) -> dict[str, dict[str, float]]:
    """Share of each objective's variance that each parameter explains (fANOVA, Hutter et al.,
    2014), by objective; empty where too few points or no variance let nothing be said.
    """
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState

    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    result: dict[str, dict[str, float]] = {}
    for k, objective in enumerate(objectives):
        values = {trial.values[k] for trial in done}
        if len(done) < 8 or len(values) < 2:
            result[objective.text] = {}
            continue
        evaluator = FanovaImportanceEvaluator(seed=1)
        shares = get_param_importances(study, evaluator=evaluator, target=_objective(k))
        result[objective.text] = {name: float(share) for name, share in shares.items()}
    return result


def draw_front(found: Searched, objectives: Sequence[Objective], now: Measured, path: Path) -> None:
    """Two first objectives against each other; one alone against the order of trying."""
    figure, axes = _canvas(6.4, 4.8)
    if found.best is None:
        axes.text(0.5, 0.5, "no point has a value of every objective", ha="center", va="center")
        axes.set_axis_off()
        save_figure(figure, path)
        return
    several = len(objectives) > 1
    rows = [(i, v) for i, v in enumerate(found.values) if v is not None]
    spot = {i: (v[0], v[1]) if several else (float(i), v[0]) for i, v in rows}
    axes.scatter(*zip(*spot.values(), strict=True), s=14, c=GREY, label="tried")
    front = sorted(spot[i] for i in found.front)
    axes.plot(*zip(*front, strict=True), "o-", c=BLUE, ms=4, lw=1, label="none is better in all")
    here = [now.figures.get(one.figure) for one in objectives]
    if not now.error and None not in here:
        if several:
            axes.plot(here[0], here[1], "s", c=INK, ms=7, label="now")
        else:
            axes.axhline(here[0], c=INK, lw=1, label="now")
    axes.plot(*spot[found.best], "*", c=RED, ms=14, label="chosen")
    names = [one.figure for one in objectives]
    axes.set(xlabel=names[0] if several else "point", ylabel=names[1] if several else names[0])
    axes.legend(frameon=False)
    save_figure(figure, path)


def draw_importance(
    weight: Mapping[str, Mapping[str, float]], objectives: Sequence[Objective], path: Path
) -> None:
    """Bars of each parameter's share, one panel an objective."""
    names = sorted(
        {name for shares in weight.values() for name in shares},
        key=lambda name: sum(shares.get(name, 0.0) for shares in weight.values()),
    )
    width = 2.6 + 2.6 * len(objectives)
    figure, panels = _canvas(width, 1.4 + 0.3 * len(names), columns=len(objectives))
    for panel, objective in zip(_row(panels), objectives, strict=True):
        shares = weight[objective.text]
        panel.barh(names, [shares.get(name, 0.0) for name in names], color=BLUE)
        panel.set(title=objective.figure, xlabel="share of the variance", xlim=(0, 1))
        if not shares:
            panel.text(0.5, 0.5, "too few points, or no difference", ha="center", va="center")
    save_figure(figure, path)


def _objective(number: int) -> Callable[[optuna.trial.FrozenTrial], float]:
    return lambda trial: float(trial.values[number])


def _row(panels: Any) -> list[Any]:
    return list(panels) if hasattr(panels, "__len__") else [panels]


def _canvas(width: float, height: float, columns: int = 1) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, columns, sharey=columns > 1)
