"""A batch from its first scene to the archive's files: plan, ledger, executor, merge, report."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detectors.catalog import Entry, check_release
from lanner.archives import rates
from lanner.archives.archive import write_archive
from lanner.archives.chips import contact_sheet
from lanner.archives.executors import PLUGINS, Begun, Ended
from lanner.archives.ledger import ARCHIVE, FILE, BatchLedger
from lanner.archives.options import BatchOptions
from lanner.archives.plan import ArchivePlan, PlannedScene
from lanner.archives.records import BatchRecord
from lanner.archives.report import write_report
from lanner.archives.scenes import SceneRef
from lanner.archives.stac import write_stac
from lanner.archives.work import WORK, SceneJob
from lanner.core.config import config_sha256
from lanner.core.errors import Argument, Cancelled, OutputError
from lanner.core.job import Cancel, Progress
from lanner.core.version import __version__
from tiling.names import is_remote

_OUT = Argument("path")

SHOWN = 5
"""Names of scenes that a note tells."""

LOCK = ".lock"
"""Held while a batch runs."""

STAC = "stac"
"""Folder of the catalogue."""

Tell = Callable[[Progress], None]
Follow = Callable[[BatchRecord], None]


@dataclass(frozen=True)
class BatchResult:
    """What a batch came to: every record, the archive's files below its folder, how many features
    of each detector these have, and what there is to say.
    """

    out: Path
    records: tuple[BatchRecord, ...]
    files: tuple[Path, ...]
    features: Mapping[str, int]
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[BatchRecord, ...]:
        """Scenes that could not be run."""
        return tuple(one for one in self.records if one.state == "failed")


def run_batch(  # noqa: PLR0913
    plan: ArchivePlan,
    detectors: Sequence[Entry],
    options: BatchOptions,
    out: Path,
    *,
    on: str = "local",
    retry_failed: bool = False,
    cancel: Cancel | None = None,
    tell: Tell = lambda _: None,
    follow: Follow = lambda _: None,
) -> BatchResult:
    """Run what is not done yet, and write the archive's files.

    Args:
        plan: the scenes, as `plan_archive` gives them.
        detectors: the same as of the plan.
        options: how each scene is run.
        out: folder of the batch; the same one goes on where an earlier run stopped.
        on: name of an executor.
        retry_failed: whether scenes that failed are tried again.
        cancel: asks for an end; what is in hand is kept.
        tell: told of progress.
        follow: given each record as it is done or failed.

    Raises:
        ConfigError: no such executor.
        OutputError: the folder cannot be used, is another batch's, is in use, or is full.
        Cancelled: the caller asked to stop; the same call goes on.
    """
    cancel = cancel or Cancel()
    executor = PLUGINS.find(on)
    with _held(out), BatchLedger(out / FILE, options.settings()) as ledger:
        started = time.monotonic()
        names = tuple(options.detectors)
        refs = [one.ref for one in plan.scenes] + [one.ref for one in plan.failed]
        gone = _take_out(ledger, refs, out)
        ledger.add(refs, names)
        for bad in plan.failed:
            for detector in names:
                ledger.put(bad.ref.name, detector, "failed", error=bad.error)
        jobs = _jobs(plan, detectors, options, out, ledger, retry_failed)
        done = failed = tiles = 0
        tell(Progress("scenes", 0, len(jobs)))
        try:
            for event in executor.run(jobs, cancel, executor.params()):
                if isinstance(event, Begun):
                    for detector in event.job.detectors:
                        ledger.put(event.job.ref.name, detector, "running")
                    continue
                done += 1
                tiles += event.job.tiles
                failed += _put(event, ledger)
                for record in _records_of(event, ledger):
                    follow(record)
                tell(Progress("scenes", done, len(jobs), _detail(tiles, failed, started)))
        except Cancelled:
            raise Cancelled(f"run the same command again to go on with {out}") from None
        records = tuple(ledger.records())
        _keep_rates(records, jobs, detectors, options, out, time.monotonic() - started)
        shutil.rmtree(out / WORK, ignore_errors=True)
        written = write_archive(records, detectors, options, out, cancel, tell)
        ledger.tell(ARCHIVE, written.features)
        pages = _pages(records, detectors, options, out, tell)
        return BatchResult(
            out, records, (*written.files, *pages), written.features, (*gone, *written.notes)
        )


def _take_out(ledger: BatchLedger, refs: Sequence[SceneRef], out: Path) -> tuple[str, ...]:
    """Take scenes out that are not there any more, or are there under another name: their features
    would be counted twice. Those that only are not among the sources this time stay.
    """
    uris = {ref.uri: ref.name for ref in refs}
    names = {ref.name for ref in refs}
    left, stay = [], set[str]()
    for record in ledger.records():
        name, uri = record.scene.name, record.scene.uri
        renamed = uris.get(uri, name) != name
        lost = uri not in uris and not is_remote(uri) and not Path(uri).exists()
        if not renamed and not lost:
            if name not in names:
                stay.add(name)
            continue
        if record.outcome is not None and name not in names:
            for file in record.outcome.outputs:
                (out / file).unlink(missing_ok=True)
                (out / file).with_suffix(".qml").unlink(missing_ok=True)
        ledger.drop(name)
        left += [] if renamed else [name]
    notes = []
    if left:
        some = ", ".join(sorted(set(left))[:SHOWN])
        notes.append(f"{len(set(left))} scenes are not there any more and were taken out: {some}.")
    if stay:
        notes.append(
            f"{len(stay)} scenes of earlier runs are not among these sources; they stay in the "
            "archive."
        )
    return tuple(notes)


def _pages(
    records: Sequence[BatchRecord],
    detectors: Sequence[Entry],
    options: BatchOptions,
    out: Path,
    tell: Tell,
) -> tuple[Path, ...]:
    """The catalogue and the report of a batch."""
    tell(Progress("catalogue", 0, 1))
    facts = {name: _facts(one) for name, one in zip(options.detectors, detectors, strict=True)}
    # Items of scenes that were taken out must not stay.
    shutil.rmtree(out / STAC, ignore_errors=True)
    catalogue = write_stac(records, out / STAC, detectors=facts)
    tell(Progress("report", 0, 1))
    return catalogue, report_of(records, detectors, options, out)


def report_of(
    records: Sequence[BatchRecord], detectors: Sequence[Entry], options: BatchOptions, out: Path
) -> Path:
    """Write `report.html` of the batch in a folder.

    Raises:
        OutputError: it cannot be written.
    """
    times = [time for one in records for time in (one.started, one.ended) if time is not None]
    scores = {
        name: [sum(some) for some in zip(*rows, strict=True)]
        for name in options.detectors
        if (
            rows := [
                one.outcome.scores
                for one in records
                if one.detector == name and one.outcome is not None
            ]
        )
    }
    return write_report(
        records,
        out,
        title=out.absolute().name,
        chips=contact_sheet(records, detectors, options, out),
        started=min(times, default=None),
        ended=max(times, default=None),
        scores=scores,
    )


def _facts(entry: Entry) -> dict[str, Any]:
    """What the catalogue says of a detector."""
    config = entry.config
    return {
        "release": config.release,
        "description": config.description,
        "classes": list(config.classes),
        "bands": list(config.bands),
        "gsd": config.gsd,
        "members": [member.name for member in config.members],
        "weights_sha256": check_release(entry).sha256,
        "config_sha256": config_sha256(config),
        "licence": check_release(entry).card.licence,
        "output": config.output,
    }


def _jobs(
    plan: ArchivePlan,
    detectors: Sequence[Entry],
    options: BatchOptions,
    out: Path,
    ledger: BatchLedger,
    retry_failed: bool,
) -> list[SceneJob]:
    """What is to be run: rows that are not done, or done from something that has changed."""
    jobs = []
    for scene in plan.scenes:
        todo, others = [], {}
        for name, entry in zip(options.detectors, detectors, strict=True):
            state, work = ledger.work_of(scene.ref.name, name)
            if state == "done" and _same(work, scene, entry) and _is_there(work, out):
                others[entry.config.name] = work["key"]
            elif state != "failed" or retry_failed or work.get("stamp") != scene.facts.stamp:
                todo.append(name)
        if todo:
            jobs.append(
                SceneJob(
                    scene.ref,
                    tuple(todo),
                    options,
                    out,
                    scene.facts.stamp,
                    sum(scene.tiles),
                    others,
                )
            )
    return jobs


def _same(work: dict[str, str], scene: PlannedScene, entry: Entry) -> bool:
    """Whether a row was done from the scene, weights and configuration that are there now."""
    now = {
        "lanner": __version__,
        "stamp": scene.facts.stamp,
        "name": entry.config.name,
        "release": entry.config.release,
        "config_sha256": config_sha256(entry.config),
        "weights_sha256": check_release(entry).sha256,
    }
    return all(work.get(name) == value for name, value in now.items())


def _is_there(work: dict[str, str], out: Path) -> bool:
    """Whether the files of a row are still where it left them."""
    return all((out / name).is_file() for name in work.get("files", ()))


def _put(event: Ended, ledger: BatchLedger) -> int:
    """Enter what became of a scene; gives the number of failures."""
    failed = 0
    for one in event.done:
        failed += one.error is not None
        ledger.put(
            event.job.ref.name,
            one.detector,
            "done" if one.error is None else "failed",
            facts=one.facts,
            outcome=one.outcome,
            error=one.error,
            work=one.work or {"stamp": event.job.stamp},
        )
    return failed


def _records_of(event: Ended, ledger: BatchLedger) -> Iterator[BatchRecord]:
    for one in event.done:
        yield ledger.record(event.job.ref.name, one.detector)


def _detail(tiles: int, failed: int, started: float) -> str:
    speed = tiles / max(time.monotonic() - started, 1e-9)
    return f"{speed:.1f} tiles/s" + (f", {failed} failed" if failed else "")


def _keep_rates(
    records: Sequence[BatchRecord],
    jobs: Sequence[SceneJob],
    detectors: Sequence[Entry],
    options: BatchOptions,
    out: Path,
    wall_s: float,
) -> None:
    """Keep how fast this batch was, where it ran enough scenes to say so."""
    ran = {(job.ref.name, detector) for job in jobs for detector in job.detectors}
    done = [
        one for one in records if one.outcome is not None and (one.scene.name, one.detector) in ran
    ]
    spent = [sum(one.outcome.seconds.values()) for one in done if one.outcome]
    for name, entry in zip(options.detectors, detectors, strict=True):
        mine = [k for k, one in enumerate(done) if one.detector == name]
        outcomes = [outcome for k in mine if (outcome := done[k].outcome) is not None]
        share = sum(spent[k] for k in mine) / max(sum(spent), 1e-9)
        rate = rates.fitted(
            [one.megapixels for one in outcomes],
            [spent[k] for k in mine],
            [_bytes(out, one.outputs) for one in outcomes],
            wall_s * share,
        )
        if rate is not None:
            config = entry.config
            rates.keep(rates.name_of(config.name, config.release, options.device), rate)


def _bytes(out: Path, names: Sequence[str]) -> int:
    return sum((out / name).stat().st_size for name in names if (out / name).is_file())


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """The folder of a batch, made where it is new, and kept from other processes."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        others = [name for name in os.listdir(out) if not name.startswith(".")]
        handle = os.open(out / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise OutputError(
            _OUT,
            out,
            f"cannot be used ({error.strerror})",
            "choose a folder to write to",
        ) from error
    try:
        if others and not (out / FILE).is_file():
            raise OutputError(
                _OUT,
                out,
                "holds files and no batch",
                "name a new folder for the batch alone",
            )
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(
                _OUT,
                out,
                "is in use by another process",
                "wait until that batch has ended",
            ) from error
        yield
    finally:
        os.close(handle)


def in_use(out: Path) -> bool:
    """Whether a process runs the batch of a folder at this moment."""
    try:
        handle = os.open(out / LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False
