"""What comes of a detection that is followed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lanner.client.collecting import progress_of
from lanner.core.job import Progress
from lanner.v1 import detection_service_pb2 as pb


@dataclass(frozen=True)
class WatchEvent:
    """One event.

    Attributes:
        kind: `progress`; `preview`: provisional features, which the first final ones replace;
            `features`: final ones, in order; `done`: nothing follows.
        progress: how far it is, with `progress`.
        features: GeoJSON Feature texts.
        replaces: whether provisional features that came before are void.
        cursor: goes on after this event; empty where it need not be had again.
    """

    kind: Literal["progress", "preview", "features", "done"]
    progress: Progress | None = None
    features: tuple[str, ...] = ()
    replaces: bool = False
    cursor: str = ""


class EventReader:
    """Events of messages: pieces of large features put together, heartbeats left out."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def take(self, message: pb.WatchEvent) -> WatchEvent | None:
        """The event that a message completes, if it does."""
        kind = message.WhichOneof("event")
        if kind == "progress":
            return WatchEvent("progress", progress_of(message.progress))
        if kind == "preview":
            texts = tuple(feature.geojson for feature in message.preview.features)
            return WatchEvent("preview", features=texts, replaces=message.preview.replaces)
        if kind == "features":
            texts = tuple(feature.geojson for feature in message.features.features)
            return WatchEvent("features", features=texts, cursor=message.cursor)
        if kind == "chunk":
            return self._piece(message)
        return WatchEvent("done") if kind == "operation" else None

    def _piece(self, message: pb.WatchEvent) -> WatchEvent | None:
        chunk = message.chunk
        self._parts = [*([] if chunk.HasField("header") else self._parts), chunk.part]
        if chunk.more:
            return None
        text = b"".join(self._parts).decode("utf-8")
        return WatchEvent("features", features=(text,), cursor=message.cursor)
