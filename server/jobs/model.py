"""The words of jobs: what is asked for, what is kept of it, and who works on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lanner.core.job import Progress

JobState = Literal["queued", "running", "succeeded", "failed", "cancelled"]
"""A job is queued, then running, perhaps queued again, then in one of the other three for good."""

ENDED: tuple[JobState, ...] = ("succeeded", "failed", "cancelled")
"""States that no job leaves."""

STATE = "state"
"""Kind of the event that a job's state changed; its data has the `state`."""


@dataclass(frozen=True)
class NewJob:
    """What is asked for.

    Attributes:
        kind: such as `detect`.
        client: who asks; quotas and fair turns go by it.
        spec: all that the work depends on, as plain JSON data.
        request_id: chosen by the client; a second request of the same id is the same job.
        priority: jobs of a higher one are run first.
        queue_s: seconds that it may wait for its first turn; None: for ever.
        call_id: of the call that brings it, for the log.
    """

    kind: str
    client: str
    spec: Mapping[str, Any]
    request_id: str | None = None
    priority: int = 0
    queue_s: float | None = None
    call_id: str | None = None


@dataclass(frozen=True)
class Job:
    """A job as the store keeps it. Times are seconds since 1970, UTC.

    Attributes:
        id: made by the store; nobody can guess it.
        call_id: of the call that brought it; None: unknown.
        cancelling: whether a client asked to cancel it.
        attempts: how often work on it began.
        progress: of the attempt that runs.
        result: what the work says of its result, as plain JSON data; None before.
        error: a serialised google.rpc.Status; None where nothing failed.
        last_event: number of its newest event.
    """

    id: str
    kind: str
    client: str
    spec: Mapping[str, Any]
    request_id: str | None
    priority: int
    state: JobState
    created: float
    queue_until: float | None = None
    started: float | None = None
    ended: float | None = None
    cancelling: bool = False
    attempts: int = 0
    progress: Progress = field(default_factory=lambda: Progress("queued", 0, 0))
    result: Mapping[str, Any] | None = None
    error: bytes | None = None
    last_event: int = 0
    call_id: str | None = None

    @property
    def is_ended(self) -> bool:
        """Whether nothing will happen to it any more."""
        return self.state in ENDED


@dataclass(frozen=True)
class Lease:
    """The right to work on a job: `owner` names a process, `epoch` counts those who had it.

    What is written under an earlier epoch is refused.
    """

    job: Job
    owner: str
    epoch: int


@dataclass(frozen=True)
class JobEvent:
    """One thing that happened to a job: `number` counts them from 1."""

    number: int
    at: float
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Limits:
    """How much the store takes in.

    Attributes:
        queued: jobs that wait, of all clients.
        of_client: jobs of one client that wait or run.
        losses: how many servers in a row may be lost with a job before it gets any further; one
            that servers die of must end.
    """

    queued: int = 1000
    of_client: int = 100
    losses: int = 5
