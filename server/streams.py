"""How many calls that stream each client may have open at once."""

from __future__ import annotations

import threading
from collections import Counter

from lanner.core.errors import BusyError
from server.accounts import ANYONE


class OpenStream:
    """One open stream of a client; threads may give it up several times."""

    def __init__(self, streams: ClientStreams, client: str) -> None:
        self._streams = streams
        self._client: str | None = client

    def leave(self) -> None:
        """Give it up."""
        self._streams._leave(self)


class ClientStreams:
    """Counts the open streams of each client. Callers that no token tells apart are not counted.

    Args:
        most: that one client may have.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()
        self._lock = threading.Lock()

    def enter(self, client: str) -> OpenStream:
        """Open one.

        Raises:
            BusyError: the client has as many open as it may.
        """
        with self._lock:
            if client != ANYONE and self._open[client] >= self._most:
                raise too_many(self._open[client])
            self._open[client] += 1
        return OpenStream(self, client)

    def _leave(self, stream: OpenStream) -> None:
        with self._lock:
            client, stream._client = stream._client, None
            if client is None:
                return
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]


def too_many(count: int) -> BusyError:
    """The refusal of one more stream to a client that has so many."""
    return BusyError(
        "streams",
        count,
        "are open for this client, as many as this server allows one",
        "close some, or try again later",
    )
