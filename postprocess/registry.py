"""Steps by name: built-in ones and those that installed packages bring.

A package offers a step by an entry point in the group `lanner.steps` that names a module (or any
object) with a function `run(objects, context, params)` and a pydantic model `Params`.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import geopandas as gpd
from pydantic import BaseModel

from lanner.errors import StepError
from postprocess.context import Context

GROUP = "lanner.steps"

_AIRCRAFT = ("merge_seams", "closer_look", "outline", "orient", "plausible", "identify")
_ROADS = (
    "threshold",
    "clean",
    "skeletonise",
    "trace",
    "prune",
    "bridge",
    "smooth",
    "junctions",
    "measure",
    "classify",
)

BUILTIN: dict[str, str] = {
    **{name: f"postprocess.aircraft.{name}" for name in _AIRCRAFT},
    **{name: f"postprocess.roads.{name}" for name in _ROADS},
    "triage": "postprocess.triage",
}
"""Name to module. A table of our own, so that a checkout that is not installed works too."""

RunFn = Callable[[gpd.GeoDataFrame, Context, Any], gpd.GeoDataFrame]


@dataclass(frozen=True)
class Step:
    """One step: its name, its function and the model of its parameters."""

    name: str
    run: RunFn
    params: type[BaseModel]


def step(name: str) -> Step:
    """The step of that name.

    Raises:
        StepError: unknown name (with the nearest), a private step that takes a built-in name, two
            packages that offer the same name, or an object that is no step.
    """
    offered = {point.value: point for point in entry_points(group=GROUP, name=name)}
    builtin = BUILTIN.get(name)
    private = [offered[value] for value in sorted(offered) if value != builtin]
    if builtin is not None:
        if private:
            raise StepError(
                "step",
                name,
                f"{private[0].value!r} takes the name of a built-in step",
                "rename that entry point",
            )
        return _checked(name, importlib.import_module(builtin))
    if len(private) > 1:
        values = [point.value for point in private]
        raise StepError(
            "step", name, f"is offered more than once, by {values}", "uninstall all but one"
        )
    if not private:
        raise _unknown(name)
    return _checked(name, _load(private[0]))


def names() -> tuple[str, ...]:
    """Every step there is, sorted."""
    return tuple(sorted({*BUILTIN, *(point.name for point in entry_points(group=GROUP))}))


def _unknown(name: str) -> StepError:
    near = difflib.get_close_matches(name, names(), n=1)
    remedy = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(names())}"
    return StepError("step", name, "is not a known step", remedy)


def _load(point: EntryPoint) -> object:
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise StepError(
            "step",
            point.name,
            f"{point.value!r} cannot be imported ({error})",
            "mend or reinstall the package that brings it",
        ) from error


def _checked(name: str, thing: object) -> Step:
    run, params = getattr(thing, "run", None), getattr(thing, "Params", None)
    if not callable(run) or not (isinstance(params, type) and issubclass(params, BaseModel)):
        raise StepError(
            "step",
            name,
            "has no function `run` with a pydantic model `Params`",
            "see docs/architecture.md for the shape of a step",
        )
    if params.model_config.get("extra") != "forbid":
        raise StepError(
            "step",
            name,
            "its Params would swallow unknown keys",
            "derive it from lanner.config.Strict",
        )
    return Step(name, run, params)
