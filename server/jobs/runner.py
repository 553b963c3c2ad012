"""Work on jobs: as many at once as a device has room for, each under a lease that is kept alive."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from lanner.core.errors import (
    Argument,
    Cancelled,
    DeadlineError,
    LannerError,
    ServerError,
)
from lanner.core.grpc_errors import encode, internal
from lanner.core.job import Cancel, Progress
from server.jobs.model import Job, JobState, Lease
from server.jobs.store import JobStore, LeaseLostError

log = logging.getLogger("lanner.server")

_REAPING_S = 1.0
"""How soon a job is ended that waited too long, or given back whose server was lost."""

Tell = Callable[[Progress], None]
Work = Callable[[Lease, Cancel, Tell], Mapping[str, Any]]
"""Does a job to its end, looks at `Cancel` often, and says what its result is: plain JSON data.

Another process may be at work on the same job under a later epoch, unnoticed for a while.
"""


@dataclass(frozen=True)
class RunnerOptions:
    """How jobs are worked on.

    Attributes:
        at_once: jobs that are worked on at a time.
        lease_s: after so long without a sign of life another server takes a job over.
        poll_s: how soon a job that another server took in is noticed.
    """

    at_once: int = 2
    lease_s: float = 30.0
    poll_s: float = 0.5


@dataclass
class _Running:
    """A job in work: what stops it, why it was stopped, and how far it is: `unsaved` is what of
    that the store does not know yet.
    """

    lease: Lease
    cancel: Cancel = field(default_factory=Cancel)
    reached: Progress | None = None
    unsaved: Progress | None = None
    is_lost: bool = False
    is_drained: bool = False


class JobRunner:
    """Threads that claim jobs and work on them until `drain`.

    Args:
        store: of the jobs.
        work: how each kind of job is done.
        options: how many at once.
        hide: what of an error's text a client is told.
        after: told the id of a job when work on it in this process is over, whatever came of it.
    """

    def __init__(
        self,
        store: JobStore,
        work: Mapping[str, Work],
        options: RunnerOptions | None = None,
        *,
        hide: Callable[[str], str] = str,
        after: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.owner = secrets.token_hex(8)
        self._store = store
        self._work = work
        self._options = options or RunnerOptions()
        self._hide = hide
        self._after = after
        self._running: dict[str, _Running] = {}
        self._changed = threading.Condition()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._claimed: SimpleQueue[_Running | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._claims, name="jobs-claim", daemon=True),
            threading.Thread(target=self._keeps, name="jobs-lease", daemon=True),
        ]
        # They stay from job to job: libraries keep much with a thread (PROJ its database).
        self._workers = [
            threading.Thread(target=self._works, name=f"job-{number}", daemon=True)
            for number in range(self._options.at_once)
        ]

    def start(self) -> None:
        """Begin to claim jobs."""
        for one in (*self._threads, *self._workers):
            one.start()

    def wake(self) -> None:
        """A job was submitted in this process: look at once."""
        self._wake.set()

    def cancelled(self, job: str) -> None:
        """A client asked for a job's end in this process: stop it at once."""
        with self._changed:
            running = self._running.get(job)
            if running is not None:
                running.cancel.set()

    def progress(self, job: str) -> Progress | None:
        """How far a job is that runs in this process."""
        with self._changed:
            running = self._running.get(job)
            return None if running is None else running.reached

    def drain(self, grace_s: float) -> bool:
        """Claim no more, let running jobs finish for a while, put the others back into the line.

        Returns:
            Whether all finished in time.
        """
        self._stopping.set()
        self._wake.set()
        finished = self._idle(grace_s)
        with self._changed:
            for one in self._running.values():
                one.is_drained = True
                one.cancel.set()
        self._idle(self._options.lease_s)
        for _ in self._workers:
            self._claimed.put(None)
        for thread in self._threads:
            thread.join(self._options.lease_s)
        return finished

    def _idle(self, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, timeout_s)

    # ------------------------------------------------------------------------ threads

    def _claims(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                while not self._stopping.is_set() and self._claim_one():
                    pass
            except ServerError as error:
                _warn(error)
            self._wake.wait(self._options.poll_s)

    def _claim_one(self) -> bool:
        """Begin one job, if there is room and one waits."""
        options = self._options
        with self._changed:
            if len(self._running) >= options.at_once:
                return False
        lease = self._store.claim(self.owner, options.lease_s)
        if lease is None:
            return False
        running = _Running(lease)
        with self._changed:
            self._running[lease.job.id] = running
        self._claimed.put(running)
        return True

    def _works(self) -> None:
        """Work on one claimed job after the other."""
        while (running := self._claimed.get()) is not None:
            self._run(running)

    def _keeps(self) -> None:
        """Renew leases, a few times in each; give back what other servers lost."""
        period = self._options.lease_s / 4
        renewal, reaping = time.monotonic() + period, time.monotonic()
        while not (self._stopping.is_set() and self._idle(0)):
            time.sleep(min(self._options.poll_s, period))
            with self._changed:
                running = list(self._running.values())
            is_due = time.monotonic() >= renewal
            for one in running:
                if is_due or one.unsaved is not None:
                    self._renew(one)
            if is_due:
                renewal = time.monotonic() + period
            if time.monotonic() >= reaping:
                reaping = time.monotonic() + min(_REAPING_S, period)
                self._reap()

    def _renew(self, running: _Running) -> None:
        progress, running.unsaved = running.unsaved, None
        try:
            if self._store.renew(running.lease, self._options.lease_s, progress):
                running.cancel.set()
        except LeaseLostError:
            running.is_lost = True
            running.cancel.set()
        except ServerError as error:
            # The lease may run out; then the next renewal says so.
            _warn(error, running.lease.job)

    def _reap(self) -> None:
        try:
            if self._store.reap(_waited_too_long(), _lost_too_often()):
                self._wake.set()
        except ServerError as error:
            _warn(error)

    def _run(self, running: _Running) -> None:
        job = running.lease.job

        def tell(progress: Progress) -> None:
            running.reached = running.unsaved = progress

        _log_state(job, "running")
        began, reason = time.monotonic(), ""
        state: JobState = "succeeded"
        result: Mapping[str, Any] | None = None
        error: bytes | None = None
        try:
            result = self._work[job.kind](running.lease, running.cancel, tell)
        except Cancelled:
            state = "cancelled"
        except LannerError as failed:
            state, error = "failed", encode(failed, hide=self._hide).details
            reason = type(failed).__name__
        except Exception as failed:
            number = secrets.token_hex(6)
            fields = {**_names(job), "event": "error", "id": number}
            log.error("error %s", number, exc_info=failed, extra={"fields": fields})
            state, error = "failed", internal(number).details
            reason = type(failed).__name__
        try:
            became = self._end(running, state, result, error)
            seconds = round(time.monotonic() - began, 3)
            more = {"error": reason} if reason and became == state else {}
            _log_state(job, became, seconds=seconds, **more)
            self._after(job.id)
        except Exception as failed:
            fields = {**_names(job), "event": "error"}
            log.error("jobs: %s", job.id, exc_info=failed, extra={"fields": fields})
        finally:
            with self._changed:
                del self._running[job.id]
                self._changed.notify_all()
            self._wake.set()

    def _end(
        self,
        running: _Running,
        state: JobState,
        result: Mapping[str, Any] | None,
        error: bytes | None,
    ) -> str:
        """Say what came of a job, again and again while the database is away.

        Returns:
            Its state, or `lost` where another server goes on with it.
        """
        job = running.lease.job
        until = time.monotonic() + self._options.lease_s
        while not running.is_lost:
            try:
                if state == "cancelled" and running.is_drained:
                    self._store.release(running.lease)
                    return "queued"
                self._store.finish(running.lease, state, result=result, error=error)
            except LeaseLostError:
                break
            except ServerError as away:
                _warn(away, job)
                if time.monotonic() > until:
                    break  # the lease has run out: another server goes on with the job
                time.sleep(self._options.poll_s)
            else:
                return state
        return "lost"


def _names(job: Job) -> dict[str, Any]:
    """What each line of the log says of its job."""
    called = {} if job.call_id is None else {"request_id": job.call_id}
    return {"event": "job", **called, "job": job.id, "client": job.client, "kind": job.kind}


def _log_state(job: Job, state: str, **more: Any) -> None:
    """One line for the begin of work on a job, one for its end; a caller may be gone by then."""
    fields = {**_names(job), "state": state, "attempt": job.attempts, **more}
    log.info("job %s %s", job.id, state, extra={"fields": fields})


def _warn(error: ServerError, job: Job | None = None) -> None:
    fields = {} if job is None else _names(job)
    fields |= {"event": "database", "problem": str(error)}
    log.warning("jobs: %s", error, extra={"fields": fields})


def waited_too_long() -> DeadlineError:
    """The error of a job that had no turn in the time that it was given."""
    return DeadlineError(
        Argument("queue_timeout"),
        "job",
        "waited longer for its turn than it was allowed to",
        "send it again with more time, or when fewer jobs wait",
    )


def _waited_too_long() -> bytes:
    return encode(waited_too_long()).details


def _lost_too_often() -> bytes:
    error = ServerError(
        "server",
        "job",
        "servers that worked on it ended, time and again",
        "see whether they are short of memory; a smaller `tile` needs less",
    )
    return encode(error).details
