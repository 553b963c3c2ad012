"""From a failed call to the error that is raised."""

from __future__ import annotations

from typing import cast

import grpc

from lanner.client.proxy import Proxy
from lanner.core.errors import BusyError, LannerError, ServerError
from lanner.core.grpc_errors import decode


def translated(
    error: grpc.RpcError, address: str, timeout: float | None, proxy: Proxy | None
) -> LannerError:
    """The error that the server raised, or what happened on the way to it."""
    call = cast("grpc.Call", error)  # every RpcError that a stub raises is one
    lanner_error = decode(call.trailing_metadata() or ())
    if lanner_error is not None:
        return lanner_error
    code, details = call.code(), call.details()
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return ServerError("timeout", timeout, "passed before the answer came", "allow more time")
    # A server that shuts down answers a call that comes in between with CANCELLED.
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        if proxy is not None:
            return ServerError(
                "server",
                address,
                f"cannot be reached or went away, by way of the proxy {proxy.address} that "
                f"{proxy.variable} names ({details})",
                "check the proxy and the address, or name the server's host in no_proxy",
            )
        return ServerError(
            "server",
            address,
            f"cannot be reached or went away ({details})",
            "start it with `lanner serve`, check the address, and send the request again",
        )
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return ServerError(
            "server", address, "does not speak lanner.v1", "check the address, or upgrade it"
        )
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return BusyError("server", address, f"is out of resources ({details})", "try again later")
    return ServerError(
        "server", address, f"failed with {code.name} ({details})", "look into the server's log"
    )
