"""Scenes of an archive: where each is, what a catalogue says of it, and which are wanted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import shapely

Bounds = tuple[float, float, float, float]
"""West, south, east, north in degrees; west is above east where it crosses the date line."""


@dataclass(frozen=True)
class SceneRef:
    """One scene of an archive.

    Attributes:
        uri: path or address that `tiling.scene.open_scene` opens.
        name: what its outputs are called: unique in the batch, and safe as a file name.
        acquired: ISO 8601 time, where a catalogue says so.
        bounds: where it lies, where a catalogue says so.
        cloud: per cent of it under cloud, where a catalogue says so.
        item: address of its STAC item (or its path), where it came from one.
        collection: id of that item's collection.
    """

    uri: str
    name: str
    acquired: str | None = None
    bounds: Bounds | None = None
    cloud: float | None = None
    item: str | None = None
    collection: str | None = None


@dataclass(frozen=True)
class SkippedScene:
    """A scene that is not run: where it is, why, and what its user could do."""

    uri: str
    problem: str
    remedy: str


@dataclass(frozen=True)
class SceneFilter:
    """Which scenes of the sources are wanted; what is None is not asked.

    Attributes:
        bounds: scenes that touch these.
        area: scenes that touch this geometry (longitude, latitude).
        start: scenes acquired at this time or later, ISO 8601, UTC where no zone is said.
        end: scenes acquired before the end of this time: a day is whole.
        cloud: per cent of cloud at most.
        assets: names of assets of STAC items to take, the first that an item has.
        bands: names that a chosen asset's bands must have.
    """

    bounds: Bounds | None = None
    area: shapely.Geometry | None = None
    start: str | None = None
    end: str | None = None
    cloud: float | None = None
    assets: tuple[str, ...] = ()
    bands: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoundScenes:
    """What the sources hold: scenes in a fixed order, what is left out, and notes for people."""

    scenes: tuple[SceneRef, ...]
    skipped: tuple[SkippedScene, ...] = ()
    notes: tuple[str, ...] = field(default=())
