"""Steps by name: built-in ones and those that installed packages bring.

A package offers a step by an entry point in the group `lanner.steps` that names a module (or any
object) with a function `run(objects, context, params)` and a pydantic model `Params`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
from pydantic import BaseModel

from lanner.core.errors import StepError
from lanner.core.plugins import Plugins
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
"""Name to module."""

PLUGINS = Plugins(GROUP, BUILTIN, "step", "step", "docs/architecture.md", StepError)

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
        StepError: as `Plugins.find` says.
    """
    run, params = PLUGINS.find(name)
    return Step(name, run, params)


def names() -> tuple[str, ...]:
    """Every step there is, sorted."""
    return PLUGINS.names()
