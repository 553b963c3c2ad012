"""The way out for scenes over HTTP: every connection of GDAL's is looked at before it is made.

GDAL 3.10 follows redirects and cannot be told not to, so a server that is let in could lead it to
any other: on this machine, on its network, at another port. Therefore it is given a SOCKS proxy
(RFC 1928, RFC 1929) in this process. For each connection that asks with the name of the scene's
own server, so that the proxy knows what was allowed; it resolves names itself, so that what was
looked at is what is connected to. TLS passes through it unopened.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
import struct
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote

from lanner.core.errors import SceneError
from tiling.addresses import Endpoint, HostRule, is_public, plain_host
from tiling.names import display_name
from tiling.upstream import Upstream

CONNECT_S = 15.0
SPEAK_S = 30.0
"""Until a connection is made, and until the client says its first word on it."""
REDIRECTS = "it redirects to"
PRIVATE = "it is at no public address"
"""How a refusal of a redirect begins, and that of a scene's own host."""
_CHUNK = 1 << 18
_MOST_NAME = 255
"""Bytes of a user name in RFC 1929."""
_DONE, _FORBIDDEN, _UNREACHABLE = 0, 2, 4
_TLS, _HTTP = b"\x16", (b"GET ", b"HEAD")


class _RefusedError(Exception):
    """A connection that is not made; the text says why."""

    def __init__(self, problem: str, code: int) -> None:
        super().__init__(problem)
        self.code = code


def allow_hosts(hosts: Sequence[str], *, only_public: bool = False) -> None:
    """Let scenes, and redirects, come from these hosts alone, in this whole process.

    Without a call (or with none) redirects lead to public addresses, whoever owns them.

    Args:
        hosts: those that are trusted, wherever they are.
        only_public: whether a scene's own host must have a public address, too, unless it is
            listed: where strangers name scenes, they must not reach what the machine can.

    Raises:
        ConfigError: one that is no host.
    """
    _process.rules = tuple(HostRule.of(host) for host in hosts)
    _process.only_public = only_public


def options(uri: str) -> dict[str, str]:
    """GDAL's settings for a scene at an http or https address: through the relay.

    Raises:
        SceneError: an address without a host, or this machine lends no port for the relay.
    """
    named = Endpoint.of(uri)
    user = "" if named is None else _user(named, uri)
    if named is None or len(user) > _MOST_NAME:
        raise SceneError("scene", display_name(uri), "has no host", "correct the address")
    relay = _process.relay()
    where = f"socks5h://127.0.0.1:{relay.port}"
    return {
        "GDAL_HTTP_PROXY": where,
        "GDAL_HTTPS_PROXY": where,
        # Curl decodes it: a colon would end the name.
        "GDAL_HTTP_PROXYUSERPWD": f"{quote(user, safe='')}:{relay.password}",
    }


def refusal(uri: str) -> str | None:
    """Why the last connection for a scene was not made; told once."""
    named, relay = Endpoint.of(uri), _process.running
    if named is None or relay is None:
        return None
    return relay.refusals.pop(_user(named, uri), None)


def interrupt(uri: str) -> None:
    """End all connections for a scene, and make no other until `admit`: who reads it waits no
    more, however long its server is silent.
    """
    named, relay = Endpoint.of(uri), _process.running
    if named is not None and relay is not None:
        relay.interrupt(_user(named, uri))


def admit(uri: str) -> None:
    """Make connections for a scene again."""
    named, relay = Endpoint.of(uri), _process.running
    if named is not None and relay is not None:
        relay.admit(_user(named, uri))


def _user(named: Endpoint, uri: str) -> str:
    """An endpoint, and which of its scenes is read, as a user's name."""
    which = hashlib.sha256(uri.encode()).hexdigest()[:12]
    return f"{int(named.tls)}/{named.port}/{which}/{named.host}"


def _endpoint(user: str) -> Endpoint:
    tls, port, _, host = user.split("/", 3)
    return Endpoint(host, int(port), tls == "1")


class _Process:
    """What is one for the process: the hosts that are allowed, and the relay once it runs."""

    def __init__(self) -> None:
        self.rules: tuple[HostRule, ...] = ()
        self.only_public = False
        self.running: _Relay | None = None
        self._turn = threading.Lock()

    def relay(self) -> _Relay:
        """This process's own: a forked one has none of its parent's threads."""
        with self._turn:
            if self.running is None or self.running.process != os.getpid():
                try:
                    self.running = _Relay()
                except OSError as error:
                    raise SceneError(
                        "scene",
                        "http",
                        f"no port can be had for reading remote scenes ({error.strerror})",
                        "let this program listen on 127.0.0.1",
                    ) from error
            return self.running


_process = _Process()


class _Relay:
    """A SOCKS server on the loopback for this process alone."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.password = secrets.token_hex(16)
        self.refusals: dict[str, str] = {}
        self._lock = threading.RLock()
        self._open: defaultdict[str, set[socket.socket]] = defaultdict(set)
        self._interrupted: set[str] = set()
        self._upstream = Upstream.of_environment()
        # libcurl would go around any proxy for what these list; the relay heeds them instead.
        for name in ("no_proxy", "NO_PROXY"):
            os.environ.pop(name, None)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._thread(self._accept)

    def interrupt(self, user: str) -> None:
        """End a user's connections, and make none until `admit`."""
        with self._lock:
            self._interrupted.add(user)
            for one in self._open.get(user, ()):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def admit(self, user: str) -> None:
        """Make connections for a user again."""
        with self._lock:
            self._interrupted.discard(user)

    @contextmanager
    def _interruptible(self, user: str, *sockets: socket.socket) -> Iterator[None]:
        """Within the block `interrupt` ends these.

        Raises:
            EOFError: the user is interrupted already.
        """
        with self._lock:
            if user in self._interrupted:
                raise EOFError
            self._open[user].update(sockets)
        try:
            yield
        finally:
            with self._lock:
                self._open[user].difference_update(sockets)
                if not self._open[user]:
                    del self._open[user]

    def _thread(self, work: Callable[..., None], *args: object) -> None:
        threading.Thread(target=work, args=args, name="lanner-relay", daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            self._thread(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        """One connection, from its greeting to its end."""
        with client, suppress(OSError, EOFError):
            client.settimeout(SPEAK_S)
            user = _greet(client, self.password)
            host, port = _asked(client)
            named = _endpoint(user)
            try:
                with self._interruptible(user, client):
                    server = self._connect(named, host, port)
            except _RefusedError as error:
                self.refusals[user] = str(error)
                client.sendall(_reply(error.code))
                return
            with server, self._interruptible(user, client, server):
                client.sendall(_reply(_DONE))
                first = client.recv(_CHUNK)
                if not first.startswith(_TLS) and (named.tls or not first.startswith(_HTTP)):
                    if first:
                        self.refusals[user] = f"{REDIRECTS} {host} without TLS"
                    return
                server.sendall(first)
                for one in (client, server):
                    one.settimeout(None)
                self._thread(_pump, server, client)
                _pump(client, server)

    def _connect(self, named: Endpoint, host: str, port: int) -> socket.socket:
        """A connection to where it may go.

        Raises:
            _RefusedError: it may not, or there is none.
        """
        own = _is_own(named, host, port)
        listed = any(rule.admits(host, port) for rule in _process.rules)
        if _process.rules and not own and not listed:
            raise _RefusedError(
                f"{REDIRECTS} {host}:{port}, which is none of the hosts that are allowed",
                _FORBIDDEN,
            )
        allowed = listed or (own and not _process.only_public)
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            found = []  # a proxy may know it
        places = [ip_address(str(address[0]).partition("%")[0]) for *_, address in found]
        if not allowed and not all(is_public(place) for place in places):
            led = f"{REDIRECTS} {host}:{port}, which is no public address"
            raise _RefusedError(PRIVATE if own else led, _FORBIDDEN)
        proxy = self._upstream.proxy_for(host, named.tls)
        try:
            if proxy is not None:
                return proxy.tunnel(host, port, CONNECT_S)
            return _first_of(found)
        except OSError as error:
            problem = error.strerror or str(error)
            raise _RefusedError(
                f"{host}:{port} cannot be reached ({problem})", _UNREACHABLE
            ) from error


def _first_of(found: list[Any]) -> socket.socket:
    """A connection to the first that answers of what a name was resolved to.

    Raises:
        OSError: none does.
    """
    problem = OSError("no such host")
    for family, kind, protocol, _, address in found:
        sock = socket.socket(family, kind, protocol)
        sock.settimeout(CONNECT_S)
        try:
            sock.connect(address)
        except OSError as error:
            sock.close()
            problem = error
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
    raise problem


def _is_own(named: Endpoint, host: str, port: int) -> bool:
    """Whether a connection leads to the scene's own server, or to TLS on it."""
    if host != named.host:
        return False
    return port == named.port or (not named.tls and (named.port, port) == (80, 443))


def _greet(client: socket.socket, password: str) -> str:
    """The user's name, from a client that knows the password.

    Raises:
        EOFError: it does not, or speaks something else.
    """
    version, count = _exactly(client, 2)
    methods = _exactly(client, count)
    if version != 5 or 2 not in methods:
        raise EOFError
    client.sendall(b"\x05\x02")
    _, length = _exactly(client, 2)
    user = _exactly(client, length)
    (length,) = _exactly(client, 1)
    given = _exactly(client, length)
    if not secrets.compare_digest(given, password.encode()):
        client.sendall(b"\x01\x01")
        raise EOFError
    client.sendall(b"\x01\x00")
    return user.decode()


def _asked(client: socket.socket) -> tuple[str, int]:
    """The host and port that a client wants to be connected to.

    Raises:
        EOFError: it wants something else.
    """
    version, command, _, kind = _exactly(client, 4)
    if version != 5 or command != 1 or kind not in (1, 3, 4):
        raise EOFError
    if kind == 3:
        (length,) = _exactly(client, 1)
        host = plain_host(_exactly(client, length).decode("ascii", "replace"))
    else:
        host = ip_address(_exactly(client, 4 if kind == 1 else 16)).compressed
    (port,) = struct.unpack(">H", _exactly(client, 2))
    return host, port


def _exactly(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = client.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def _reply(code: int) -> bytes:
    return bytes([5, code, 0, 1]) + bytes(6)


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Bytes from one to the other until its end."""
    buffer = memoryview(bytearray(_CHUNK))
    with suppress(OSError):
        while count := source.recv_into(buffer):
            target.sendall(buffer[:count])
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
