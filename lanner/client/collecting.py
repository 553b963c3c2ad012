"""The stream of one detection, put together event by event."""

from __future__ import annotations

import json

from lanner.core.errors import ServerError
from lanner.core.job import Progress
from lanner.inference.detections import Detections
from lanner.v1 import detection_pb2 as pb
from lanner.v1 import detection_service_pb2 as service_pb


class Collector:
    """Takes the events of a stream to its very end: only then is the status of the call known."""

    def __init__(self) -> None:
        self._features: list[str] = []
        self._parts: list[bytes] = []
        self._summary: pb.Summary | None = None

    def take(self, event: service_pb.DetectResponse) -> Progress | None:
        """Take one event in; gives the progress that it tells."""
        kind = event.WhichOneof("event")
        if kind == "progress":
            return progress_of(event.progress)
        if kind == "features":
            self._features.extend(one.geojson for one in event.features.features)
        elif kind == "chunk":
            self._parts.append(event.chunk.part)
            if not event.chunk.more:
                self._features.append(b"".join(self._parts).decode("utf-8"))
                self._parts = []
        elif kind == "summary":
            self._summary = event.summary
        return None

    def result(self, address: str) -> Detections:
        """What came of the stream of a server.

        Raises:
            ServerError: it ended before its summary, or features are missing.
        """
        found = self._features
        if self._summary is not None and self._summary.feature_count == len(found):
            return Detections(tuple(found), json.loads(self._summary.json))
        raise ServerError(
            "server",
            address,
            f"sent an incomplete result ({len(found)} features)",
            "send the request again; if it stays so, bring client and server to one release",
        )


def progress_of(message: pb.Progress) -> Progress:
    """Progress as the server tells it."""
    return Progress(message.stage, message.done, message.total)
