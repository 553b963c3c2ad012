"""Operations by name: built-in ones and those that installed packages bring.

A package offers an operation by an entry point in the group `lanner.factory.ops` that names a
module (or any object) with a function `run(samples, work, params)` and a pydantic model `Params`.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import BaseModel, ValidationError

from lanner.errors import ConfigError
from lanner.factory.process.work import Samples, Work

GROUP = "lanner.factory.ops"

BUILTIN: dict[str, str] = {
    name: f"lanner.factory.process.{name}"
    for name in (
        "bands",
        "composites",
        "hand_over",
        "masks_from_boxes",
        "masks_from_polygons",
        "pseudo_labels",
        "render",
        "repair",
        "resample",
        "select",
        "tile",
        "weight",
    )
}
"""Name to module. A table of our own, so that a checkout that is not installed works too."""

RunFn = Callable[[Samples, Work, Any], Samples]


@dataclass(frozen=True)
class Op:
    """One operation: its name, its function and the model of its parameters."""

    name: str
    run: RunFn
    params: type[BaseModel]

    def checked(self, raw: dict[str, Any], where: str) -> BaseModel:
        """Its parameters from what the YAML says.

        Args:
            raw: keys and values.
            where: of the YAML, for messages.

        Raises:
            ConfigError: an unknown key (with the nearest), or a value that does not fit.
        """
        try:
            return self.params.model_validate(raw)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"]) or "parameters"
            if first["type"] == "extra_forbidden":
                known = list(self.params.model_fields)
                near = difflib.get_close_matches(key, known, n=1)
                remedy = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
                raise ConfigError(f"{where}.{key}", key, "is not a known key", remedy) from error
            raise ConfigError(
                f"{where}.{key}", first.get("input"), first["msg"], f"correct it in {self.name}"
            ) from error


def op(name: str) -> Op:
    """The operation of that name.

    Raises:
        ConfigError: unknown name (with the nearest), a private operation that takes a built-in
            name, two packages that offer the same name, or an object that is no operation.
    """
    offered = {point.value: point for point in entry_points(group=GROUP, name=name)}
    builtin = BUILTIN.get(name)
    private = [offered[value] for value in sorted(offered) if value != builtin]
    if builtin is not None:
        if private:
            problem = f"{private[0].value!r} takes the name of a built-in operation"
            raise ConfigError("process.op", name, problem, "rename that entry point")
        return _checked(name, importlib.import_module(builtin))
    if len(private) > 1:
        values = [point.value for point in private]
        raise ConfigError(
            "process.op", name, f"is offered more than once, by {values}", "uninstall all but one"
        )
    if not private:
        near = difflib.get_close_matches(name, names(), n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(names())}"
        raise ConfigError("process.op", name, "is no known operation", remedy)
    return _checked(name, _load(private[0]))


def names() -> tuple[str, ...]:
    """Every operation there is, sorted."""
    return tuple(sorted({*BUILTIN, *(point.name for point in entry_points(group=GROUP))}))


def _load(point: EntryPoint) -> object:
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            "process.op",
            point.name,
            f"{point.value!r} cannot be imported ({error})",
            "mend or reinstall the package that brings it",
        ) from error


def _checked(name: str, thing: object) -> Op:
    run, params = getattr(thing, "run", None), getattr(thing, "Params", None)
    if not callable(run) or not (isinstance(params, type) and issubclass(params, BaseModel)):
        raise ConfigError(
            "process.op",
            name,
            "has no function `run` with a pydantic model `Params`",
            "see docs/factory.md for the shape of an operation",
        )
    if params.model_config.get("extra") != "forbid":
        raise ConfigError(
            "process.op",
            name,
            "its Params would swallow unknown keys",
            "derive it from lanner.config.Strict",
        )
    return Op(name, run, params)
