"""One RPC on the server: how it ends, and the one line in the log that says so."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import Any

import grpc

from lanner.core.errors import LannerError
from lanner.core.grpc_errors import Failure, encode, internal

log = logging.getLogger("lanner.server")


class Call:
    """Context manager around the body of a handler.

    An error of Lanner's ends the RPC with its own status; any other with INTERNAL and an id,
    under which the log keeps the traceback that the caller must not see. `fields` of the log
    line may be added to while the RPC runs.

    Args:
        method: name of the RPC.
        context: of gRPC.
        hide: what a text of an error is to its caller; the attribute may be changed while the
            RPC runs.
    """

    def __init__(
        self, method: str, context: grpc.ServicerContext, hide: Callable[[str], str]
    ) -> None:
        self.hide = hide
        self.fields: dict[str, Any] = {}
        self._context = context
        self._method = method
        self._peer = context.peer()
        self._started = time.monotonic()
        self._code = ""

    def finish(self) -> None:
        """Write the access line; to be called when gRPC says that the RPC is over."""
        code = self._code
        if not code:
            left = self._context.time_remaining()
            code = "CANCELLED" if left is None or left > 0 else "DEADLINE_EXCEEDED"
        line = {
            "event": "rpc",
            "method": self._method,
            "peer": self._peer,
            "code": code,
            "seconds": round(time.monotonic() - self._started, 3),
            **self.fields,
        }
        log.info("%s %s", self._method, code, extra={"fields": line})

    def __enter__(self) -> Call:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._context.is_active():
            return
        if error is None:
            self._code = "OK"
        elif isinstance(error, Exception):
            failure = self._failure(error)
            self._code = failure.code.name
            failure.abort(self._context)

    def log_failure(self, error: BaseException) -> str:
        """Log an error with its traceback; returns the id that the line carries."""
        number = uuid.uuid4().hex[:12]
        fields = {"event": "error", "id": number, "method": self._method, **self.fields}
        log.error("error %s", number, exc_info=error, extra={"fields": fields})
        return number

    def _failure(self, error: Exception) -> Failure:
        """What the caller is told of `error`."""
        if isinstance(error, LannerError):
            return encode(error, hide=self.hide)
        return internal(self.log_failure(error))
