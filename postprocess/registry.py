"""Steps by name: built-in ones and those that installed packages bring.

A package offers a step by an entry point in the group `lanner.steps` that names a module (or any
object) with a function `run(objects, context, params)` and a pydantic model `Params`. It may say
which columns it sets for good in `COLUMNS`, `lanner.core.schema.Column` each, and what kind of
geometry it leaves in `GEOMETRY`; what it does not say comes last and in the type of what is there.
A step that rejects objects for their metres says `BY_SIZE = True`. One that knows how large its
objects are has a function `size_likelihood(objects, context, params, factors)`, from which the
ground sampling of a scene is estimated (see `postprocess.aircraft.identify`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from lanner.core.errors import StepError
from lanner.core.plugins import Plugins
from lanner.core.schema import Column, Shape
from postprocess.context import Context

GROUP = "lanner.steps"

_AIRCRAFT = (
    "merge_seams",
    "suppress",
    "closer_look",
    "outline",
    "orient",
    "plausible",
    "identify",
)
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
    "airfields",
)

BUILTIN: dict[str, str] = {
    **{name: f"postprocess.aircraft.{name}" for name in _AIRCRAFT},
    **{name: f"postprocess.roads.{name}" for name in _ROADS},
    "triage": "postprocess.triage",
}
"""Name to module."""

PLUGINS = Plugins(GROUP, BUILTIN, "step", "step", "docs/architecture.md", StepError)

RunFn = Callable[[gpd.GeoDataFrame, Context, Any], gpd.GeoDataFrame]


SizeLikelihood = Callable[[gpd.GeoDataFrame, Context, Any, NDArray[np.float64]], Any]
"""Objects, surroundings, parameters and (m,) factors on the sampling to (n, m) logarithms."""


@dataclass(frozen=True)
class Step:
    """One step: its name, its function, the model of its parameters, the columns of features that
    it sets, the kind of geometry that it leaves (None: as it was), whether it rejects objects for
    their size, and how likely sizes are at other ground samplings, where it knows.
    """

    name: str
    run: RunFn
    params: type[BaseModel]
    columns: tuple[Column, ...] = ()
    geometry: Shape | None = None
    by_size: bool = False
    size_likelihood: SizeLikelihood | None = None


def step(name: str) -> Step:
    """The step of that name.

    Raises:
        StepError: as `Plugins.find` says.
    """
    found = PLUGINS.find(name)
    columns = tuple(getattr(found.source, "COLUMNS", ()))
    return Step(
        name,
        found.run,
        found.params,
        columns,
        getattr(found.source, "GEOMETRY", None),
        getattr(found.source, "BY_SIZE", False),
        getattr(found.source, "size_likelihood", None),
    )


def names() -> tuple[str, ...]:
    """Every step there is, sorted."""
    return PLUGINS.names()
