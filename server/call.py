"""One call: who calls, how it ends, and the one line in the log that says so."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any

from lanner.core.errors import LannerError, ServerError
from lanner.core.grpc_errors import Failure, encode, internal
from server.accounts import Caller, Guard, Role
from server.context import CallContext
from server.metrics import Metrics
from server.private import Private
from server.streams import ClientStreams, OpenStream

log = logging.getLogger("lanner.server")


class Call:
    """Context manager around the body of a handler; asynchronous around one of the event loop.

    An error of Lanner's ends the call with its own status; any other with INTERNAL and an id,
    under which the log keeps the traceback that the caller must not see. `fields` of the log
    line may be added to while the call runs.

    Args:
        method: name of the RPC.
        context: of the call.
        hide: what a text of an error is to its caller; the attribute may be changed while the
            call runs.
        admit: says who calls, or refuses.
        metrics: told of the call when it is over.
        streams: where it takes a place until it is over; None: it is no stream.
    """

    def __init__(
        self,
        method: str,
        context: CallContext,
        hide: Callable[[str], str],
        admit: Callable[[CallContext], Caller],
        metrics: Metrics,
        streams: ClientStreams | None = None,
    ) -> None:
        self.hide = hide
        self.fields: dict[str, Any] = {}
        self.client = ""
        self.owner: str | None = ""
        self._context = context
        self._method = method
        self._admit = admit
        self._metrics = metrics
        self._streams = streams
        self._stream: OpenStream | None = None
        self._started = time.monotonic()
        self._code = ""

    def finish(self) -> None:
        """Write the access line; to be called when the call is over."""
        self._leave()
        late = "DEADLINE_EXCEEDED" if self._context.is_late() else "CANCELLED"
        code = self._code or late
        seconds = time.monotonic() - self._started
        self._metrics.call(self._method, code, seconds)
        line = {
            "event": "rpc",
            "request_id": self._context.request_id,
            "method": self._method,
            "peer": self._context.peer,
            "client": self.client,
            "code": code,
            "seconds": round(seconds, 3),
            **self.fields,
        }
        log.info("%s %s", self._method, code, extra={"fields": line})

    def __enter__(self) -> Call:
        try:
            caller = self._admit(self._context)
            self.client, self.owner = caller.client, caller.owner
            if self._streams is not None:
                self._stream = self._streams.enter(self.client)
                if not self._context.is_active():  # `finish` came before there was a place
                    self._leave()
        except Exception as error:
            self._abort(error)
        return self

    def _leave(self) -> None:
        if self._stream is not None:
            self._stream.leave()

    async def __aenter__(self) -> Call:
        # Who calls may have to be asked of the database, which may be slow.
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

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
            self._abort(error)

    def _abort(self, error: Exception) -> None:
        failure = self._failure(error)
        self._code = failure.code.name
        self._context.abort(failure.code, failure.message, failure.details)

    def log_failure(self, error: BaseException) -> str:
        """Log an error with its traceback; returns the id that the line carries."""
        number = uuid.uuid4().hex[:12]
        fields = {
            "event": "error",
            "id": number,
            "request_id": self._context.request_id,
            "method": self._method,
            "client": self.client,
            **self.fields,
        }
        log.error("error %s", number, exc_info=error, extra={"fields": fields})
        return number

    def _failure(self, error: Exception) -> Failure:
        """What the caller is told of `error`."""
        if isinstance(error, LannerError):
            return encode(error, hide=self.hide)
        return internal(self.log_failure(error))


@dataclass(frozen=True)
class Calls:
    """Makes a server's calls: `private` is what callers are not told, `guard` lets them in,
    `metrics` are told of all of them, `streams` counts those that stream; once `draining` is set,
    new ones are refused.
    """

    private: Private
    guard: Guard
    metrics: Metrics
    streams: ClientStreams
    draining: threading.Event = field(default_factory=threading.Event)

    def begin(
        self,
        method: str,
        context: CallContext,
        role: Role,
        *,
        asked: str = "",
        over: Callable[[], None] = lambda: None,
        is_stream: bool = False,
    ) -> Call:
        """A call that its log line is written of when it is over.

        Args:
            method: name of the RPC.
            context: of the call.
            role: what the caller needs.
            asked: what its request names, which is no secret to it.
            over: called before that line is written, too.
            is_stream: whether it may stay open for long, and a client has only so many.
        """
        hide = partial(self.private.hide, asked=asked)
        admit = partial(self._admit, role)
        streams = self.streams if is_stream else None
        call = Call(method, context, hide, admit, self.metrics, streams)

        def ended() -> None:
            over()
            call.finish()

        if not context.add_callback(ended):  # gone before it began
            ended()
        return call

    def _admit(self, role: Role, context: CallContext) -> Caller:
        """Who calls.

        Raises:
            ServerError: the server takes no new calls.
            AuthenticationError, AccessError: as of `Guard.admit`.
        """
        if self.draining.is_set():
            raise ServerError(
                "server",
                "shutdown",
                "takes no new calls: it shuts down",
                "send the request again when `lanner serve` is back, or to another server",
            )
        return self.guard.admit(role, context)
