"""The columns that a detector's features have, whatever a scene holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "number", "integer", "flag", "datetime", "json"]
"""`json` is a nested value: a list or an object in GeoJSON, its JSON text in a table."""

Shape = Literal["Polygon", "LineString"]


@dataclass(frozen=True)
class Column:
    """One property of every feature.

    Attributes:
        name: as it is written.
        kind: of its values; all but `integer` and `flag` may be missing.
        about: what it says, with its unit.
    """

    name: str
    kind: Kind
    about: str


@dataclass(frozen=True)
class Schema:
    """The properties of a detector's features, in order, and the kind of their geometries."""

    columns: tuple[Column, ...]
    geometry: Shape

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the properties, in order."""
        return tuple(column.name for column in self.columns)

    def of_kind(self, *kinds: Kind) -> frozenset[str]:
        """Names of the properties of some kinds."""
        return frozenset(column.name for column in self.columns if column.kind in kinds)
