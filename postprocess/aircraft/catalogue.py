"""Aircraft types and their families, as read from a release's types.yaml and taxonomy.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from pydantic import Field, ValidationError

from lanner.core.config import Strict
from lanner.core.errors import ConfigError
from postprocess.shapes import Bools, Floats

ROOT = "aircraft"
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class TypeFacts(Strict):
    """One type: sizes in metres, `spans` those it is seen with, `built` in number, `fuselage` its
    width where that is known.
    """

    icao: str = Field(min_length=1)
    name: str
    family: str
    length: float = Field(gt=0, lt=150)
    spans: tuple[float, ...] = Field(min_length=1)
    wing: Literal["straight", "swept", "delta", "swing"]
    engines: int = Field(ge=0)
    engines_at: str
    built: int = Field(ge=1)
    retired: bool
    fuselage: float | None = Field(None, gt=0, lt=20)
    rotodome: bool = False


class Family(Strict):
    """A node of the taxonomy."""

    name: str
    parent: str | None = None


class _TypesFile(Strict):
    version: Literal[1]
    types: tuple[TypeFacts, ...] = Field(min_length=1)


class _TaxonomyFile(Strict):
    version: Literal[1]
    families: dict[str, Family]


@dataclass(frozen=True)
class Catalogue:
    """n types as arrays, sorted by designator.

    `length` (n,), `spans` (n, most) padded with NaN, `built` (n,), `retired` (n,) bool, `wing`
    and `engines_at` (n,) text, `fuselage` (n,) width or NaN, `rotodome` (n,) bool; `families` and,
    for each node of the taxonomy, `within` (n,) bool: which types belong to it.
    """

    types: tuple[TypeFacts, ...]
    length: Floats
    spans: Floats
    built: Floats
    retired: Bools
    wing: np.ndarray[Any, np.dtype[np.str_]]
    engines_at: np.ndarray[Any, np.dtype[np.str_]]
    fuselage: Floats
    rotodome: Bools
    families: Mapping[str, Family]
    within: Mapping[str, Bools]

    def path(self, family: str) -> tuple[str, ...]:
        """Nodes from the root down to `family`."""
        path = [family]
        while (parent := self.families[path[-1]].parent) is not None:
            path.append(parent)
        return tuple(reversed(path))


def read_catalogue(types: Path, taxonomy: Path) -> Catalogue:
    """Read and check both files; what was read before is not made again while it says the same.

    Raises:
        ConfigError: unreadable, malformed, designators twice, or a family that is not there.
    """
    return _catalogue(types, _text(types), taxonomy, _text(taxonomy))


@lru_cache(maxsize=4)
def _catalogue(types: Path, types_text: str, taxonomy: Path, taxonomy_text: str) -> Catalogue:
    listed = _parsed(types, types_text, _TypesFile).types
    families = _parsed(taxonomy, taxonomy_text, _TaxonomyFile).families
    codes = [facts.icao for facts in listed]
    twice = sorted({code for code in codes if codes.count(code) > 1})
    if twice:
        raise ConfigError("types", twice[0], f"is twice in {types.name}", "keep one")
    _check_tree(families, taxonomy)
    ordered = tuple(sorted(listed, key=lambda facts: facts.icao))
    strange = sorted({facts.family for facts in ordered} - families.keys())
    if strange:
        raise ConfigError(
            "family", strange[0], f"is not in {taxonomy.name}", "add it there or correct the type"
        )
    most = max(len(facts.spans) for facts in ordered)
    spans = np.full((len(ordered), most), np.nan)
    for row, facts in enumerate(ordered):
        spans[row, : len(facts.spans)] = facts.spans
    catalogue = Catalogue(
        ordered,
        np.array([facts.length for facts in ordered]),
        spans,
        np.array([facts.built for facts in ordered], np.float64),
        np.array([facts.retired for facts in ordered], bool),
        np.array([facts.wing for facts in ordered]),
        np.array([facts.engines_at for facts in ordered]),
        np.array([facts.fuselage or np.nan for facts in ordered]),
        np.array([facts.rotodome for facts in ordered], bool),
        families,
        {},
    )
    paths = [set(catalogue.path(facts.family)) for facts in ordered]
    within = {name: np.array([name in path for path in paths], bool) for name in families}
    return Catalogue(**{**catalogue.__dict__, "within": within})


def _check_tree(families: Mapping[str, Family], path: Path) -> None:
    for name in families:
        visited, at = {name}, name
        while (parent := families[at].parent) is not None:
            if parent not in families or parent in visited:
                raise ConfigError(
                    f"families.{at}.parent",
                    parent,
                    f"leads nowhere in {path.name}",
                    f"let every family lead up to {ROOT!r}",
                )
            visited.add(parent)
            at = parent
        if at != ROOT:
            raise ConfigError(
                f"families.{at}", at, "has no parent", f"let every family lead up to {ROOT!r}"
            )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            "catalogue", path, f"cannot be read ({error.strerror})", "name an existing YAML file"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError("catalogue", path, "is no UTF-8 text", "save it as UTF-8") from error


def _parsed(path: Path, text: str, model: Any) -> Any:
    try:
        return model.model_validate(yaml.load(text, Loader=_Loader))
    except (yaml.YAMLError, ValidationError) as error:
        problem = " ".join(str(error).split())
        if isinstance(error, ValidationError):  # a strange key may be in every line: one will do
            first = error.errors()[0]
            problem = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
        raise ConfigError(
            "catalogue", path, f"is malformed ({problem})", "build it with scripts/build_types.py"
        ) from error
