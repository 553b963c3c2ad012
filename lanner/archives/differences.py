"""What changed from one result to another, and why: `lanner.diff`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyproj
import shapely

from lanner.archives.causes import GSD, NAME, Cause, causes, together
from lanner.archives.matching import KINDS, Matched, Objects, match
from lanner.archives.results import RunResults, SceneResult, results_of
from lanner.core.errors import ConfigError
from postprocess.shapes import Floats, Shapes

if TYPE_CHECKING:
    import geopandas as gpd

ONLY_FIRST, ONLY_SECOND, SAME = "only first", "only second", "same"
COUNTED = (SAME, *KINDS, ONLY_FIRST, ONLY_SECOND)
"""What is counted, in the order it is told."""


@dataclass(frozen=True)
class ObjectFacts:
    """What one result says of an object; None where it says nothing."""

    id: str | None
    label: str | None
    type: str | None
    decision: str | None
    confidence: float | None


@dataclass(frozen=True)
class Change:
    """An object that is not the same in both results.

    Attributes:
        kinds: out of `COUNTED`, but never `same`.
        scene: name of its scene.
        detector: who found it.
        first: what the first result says of it; None where it has not got it.
        second: the same of the second.
        overlap: intersection over union of its shapes; None where one has it alone.
        moved_m: metres between its centres (scene pixels where no ground sampling is known).
        geometry: in the second result, or in the first where that has it alone.
        crs: of the geometry; None: scene pixels.
    """

    kinds: tuple[str, ...]
    scene: str
    detector: str
    first: ObjectFacts | None
    second: ObjectFacts | None
    overlap: float | None
    moved_m: float | None
    geometry: Any = field(repr=False, compare=False)
    crs: Any = field(default=None, repr=False, compare=False)

    @property
    def facts(self) -> dict[str, Any]:
        """As plain JSON data, without the geometry."""
        return {
            "kinds": list(self.kinds),
            "scene": self.scene,
            "detector": self.detector,
            "first": None if self.first is None else asdict(self.first),
            "second": None if self.second is None else asdict(self.second),
            "overlap": self.overlap,
            "moved_m": self.moved_m,
        }


@dataclass(frozen=True)
class Compared:
    """The objects of two results of one scene: changes, and counts by label and by `COUNTED`.

    `sizes` has the number of objects of both by label; a change of label counts under the first.
    """

    changes: tuple[Change, ...]
    counts: Mapping[str, Mapping[str, int]]
    sizes: Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class Differences:
    """What changed from the first result to the second, and why.

    Attributes:
        first: path of the first.
        second: path of the second.
        causes: what they were made from that differs; none where nothing that is recorded does.
        changes: objects that are not the same.
        counts: by label, what became of how many objects (`COUNTED`).
        sizes: by label, how many objects there are in the first and in the second.
        scenes: how many both have.
        only_first: names of scenes that only the first has.
        only_second: names of scenes that only the second has.
        notes: sentences for people.
    """

    first: str
    second: str
    causes: tuple[Cause, ...]
    changes: tuple[Change, ...]
    counts: Mapping[str, Mapping[str, int]]
    sizes: Mapping[str, tuple[int, int]]
    scenes: int
    only_first: tuple[str, ...] = ()
    only_second: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def differ(self) -> bool:
        """Whether any object changed, or a scene is in one of them alone."""
        return bool(self.changes or self.only_first or self.only_second)

    def facts(self) -> dict[str, Any]:
        """As plain JSON data."""
        return {
            "first": self.first,
            "second": self.second,
            "differ": self.differ,
            "causes": [asdict(one) for one in self.causes],
            "scenes": {
                "both": self.scenes,
                "only_first": list(self.only_first),
                "only_second": list(self.only_second),
            },
            "counts": {
                label: {
                    "first": self.sizes[label][0],
                    "second": self.sizes[label][1],
                    **{what.replace(" ", "_"): row.get(what, 0) for what in COUNTED},
                }
                for label, row in self.counts.items()
            },
            "changes": [one.facts for one in self.changes],
            "notes": list(self.notes),
        }

    def to_file(self, path: str | os.PathLike[str]) -> Path:
        """Write the changes as a layer: .gpkg, .geojson, .json, .fgb or .parquet.

        Raises:
            OutputError: it cannot be written, or is GeoJSON of scenes without a CRS.
        """
        from lanner.archives.changes import write_changes

        return write_changes(self.changes, Path(path))


def diff(first: str | os.PathLike[str], second: str | os.PathLike[str]) -> Differences:
    """Say what changed from one result to another, and why.

    Args:
        first: a run folder, the folder of a batch, or a file of features.
        second: the same, to be compared with it.

    Raises:
        ConfigError: one of them is none of these, or they have no scene in common.
        OutputError: what a batch has kept cannot be read any more.
    """
    one, two = results_of(Path(first)), results_of(Path(second))
    pairs, only_first, only_second = _paired(one, two)
    found: list[Cause] = []
    compared: list[Compared] = []
    for a, b in pairs:
        name = a.scene or b.scene
        found += causes(a.facts, b.facts, name)
        frame = a.read()
        other = frame if a.sha256 is not None and a.sha256 == b.sha256 else b.read()
        compared.append(compare(frame, other, name, b.detector, (_gsd(a), _gsd(b))))
    counts, sizes = _summed(compared)
    return Differences(
        str(one.path),
        str(two.path),
        together(found),
        tuple(change for part in compared for change in part.changes),
        counts,
        sizes,
        len(pairs),
        only_first,
        only_second,
        _notes(one, two),
    )


def compare(
    first: gpd.GeoDataFrame,
    second: gpd.GeoDataFrame,
    scene: str,
    detector: str,
    gsd: tuple[float | None, float | None] = (None, None),
) -> Compared:
    """Compare the features of two results of one scene.

    Args:
        first: in any CRS, or in scene pixels.
        second: in any CRS, or in scene pixels as the first.
        scene: its name.
        detector: who found them.
        gsd: metres a pixel of both, for scene pixels; None: lengths are told in pixels.

    Raises:
        ConfigError: one has a place on the ground, and the other one is in pixels.
    """
    flat = on_plane(first, second, scene, gsd)
    matched = match(_objects(first, flat[0]), _objects(second, flat[1]))
    facts = _facts(first), _facts(second)
    placed = second if second.crs == first.crs else second.to_crs(first.crs)
    shapes = first.geometry.to_numpy(), placed.geometry.to_numpy()
    changes = []
    for pair in matched.pairs:
        if pair.kinds:
            a, b = facts[0][pair.first], facts[1][pair.second]
            overlap, moved = round(pair.overlap, 4), round(pair.moved_m, 3)
            shape = shapes[1][pair.second]
            changes.append(
                Change(pair.kinds, scene, detector, a, b, overlap, moved, shape, first.crs)
            )
    for k in matched.only_first:
        only: tuple[str, ...] = (ONLY_FIRST,)
        changes.append(
            Change(only, scene, detector, facts[0][k], None, None, None, shapes[0][k], first.crs)
        )
    for k in matched.only_second:
        only = (ONLY_SECOND,)
        changes.append(
            Change(only, scene, detector, None, facts[1][k], None, None, shapes[1][k], first.crs)
        )
    changes.sort(key=_order)
    return Compared(tuple(changes), _counts(matched, facts), _sizes(facts))


def on_plane(
    first: gpd.GeoDataFrame,
    second: gpd.GeoDataFrame,
    scene: str,
    gsd: tuple[float | None, float | None],
) -> tuple[Shapes, Shapes]:
    """Shapes of both on one plane, in metres: an equal-area one around their middle. Lengths are
    right to 1 % within 1,500 km of it.

    Raises:
        ConfigError: one has a place on the ground, and the other one is in pixels.
    """
    if (first.crs is None) != (second.crs is None):
        raise ConfigError(
            "run",
            scene,
            "is in pixels in one result and on the ground in the other",
            "compare results that were made with the same CRS",
        )
    frames = first, second
    if first.crs is None:
        known = None not in gsd
        scale = [one if known and one is not None else 1.0 for one in gsd]
        return _scaled(first, scale[0]), _scaled(second, scale[1])
    lonlat = [np.asarray(frame.geometry.to_crs("EPSG:4326").to_numpy(), object) for frame in frames]
    lon, lat = _middle(np.concatenate(lonlat))
    plane = pyproj.CRS.from_proj4(f"+proj=laea +lat_0={lat!r} +lon_0={lon!r} +datum=WGS84")
    one, two = (np.asarray(frame.geometry.to_crs(plane).to_numpy(), object) for frame in frames)
    return one, two


def _middle(shapes: Shapes) -> tuple[float, float]:
    """Longitude and latitude amid shapes, on whichever side of the antimeridian they are."""
    xy = shapely.get_coordinates(shapes)
    xy = np.radians(xy[np.isfinite(xy).all(axis=1)])
    if not len(xy):
        return 0.0, 0.0
    flat = np.cos(xy[:, 1])
    x, y, z = (
        (flat * np.cos(xy[:, 0])).sum(),
        (flat * np.sin(xy[:, 0])).sum(),
        np.sin(xy[:, 1]).sum(),
    )
    lon, lat = np.degrees([np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))]).tolist()
    # A middle that does not hang on the order in which it was summed.
    return round(lon, 6), round(lat, 6)


def _scaled(frame: gpd.GeoDataFrame, by: float) -> Shapes:
    return np.asarray(shapely.transform(frame.geometry.to_numpy(), lambda xy: xy * by), object)


def _objects(frame: gpd.GeoDataFrame, shapes: Shapes) -> Objects:
    return Objects(
        shapes,
        _texts(frame, "label"),
        _texts(frame, "type"),
        _texts(frame, "decision"),
        _confidences(frame),
    )


def _texts(frame: gpd.GeoDataFrame, column: str) -> tuple[str | None, ...]:
    if column not in frame:
        return (None,) * len(frame)
    return tuple(None if pd.isna(value) else str(value) for value in frame[column].tolist())


def _confidences(frame: gpd.GeoDataFrame) -> Floats:
    if "confidence" not in frame:
        return np.full(len(frame), np.nan)
    return np.asarray(pd.to_numeric(frame["confidence"]).to_numpy(np.float64, na_value=np.nan))


def _facts(frame: gpd.GeoDataFrame) -> list[ObjectFacts]:
    columns = (_texts(frame, name) for name in ("id", "label", "type", "decision"))
    sure = [None if np.isnan(value) else value for value in _confidences(frame).tolist()]
    return [ObjectFacts(*one) for one in zip(*columns, sure, strict=True)]


def _order(change: Change) -> tuple[str, ...]:
    """By label, then by what became of it, whatever order the features came in."""
    known = change.first or change.second
    assert known is not None
    kinds = ",".join(change.kinds)
    return str(known.label), kinds, str(known.id), repr(change.second), repr(change.geometry)


def _counts(
    matched: Matched, facts: tuple[Sequence[ObjectFacts], Sequence[ObjectFacts]]
) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {}
    for pair in matched.pairs:
        label = str(facts[0][pair.first].label)
        found.setdefault(label, Counter()).update(pair.kinds or (SAME,))
    for what, numbers, side in (
        (ONLY_FIRST, matched.only_first, 0),
        (ONLY_SECOND, matched.only_second, 1),
    ):
        for k in numbers:
            found.setdefault(str(facts[side][k].label), Counter()).update((what,))
    return {label: dict(found[label]) for label in sorted(found)}


def _sizes(
    facts: tuple[Sequence[ObjectFacts], Sequence[ObjectFacts]],
) -> dict[str, tuple[int, int]]:
    one, two = (Counter(str(fact.label) for fact in side) for side in facts)
    return {label: (one[label], two[label]) for label in sorted({*one, *two})}


def _summed(
    parts: Iterable[Compared],
) -> tuple[dict[str, dict[str, int]], dict[str, tuple[int, int]]]:
    counts: dict[str, Counter[str]] = {}
    first, second = Counter[str](), Counter[str]()
    for part in parts:
        for label, row in part.counts.items():
            counts.setdefault(label, Counter()).update(row)
        first.update({label: size[0] for label, size in part.sizes.items()})
        second.update({label: size[1] for label, size in part.sizes.items()})
    labels = sorted({*counts, *first, *second})
    return (
        {label: dict(counts.get(label, {})) for label in labels},
        {label: (first[label], second[label]) for label in labels},
    )


_Pairs = tuple[list[tuple[SceneResult, SceneResult]], tuple[str, ...], tuple[str, ...]]


def _paired(one: RunResults, two: RunResults) -> _Pairs:
    """Results of one scene and detector in both, and names of scenes that one of them has alone.

    A single scene is compared with a single one whatever they are called, and so is a single
    detector with a single one.

    Raises:
        ConfigError: a batch and a result of a scene that it has not.
    """
    first, second = one.scenes, two.scenes
    if one.kind == "batch" and two.kind != "batch":
        first = _of_scenes(one, two)
    elif two.kind == "batch" and one.kind != "batch":
        second = _of_scenes(two, one)
    scenes = [{part.scene for part in side} for side in (first, second)]
    detectors = [{part.detector for part in side} for side in (first, second)]
    # Layers of a file are told apart by their detectors, whatever scenes they are of.
    any_scene = all(len(names) <= 1 for names in scenes) or "file" in (one.kind, two.kind)
    any_detector = all(len(names) <= 1 for names in detectors)

    def key(part: SceneResult) -> tuple[str, str]:
        return "" if any_scene else part.scene, "" if any_detector else part.detector

    a, b = ({key(part): part for part in side} for side in (first, second))
    pairs = [(a[name], b[name]) for name in sorted(a.keys() & b.keys())]
    return pairs, _alone(a, b), _alone(b, a)


def _alone(
    mine: Mapping[tuple[str, str], SceneResult], other: Mapping[tuple[str, str], SceneResult]
) -> tuple[str, ...]:
    names = {part.scene for key, part in other.items()}
    left = [part for key, part in sorted(mine.items()) if key not in other]
    alone = (
        f"{part.scene} ({part.detector})" if part.scene in names or not part.scene else part.scene
        for part in left
    )
    return tuple(dict.fromkeys(alone))


def _of_scenes(batch: RunResults, other: RunResults) -> tuple[SceneResult, ...]:
    """What a batch has of the scenes of another result."""
    names = {part.facts.values.get(NAME, part.scene) for part in other.scenes}
    found = tuple(part for part in batch.scenes if {part.scene, part.facts.values[NAME]} & names)
    if not found:
        raise ConfigError(
            "run",
            other.path,
            f"is of no scene that the batch in {batch.path} has",
            f"compare it with a file below {batch.path}",
        )
    return found


def _gsd(part: SceneResult) -> float | None:
    known = part.facts.values.get(GSD)
    return None if known is None else float(np.sqrt(np.prod(known)))


def _notes(one: RunResults, two: RunResults) -> tuple[str, ...]:
    notes = [
        f"{len(part.unfinished)} scenes of {part.path} are not done."
        for part in (one, two)
        if part.unfinished
    ]
    files = [str(part.path) for part in (one, two) if part.kind == "file"]
    if files:
        notes.append(
            f"{' and '.join(files)}: a file of features tells neither the scene's content, nor "
            "Lanner's version, ground sampling, tile and number format."
        )
    return tuple(notes)
