"""Streams that are begun again where they broke off."""

from __future__ import annotations

from lanner.v1 import detection_service_pb2 as pb


class WatchCursor:
    """How far the events of an operation are read: each call asks for what follows.

    Args:
        name: of the operation.
        previews: whether what is found so far is wanted.
        cursor: of the last event that was read.
    """

    def __init__(self, name: str, previews: bool, cursor: str) -> None:
        self._name, self._previews, self._cursor = name, previews, cursor

    def request(self) -> pb.WatchRequest:
        """Asks for all events from here on."""
        return pb.WatchRequest(name=self._name, cursor=self._cursor, previews=self._previews)

    def take(self, event: pb.WatchEvent) -> pb.WatchEvent:
        """The event, which is read now."""
        self._cursor = event.cursor or self._cursor
        return event


class ResultPosition:
    """How far a result is read: each call sends all of it, and what is known is passed over.

    Results do not change, so what was taken before is the same now.

    Args:
        name: of the operation.
        form: such as `geojson`.
    """

    def __init__(self, name: str, form: str) -> None:
        self._name, self._form = name, form
        self._taken = self._passed = 0

    def request(self) -> pb.GetResultRequest:
        """Asks for the result; its pieces are counted anew."""
        self._passed = 0
        return pb.GetResultRequest(name=self._name, format=self._form)

    def take(self, data: bytes) -> bytes:
        """What is new of the next piece."""
        part = data[max(0, self._taken - self._passed) :]
        self._passed += len(data)
        self._taken += len(part)
        return part
