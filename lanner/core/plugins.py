"""Modules by name: built-in ones and those that installed packages bring by entry points.

A module (or any object) that can be named has a function `run` and a pydantic model `Params` that
refuses unknown keys. Steps of a chain and operations of the factory are found this way.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import BaseModel

from lanner.core.errors import LannerError


@lru_cache(maxsize=8)
def _offered(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Entry points of a group among what is installed on `path`, which is read once."""
    return tuple(entry_points(group=group))


@dataclass(frozen=True)
class Plugin:
    """What was found under a name: its function, the model of its parameters, and the module (or
    object) that has both.
    """

    run: Callable[..., Any]
    params: type[BaseModel]
    source: object


@dataclass(frozen=True)
class Plugins:
    """One kind of named module.

    `group` is its entry-point group, `builtin` maps names to modules (a table of our own, so that a
    checkout that is not installed works too), `kind` and `argument` are words for messages,
    `guide` says where its shape is described, `error` is what is raised.
    """

    group: str
    builtin: Mapping[str, str]
    kind: str
    argument: str
    guide: str
    error: type[LannerError]

    def names(self) -> tuple[str, ...]:
        """Every name there is, sorted."""
        offered = (point.name for point in _offered(self.group, tuple(sys.path)))
        return tuple(sorted({*self.builtin, *offered}))

    def find(self, name: str) -> Plugin:
        """The one of that name.

        Raises:
            LannerError: of the kind `error`: unknown name (with the nearest), a private module that
                takes a built-in name, two packages that offer the same name, or an object of
                another shape.
        """
        every = _offered(self.group, tuple(sys.path))
        offered = {point.value: point for point in every if point.name == name}
        builtin = self.builtin.get(name)
        private = [offered[value] for value in sorted(offered) if value != builtin]
        if builtin is not None:
            if private:
                problem = f"{private[0].value!r} takes the name of a built-in {self.kind}"
                raise self._wrong(name, problem, "rename that entry point")
            return self._checked(name, importlib.import_module(builtin))
        if len(private) > 1:
            values = [point.value for point in private]
            raise self._wrong(
                name, f"is offered more than once, by {values}", "uninstall all but one"
            )
        if not private:
            known = self.names()
            near = difflib.get_close_matches(name, known, n=1)
            remedy = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(known)}"
            raise self._wrong(name, f"is not a known {self.kind}", remedy)
        return self._checked(name, self._load(private[0]))

    def _load(self, point: EntryPoint) -> object:
        try:
            return point.load()
        except (ImportError, AttributeError) as error:
            problem = f"{point.value!r} cannot be imported ({error})"
            remedy = "mend or reinstall the package that brings it"
            raise self._wrong(point.name, problem, remedy) from error

    def _checked(self, name: str, thing: object) -> Plugin:
        run, params = getattr(thing, "run", None), getattr(thing, "Params", None)
        if not callable(run) or not (isinstance(params, type) and issubclass(params, BaseModel)):
            raise self._wrong(
                name,
                "has no function `run` with a pydantic model `Params`",
                f"see {self.guide} for the shape of one",
            )
        if params.model_config.get("extra") != "forbid":
            raise self._wrong(
                name,
                "its Params would swallow unknown keys",
                "derive it from lanner.core.config.Strict",
            )
        return Plugin(run, params, thing)

    def _wrong(self, name: str, problem: str, remedy: str) -> LannerError:
        return self.error(self.argument, name, problem, remedy)
