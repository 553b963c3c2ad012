"""What a handler asks of its call, be it over gRPC or HTTP."""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

import grpc

REQUEST_ID = "x-request-id"
"""Header, or metadata, that names a call; the log and the answer repeat it."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:+/=@-]{1,128}")


def request_id_of(metadata: Iterable[tuple[str, str]]) -> str:
    """The id that a caller gave its call, or a new one where there is none that fits a log."""
    for name, value in metadata:
        if name == REQUEST_ID and _REQUEST_ID.fullmatch(value):
            return value
    return uuid.uuid4().hex


class AbortedCall(Exception):
    """A handler ended its call; `details` is a serialised google.rpc.Status."""

    def __init__(self, code: grpc.StatusCode, message: str, details: bytes) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


class CallContext:
    """One call: who calls, and whether anybody still waits for the answer. Threads share it.

    Args:
        peer: who calls, for the log.
        metadata: of gRPC, or headers of HTTP; names in lower case.
        deadline_s: seconds that the caller waits; None: for ever.

    Attributes:
        request_id: names the call in the log and in its answer.
    """

    def __init__(
        self, peer: str, metadata: Sequence[tuple[str, str]], deadline_s: float | None = None
    ) -> None:
        self.peer = peer
        self.metadata = metadata
        self.request_id = request_id_of(metadata)
        self._until = None if deadline_s is None else time.monotonic() + deadline_s
        self._callbacks: list[Callable[[], None]] = []
        self._ended = False
        self._lock = threading.Lock()

    def is_active(self) -> bool:
        """Whether somebody still waits for the answer."""
        return not self._ended

    def is_late(self) -> bool:
        """Whether the caller's deadline is over."""
        return self._until is not None and time.monotonic() >= self._until

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Call it when the call is over; whether it was not yet."""
        with self._lock:
            if self._ended:
                return False
            self._callbacks.append(callback)
            return True

    def abort(self, code: grpc.StatusCode, message: str, details: bytes) -> NoReturn:
        """End the call with an error."""
        raise AbortedCall(code, message, details)

    def end(self) -> None:
        """The answer is sent, or nobody waits for it: tell those who asked."""
        with self._lock:
            callbacks, self._callbacks = self._callbacks, []
            self._ended = True
        for one in callbacks:
            one()
