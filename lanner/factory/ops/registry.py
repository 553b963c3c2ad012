"""Operations by name: built-in ones and those that installed packages bring.

A package offers an operation by an entry point in the group `lanner.factory.ops` that names a
module (or any object) with a function `run(samples, work, params)` and a pydantic model `Params`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from lanner.core.errors import ConfigError
from lanner.core.plugins import Plugins
from lanner.factory.ops.work import Samples, Work

GROUP = "lanner.factory.ops"

BUILTIN: dict[str, str] = {
    name: f"lanner.factory.ops.{name}"
    for name in (
        "bands",
        "composites",
        "reassign_split",
        "masks_from_boxes",
        "masks_from_polygons",
        "mosaic",
        "pseudo_labels",
        "redraw_lines",
        "render",
        "repair",
        "resample",
        "select",
        "tile",
        "ignore_unseen_lines",
        "unsure_rims",
        "weight",
    )
}
"""Name to module."""

PLUGINS = Plugins(GROUP, BUILTIN, "operation", "process.op", "docs/factory.md", ConfigError)

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
        ConfigError: as `Plugins.find` says.
    """
    found = PLUGINS.find(name)
    return Op(name, found.run, found.params)


def names() -> tuple[str, ...]:
    """Every operation there is, sorted."""
    return PLUGINS.names()
