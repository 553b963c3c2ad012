"""Routes that are no methods: health, the API's description, and a page that shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route


def pages(document: dict[str, Any], is_ready: Callable[[], bool]) -> Sequence[Route]:
    """The routes.

    Args:
        document: OpenAPI's.
        is_ready: whether requests are best sent here.
    """

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        ready = is_ready()
        return PlainTextResponse("ready\n" if ready else "not ready\n", 200 if ready else 503)

    async def openapi(_: Request) -> Response:
        return JSONResponse(document)

    async def docs(_: Request) -> Response:
        text = files("server.http").joinpath("docs.html").read_text(encoding="utf-8")
        return HTMLResponse(
            text,
            headers={
                "Content-Security-Policy": "default-src 'self'; style-src 'unsafe-inline'; "
                "script-src 'unsafe-inline'; connect-src 'self'"
            },
        )

    return [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/openapi.json", openapi),
        Route("/", docs),
        Route("/docs", docs),
    ]
