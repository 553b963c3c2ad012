"""Runs done again from what is recorded of them: `lanner.replay`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detectors.catalog import Entry, check_release
from detectors.releases import AT
from lanner.archives import causes as names
from lanner.archives.causes import Cause, RunFacts, brief, causes, facts_of, files_of
from lanner.archives.differences import Compared, compare
from lanner.archives.executors import Needs, in_order, opener
from lanner.archives.ledger import FILE as LEDGER
from lanner.archives.ledger import BatchLedger
from lanner.archives.opening import error_facts
from lanner.archives.options import BatchOptions
from lanner.archives.records import BatchRecord, ErrorFacts
from lanner.archives.results import finished_run, read_result, run_facts
from lanner.archives.work import part_of, read_part
from lanner.core.config import config_sha256
from lanner.core.errors import (
    Argument,
    Cancelled,
    ConfigError,
    DeviceError,
    LannerError,
    OutputError,
    ReplayError,
    UnknownDetectorError,
)
from lanner.core.job import Cancel, DetectRequest, DetectResult, Progress
from lanner.inference import manifest
from lanner.inference.registry import LoadedDetector, find, load
from tiling.names import is_remote

if TYPE_CHECKING:
    import geopandas as gpd

_RUN = "run"
_ANYWAY = "give `anyway` to run it with what is here, and see what comes out now"
SHOWN = 6
"""Differences that a message names."""
_DEVICES = ("cpu", "cuda", "mps")

MUST_BE_SAME = (
    names.SCENE,
    names.DETECTOR,
    names.RELEASE,
    names.NETWORKS,
    names.WEIGHTS,
    names.CONFIG,
    names.FILES,
)
"""What must not differ before a run is done again."""


@dataclass(frozen=True)
class RecordedRun:
    """One detection as it is recorded.

    Attributes:
        scene: name of the scene.
        request: as it was asked.
        facts: what it was made from.
        features: how many came out.
        sha256: checksum of the features.
        candidates_sha256: the same of what was left out; None where it was not asked for or kept.
        part: the features in a file, whose bytes are compared where there is no checksum.
        read: gives the features.
    """

    scene: str
    request: DetectRequest
    facts: RunFacts
    features: int
    sha256: str
    candidates_sha256: str | None
    part: Path
    read: Callable[[], gpd.GeoDataFrame]

    @property
    def detector(self) -> str:
        """Name of the one that ran."""
        return str(self.facts.values[names.DETECTOR])


@dataclass(frozen=True)
class ReplayedRun:
    """What came of one detection that was done again.

    Attributes:
        scene: name of the scene.
        detector: that ran.
        identical: whether the features are those recorded, to the byte; None: it was not run.
        features: how many are recorded, and how many came out now.
        causes: what differs of what it was made from.
        compared: what became of the objects, where the features differ.
        error: why it was not run.
    """

    scene: str
    detector: str
    identical: bool | None
    features: tuple[int, int | None]
    causes: tuple[Cause, ...] = ()
    compared: Compared | None = None
    error: ErrorFacts | None = None

    def facts(self) -> dict[str, Any]:
        """As plain JSON data."""
        compared = self.compared
        return {
            "scene": self.scene,
            "detector": self.detector,
            "identical": self.identical,
            "features": {"recorded": self.features[0], "now": self.features[1]},
            "causes": [asdict(one) for one in self.causes],
            "counts": None if compared is None else compared.counts,
            "changes": None if compared is None else [one.facts for one in compared.changes],
            "error": None if self.error is None else asdict(self.error),
        }


@dataclass(frozen=True)
class Replay:
    """What came of a run, or of the scenes of a batch, in their order."""

    run: str
    runs: tuple[ReplayedRun, ...]

    @property
    def identical(self) -> bool:
        """Whether everything was run, and came out to the byte as it is recorded."""
        return all(one.identical for one in self.runs)

    @property
    def failed(self) -> tuple[ReplayedRun, ...]:
        """Those that were not run."""
        return tuple(one for one in self.runs if one.identical is None)

    @property
    def different(self) -> tuple[ReplayedRun, ...]:
        """Those that came out otherwise."""
        return tuple(one for one in self.runs if one.identical is False)

    def facts(self) -> dict[str, Any]:
        """As plain JSON data."""
        runs = [one.facts() for one in self.runs]
        return {"run": self.run, "identical": self.identical, "scenes": runs}


def replay(
    run: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    scenes: str | Sequence[str] = (),
    anyway: bool = False,
    device: str | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_run: Callable[[ReplayedRun], None] | None = None,
    cancel: Cancel | None = None,
) -> Replay:
    """Do a run again from its record, and say whether the same features come out.

    Before anything is run, the scene's content, the weights and the configuration are compared
    with the record, and so is the number format that this machine computes in.

    Args:
        run: folder of a run, or of a batch: all its scenes that are done.
        out: new folder that keeps what comes out, as a run folder (of a batch: one each scene and
            detector); None: nothing is kept.
        scenes: of a batch the names of those to run; of a run folder where its scene lies now.
        anyway: run it although something differs.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps"; None: what it was run on.
        on_progress: told of every stage, of a batch of its scenes.
        on_run: given each scene and detector of a batch as it is done.
        cancel: set it from another thread to stop.

    Raises:
        ConfigError: there is no such run, or it has not ended; no such scene in the batch.
        ReplayError: of a run folder: what it was made from is gone or is not the same. Of a batch
            it is told with the scene, and keeps no other from being run.
        OutputError: `out` holds something, or cannot be written.
        Cancelled: `cancel` was set.
        LannerError: of a run folder: any other that a detection raises.
    """
    folder, cancel, tell = Path(run), cancel or Cancel(), on_progress or _ignore
    chosen = (scenes,) if isinstance(scenes, str) else tuple(scenes)
    keep = None if out is None else _new_folder(Path(out))
    if not (folder / LEDGER).is_file():
        one = _device_of(_recorded_run(folder, chosen), device)
        one = replace(one, request=replace(one.request, run_dir=keep))
        return Replay(str(folder), (_again(one, anyway, cancel, tell),))
    every = [_device_of(one, device) for one in _recorded_batch(folder, chosen)]
    if keep is not None:
        every = [
            replace(one, request=replace(one.request, run_dir=keep / f"{one.scene}.{one.detector}"))
            for one in every
        ]
    done: list[ReplayedRun] = []
    tell(Progress("scenes", 0, len(every)))
    works = [partial(_tried, one, anyway) for one in every]
    with opener("local")(Needs()) as pool:
        for answer in in_order(pool, works, cancel):
            if answer.error is not None:
                raise answer.error
            done.append(answer.value)
            if on_run is not None:
                on_run(answer.value)
            tell(Progress("scenes", len(done), len(every)))
    return Replay(str(folder), tuple(done))


def _recorded_run(folder: Path, scenes: Sequence[str]) -> RecordedRun:
    """What the manifest of a run folder records."""
    if not folder.is_dir():
        raise ConfigError(_RUN, folder, "is no folder", "give that of a run or of a batch")
    facts = finished_run(folder)
    run = facts[manifest.RUN]
    if len(scenes) > 1:
        raise ConfigError(
            Argument("scenes"), ", ".join(scenes), "is more than one", "say where its scene is now"
        )
    known = {one.name for one in fields(DetectRequest)}
    asked = {name: value for name, value in run["request"].items() if name in known}
    if asked["members"] is not None:
        asked["members"] = tuple(asked["members"])
    if scenes:
        asked["scene"] = scenes[0]
    result = run["result"]
    return RecordedRun(
        run["scene"]["id"],
        DetectRequest(**asked),
        run_facts(facts),
        result["features"],
        result["features_sha256"],
        result.get("candidates_sha256"),
        folder / manifest.RESULT,
        partial(read_result, folder),
    )


def _recorded_batch(folder: Path, scenes: Sequence[str]) -> list[RecordedRun]:
    """What the ledger of a batch records of scenes that are done."""
    with BatchLedger(folder / LEDGER, None) as ledger:
        settings, records = ledger.settings, ledger.records()
        known = {one.scene.name for one in records}
        for name in scenes:
            if name not in known:
                raise ConfigError(
                    Argument("scenes"), name, f"is no scene of {folder}", "see its folder scenes/"
                )
        options = BatchOptions(
            tuple(settings["detectors"]),
            tile=settings["tile"],
            gsd=settings["gsd"],
            crs=settings["crs"],
            candidates=settings["candidates"],
        )
        return [
            _recorded_row(one, ledger, options, folder)
            for one in records
            if one.outcome is not None and (not scenes or one.scene.name in scenes)
        ]


def _recorded_row(
    record: BatchRecord, ledger: BatchLedger, options: BatchOptions, folder: Path
) -> RecordedRun:
    assert record.outcome is not None
    summary = ledger.summary(record.scene.name, record.detector)
    config = ledger.config(summary["detector"]["config_sha256"])
    part = part_of(folder, record.outcome.key)
    return RecordedRun(
        record.scene.name,
        options.request(record.scene, record.detector),
        facts_of(summary, config),
        record.outcome.features,
        summary["features_sha256"],
        None,
        part,
        partial(read_part, part),
    )


def _device_of(recorded: RecordedRun, device: str | None) -> RecordedRun:
    """The same on the device asked for, else on the kind that it was run on."""
    if device is None:
        kind = str(recorded.facts.values[names.FORMAT]).partition(" ")[0]
        device = recorded.request.device
        if kind in _DEVICES and not device.startswith(kind):
            device = kind
    return replace(recorded, request=replace(recorded.request, device=device))


def _tried(recorded: RecordedRun, anyway: bool, cancel: Cancel) -> ReplayedRun:
    """The same of a scene of a batch: an error keeps no other from being run."""
    cancel.check()
    try:
        return _again(recorded, anyway, cancel, _ignore)
    except (Cancelled, OutputError):
        raise
    except LannerError as error:
        features = recorded.features, None
        return ReplayedRun(
            recorded.scene, recorded.detector, None, features, error=error_facts(error)
        )


def _again(
    recorded: RecordedRun, anyway: bool, cancel: Cancel, tell: Callable[[Progress], None]
) -> ReplayedRun:
    from lanner.inference.pipeline import detect_with, detector_for_scene

    request = recorded.request
    _check_there(request.scene)
    detector = request.detector if anyway else _recorded_release(recorded)
    entry = detector_for_scene(find(detector), request)
    if not anyway:
        _check(recorded, entry)
    result = detect_with(
        entry.config, partial(_loaded, recorded, entry, anyway), request, cancel, tell
    )
    facts = facts_of(result.summary, entry.config.facts)
    identical = _is_same(recorded, result)
    compared = None
    if not identical:
        gsd = facts.values[names.GSD][0]
        compared = compare(
            _recorded_features(recorded),
            result.frame,
            recorded.scene,
            recorded.detector,
            (gsd, gsd),
        )
    return ReplayedRun(
        recorded.scene,
        recorded.detector,
        identical,
        (recorded.features, len(result.features)),
        causes(recorded.facts, facts),
        compared,
    )


def _recorded_release(recorded: RecordedRun) -> str:
    """The detector of a record as it is found: by its release, where that is no default any more.

    Where it is not there, or was configured otherwise then, its name.
    """
    asked, values = recorded.request.detector, recorded.facts.values
    if values[names.DETECTOR] != asked:  # a path, or another detector for scenes of a single band
        return asked
    release = f"{asked}{AT}{values[names.RELEASE]}"
    try:
        config = find(release).config
    except (UnknownDetectorError, ConfigError):
        return asked
    return release if config_sha256(config) == values[names.CONFIG] else asked


def _check_there(scene: str) -> None:
    if not is_remote(scene) and not Path(scene).exists():
        raise ReplayError(
            "scene", scene, "is not there any more", "put it back, or say by `scenes` where it is"
        )


def _check(recorded: RecordedRun, entry: Entry) -> None:
    """Refuse a run whose scene, weights or configuration are not those of the record.

    Raises:
        ReplayError: as said, naming all that differs.
        WeightsError: weights are missing or damaged.
    """
    now = _facts_now(recorded, entry)
    found = [one for one in causes(recorded.facts, now) if one.what.startswith(MUST_BE_SAME)]
    if found:
        parts = [f"{one.what} {brief(one.first)} is now {brief(one.second)}" for one in found]
        more = [f"{len(parts) - SHOWN} more"] if len(parts) > SHOWN else []
        raise ReplayError(
            _RUN,
            recorded.scene,
            f"not all is as it is recorded: {', '.join([*parts[:SHOWN], *more])}",
            f"put back what it was made from, or {_ANYWAY}",
        )


def _facts_now(recorded: RecordedRun, entry: Entry) -> RunFacts:
    """What the run would be made from, as far as that can be known before it is run."""
    from lanner.inference.run import admitted, tile_plan
    from postprocess.chain import Chain
    from postprocess.chain_files import find_files

    request, config = recorded.request, entry.config
    if request.estimate_gsd:
        # Which grid the scene is read on decides whether overviews beside it are read.
        gsd = recorded.facts.values[names.GSD][0]
        request = replace(request, gsd=gsd, estimate_gsd=False)
    scene = admitted(request, config)
    plan = tile_plan(scene, config, request.tile)
    release = check_release(entry, request.members)
    chain_files = find_files(Chain.from_specs(config.chain).files, release.chain_files)
    members = [
        one.name for one in config.members if request.members is None or one.name in request.members
    ]
    values = {
        names.SCENE: scene.sha256(plan.grid),
        names.DETECTOR: config.name,
        names.RELEASE: config.release,
        names.NETWORKS: members,
        names.WEIGHTS: release.sha256,
        names.CONFIG: config_sha256(config),
    }
    files = files_of(release.files, {name: one.sha256 for name, one in chain_files.items()})
    return RunFacts(values, files, config.facts)


def _loaded(recorded: RecordedRun, entry: Entry, anyway: bool) -> LoadedDetector:
    """The networks, on a device that computes as the record says.

    Raises:
        ReplayError: there is none here.
    """
    wanted = recorded.facts.values[names.FORMAT]
    try:
        found = load(entry, recorded.request)
    except DeviceError as error:
        if type(error) is not DeviceError:  # a misspelt name, or memory
            raise
        if anyway:
            return load(entry, replace(recorded.request, device="auto"))
        raise ReplayError(
            _RUN,
            recorded.scene,
            f"was computed in {wanted}; device {error.value}: {error.problem}",
            f"replay it on such a machine, or {_ANYWAY}",
        ) from error
    if not anyway and found.predictor.identity != wanted:
        raise ReplayError(
            _RUN,
            recorded.scene,
            f"was computed in {wanted}, this would be in {found.predictor.identity}",
            f"replay it on such a machine, or {_ANYWAY}",
        )
    return found


def _is_same(recorded: RecordedRun, result: DetectResult) -> bool:
    """Whether the features are those recorded, to the byte."""
    left_out = result.candidates
    wanted = recorded.candidates_sha256
    if (
        wanted is not None
        and left_out is not None
        and manifest.features_sha256(left_out.features) != wanted
    ):
        return False
    return bool(result.summary["features_sha256"] == recorded.sha256)


def _recorded_features(recorded: RecordedRun) -> gpd.GeoDataFrame:
    """The features that are compared with.

    Raises:
        ReplayError: they are gone or damaged.
    """
    try:
        return recorded.read()
    except (ConfigError, OutputError) as error:
        raise ReplayError(
            _RUN,
            recorded.part,
            f"other features came out, and those recorded {error.problem}",
            "run the same command again as made it: what is gone is done anew",
        ) from error


def _new_folder(out: Path) -> Path:
    """A folder for what comes out: a new or empty one, so that nothing is taken from another run.

    Raises:
        OutputError: it holds something.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(Argument("path"), out, "is there and not empty", "name a new folder")
    return out


def _ignore(progress: Progress) -> None:
    """For callers who do not follow the progress."""
