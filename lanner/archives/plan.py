"""What a batch would be: scenes, tiles, bytes, time and output, and what is left out and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import shapely

from detectors.catalog import Entry
from lanner.archives.opening import OpenedScene, open_for
from lanner.archives.options import BatchOptions
from lanner.archives.rates import UNKNOWN, Rate, known_rates, name_of
from lanner.archives.records import ErrorFacts, SceneFacts
from lanner.archives.scenes import FoundScenes, SceneFilter, SceneRef, SkippedScene
from lanner.archives.sources.unwanted import unwanted
from lanner.core.job import Cancel
from lanner.core.machine import thread_each

Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class PlannedScene:
    """A scene that will be run: tiles and megapixels of each detector."""

    ref: SceneRef
    facts: SceneFacts
    tiles: tuple[int, ...]
    megapixels: tuple[float, ...]


@dataclass(frozen=True)
class FailedScene:
    """A scene that cannot be run."""

    ref: SceneRef
    error: ErrorFacts


@dataclass(frozen=True)
class ArchivePlan:
    """Scenes to run, those that cannot be, and those that are not wanted.

    Attributes:
        detectors: name and release of each.
        scenes: to be run.
        failed: cannot be opened, or not by these detectors.
        skipped: not wanted, by what their catalogue or their file says.
        notes: for people.
        rates: of each detector, and whether it was measured on this machine.
    """

    detectors: tuple[tuple[str, str], ...]
    scenes: tuple[PlannedScene, ...]
    failed: tuple[FailedScene, ...]
    skipped: tuple[SkippedScene, ...]
    notes: tuple[str, ...]
    rates: tuple[tuple[Rate, bool], ...]

    @property
    def tiles(self) -> int:
        """Of all scenes and detectors."""
        return sum(sum(scene.tiles) for scene in self.scenes)

    @property
    def bytes(self) -> int:
        """To be read, as far as files say their size."""
        return sum(scene.facts.bytes or 0 for scene in self.scenes)

    @property
    def measured(self) -> bool:
        """Whether all rates were measured on this machine."""
        return all(known for _, known in self.rates)

    @property
    def seconds(self) -> float:
        """On this machine."""
        return self._sum(lambda rate: (rate.scene_s, rate.megapixel_s))

    @property
    def output_bytes(self) -> float:
        """Of the files of all scenes; the archive's own are about as much again."""
        return 2 * self._sum(lambda rate: (rate.scene_bytes, rate.megapixel_bytes))

    def _sum(self, parts: Callable[[Rate], tuple[float, float]]) -> float:
        total = 0.0
        for k, (rate, _) in enumerate(self.rates):
            each, per_megapixel = parts(rate)
            size = sum(scene.megapixels[k] for scene in self.scenes)
            total += each * len(self.scenes) + per_megapixel * size
        return total

    def facts(self, workers: int = 1) -> dict[str, Any]:
        """As plain JSON data."""
        return {
            "detectors": [{"name": name, "release": release} for name, release in self.detectors],
            "scenes": len(self.scenes),
            "tiles": self.tiles,
            "megapixels": round(sum(sum(one.megapixels) for one in self.scenes), 3),
            "bytes_to_read": self.bytes,
            "seconds": round(self.seconds, 1),
            "workers": workers,
            "seconds_on_workers": round(self.seconds / max(workers, 1), 1),
            "rate_measured_here": self.measured,
            "output_bytes": round(self.output_bytes),
            "cannot_be_run": [
                {"scene": one.ref.uri, "error": one.error.kind, "message": one.error.sentence}
                for one in self.failed
            ],
            "skipped": [
                {"scene": one.uri, "problem": one.problem, "remedy": one.remedy}
                for one in self.skipped
            ],
            "notes": list(self.notes),
        }


def plan_archive(
    found: FoundScenes,
    detectors: Sequence[Entry],
    options: BatchOptions,
    chosen: SceneFilter,
    cancel: Cancel,
    tell: Tell = lambda done, total: None,
) -> ArchivePlan:
    """Open every scene, by threads, and say what running it would be.

    Raises:
        Cancelled: the caller asked to stop.
    """
    entries = tuple(detectors)
    planned: list[PlannedScene] = []
    failed: list[FailedScene] = []
    skipped = list(found.skipped)

    def opened_scene(ref: SceneRef) -> OpenedScene | ErrorFacts:
        cancel.check()
        return open_for(ref, entries, options)

    for done, (ref, opened) in enumerate(
        zip(found.scenes, thread_each(opened_scene, found.scenes), strict=True), 1
    ):
        tell(done, len(found.scenes))
        if isinstance(opened, ErrorFacts):
            failed.append(FailedScene(ref, opened))
            continue
        why = _unwanted(chosen, ref, opened.facts)
        if why is not None:
            skipped.append(SkippedScene(ref.uri, why, "widen the filter to take it in"))
            continue
        planned.append(PlannedScene(ref, opened.facts, opened.tiles, opened.megapixels))
    known = known_rates()
    return ArchivePlan(
        tuple((entry.config.name, entry.config.release) for entry in entries),
        tuple(planned),
        tuple(failed),
        tuple(skipped),
        found.notes,
        tuple(_rate(entry, options, known) for entry in entries),
    )


def _unwanted(chosen: SceneFilter, ref: SceneRef, facts: SceneFacts) -> str | None:
    """What only the file says: where and when, where no catalogue did."""
    shape = None if facts.footprint is None else shapely.Polygon(facts.footprint)
    asked = chosen if ref.bounds is None else replace(chosen, bounds=None, area=None)
    return unwanted(
        asked,
        bounds=None if shape is None else shape.bounds,
        footprint=shape,
        acquired=facts.acquired if ref.acquired is None else None,
        cloud=None,
    )


def _rate(entry: Entry, options: BatchOptions, known: dict[str, Rate]) -> tuple[Rate, bool]:
    """The rate of a detector on this machine, and whether it was measured."""
    config = entry.config
    found = known.get(name_of(config.name, config.release, options.device))
    return (UNKNOWN, False) if found is None else (found, True)
