"""What a worker does: all detectors of one scene, each to files that are there whole or not."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as replaced
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from detectors.releases import SUFFIXES
from lanner.archives.opening import error_facts, facts_of
from lanner.archives.options import GPKG, BatchOptions
from lanner.archives.records import BINS, ErrorFacts, Outcome, SceneFacts
from lanner.archives.scenes import SceneRef
from lanner.core.errors import Argument, Cancelled, LannerError, OutputError
from lanner.core.files import replace
from lanner.core.job import Cancel, DetectRequest, DetectResult
from lanner.core.schema import Schema

if TYPE_CHECKING:
    import geopandas as gpd
    import numpy as np
    from numpy.typing import NDArray

    from detectors.catalog import Entry
    from lanner.inference.looks import LookTask
    from lanner.inference.manifest import Manifest
    from lanner.inference.registry import LoadedDetector

T = TypeVar("T")

_OUT = Argument("path")

SCENES, PARTS, WORK = "scenes", "parts", "work"
"""Folders of a batch: files of each scene, what the archive's files are made of, and runs that
are not at their end.
"""

RESUMED = 12
"""Tiles from which on a scene's run is kept while it is under way: fewer are done again sooner than
they are written down."""


@dataclass(frozen=True)
class SceneJob:
    """One scene and the detectors that are to be run on it.

    `stamp` is that of the scene when it was planned; `tiles` are those of all its detectors;
    `others` maps its detectors that are done to their keys; `runs_on` maps detectors to the number
    format that their results must be of, where one is settled.
    """

    ref: SceneRef
    detectors: tuple[str, ...]
    options: BatchOptions
    out: Path
    stamp: str = ""
    tiles: int = 0
    others: Mapping[str, str] = field(default_factory=dict)
    runs_on: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LooksLeft:
    """A run has come to closer looks that others may share; `key` is that of their ledger."""

    key: str
    tasks: Sequence[LookTask]


@dataclass(frozen=True)
class DetectorDone:
    """What became of one detector on one scene, what it was done from, and the run's summary."""

    detector: str
    outcome: Outcome | None
    error: ErrorFacts | None
    work: Mapping[str, Any]
    facts: SceneFacts | None = None
    summary: Mapping[str, Any] | None = None


def run_job(job: SceneJob, cancel: Cancel) -> list[DetectorDone]:
    """Run every detector of a job; an error of one keeps none of the others from it.

    Raises:
        Cancelled: the caller asked to stop.
        OutputError: a file cannot be written, or this machine computes in another number format
            than the batch does: no other scene would fare better.
    """
    from tiling.access import keep_open

    done: list[DetectorDone] = []
    others = dict(job.others)
    with keep_open(job.ref.uri):
        for detector in job.detectors:
            cancel.check()
            one = run_detector(job, detector, others, cancel)
            if one.outcome is not None:
                others[detector] = one.outcome.key
            done.append(one)
    return done


RunScene = Callable[[SceneJob, Cancel], list[DetectorDone]]
"""Runs every detector of a job, as `run_job` does on this machine."""


def run_detector(
    job: SceneJob,
    detector: str,
    others: Mapping[str, str],
    cancel: Cancel,
    opened_as: Manifest | None = None,
) -> DetectorDone:
    """Run one detector of a job from where its run folder is to the end; errors as of `run_job`.

    `others` are the keys of the scene's detectors that are done; `opened_as` is what
    `open_detector` gave for it.
    """
    done = _run_detector(job, detector, others, cancel, opened_as)
    assert isinstance(done, DetectorDone)
    return done


def run_to_looks(
    job: SceneJob,
    detector: str,
    others: Mapping[str, str],
    manifest: Manifest,
    share: int,
    cancel: Cancel,
) -> DetectorDone | LooksLeft:
    """The same, up to closer looks where more than `share` of them are left."""
    return _run_detector(job, detector, others, cancel, manifest, share)


class _Shared(Exception):
    """Ends a run before closer looks that others share."""

    def __init__(self, tasks: Sequence[LookTask]) -> None:
        super().__init__()
        self.tasks = tasks


def _run_detector(
    job: SceneJob,
    detector: str,
    others: Mapping[str, str],
    cancel: Cancel,
    opened_as: Manifest | None = None,
    share: int | None = None,
) -> DetectorDone | LooksLeft:
    from lanner.inference.looks import looks_key
    from lanner.inference.pipeline import detect_with
    from tiling.scene import open_scene

    def announce(tasks: Sequence[LookTask]) -> None:
        if share is not None and len(tasks) > share:
            raise _Shared(tasks)

    def run() -> DetectorDone | LooksLeft:
        request, entry, loaded = _asked(job, detector)
        scene = open_scene(job.ref.uri, gsd=request.gsd, crs=request.crs)
        facts = facts_of(scene, job.ref)
        # What another worker opened is what lies there, unless it was changed since the plan.
        known = opened_as if facts.stamp == job.stamp else None
        try:
            result = detect_with(
                entry.config,
                loaded,
                request,
                cancel,
                lambda _: None,
                opened_as=known,
                announce=announce,
            )
        except _Shared as left:
            assert opened_as is not None
            return LooksLeft(looks_key(opened_as, entry.config), left.tasks)
        done = keep_result(job, detector, result, facts, others)
        if request.run_dir is not None:
            shutil.rmtree(request.run_dir, ignore_errors=True)
        return done

    return _or_failure(detector, run)


def keep_result(
    job: SceneJob,
    detector: str,
    result: DetectResult,
    facts: SceneFacts,
    others: Mapping[str, str],
) -> DetectorDone:
    """Write the files of a result to their place; wherever it was made.

    Args:
        job: the scene.
        detector: as it was asked for.
        result: what came of it.
        facts: of the scene.
        others: keys of the scene's detectors that are done.

    Raises:
        OutputError: a file cannot be written.
    """
    key = content_key(job.ref.name, result.summary)
    outputs = _write(job, detector, key, result, others)
    outcome = _outcome(key, result, outputs)
    work = _work(facts, outcome, result.summary)
    return DetectorDone(detector, outcome, None, work, facts, result.summary)


def open_detector(job: SceneJob, detector: str, cancel: Cancel) -> Manifest | DetectorDone:
    """Everything of a run before its first tile: what its tiles depend on, or why it fails.

    Raises:
        Cancelled, OutputError: as of `run_job`.
    """
    from lanner.inference.run import open_run
    from lanner.inference.stages import Stages

    def run() -> Manifest:
        request, entry, loaded = _asked(job, detector)
        return open_run(entry.config, loaded, request, cancel, Stages(lambda _: None)).manifest

    return _or_failure(detector, run)


def predict_run(
    job: SceneJob, detector: str, manifest: Manifest, indices: Sequence[int], cancel: Cancel
) -> list[tuple[int, bytes]] | DetectorDone:
    """Some tiles of a run that another worker opened, as its ledger keeps them.

    Raises:
        Cancelled, OutputError: as of `run_job`.
    """
    from lanner.inference.run import predict_some

    settled = replaced(job, runs_on={**job.runs_on, detector: manifest.identity})

    def run() -> list[tuple[int, bytes]]:
        request, entry, loaded = _asked(settled, detector)
        return predict_some(entry.config, loaded(), request, manifest, indices, cancel)

    return _or_failure(detector, run)


def look_run(
    job: SceneJob, detector: str, manifest: Manifest, tasks: Sequence[LookTask], cancel: Cancel
) -> list[tuple[str, bytes]] | DetectorDone:
    """Some closer looks of a run that another worker came to, as its ledger keeps them.

    Raises:
        Cancelled, OutputError: as of `run_job`.
    """
    from lanner.inference.run import look_at_some

    settled = replaced(job, runs_on={**job.runs_on, detector: manifest.identity})

    def run() -> list[tuple[str, bytes]]:
        request, entry, loaded = _asked(settled, detector)
        return look_at_some(entry.config, loaded(), request, manifest, tasks, cancel)

    return _or_failure(detector, run)


def _or_failure(detector: str, run: Callable[[], T]) -> T | DetectorDone:
    """What `run` gives, or its error as it is kept; those that end a batch are raised."""
    try:
        return run()
    except (Cancelled, OutputError):
        raise
    except LannerError as error:
        return DetectorDone(detector, None, error_facts(error), {})


def run_folder_of(job: SceneJob, detector: str) -> Path:
    """Where a run that is worth going on with keeps its tiles while it is under way."""
    return job.out / WORK / f"{job.ref.name}.{_stem(detector)}"


def _asked(
    job: SceneJob, detector: str
) -> tuple[DetectRequest, Entry, Callable[[], LoadedDetector]]:
    """What is asked of a detector, the one for this scene, and what loads its networks."""
    from lanner.inference.pipeline import detector_for_scene
    from lanner.inference.registry import find, load

    keep = run_folder_of(job, detector) if job.tiles >= RESUMED else None
    request = job.options.request(job.ref, detector, keep)
    entry = detector_for_scene(find(job.options.found_as(detector)), request)

    def loaded() -> LoadedDetector:
        found = load(entry, request)
        wanted = job.runs_on.get(detector)
        if wanted is not None and found.predictor.identity != wanted:
            raise OutputError(
                _OUT,
                job.out,
                f"holds results of {wanted}, and this machine would add some of "
                f"{found.predictor.identity}",
                "go on with it on such a machine, or begin a new batch",
            )
        return found

    return request, entry, loaded


def content_key(name: str, summary: Mapping[str, Any]) -> str:
    """SHA-256 over all that a result follows from: scene, weights, configuration, number format."""
    facts = [name, *(summary[part] for part in ("lanner", "scene", "detector", "plan", "stretch"))]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _work(facts: SceneFacts, outcome: Outcome, summary: Mapping[str, Any]) -> dict[str, Any]:
    """What must be the same for a result to stand, cheap to look at; its key and its files."""
    detector = summary["detector"]
    names = ("name", "release", "config_sha256", "weights_sha256", "runs_on")
    return {
        "lanner": summary["lanner"],
        "stamp": facts.stamp,
        "key": outcome.key,
        "files": [*outcome.outputs, f"{PARTS}/{outcome.key}.parquet"],
        **{name: detector[name] for name in names},
    }


def _write(
    job: SceneJob, detector: str, key: str, result: DetectResult, others: Mapping[str, str]
) -> tuple[str, ...]:
    """The files of one result, below the batch's folder: made beside, then moved to their place.

    They are named after the detector asked for, whichever its scenes of a single band go to.
    """
    from lanner.inference.registry import find
    from postprocess.writers import write

    part, layer = part_of(job.out, key), find(job.options.found_as(detector)).config.name
    beside = job.out / WORK / f"{job.ref.name}.files"
    shutil.rmtree(beside, ignore_errors=True)
    for folder in (beside, part.parent, job.out / SCENES):
        folder.mkdir(parents=True, exist_ok=True)
    write(result.features, result.frame, part, layer, result.schema)
    part.with_suffix(".qml").unlink(missing_ok=True)
    paths = [beside / _file(job, layer, form) for form in job.options.formats]
    for path in paths:
        if path.suffix == f".{GPKG}":
            _write_layers(job, path, detector, result, others)
            continue
        write(result.features, result.frame, path, layer, result.schema)
        if result.candidates is not None:
            left = result.candidates
            write(left.features, left.frame, _candidates(path), left.layer, left.schema)
    for path in sorted(beside.iterdir()):
        replace(path, job.out / SCENES / path.name)
    beside.rmdir()
    return tuple(f"{SCENES}/{path.name}" for path in paths)


def _write_layers(
    job: SceneJob, path: Path, detector: str, result: DetectResult, others: Mapping[str, str]
) -> None:
    """A GeoPackage with a layer a detector, in the order of the batch whichever was run last."""
    from lanner.inference.registry import find
    from postprocess.chain import Chain
    from postprocess.writers import write

    for name in job.options.detectors:
        config = find(job.options.found_as(name)).config
        if name == detector:
            write(result.features, result.frame, path, config.name, result.schema)
            left = result.candidates
            if left is not None:
                write(left.features, left.frame, path, left.layer, left.schema)
        elif name in others:
            frame = read_part(part_of(job.out, others[name]))
            write((), frame, path, config.name, as_texts(Chain.from_specs(config.chain).schema))


def part_of(out: Path, key: str) -> Path:
    """What the archive's files are made of: the features of one scene, in its CRS."""
    return out / PARTS / f"{key}.parquet"


def read_part(path: Path) -> gpd.GeoDataFrame:
    """What `run_job` left there.

    Raises:
        OutputError: it is gone or damaged.
    """
    import geopandas as gpd

    try:
        return upright(gpd.read_parquet(path))
    except (OSError, ValueError) as error:
        raise OutputError(
            _OUT,
            path,
            f"cannot be read ({error})",
            "remove the batch's ledger and run it again",
        ) from error


def upright(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Scene pixels with y downward: tables have them as QGIS lays a picture without a place."""
    import geopandas as gpd
    import shapely

    if frame.crs is not None:
        return frame
    shapes = shapely.transform(frame.geometry.to_numpy(), lambda xy: xy * (1.0, -1.0))
    return frame.set_geometry(gpd.GeoSeries(shapes, index=frame.index, crs=None))


def as_texts(schema: Schema) -> Schema:
    """The same columns with nested values as texts of JSON, which `read_part` gives."""
    columns = (replaced(one, kind="text") if one.kind == "json" else one for one in schema.columns)
    return Schema(tuple(columns), schema.geometry)


def _file(job: SceneJob, detector: str, form: str) -> str:
    """A GeoPackage has a layer a detector; of other formats each detector has its file."""
    if form == GPKG or len(job.options.detectors) == 1:
        return f"{job.ref.name}.{form}"
    return f"{job.ref.name}.{detector}.{form}"


def files_of(path: Path) -> tuple[Path, ...]:
    """An output of a scene, and what may lie beside it: its style, and what was left out."""
    return path, path.with_suffix(".qml"), _candidates(path), _candidates(path).with_suffix(".qml")


def _candidates(path: Path) -> Path:
    return path.with_name(f"{path.stem}.candidates{path.suffix}")


def _outcome(key: str, result: DetectResult, outputs: tuple[str, ...]) -> Outcome:
    confidence = result.frame["confidence"].to_numpy(float)
    summary = result.summary
    return Outcome(
        key=key,
        features=len(result.features),
        counts=summary["counts"],
        expected=round(float(confidence.sum()), 3),
        expected_sd=round(float((confidence * (1 - confidence)).sum() ** 0.5), 3),
        megapixels=summary["megapixels"],
        tiles=summary["plan"]["tiles"],
        seconds=summary["seconds"],
        outputs=outputs,
        scores=_scores(confidence),
        notes=tuple(summary["notes"]),
        unread=len(summary.get("unread", ())),
    )


def _scores(confidence: NDArray[np.float64]) -> tuple[int, ...]:
    import numpy as np

    counts, _ = np.histogram(confidence, BINS, (0.0, 1.0))
    return tuple(counts.tolist())


def _stem(detector: str) -> str:
    path = Path(detector)
    return path.stem if path.suffix in SUFFIXES else path.name
