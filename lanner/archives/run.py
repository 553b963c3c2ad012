"""A batch from its first scene to the archive's files: plan, ledger, executor, merge, report."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from detectors.catalog import Entry, check_release
from lanner.archives import rates
from lanner.archives.archive import write_archive
from lanner.archives.executors import PLUGINS, Begun, Ended
from lanner.archives.ledger import ARCHIVE, FILE, BatchLedger
from lanner.archives.lock import held
from lanner.archives.options import BatchOptions
from lanner.archives.pages import write_pages
from lanner.archives.plan import ArchivePlan, PlannedScene
from lanner.archives.records import BatchRecord
from lanner.archives.scenes import SceneRef
from lanner.archives.work import WORK, SceneJob, files_of
from lanner.core.config import config_sha256
from lanner.core.errors import Cancelled
from lanner.core.job import Cancel, Progress
from lanner.core.version import __version__
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
    with held(out), BatchLedger(out / FILE, options.settings()) as ledger:
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
        slow = _keep_rates(records, jobs, detectors, options, out, time.monotonic() - started)
        shutil.rmtree(out / WORK, ignore_errors=True)
        written = write_archive(records, detectors, options, out, cancel, tell)
        ledger.keep_fact(ARCHIVE, written.features)
        pages = write_pages(records, detectors, options, out, tell)
        return BatchResult(
            out, records, (*written.files, *pages), written.features, (*gone, *written.notes, *slow)
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
    for scene in plan.scenes:
        left, stand = todo.setdefault(scene.ref.name, []), others.setdefault(scene.ref.name, {})
        for name, entry in zip(options.detectors, detectors, strict=True):
            state, work = ledger.work_of(scene.ref.name, name)
            if state == "done" and _same(work, scene, entry) and _is_there(work, out):
                stand[entry.config.name] = work["key"]
                runs_on[name] = work["runs_on"]
            elif state != "failed" or retry_failed or work.get("stamp") != scene.facts.stamp:
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
) -> tuple[str, ...]:
    """Keep how fast this batch was, where it ran enough scenes to say so; notes where it cannot."""
    notes = set()
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
            of = rates.name_of(config.name, config.release, options.device)
            notes.add(rates.keep(of, rate))
    return tuple(sorted(note for note in notes if note is not None))


def _bytes(out: Path, names: Sequence[str]) -> int:
    return sum((out / name).stat().st_size for name in names if (out / name).is_file())
