"""A batch from its first scene to the archive's files: plan, ledger, executor, merge, report."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from detectors.catalog import Entry
from lanner.archives.archive import load_libraries, write_archive
from lanner.archives.basis import Basis
from lanner.archives.executors import Needs, opener
from lanner.archives.ledger import ARCHIVE, FILE, BatchLedger
from lanner.archives.lock import held
from lanner.archives.measure import keep_rates
from lanner.archives.options import BatchOptions
from lanner.archives.pages import write_pages
from lanner.archives.plan import ArchivePlan
from lanner.archives.records import BatchRecord
from lanner.archives.resume import row_status
from lanner.archives.scenes import SceneRef
from lanner.archives.schedule import Begun, Ended, run_jobs
from lanner.archives.work import WORK, RunScene, SceneJob, files_of, run_job
from lanner.core.config import config_sha256
from lanner.core.errors import Cancelled
from lanner.core.job import Cancel, Progress
from lanner.inference.registry import with_panchromatic
from tiling.names import is_remote

SHOWN = 5
"""Names of scenes that a note tells."""

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

    @property
    def partial(self) -> tuple[BatchRecord, ...]:
        """Scenes of which some blocks could not be read."""
        return tuple(one for one in self.records if one.outcome and one.outcome.unread)


def run_batch(  # noqa: PLR0913
    plan: ArchivePlan,
    detectors: Sequence[Entry],
    options: BatchOptions,
    out: Path,
    *,
    on: str = "local",
    executor: Mapping[str, int] | None = None,
    retry_failed: bool = False,
    run_scene: RunScene = run_job,
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
        on: name of an executor, or the address of a cluster.
        executor: its parameters, such as `workers`.
        retry_failed: whether scenes that failed are tried again.
        run_scene: runs one scene; here, unless another machine does it.
        cancel: asks for an end; what is in hand is kept.
        tell: told of progress.
        follow: given each record as it is done or failed.

    Raises:
        ConfigError: no such executor.
        OutputError: the folder cannot be used, is another batch's, is in use, or is full.
        Cancelled: the caller asked to stop; the same call goes on.
    """
    cancel, workers = cancel or Cancel(), opener(on, executor)
    with held(out), BatchLedger(out / FILE, options.settings()) as ledger:
        started = time.monotonic()
        names = tuple(options.detectors)
        refs = [one.ref for one in plan.scenes] + [one.ref for one in plan.failed]
        gone = _take_out(ledger, refs, out)
        ledger.add(refs, names)
        for entry in detectors:
            for config in (one.config for one in with_panchromatic(entry)):
                ledger.keep_config(config_sha256(config), config.facts)
        for bad in plan.failed:
            for detector in names:
                ledger.put(bad.ref.name, detector, "failed", error=bad.error)
        jobs = _jobs(plan, detectors, options, out, ledger, retry_failed)
        done = failed = tiles = 0
        tell(Progress("scenes", 0, len(jobs)))
        notes: tuple[str, ...] = ()
        elsewhere = False
        try:
            with workers(_needs(jobs, options)) as pool:
                elsewhere = pool.cuts or run_scene is not run_job
                if elsewhere:
                    threading.Thread(target=load_libraries, args=[detectors], daemon=True).start()
                for event in run_jobs(jobs, pool, cancel, run_scene):
                    if isinstance(event, Begun):
                        for detector in event.job.detectors:
                            ledger.put(event.job.ref.name, detector, "running")
                        continue
                    tiles += event.tiles
                    if isinstance(event, Ended):
                        done += 1
                        failed += _put(event, ledger)
                        for record in _records_of(event, ledger):
                            follow(record)
                    tell(Progress("scenes", done, len(jobs), _detail(tiles, failed, started)))
                notes = pool.notes
        except Cancelled:
            raise Cancelled(f"run the same command again to go on with {out}") from None
        records = tuple(ledger.records())
        worked = time.monotonic()
        shutil.rmtree(out / WORK, ignore_errors=True)
        written = write_archive(records, detectors, options, out, cancel, tell)
        ledger.keep_fact(ARCHIVE, written.features)
        pages = write_pages(records, detectors, options, out, tell)
        ran = {(job.ref.name, detector) for job in jobs for detector in job.detectors}
        slow = keep_rates(
            records,
            # Speed of other machines is none of this one.
            set() if elsewhere else ran,
            detectors,
            options,
            out,
            scenes_s=worked - started,
            end_s=time.monotonic() - worked,
        )
        return BatchResult(
            out,
            records,
            (*written.files, *pages),
            written.features,
            (*gone, *notes, *written.notes, *slow),
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
                for path in files_of(out / file):
                    path.unlink(missing_ok=True)
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


def _jobs(
    plan: ArchivePlan,
    detectors: Sequence[Entry],
    options: BatchOptions,
    out: Path,
    ledger: BatchLedger,
    retry_failed: bool,
) -> list[SceneJob]:
    """What is to be run: rows that are not done, or done from something that has changed.

    Results that stand settle the number format that others must be of.
    """
    todo: dict[str, list[str]] = {}
    others: dict[str, dict[str, str]] = {}
    runs_on: dict[str, str] = {}
    bases = {
        name: Basis.of(entry) for name, entry in zip(options.detectors, detectors, strict=True)
    }
    for scene in plan.scenes:
        left, stand = todo.setdefault(scene.ref.name, []), others.setdefault(scene.ref.name, {})
        for name in options.detectors:
            state, work = ledger.work_of(scene.ref.name, name)
            stamp = scene.facts.stamp
            status = row_status(state, work, stamp, bases[name], out, retry_failed=retry_failed)
            if status == "done":
                stand[name] = work["key"]
                runs_on[name] = work["runs_on"]
            elif status == "to run":
                left.append(name)
    return [
        SceneJob(
            scene.ref,
            tuple(todo[scene.ref.name]),
            options,
            out,
            scene.facts.stamp,
            sum(scene.tiles),
            others[scene.ref.name],
            runs_on,
        )
        for scene in plan.scenes
        if todo[scene.ref.name]
    ]


def _needs(jobs: Sequence[SceneJob], options: BatchOptions) -> Needs:
    """What workers must have: the number format of results that stand, where these are of one."""
    formats = {one for job in jobs for one in job.runs_on.values()}
    return Needs(options.device, formats.pop() if len(formats) == 1 else None)


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
            summary=one.summary,
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
