"""The HTTP listener: uvicorn in the event loop that it shares with gRPC."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp

_STOP_S = 2
"""What calls get to end once the server stops."""


@dataclass(frozen=True)
class TlsFiles:
    """PEM files: a certificate chain, its key, and of those whose clients' certificates are asked
    for (None: no client is asked for one).
    """

    chain: str
    key: str
    clients: str | None = None


class HttpServer:
    """An HTTP server on a socket; its methods are for the event loop's thread."""

    def __init__(self, app: ASGIApp, bound: socket.socket, tls: TlsFiles | None) -> None:
        self._bound = bound
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                # Forwarded addresses are anybody's to write.
                proxy_headers=False,
                timeout_graceful_shutdown=_STOP_S,
                ssl_certfile=None if tls is None else tls.chain,
                ssl_keyfile=None if tls is None else tls.key,
                ssl_ca_certs=None if tls is None else tls.clients,
                ssl_cert_reqs=ssl.CERT_REQUIRED if tls and tls.clients else ssl.CERT_NONE,
            )
        )
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen; returns once it does."""
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._bound]))
        while not self._server.started:
            if self._serving.done():
                await self._serving  # raises what keeps it from listening
            await asyncio.sleep(0.005)

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._bound.getsockname()[1]
        return port

    async def stop(self) -> None:
        """Let calls end for two seconds, then cut them off."""
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving
        self._bound.close()
