"""The proxy that the environment names for leaving this network."""

from __future__ import annotations

import os
import socket
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]  # missing in typeshed

from lanner.core.errors import ConfigError

_MOST = 1 << 16
"""Bytes of a proxy's answer before its tunnel."""


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy that makes tunnels (RFC 9110, CONNECT)."""

    host: str
    port: int
    login: str | None

    @classmethod
    def of(cls, text: str | None, login: str | None = None) -> Proxy | None:
        """From `http://user:password@host:port` or `host:port`; None from nothing.

        Raises:
            ConfigError: another kind of proxy.
        """
        if not text:
            return None
        parts = urlsplit(text if "://" in text else f"http://{text}")
        if parts.scheme.lower() != "http" or not parts.hostname:
            raise ConfigError(
                "proxy",
                f"{parts.scheme}://{parts.hostname}",
                "is no HTTP proxy",
                "set http_proxy and https_proxy to one such as http://proxy.example.org:3128",
            )
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return cls(parts.hostname, parts.port or 80, login)

    def tunnel(self, host: str, port: int, seconds: float) -> socket.socket:
        """A connection through it.

        Raises:
            OSError: it cannot be reached or does not make one.
        """
        sock = socket.create_connection((self.host, self.port), seconds)
        try:
            name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            lines = [f"CONNECT {name} HTTP/1.1", f"Host: {name}"]
            if self.login is not None:
                lines.append(
                    "Proxy-Authorization: Basic " + b64encode(self.login.encode()).decode()
                )
            sock.sendall("\r\n".join([*lines, "", ""]).encode())
            answer = b""
            while b"\r\n\r\n" not in answer:
                more = sock.recv(1)  # what comes after is the tunnel's
                if not more or len(answer) > _MOST:
                    raise OSError(f"proxy {self.host} broke off")
                answer += more
            status = answer.split(b" ", 2)[1:2]
            if status != [b"200"]:
                status_line = answer.partition(b"\r\n")[0].decode("latin-1")
                raise OSError(f"proxy {self.host} says {status_line}")
        except OSError:
            sock.close()
            raise
        return sock


@dataclass(frozen=True)
class Upstream:
    """What the environment said when the process began to read remote scenes."""

    plain: Proxy | None
    secure: Proxy | None
    around: Mapping[str, str]

    @classmethod
    def of_environment(cls) -> Upstream:
        """From GDAL's own variables and the usual ones.

        Raises:
            ConfigError: a proxy that is none of HTTP.
        """
        usual = getproxies_environment()
        login = os.environ.get("GDAL_HTTP_PROXYUSERPWD")
        own = os.environ.get("GDAL_HTTP_PROXY")
        plain = own or usual.get("http") or usual.get("all")
        secure = os.environ.get("GDAL_HTTPS_PROXY") or own or usual.get("https") or usual.get("all")
        return cls(Proxy.of(plain, login), Proxy.of(secure, login), usual)

    def proxy_for(self, host: str, tls: bool) -> Proxy | None:
        """The proxy to a host; None where it is reached straight."""
        if self.around.get("no") and proxy_bypass_environment(host, dict(self.around)):
            return None
        return self.secure if tls else self.plain
