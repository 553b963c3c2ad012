"""What all calls of a client have in common, whether they block or are awaited."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from lanner.client.failures import translated
from lanner.client.proxy import is_loopback, proxy_of
from lanner.core.errors import ServerError


class Connection:
    """Where a server is and how it is spoken to; the channel itself is the client's.

    Args:
        address: host:port.
        timeout: seconds that one answer may take.
        keepalive_s: seconds of silence before a sign of life is asked for.
        patience: seconds for which calls are repeated while the server is away.
        token: for a server that asks for one.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout: float,
        keepalive_s: float,
        patience: float,
        token: str | None,
    ) -> None:
        self.address = address
        self.timeout = timeout
        self.patience = patience
        self.closed = False
        period = int(keepalive_s * 1000)
        self.options: list[tuple[str, int]] = [
            ("grpc.keepalive_time_ms", period),
            ("grpc.keepalive_timeout_ms", period),
            ("grpc.http2.ping_timeout_ms", period),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.enable_http_proxy", int(not is_loopback(address))),
        ]
        # A bearer token (RFC 6750) with every call.
        self.metadata = () if token is None else (("authorization", f"Bearer {token}"),)
        self._proxy = proxy_of(address, os.environ)

    @contextmanager
    def errors(self, timeout: float | None) -> Iterator[None]:
        """Raise Lanner's errors for gRPC's; what is awaited inside counts, too.

        Args:
            timeout: of the call, in seconds.

        Raises:
            LannerError: as the server raised it, or what happened on the way to it.
        """
        if self.closed:
            raise ServerError("client", self.address, "is closed", "make another client")
        try:
            yield
        except grpc.RpcError as error:
            raise translated(error, self.address, timeout, self._proxy) from error
