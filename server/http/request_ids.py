"""Every answer over HTTP names its request."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.context import REQUEST_ID, request_id_of


class RequestIds:
    """Answers with the id of the request, and has the application see the same one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        identity = request_id_of(Headers(scope=scope).items())
        headers = MutableHeaders(raw=list(scope["headers"]))
        headers[REQUEST_ID] = identity

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REQUEST_ID] = identity
            await send(message)

        await self._app({**scope, "headers": headers.raw}, receive, named)
