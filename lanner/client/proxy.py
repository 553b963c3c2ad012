"""The HTTP proxy that gRPC goes through to a server, which the environment names."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")
_EXCEPTIONS = ("no_grpc_proxy", "no_proxy")
# In the order that gRPC reads them: the first that is set counts, and turns proxies off where it
# is empty. It knows no other names, and no proxies but those of http:// addresses.
# https://github.com/grpc/grpc/blob/master/doc/environment_variables.md


@dataclass(frozen=True)
class Proxy:
    """The variable that names a proxy, and its host:port without user and password."""

    variable: str
    address: str


def is_loopback(target: str) -> bool:
    """Whether a gRPC target is this machine itself."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    host = _host(target)
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def proxy_of(target: str, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy that gRPC goes through to a target that is not this machine; None for none.

    Args:
        target: of gRPC, such as host:port.
        environment: variables by name.
    """
    named = next((name for name in _PROXIES if name in environment), "")
    kind, _, rest = environment.get(named, "").partition("://")
    address = re.split(r"[/?#]", rest)[0].rpartition("@")[2]
    if kind.lower() != "http" or not address or is_loopback(target):
        return None
    host = _host(target)
    kept = next((environment[name] for name in _EXCEPTIONS if name in environment), "")
    for one in filter(None, (part.strip().lower() for part in kept.split(","))):
        if host.endswith(one) or _within(host, one):
            return None
    return Proxy(named, address)


def _within(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _host(target: str) -> str:
    """The host of a target: scheme:///host:port, scheme:host:port, [host]:port or host:port."""
    rest = re.sub(r"^(dns|ipv4|ipv6|passthrough):(//[^/]*/)?", "", target, flags=re.IGNORECASE)
    if rest.startswith("["):
        return rest[1:].partition("]")[0].lower()
    return (rest if rest.count(":") > 1 else rest.partition(":")[0]).lower()
