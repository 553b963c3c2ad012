"""Addresses to listen on, and why one cannot be had."""

from __future__ import annotations

import errno
import ipaddress
import socket
from contextlib import suppress

from lanner.core.errors import AddressError, Argument

_FREE = "give another port; 0 takes a free one"
_OWN = "give an address of this machine as `host`, such as 127.0.0.1 or 0.0.0.0"


def bound(host: str, port: int, argument: str) -> socket.socket:
    """A socket on an address.

    Args:
        host: a name or an address of this machine.
        port: 0 takes a free one.
        argument: name of the port's argument, for errors.

    Raises:
        AddressError: it cannot be had.
    """
    for family, kind, protocol, place in _places(host, port):
        found = socket.socket(family, kind, protocol)
        # As gRPC does: an address that a server has just left is free.
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind(place)
        except OSError as error:
            found.close()
            raise _error(error, host, port, argument) from error
        return found
    raise AddressError(Argument("host"), host, "is not an address", _OWN)


def refused(host: str, port: int) -> AddressError:
    """Why gRPC could not listen on an address, which it does not say: asked of the system again."""
    for family, kind, protocol, place in _places(host, port):
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(place)
            except OSError as error:
                return _error(error, host, port, "port")
    return AddressError(Argument("port"), port, f"cannot be listened on at {host}", _FREE)


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach it."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def joined(host: str, port: int) -> str:
    """host:port."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _places(host: str, port: int) -> list[tuple[int, int, int, tuple[object, ...]]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise AddressError(Argument("host"), host, f"is not an address ({error})", _OWN) from error
    return [(family, kind, protocol, place) for family, kind, protocol, _, place in found]


def _error(error: OSError, host: str, port: int, argument: str) -> AddressError:
    if error.errno == errno.EADDRINUSE:
        problem = f"is in use on {host} by another program"
        return AddressError(Argument(argument), port, problem, f"stop that, or {_FREE}")
    if error.errno == errno.EADDRNOTAVAIL:
        return AddressError(Argument("host"), host, "is not of this machine", _OWN)
    problem = f"cannot be listened on at {host} ({error.strerror})"
    return AddressError(Argument(argument), port, problem, _FREE)
