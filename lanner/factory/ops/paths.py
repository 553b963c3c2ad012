"""Which parameters of an operation name files: its model says so, nothing is guessed from texts.

    class Params(Strict):
        cutouts: DataPath
        weights: tuple[FactoryPath, ...] = ()

A step whose parameters name a file or folder is out of date when that changes. Any other text names
none, even where a file happens to be called like it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel

Base = Literal["data", "factory"]


@dataclass(frozen=True)
class Names:
    """Marks a parameter that names a file or folder.

    `base` is what it is relative to: the folder of the sources, or that of the factory file. `but`
    are words that stand for something else.
    """

    base: Base
    but: tuple[str, ...] = ()


DataPath = Annotated[str, Names("data")]
"""A file or folder relative to the folder of the sources."""

FactoryPath = Annotated[str, Names("factory")]
"""A file or folder relative to the factory file."""


def named_paths(model: BaseModel) -> Iterator[tuple[Base, str]]:
    """What each parameter that names a file or folder says, by the parameters' names.

    Args:
        model: checked parameters; those of models in it count too.

    Yields:
        What it is relative to, and the text.
    """
    for name, field in sorted(type(model).model_fields.items()):
        value = getattr(model, name)
        marks = [one for one in field.metadata if isinstance(one, Names)]
        mark = next(iter([*marks, *_marks(field.annotation)]), None)
        yield from _texts(value, mark)


def _marks(annotation: Any) -> Iterator[Names]:
    """Marks within a type, as of each part of a list."""
    for one in (*getattr(annotation, "__metadata__", ()), *get_args(annotation)):
        if isinstance(one, Names):
            yield one
        else:
            yield from _marks(one)


def _texts(value: Any, mark: Names | None) -> Iterator[tuple[Base, str]]:
    if isinstance(value, BaseModel):
        yield from named_paths(value)
    elif isinstance(value, dict):
        for key in sorted(value):
            yield from _texts(value[key], mark)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one, mark)
    elif mark is not None and value is not None and str(value) and str(value) not in mark.but:
        yield mark.base, str(value)


__all__ = ["Base", "DataPath", "FactoryPath", "Names", "named_paths"]
