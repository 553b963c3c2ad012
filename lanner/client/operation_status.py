"""How a submitted detection stands, and what is made of its answers."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Literal, Self

from google.longrunning import operations_pb2

from lanner.client.collecting import progress_of
from lanner.core.errors import Cancelled, ServerError
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

_PROGRESS_S, _LONG_S = 0.5, 30.0
"""How long one question waits for the answer: where progress is shown, and where it is not."""


class OperationStatus:
    """A submitted detection as of the last answer about it."""

    def __init__(self, message: operations_pb2.Operation) -> None:
        self._take(message)

    def _take(self, message: operations_pb2.Operation) -> Self:
        self._message = message
        self._facts = service_pb.DetectionMetadata()
        message.metadata.Unpack(self._facts)
        return self

    @property
    def name(self) -> str:
        """What the server knows it by; `operation` of a client takes it, from any process."""
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
        return progress_of(self._facts.progress)

    @property
    def attempts(self) -> int:
        """How often work on it began: more than once where servers were lost."""
        return self._facts.attempts

    def _result(self) -> service_pb.DetectionResult:
        """What it came to, once it is done.

        Raises:
            LannerError: what it failed of; `Cancelled`.
        """
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

    def _detections(self, geojson: bytes) -> Detections:
        """The result, of its bytes as GeoJSON.

        Raises:
            ServerError: features are missing.
        """
        facts = self._result()
        # A feature a line, as its writer says; each stays byte for byte what it is.
        lines = geojson.decode("utf-8").split("\n")[1:-2]
        features = tuple(line.removesuffix(",") for line in lines)
        if len(features) != facts.summary.feature_count:
            raise ServerError(
                "server",
                self.name,
                f"sent an incomplete result ({len(features)} features)",
                "ask again; if it stays so, bring client and server to one release",
            )
        return Detections(features, json.loads(facts.summary.json))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.state})"


class Waiting:
    """The questions of one who waits for an operation.

    Args:
        timeout: seconds in all; None: for ever.
        with_progress: whether its progress is asked for.
    """

    def __init__(self, timeout: float | None, with_progress: bool) -> None:
        self._timeout = timeout
        self._end = None if timeout is None else time.monotonic() + timeout
        self._most = _PROGRESS_S if with_progress else _LONG_S
        self._last: Progress | None = None

    def seconds(self) -> float:
        """How long the next question may wait for its answer.

        Raises:
            ServerError: the time is over.
        """
        left = self._most if self._end is None else self._end - time.monotonic()
        if left <= 0:
            raise ServerError(
                "timeout", self._timeout, "passed before it was done", "wait again: it goes on"
            )
        return min(left, self._most)

    def is_news(self, progress: Progress) -> bool:
        """Whether progress is other than it was when last asked."""
        before, self._last = self._last, progress
        return progress != before


def form_of(path: Path) -> str:
    """The format of a result by the ending of its file."""
    return path.suffix[1:]
