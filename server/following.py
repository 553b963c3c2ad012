"""Following a submitted detection: until it has ended, or event by event."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

from lanner.core.errors import Argument, ConfigError
from lanner.core.job import Progress
from lanner.v1 import detection_service_pb2 as pb
from server.context import CallContext
from server.detections import Detections
from server.jobs.model import Job
from server.messages import feature_batches, feature_message, progress_message
from server.operations import operation_of

T = TypeVar("T")

HEARTBEAT_S = 10.0
"""After so long without an event one says that there is none; 15 s are promised."""

_LOOK_S = 0.05
"""How soon one who follows notices what happened in this server."""

_ASK_S = 0.5
"""How soon what another server did."""

_BATCH = 500
"""Provisional features in one event."""

_END = object()


class Follower:
    """Follows jobs without keeping a thread for each who does.

    Args:
        jobs: the jobs.
        threads: where the database and files are read.
    """

    def __init__(self, jobs: Detections, threads: ThreadPoolExecutor) -> None:
        self._jobs = jobs
        self._threads = threads

    async def ended(self, job: str, client: str | None, until: float, context: CallContext) -> Job:
        """A job when it has ended, or as it is at `until` (of `time.monotonic`).

        Raises:
            UnknownOperationError: there is none.
        """
        while True:
            version = self._jobs.version
            found = await self._aside(self._jobs.get, job, client)
            left = until - time.monotonic()
            if found.is_ended or left <= 0 or not context.is_active():
                return found
            await self._changed(version, min(left, _ASK_S))

    async def events(
        self, job: str, client: str | None, cursor: str, previews: bool, context: CallContext
    ) -> AsyncIterator[pb.WatchEvent]:
        """All events of a job after a cursor, the operation last.

        Raises:
            UnknownOperationError: there is none, or it was deleted meanwhile.
            ConfigError: that is no cursor.
            OutputError: its result is gone.
        """
        first = _position(cursor)
        last = time.monotonic()
        told: Progress | None = None
        drawn = 0
        while True:
            version = self._jobs.version
            found = await self._aside(self._jobs.get, job, client)
            if found.is_ended:
                break
            progress = self._jobs.progress(job) or found.progress
            if progress != told:
                told, last = progress, time.monotonic()
                yield pb.WatchEvent(progress=progress_message(progress))
            if previews:
                drawn, replaces, texts = await self._aside(self._jobs.previews, job, drawn)
                for batch in _previews(texts, replaces):
                    last = time.monotonic()
                    yield pb.WatchEvent(preview=batch)
            if time.monotonic() - last >= HEARTBEAT_S:
                last = time.monotonic()
                yield pb.WatchEvent(heartbeat=pb.Heartbeat())
            if not context.is_active():
                return
            await self._changed(version, _ASK_S)
        if found.state == "succeeded":
            features = await self._aside(self._jobs.features, job, client)
            made = _final(features, first)
            while (event := await self._aside(next, made, _END)) is not _END:
                yield event
        yield pb.WatchEvent(operation=operation_of(found))

    async def _changed(self, version: int, most_s: float) -> None:
        """Until something happened to a job of this server, or that time is over."""
        until = time.monotonic() + most_s
        while self._jobs.version == version and time.monotonic() < until:
            await asyncio.sleep(_LOOK_S)

    async def _aside(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)


def _position(cursor: str) -> int:
    """How many final features were read."""
    if not cursor:
        return 0
    if cursor[0] == "f" and cursor[1:].isdecimal() and len(cursor) < 20:
        return int(cursor[1:])
    raise ConfigError(
        Argument("cursor"), cursor, "is none of this server's", "give that of the last event"
    )


def _final(features: Iterator[str], first: int) -> Iterator[pb.WatchEvent]:
    """Final features from one on."""
    for batch, chunk in feature_batches(islice(features, first, None), first):
        if batch is not None:
            after = batch.first_index + len(batch.features)
            yield pb.WatchEvent(cursor=f"f{after}", features=batch)
        if chunk is not None:
            # One that was cut within a feature has it again from its beginning.
            cursor = "" if chunk.more else f"f{chunk.index + 1}"
            yield pb.WatchEvent(cursor=cursor, chunk=chunk)


def _previews(texts: Sequence[str], replaces: bool) -> Iterator[pb.PreviewBatch]:
    for start in range(0, max(len(texts), replaces), _BATCH):
        yield pb.PreviewBatch(
            replaces=replaces and start == 0,
            features=map(feature_message, texts[start : start + _BATCH]),
        )
