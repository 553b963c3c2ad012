"""What a batch would be: scenes, tiles, bytes, time and output, and what is left out and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import shapely

from detectors.catalog import Entry
from lanner.archives.opening import OpenedScene, open_for
from lanner.archives.options import GPKG, BatchOptions
from lanner.archives.rates import (
    ARCHIVE_GPKG,
    ARCHIVE_PARQUET,
    CANDIDATES,
    LAYER,
    PAGES,
    PAGES_SCENE,
    PART,
    UNKNOWN,
    Rate,
    known_rates,
    name_of,
)
from lanner.archives.records import ErrorFacts, SceneFacts
from lanner.archives.scenes import FoundScenes, SceneFilter, SceneRef, SkippedScene
from lanner.archives.sources.unwanted import unwanted
from lanner.core.job import Cancel
from lanner.core.machine import thread_each

Tell = Callable[[int, int], None]


RowStatus = Literal["to run", "done", "failed"]
"""What an earlier run of the same batch leaves to do: `failed` is tried again on request alone."""


@dataclass(frozen=True)
class PlannedScene:
    """A scene that can be run: of each detector the tiles, the megapixels, and whether a batch has
    run it already.
    """

    ref: SceneRef
    facts: SceneFacts
    tiles: tuple[int, ...]
    megapixels: tuple[float, ...]
    status: tuple[RowStatus, ...]

    @property
    def to_run(self) -> bool:
        """Whether any detector is to be run on it."""
        return "to run" in self.status


@dataclass(frozen=True)
class FailedScene:
    """A scene that cannot be run."""

    ref: SceneRef
    error: ErrorFacts


@dataclass(frozen=True)
class ArchivePlan:
    """Scenes to run, those that cannot be, and those that are not wanted.

    Tiles, bytes and seconds are those of what is left to run; the archive's own files are written
    anew for all scenes.

    Attributes:
        detectors: name and release of each.
        scenes: that can be run.
        failed: cannot be opened, or not by these detectors.
        skipped: not wanted, by what their catalogue or their file says.
        notes: for people.
        rates: of each detector, and whether it was measured on this machine.
        options: how each scene is run.
    """

    detectors: tuple[tuple[str, str], ...]
    scenes: tuple[PlannedScene, ...]
    failed: tuple[FailedScene, ...]
    skipped: tuple[SkippedScene, ...]
    notes: tuple[str, ...]
    rates: tuple[tuple[Rate, bool], ...]
    options: BatchOptions

    @property
    def to_run(self) -> tuple[PlannedScene, ...]:
        """Scenes on which any detector is to be run."""
        return tuple(scene for scene in self.scenes if scene.to_run)

    @property
    def failed_before(self) -> int:
        """Scenes that failed in an earlier run and are not tried again."""
        left = [scene for scene in self.scenes if not scene.to_run]
        return sum("failed" in scene.status for scene in left)

    @property
    def done(self) -> int:
        """Scenes that earlier runs of the batch have done."""
        return len(self.scenes) - len(self.to_run) - self.failed_before

    @property
    def tiles(self) -> int:
        """Of all scenes and detectors to run."""
        return sum(sum(self._of(k, "tiles")) for k in range(len(self.detectors)))

    @property
    def megapixels(self) -> float:
        """Of all scenes and detectors to run, in the detectors' pixels."""
        return sum(sum(self._of(k, "megapixels")) for k in range(len(self.detectors)))

    @property
    def bytes(self) -> int:
        """To be read, as far as files say their size."""
        return sum(scene.facts.bytes or 0 for scene in self.to_run)

    @property
    def measured(self) -> bool:
        """Whether all rates were measured on this machine."""
        return all(known for _, known in self.rates)

    @property
    def scenes_s(self) -> float:
        """Seconds of running what is to be run, on this machine."""
        total = 0.0
        for k, (rate, _) in enumerate(self.rates):
            sizes = self._of(k, "megapixels")
            if sizes:
                total += rate.start_s + rate.scene_s * len(sizes) + rate.megapixel_s * sum(sizes)
        return total

    @property
    def end_s(self) -> float:
        """Seconds of writing the archive's files and pages, of all scenes done or not."""
        if not self.scenes:
            return 0.0
        seconds = sum(rate.end_s for rate, _ in self.rates) / len(self.rates)
        for k, (rate, _) in enumerate(self.rates):
            features = rate.features * sum(scene.megapixels[k] for scene in self.scenes)
            seconds += rate.end_scene_s * len(self.scenes) + rate.end_feature_s * features
        return seconds

    @property
    def seconds(self) -> float:
        """On this machine, to the end."""
        return self.scenes_s + self.end_s

    @property
    def output(self) -> dict[str, float]:
        """Bytes that what is to be run adds, by where they are below the batch's folder; those of
        scenes by their format.
        """
        counts = [len(self._of(k, "megapixels")) for k in range(len(self.detectors))]
        features = [
            rate.features * sum(self._of(k, "megapixels")) for k, (rate, _) in enumerate(self.rates)
        ]
        found = {"parts": self._alone(PART, counts, features)}
        more = CANDIDATES * self.options.candidates
        for form in self.options.formats:
            kind = form + more
            found[f"scenes {form}"] = (
                self._layers(kind, counts, features)
                if form == GPKG
                else self._alone(kind, counts, features)
            )
        once = [min(count, 1) for count in counts]
        found["features.gpkg"] = self._layers(ARCHIVE_GPKG, once, features)
        found["features.parquet"] = self._alone(ARCHIVE_PARQUET, once, features)
        found["pages"] = PAGES * max(once, default=0) + PAGES_SCENE * sum(counts)
        return found

    @property
    def output_bytes(self) -> float:
        """Of all files together."""
        return sum(self.output.values())

    def _alone(self, kind: str, files: Sequence[int], features: Sequence[float]) -> float:
        """Bytes of files that each have one detector's features."""
        sizes = [rate.file(kind) for rate, _ in self.rates]
        each = zip(sizes, files, features, strict=True)
        return sum(size.file * count + size.feature * some for size, count, some in each)

    def _layers(self, kind: str, layers: Sequence[int], features: Sequence[float]) -> float:
        """Bytes of files that have a layer a detector."""
        sizes = [rate.file(kind) for rate, _ in self.rates]
        files = max(layers, default=0)
        each = sum(size.file for size in sizes) / max(len(sizes), 1)
        inside = sum(size.feature * some for size, some in zip(sizes, features, strict=True))
        return each * files + LAYER * (sum(layers) - files) + inside

    def _of(self, detector: int, name: Literal["tiles", "megapixels"]) -> list[Any]:
        """The tiles or megapixels of the scenes on which a detector is to be run."""
        return [
            getattr(scene, name)[detector]
            for scene in self.scenes
            if scene.status[detector] == "to run"
        ]

    def facts(self, workers: int = 1) -> dict[str, Any]:
        """As plain JSON data. `workers` machines share the scenes; one of them writes the end."""
        return {
            "detectors": [{"name": name, "release": release} for name, release in self.detectors],
            "scenes": len(self.scenes),
            "done": self.done,
            "failed_before": self.failed_before,
            "to_run": len(self.to_run),
            "tiles": self.tiles,
            "megapixels": round(self.megapixels, 3),
            "bytes_to_read": self.bytes,
            "seconds": round(self.seconds, 1),
            "workers": workers,
            "seconds_on_workers": round(self.seconds_on(workers), 1),
            "rate_measured_here": self.measured,
            "output_bytes": round(self.output_bytes),
            "output": {name: round(size) for name, size in self.output.items()},
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

    def seconds_on(self, workers: int) -> float:
        """Seconds on so many machines like this one: they share the scenes, and each loads the
        networks; one of them writes the archive's files.
        """
        starts = sum(rate.start_s for k, (rate, _) in enumerate(self.rates) if self._of(k, "tiles"))
        return starts + (self.scenes_s - starts) / max(workers, 1) + self.end_s


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
        todo: tuple[RowStatus, ...] = tuple("to run" for _ in entries)
        planned.append(PlannedScene(ref, opened.facts, opened.tiles, opened.megapixels, todo))
    known = known_rates()
    return ArchivePlan(
        tuple((entry.config.name, entry.config.release) for entry in entries),
        tuple(planned),
        tuple(failed),
        tuple(skipped),
        found.notes,
        tuple(_rate(entry, options, known) for entry in entries),
        options,
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
