"""Which machines a scene may be fetched from, and which a redirect may lead to."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from lanner.core.errors import ConfigError

_PORTS = {"http": 80, "https": 443}
_NUMERIC = frozenset("0123456789abcdefx.")

IP = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Endpoint:
    """A machine and a port of it, and whether TLS is spoken there.

    Attributes:
        host: name or IP address as it is written in packets: small letters, no brackets.
        port: TCP port.
        tls: whether the address was https.
    """

    host: str
    port: int
    tls: bool

    @classmethod
    def of(cls, url: str) -> Endpoint | None:
        """The endpoint of an http or https URL; None for what is none."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            return None
        scheme = parts.scheme.lower()
        if not host or scheme not in _PORTS:
            return None
        return cls(plain_host(host), port or _PORTS[scheme], scheme == "https")


@dataclass(frozen=True)
class HostRule:
    """One host that scenes may be fetched from: `host`, `host:port` or `*.domain`."""

    host: str
    port: int | None

    @classmethod
    def of(cls, text: str) -> HostRule:
        """Understand a rule.

        Raises:
            ConfigError: it is none.
        """
        try:
            parts = urlsplit("//" + text.strip())
            host, port = parts.hostname or "", parts.port
        except ValueError:
            host, port = "", None
        odd = parts.path or parts.query or parts.username if host else True
        if odd or "*" in host.removeprefix("*."):
            raise ConfigError(
                "remote host",
                text,
                "is no host",
                "give a name such as data.example.org, data.example.org:8080 or *.example.org",
            )
        return cls(plain_host(host), port)

    def admits(self, host: str, port: int) -> bool:
        """Whether a host and port are meant."""
        if self.port is not None and port != self.port:
            return False
        return host.endswith(self.host[1:]) if self.host.startswith("*.") else host == self.host


def plain_host(host: str) -> str:
    """One spelling of a host: 127.1 is 127.0.0.1, and names are as DNS has them."""
    host = host.lower().rstrip(".")
    try:
        return ipaddress.ip_address(host).compressed
    except ValueError:
        pass
    try:
        if set(host) <= _NUMERIC:
            return socket.inet_ntoa(socket.inet_aton(host))
        return host.encode("idna").decode()
    except (OSError, UnicodeError):
        return host


def is_public(address: IP) -> bool:
    """Whether an IP address is one of the open internet: not of this machine or its networks.

    An IPv6 address that stands for an IPv4 one counts as that.
    """
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is None and any(address in net for net in _TRANSLATED):
            inner = ipaddress.IPv4Address(address.packed[-4:])
        if inner is not None:
            return is_public(inner)
        if address not in _UNICAST:
            return False
    return address.is_global and not address.is_multicast


_UNICAST = ipaddress.IPv6Network("2000::/3")
_TRANSLATED = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
