"""What comes of a detection that is followed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

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


def read_events(messages: Iterable[pb.WatchEvent]) -> Iterator[WatchEvent]:
    """Events of messages: pieces of large features put together, heartbeats left out."""
    parts: list[bytes] = []
    for one in messages:
        kind = one.WhichOneof("event")
        if kind == "progress":
            found = one.progress
            yield WatchEvent("progress", Progress(found.stage, found.done, found.total))
        elif kind == "preview":
            texts = tuple(feature.geojson for feature in one.preview.features)
            yield WatchEvent("preview", features=texts, replaces=one.preview.replaces)
        elif kind == "features":
            texts = tuple(feature.geojson for feature in one.features.features)
            yield WatchEvent("features", features=texts, cursor=one.cursor)
        elif kind == "chunk":
            parts = [*([] if one.chunk.HasField("header") else parts), one.chunk.part]
            if not one.chunk.more:
                text = b"".join(parts).decode("utf-8")
                yield WatchEvent("features", features=(text,), cursor=one.cursor)
        elif kind == "operation":
            yield WatchEvent("done")
