"""A detection that goes on without its client, from the client's side."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from google.longrunning import operations_pb2
from google.protobuf.duration_pb2 import Duration

from lanner.client.calls import Calls
from lanner.client.events import WatchEvent, read_events
from lanner.core.errors import Argument, Cancelled, ServerError
from lanner.core.files import replacing
from lanner.core.grpc_errors import DETAILS_KEY, decode
from lanner.core.job import Progress
from lanner.inference.detections import Detections
from lanner.v1 import detection_service_pb2 as service_pb

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]

_STATES: dict[int, State] = {
    service_pb.OPERATION_STATE_QUEUED: "queued",
    service_pb.OPERATION_STATE_RUNNING: "running",
    service_pb.OPERATION_STATE_SUCCEEDED: "succeeded",
    service_pb.OPERATION_STATE_FAILED: "failed",
    service_pb.OPERATION_STATE_CANCELLED: "cancelled",
}

_TOLD_S, _LONG_S = 0.5, 30.0
"""How long one question waits for the answer: where progress is told, and where it is not."""


class Operation:
    """A submitted detection. What it says is as of the last answer: `refresh` and `wait` ask anew.

    Args:
        server: where it is.
        message: as the server gave it.
    """

    def __init__(self, server: Calls, message: operations_pb2.Operation) -> None:
        self._server = server
        self._take(message)

    def _take(self, message: operations_pb2.Operation) -> Operation:
        self._message = message
        self._facts = service_pb.DetectionMetadata()
        message.metadata.Unpack(self._facts)
        return self

    @property
    def name(self) -> str:
        """What the server knows it by; `Client.operation` takes it, from any process."""
        return str(self._message.name)

    @property
    def state(self) -> State:
        """Where it stands; one of a later release's is `running` here until it is done."""
        return _STATES.get(self._facts.state, "running")

    @property
    def done(self) -> bool:
        """Whether nothing will happen to it any more."""
        return bool(self._message.done)

    @property
    def progress(self) -> Progress:
        """How far it is."""
        found = self._facts.progress
        return Progress(found.stage, found.done, found.total)

    @property
    def attempts(self) -> int:
        """How often work on it began: more than once where servers were lost."""
        return self._facts.attempts

    def refresh(self) -> Operation:
        """Ask how it stands.

        Raises:
            UnknownOperationError: it was deleted.
            ServerError: the server cannot be reached.
        """
        return self._take(self._server.get_operation(self.name))

    def watch(self, previews: bool = True, cursor: str = "") -> Iterator[WatchEvent]:
        """Follow it: progress, what is found so far, and at its end the features.

        A server that goes away is asked again when it is back; each final feature comes once.

        Args:
            previews: whether what is found so far is wanted.
            cursor: of the last event that was read, also by another process; empty: from the
                beginning.

        Raises:
            UnknownOperationError: it was deleted.
            ServerError: the server stays away.
        """
        yield from read_events(self._server.watch(self.name, previews, cursor))

    def wait(
        self,
        timeout: float | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Operation:
        """Wait until it is done, however it ends.

        A server that goes away is asked again when it is back.

        Args:
            timeout: seconds; None: for ever.
            on_progress: called in this thread as the work goes on.

        Raises:
            ServerError: it is not done within `timeout`, or the server stays away.
            UnknownOperationError: it was deleted.
        """
        end = None if timeout is None else time.monotonic() + timeout
        told: Progress | None = None
        while not self.done:
            left = _LONG_S if end is None else end - time.monotonic()
            if left <= 0:
                raise ServerError(
                    "timeout", timeout, "passed before it was done", "wait again: it goes on"
                )
            wait = Duration()
            wait.FromNanoseconds(int(min(left, _LONG_S if on_progress is None else _TOLD_S) * 1e9))
            self._take(self._server.wait_operation(self.name, wait))
            if on_progress is not None and self.progress != told:
                told = self.progress
                on_progress(told)
        return self

    def result(
        self,
        timeout: float | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Detections:
        """What was found; waits for it.

        Raises:
            LannerError: what the detection failed of, of the same class as on the server;
                `Cancelled`; and as of `wait`.
        """
        self.wait(timeout, on_progress)
        facts = self._result()
        text = b"".join(self._server.result(self.name, "geojson")).decode("utf-8")
        # A feature a line, as its writer says; each stays byte for byte what it is.
        features = tuple(line.removesuffix(",") for line in text.split("\n")[1:-2])
        if len(features) != facts.summary.feature_count:
            raise ServerError(
                "server",
                self.name,
                f"sent an incomplete result ({len(features)} features)",
                "ask again; if it stays so, bring client and server to one release",
            )
        return Detections(features, json.loads(facts.summary.json))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the result to a file by its ending, as the server made it: `.geojson`, `.gpkg`,
        `.fgb` or `.parquet`; waits for it.

        Raises:
            ConfigError: another ending.
            OutputError: it cannot be written.
            LannerError: as of `result`.
        """
        target = Path(path)
        self.wait()
        self._result()
        with replacing(target, Argument("path")) as beside, beside.open("wb") as file:
            for part in self._server.result(self.name, target.suffix[1:]):
                file.write(part)
        return target

    def cancel(self) -> None:
        """Ask for its end; one that is done stays as it is."""
        self._server.cancel_operation(self.name)

    def delete(self) -> None:
        """Have the server forget it and its result; work on it stops."""
        self._server.delete_operation(self.name)

    def _result(self) -> service_pb.DetectionResult:
        if self.state == "cancelled":
            raise Cancelled("submit it again; it begins anew")
        if self._message.HasField("error"):
            status = self._message.error
            error = decode([(DETAILS_KEY, status.SerializeToString())])
            raise error or ServerError(
                "server", self.name, f"failed ({status.message})", "look into the server's log"
            )
        found = service_pb.DetectionResult()
        self._message.response.Unpack(found)
        return found

    def __repr__(self) -> str:
        return f"Operation({self.name!r}, {self.state})"
