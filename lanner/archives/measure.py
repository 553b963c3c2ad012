"""What a batch that has ended tells of the next one: seconds and bytes, fitted to its scenes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detectors.catalog import Entry
from lanner.archives import rates
from lanner.archives.archive import GPKG, PARQUET
from lanner.archives.fits import fitted
from lanner.archives.options import GPKG as SCENE_GPKG
from lanner.archives.options import BatchOptions
from lanner.archives.rates import (
    ARCHIVE_GPKG,
    ARCHIVE_PARQUET,
    CANDIDATES,
    FILES,
    PART,
    UNKNOWN,
    FileRate,
    Rate,
)
from lanner.archives.records import BatchRecord
from lanner.archives.work import files_of, part_of

LOAD = "load"
"""The stage in which networks are loaded: once a batch, whichever scenes wait for it."""

_SIZES = (0.1, 100.0)
"""Megapixels at which what is supposed of scenes counts."""
_MANY = 500.0
"""Features at which what is supposed of files counts."""


@dataclass(frozen=True)
class ScenesTime:
    """What scenes of one detector took: (n,) megapixels and seconds each, without loading, and
    the longest that one waited until networks were loaded.
    """

    megapixels: tuple[float, ...]
    seconds: tuple[float, ...]
    start_s: float


@dataclass(frozen=True)
class MeasuredFile:
    """Bytes of one file, and how many features of each detector are in it."""

    bytes: int
    features: tuple[int, ...]


def scene_times(took: ScenesTime, together: float) -> tuple[float, float]:
    """Seconds of a scene, and of a megapixel of it.

    Args:
        took: by the scenes of a batch.
        together: seconds of the batch for each second of its scenes: several are under way at once.
    """
    table = np.stack([np.ones(len(took.megapixels)), np.asarray(took.megapixels)], axis=1)
    supposed = (UNKNOWN.scene_s, UNKNOWN.megapixel_s)
    trials = [(1.0, size) for size in _SIZES]
    seconds = np.maximum(took.seconds, 1e-6)
    scene_s, megapixel_s = fitted(table, seconds, supposed, trials, scaled=True)
    return float(scene_s) * together, float(megapixel_s) * together


def end_times(scenes: int, features: int, seconds: float) -> tuple[float, float, float]:
    """Seconds of the end of any batch, of each scene and detector, and of each feature.

    Args:
        scenes: and detectors of a batch.
        features: of all these.
        seconds: that its end took.
    """
    supposed = (UNKNOWN.end_s, UNKNOWN.end_scene_s, UNKNOWN.end_feature_s)
    table, trials = [(1.0, scenes, features)], [(1.0, 0, 0), (1.0, 1e3, 0), (1.0, 0, 1e5)]
    end_s, scene_s, feature_s = fitted(table, [max(seconds, 1e-6)], supposed, trials)
    return float(end_s), float(scene_s), float(feature_s)


def file_rates(files: Sequence[MeasuredFile], kind: str) -> tuple[FileRate, ...]:
    """Sizes of a kind of file, for each detector whose features are in them.

    Args:
        files: at least one; all of as many detectors.
        kind: as of `Rate.files`.
    """
    usual = FILES[_plain(kind)]
    several = len(files[0].features)
    more = rates.LAYER * (several - 1) if _layered(kind) else 0
    table = np.array([(1.0, *one.features) for one in files], np.float64)
    sizes = [max(one.bytes - more, 1) for one in files]
    trials = np.concatenate([np.ones((several + 1, 1)), np.eye(several + 1, several) * _MANY], 1)
    file, *features = fitted(table, sizes, (usual.file, *[usual.feature] * several), trials)
    return tuple(FileRate(round(float(file), 1), round(float(one), 1)) for one in features)


def keep_rates(
    records: Sequence[BatchRecord],
    ran: Collection[tuple[str, str]],
    detectors: Sequence[Entry],
    options: BatchOptions,
    out: Path,
    *,
    scenes_s: float,
    end_s: float,
) -> tuple[str, ...]:
    """Keep how fast a batch was and how large its files are, for the plans to come.

    Args:
        records: all of the batch.
        ran: names of the scenes and detectors that were run this time, on this machine alone.
        detectors: in the order of the options.
        options: of the batch.
        out: its folder, with all that it leaves.
        scenes_s: seconds that those took together, from the first one's beginning.
        end_s: seconds that the archive's files and pages took.

    Returns:
        Notes where rates could not be kept. Too few scenes measure nothing.
    """
    done = {
        name: [one for one in records if one.detector == name and one.outcome is not None]
        for name in options.detectors
    }
    took = {
        name: _time(one for one in some if (one.scene.name, name) in ran)
        for name, some in done.items()
    }
    start_s = sum(one.start_s for one in took.values())
    together = max(scenes_s - start_s, 0.0) / max(
        sum(sum(one.seconds) for one in took.values()), 1e-9
    )
    layers = {
        name: entry.config.name for name, entry in zip(options.detectors, detectors, strict=True)
    }
    files = _files(done, layers, options, out)
    count = sum(map(len, done.values()))
    features = sum(one.outcome.features for some in done.values() for one in some if one.outcome)
    ends = end_times(count, features, end_s)
    notes = set()
    for k, (name, entry) in enumerate(zip(options.detectors, detectors, strict=True)):
        if len(took[name].seconds) < rates.LEAST:
            continue
        scene_s, megapixel_s = scene_times(took[name], together)
        found = [one.outcome for one in done[name] if one.outcome is not None]
        density = sum(one.features for one in found) / max(
            sum(one.megapixels for one in found), 1e-9
        )
        rate = Rate(
            round(took[name].start_s, 3),
            round(scene_s, 6),
            round(megapixel_s, 6),
            round(ends[0], 4),
            round(ends[1], 6),
            round(ends[2], 8),
            round(density, 4),
            {kind: some[k] for kind, some in files.items()},
            len(took[name].seconds),
        )
        config = entry.config
        of = rates.name_of(config.name, config.release, options.device)
        notes.add(rates.keep(of, rate))
    return tuple(sorted(note for note in notes if note is not None))


def _time(records: Iterable[BatchRecord]) -> ScenesTime:
    outcomes = [one.outcome for one in records if one.outcome is not None]
    loads = [one.seconds.get(LOAD, 0.0) for one in outcomes]
    spent = [sum(one.seconds.values()) for one in outcomes]
    return ScenesTime(
        tuple(one.megapixels for one in outcomes),
        tuple(whole - load for whole, load in zip(spent, loads, strict=True)),
        max(loads, default=0.0),
    )


def _files(
    done: Mapping[str, list[BatchRecord]],
    layers: Mapping[str, str],
    options: BatchOptions,
    out: Path,
) -> dict[str, tuple[FileRate, ...]]:
    """Sizes of all kinds of files, of each the rates by detector."""
    shared: dict[str, list[MeasuredFile]] = defaultdict(list)
    alone: dict[tuple[str, str], list[MeasuredFile]] = defaultdict(list)
    for kind, size, found in _measured(done, layers, options, out):
        if _layered(kind):
            if len(found) == len(done):
                shared[kind].append(MeasuredFile(size, tuple(found[name] for name in done)))
        else:
            for name, features in found.items():
                alone[kind, name].append(MeasuredFile(size, (features,)))
    result = {kind: file_rates(some, kind) for kind, some in shared.items()}
    for kind in {kind for kind, _ in alone}:
        result[kind] = tuple(
            file_rates(alone[kind, name], kind)[0] if alone[kind, name] else FILES[_plain(kind)]
            for name in done
        )
    return result


def _measured(
    done: Mapping[str, list[BatchRecord]],
    layers: Mapping[str, str],
    options: BatchOptions,
    out: Path,
) -> Iterator[tuple[str, int, dict[str, int]]]:
    """Every file of a batch: its kind, its bytes, and its features by detector."""
    scenes: dict[str, dict[str, int]] = defaultdict(dict)
    whole: dict[str, int] = {}
    for name, some in done.items():
        for outcome in [one.outcome for one in some if one.outcome is not None]:
            whole[name] = whole.get(name, 0) + outcome.features
            yield PART, _bytes(part_of(out, outcome.key)), {name: outcome.features}
            for file in outcome.outputs:
                scenes[file][name] = outcome.features
        if some:
            layer = out / PARQUET / f"layer={layers[name]}"
            yield ARCHIVE_PARQUET, _bytes(*layer.glob("*.parquet")), {name: whole[name]}
    for file, found in scenes.items():
        kind = Path(file).suffix[1:] + CANDIDATES * options.candidates
        yield kind, _bytes(*files_of(out / file)), found
    if whole:
        yield ARCHIVE_GPKG, _bytes(out / GPKG), whole


def _plain(kind: str) -> str:
    return kind.removesuffix(CANDIDATES)


def _layered(kind: str) -> bool:
    """Whether files of a kind have a layer a detector."""
    return _plain(kind) in (SCENE_GPKG, ARCHIVE_GPKG)


def _bytes(*paths: Path) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())
