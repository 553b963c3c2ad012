"""Which failed calls are made again, and after how long: for clients that block and that await."""

from __future__ import annotations

import random
import time
from typing import cast

import grpc

from lanner.core.errors import LannerError, UploadError
from lanner.core.grpc_errors import decode, retry_delay

_FIRST_S, _LAST_S = 0.1, 5.0
"""Pauses between tries, which double from one to the other."""
_HELD = ("name", "offset")
"""Arguments of errors about an upload that the call before may still be writing to."""


class Retries:
    """The tries of one call: pauses that grow, until a server was away or busy for too long.

    Args:
        patience_s: seconds for which the call is made again.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._failed = False
        self.moved()

    def moved(self) -> None:
        """Something came of the last try: the next failure is a first one."""
        self._end = time.monotonic() + self._patience_s
        self._pause = _FIRST_S

    def pause(self, error: LannerError) -> float:
        """Seconds to wait before the next try.

        Raises:
            LannerError: `error`, where another try is in vain or would come too late.
        """
        least = _least_s(error)
        if least is None and self._failed and _is_held(error):
            least = 0.0
        if least is None:
            raise error
        self._failed = True
        # Clients that lost one server at once do not come back at once.
        pause = max(self._pause * random.uniform(0.5, 1.0), least * random.uniform(1.0, 1.25))
        if time.monotonic() + pause > self._end:
            raise error
        self._pause = min(2 * self._pause, _LAST_S)
        return pause


def _least_s(error: LannerError) -> float | None:
    """Seconds that the server asks for before the next try; None where another one is in vain."""
    cause = error.__cause__
    if not isinstance(cause, grpc.RpcError):
        return None
    call = cast("grpc.Call", cause)  # every RpcError that a stub raises is one
    metadata = tuple(call.trailing_metadata() or ())
    if call.code() is grpc.StatusCode.UNAVAILABLE:
        return retry_delay(metadata) or 0.0
    if call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return retry_delay(metadata)
    # A server that shuts down answers a call that comes in between so, without a word of its own.
    away = call.code() is grpc.StatusCode.CANCELLED and decode(metadata) is None
    return 0.0 if away else None


def _is_held(error: LannerError) -> bool:
    """Whether a call that broke off may still be writing to an upload."""
    return isinstance(error, UploadError) and error.argument in _HELD
