"""The columns that a detector's features have, whatever a scene holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["text", "number", "integer", "flag", "datetime", "json"]
"""`json` is a nested value: a list or an object in GeoJSON, its JSON text in a table."""

Shape = Literal["Polygon", "LineString"]


_JSON: dict[Kind, dict[str, Any]] = {
    "text": {"type": ["string", "null"]},
    "number": {"type": ["number", "null"]},
    "integer": {"type": "integer"},
    "flag": {"type": "boolean"},
    "datetime": {"type": ["string", "null"], "format": "date-time"},
    "json": {},
}
"""Of the values of each kind in GeoJSON."""


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

    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema (2020-12) of the properties of a feature."""
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                column.name: {**_JSON[column.kind], "description": column.about}
                for column in self.columns
            },
            "required": list(self.names),
            "additionalProperties": False,
        }

    def of_kind(self, *kinds: Kind) -> frozenset[str]:
        """Names of the properties of some kinds."""
        return frozenset(column.name for column in self.columns if column.kind in kinds)
