"""Detections as jobs: taken in, worked on in the background, their results kept."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from lanner.core.errors import ConfigError
from lanner.core.grpc_errors import DETAILS_KEY, decode
from lanner.core.job import Cancel, DetectFn, DetectRequest, Progress
from lanner.v1 import detection_pb2 as pb
from server.jobs.model import Job, Lease, NewJob
from server.jobs.runner import JobRunner, RunnerOptions, waited_too_long
from server.jobs.store import JobStore
from server.metrics import Metrics
from server.operations import name_of, unknown
from server.previews import Previews
from server.results import features_of, file_of, keep
from server.slots import Slots

KIND = "detect"
"""Of jobs that are detections."""

_RUN, _RESULT = "run", "result"
"""Folders of a job: its tiles while it is under way, and what came of it."""

_LONGEST_ID = 200

Checked = Callable[[pb.DetectionSpec, str], DetectRequest]
"""What a spec of a client asks for, on this server.

Raises:
    LannerError: it cannot be asked for here.
"""


class Detections:
    """Detections that go on without their clients.

    Args:
        store: of the jobs.
        folder: where runs and results are kept; servers of one database share it.
        detect: runs one detection; looks at its `Cancel` often.
        checked: from a spec to what is run.
        slots: who may compute when; detections that stream to their callers take turns with jobs.
        metrics: told of each.
        hide: what of an error's text a client is told.
        options: how many jobs are worked on at once.
    """

    def __init__(
        self,
        store: JobStore,
        folder: Path,
        detect: DetectFn,
        checked: Checked,
        slots: Slots,
        *,
        metrics: Metrics,
        hide: Callable[[str], str] = str,
        options: RunnerOptions | None = None,
    ) -> None:
        self._store = store
        self._folder = folder
        self._detect = detect
        self._checked = checked
        self._slots = slots
        self._metrics = metrics
        self._previews = Previews()
        self._version = 0
        self._runner = JobRunner(store, {KIND: self._work}, options, hide=hide, after=self._after)

    def start(self) -> None:
        """Begin to work on what waits."""
        self._runner.start()

    def drain(self, grace_s: float) -> bool:
        """Let running jobs finish for a while and put the others back; whether all finished."""
        return self._runner.drain(grace_s)

    def submit(
        self,
        spec: pb.DetectionSpec,
        client: str,
        *,
        request_id: str = "",
        priority: int = 0,
        queue_s: float | None = None,
        call_id: str | None = None,
    ) -> Job:
        """Take a detection in.

        Args:
            spec: what is to be detected.
            client: who asks.
            request_id: chosen by the client; a second request of the same id is the same job.
            priority: -100 to 100; jobs of a higher one have their turn earlier.
            queue_s: seconds that it may wait for its turn; None: for ever.
            call_id: of the call that brings it, for the log.

        Raises:
            LannerError: it cannot be asked for here, or too much waits.
        """
        if len(request_id) > _LONGEST_ID:
            raise ConfigError(
                "request_id", request_id, "is too long", f"give up to {_LONGEST_ID} characters"
            )
        if not -100 <= priority <= 100:
            raise ConfigError("priority", priority, "is out of range", "give -100 to 100")
        if queue_s is not None and queue_s < 0:
            raise ConfigError("queue_timeout", queue_s, "is below 0", "give a time to wait")
        self._checked(spec, client)
        job = self._store.submit(
            NewJob(
                KIND,
                client,
                json_format.MessageToDict(spec, preserving_proto_field_name=True),
                request_id=request_id or None,
                priority=priority,
                queue_s=queue_s,
                call_id=call_id,
            )
        )
        self._runner.wake()
        return job

    def get(self, job: str, client: str | None) -> Job:
        """A job of a client; with None, as wherever a client is named here, of anybody.

        Raises:
            UnknownOperationError: it has none of that id.
        """
        found = self._store.get(job)
        if found is None or client not in (None, found.client):
            raise unknown(job)
        return found

    def list(self, client: str | None, after: str | None, most: int) -> Sequence[Job]:
        """Jobs of a client, the oldest first, those after one that is named."""
        return self._store.list(client, after=after, most=most)

    @property
    def version(self) -> int:
        """Grows with all that happens to jobs in this server."""
        return self._version

    def progress(self, job: str) -> Progress | None:
        """How far a job is that runs in this server."""
        return self._runner.progress(job)

    def previews(self, job: str, after: int) -> tuple[int, bool, Sequence[str]]:
        """What a job that runs in this server shows so far.

        Args:
            job: its id.
            after: number of the last report that was read.

        Returns:
            The number of the last report; whether what was read before is void; GeoJSON texts.
        """
        return self._previews.after(job, after)

    def features(self, job: str, client: str | None) -> Iterator[str]:
        """The features of a job's result as GeoJSON texts, in order.

        Raises:
            UnknownOperationError: there is no such job.
            ConfigError: it has no result.
            OutputError: that is gone.
        """
        return features_of(self._result_of(job, client))

    def cancel(self, job: str, client: str | None) -> Job:
        """Ask for a job's end.

        Raises:
            UnknownOperationError: there is none.
        """
        self.get(job, client)
        found = self._store.cancel(job)
        if found is None:
            raise unknown(job)
        self._runner.cancelled(job)
        self._version += 1
        return found

    def delete(self, job: str, client: str | None) -> None:
        """Forget a job and its result; one that runs is stopped.

        Raises:
            UnknownOperationError: there is none.
        """
        self.get(job, client)
        self._store.delete(job)
        self._runner.cancelled(job)
        shutil.rmtree(self._of(job), ignore_errors=True)
        self._version += 1

    def expire(self, kept_s: float, kept_bytes: int | None) -> int:
        """Forget what ended long ago, and of the rest the oldest beyond a size; how many jobs.

        Args:
            kept_s: seconds that a result is kept.
            kept_bytes: of all results together; None: any.
        """
        late = set(self._store.ended_before(kept_s))
        if kept_bytes is not None:
            left = kept_bytes
            for job in self._store.ended_newest_first():
                left -= _bytes_below(self._of(job))
                if left < 0:
                    late.add(job)
        for job in late:
            self._store.delete(job)
            shutil.rmtree(self._of(job), ignore_errors=True)
        return len(late)

    def result_file(self, job: str, client: str | None, form: str) -> Path:
        """The file of a job's result in a format.

        Raises:
            UnknownOperationError: there is no such job.
            ConfigError: no such format, or the job has no result.
            OutputError: it cannot be written, or is gone.
        """
        return file_of(self._result_of(job, client), form or "geojson")

    def _result_of(self, job: str, client: str | None) -> Path:
        found = self.get(job, client)
        if found.state != "succeeded":
            raise ConfigError(
                "name",
                name_of(job),
                f"has no result: it is {found.state}",
                "wait until it has succeeded",
            )
        assert found.result is not None
        folder: str = found.result["folder"]
        return self._of(job) / folder

    def _work(
        self, lease: Lease, cancel: Cancel, tell: Callable[[Progress], None]
    ) -> Mapping[str, Any]:
        job = lease.job
        if job.attempts == 1 and job.started is not None:
            self._metrics.began(job.kind, job.started - job.created)
        spec = json_format.ParseDict(dict(job.spec), pb.DetectionSpec(), ignore_unknown_fields=True)
        request = replace(self._checked(spec, job.client), run_dir=self._of(job.id) / _RUN)
        self._previews.begin(job.id)

        def report(progress: Progress) -> None:
            if progress.preview is not None:
                self._previews.add(job.id, progress.preview)
            tell(progress)
            self._version += 1

        with self._slots.enter(request.device, always=True) as ticket:
            # Detections that stream to their callers may keep the device from jobs, too.
            left = None if job.queue_until is None else job.queue_until - time.time()
            if not ticket.wait(cancel, lambda: None, left):
                raise waited_too_long()
            result = self._detect(request, cancel, report)
        self._metrics.detected(request.detector, result)
        # One who had the job before, and does not know yet, writes to a folder of its own.
        folder = f"{_RESULT}-{lease.epoch}"
        keep(result, self._of(job.id) / folder)
        return {
            "features": len(result.features),
            "summary": dict(result.summary),
            "folder": folder,
        }

    def _after(self, job: str) -> None:
        """Take away what nobody needs once work on a job is over."""
        self._previews.end(job)
        found = self._store.get(job)
        if found is None:
            shutil.rmtree(self._of(job), ignore_errors=True)
        elif found.is_ended:
            self._metrics.ended(found.state, _reason(found))
            kept = None if found.result is None else found.result["folder"]
            for path in self._of(job).glob("*"):
                if path.name != kept:
                    shutil.rmtree(path, ignore_errors=True)
        self._version += 1

    def _of(self, job: str) -> Path:
        return self._folder / job


def _reason(job: Job) -> str:
    """Class of the error that a job failed of."""
    error = None if job.error is None else decode([(DETAILS_KEY, job.error)])
    return "" if error is None else type(error).__name__


def _bytes_below(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # it went meanwhile
            total += 0 if path.is_dir() else path.stat().st_size
    return total
