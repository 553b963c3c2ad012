"""Who may ask from where: Host and Origin, against pages that reach for servers of this machine."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from server.http.request_ids import RequestIds

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""Names of this machine. A page whose own name leads here, by a name server that changes its
answer, sends that name as its Host."""

_FORBIDDEN = 7


class NameGuard:
    """Refuses requests for other hosts and from pages of other origins.

    Args:
        app: what answers the rest.
        hosts: names without ports that requests may be for; None: any.
        origins: of pages that may ask, besides those that this server gives itself.
    """

    def __init__(
        self, app: ASGIApp, hosts: Collection[str] | None, origins: Collection[str]
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the application answer."""
        if scope["type"] == "http":
            headers = {
                key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]
            }
            host, origin = headers.get("host", ""), headers.get("origin")
            if self._hosts is not None and _name(host) not in self._hosts:
                await _refuse(
                    f"host {host[:200]!r} is not this server's name", scope, receive, send
                )
                return
            if origin is not None and origin not in self._origins and not _same(origin, host):
                await _refuse(
                    f"pages of {origin[:200]!r} may not ask; whoever runs the server can list them",
                    scope,
                    receive,
                    send,
                )
                return
        await self._app(scope, receive, send)


def guarded(app: ASGIApp, hosts: Collection[str] | None, origins: Collection[str]) -> ASGIApp:
    """The application behind a guard, with the headers that let listed pages read its answers,
    and with ids of requests.
    """
    if origins:
        app = CORSMiddleware(
            app,
            allow_origins=sorted(origins),
            allow_methods=["GET", "HEAD", "POST", "PATCH", "DELETE"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "Last-Event-ID",
                "Upload-Offset",
                "X-Request-Id",
            ],
            expose_headers=["Upload-Offset", "Upload-Length", "Retry-After", "X-Request-Id"],
        )
    return RequestIds(NameGuard(app, hosts, origins))


def _name(host: str) -> str:
    """A Host without its port."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower()


def _same(origin: str, host: str) -> bool:
    return urlsplit(origin).netloc == host and bool(host)


async def _refuse(message: str, scope: Scope, receive: Receive, send: Send) -> None:
    await JSONResponse({"code": _FORBIDDEN, "message": message}, 403)(scope, receive, send)
