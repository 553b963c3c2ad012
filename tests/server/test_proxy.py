"""A client behind an HTTP proxy: this machine directly, others by the proxy, failures named."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lanner.core.errors import TABLE, ServerError
from lanner.core.job import DetectResult
from lanner.core.offers import DetectorOffer
from server.options import ServeOptions
from server.run import RunningServer, start
from server.work import Work

ROOT = Path(__file__).resolve().parents[2]
# The environment is read when gRPC connects, so each client is a process of its own.
CHILD = """
import sys, lanner
from lanner.core.errors import LannerError
with lanner.Client(sys.argv[1], timeout=30) as client:
    try:
        print(*(one.name for one in client.detectors()))
    except LannerError as error:
        print(type(error).__name__, error)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    offer = DetectorOffer("a", "1", "", (), "raster", 1, (1, 1), (), (), ())
    roots = (tmp_path_factory.mktemp("scenes"),)
    running = start(
        Work(lambda *_: DetectResult((), {}, None), lambda: [offer]),
        ServeOptions(port=0, roots=roots),
    )
    yield running
    running.stop(0)


class Proxy:
    """An HTTP proxy on loopback that connects every CONNECT to one address."""

    def __init__(self, behind: str) -> None:
        host, port = behind.rsplit(":", 1)
        self.behind = (host, int(port))
        self.asked: list[str] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:  # closed at the end of the test
                return
            head = b""
            while b"\r\n\r\n" not in head:
                head += near.recv(1000)
            self.asked.append(head.split()[1].decode())
            far = socket.create_connection(self.behind)
            near.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            for pair in ((near, far), (far, near)):
                threading.Thread(target=_pass_on, args=pair, daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:  # either side has gone
        return


@pytest.fixture
def proxy(server: RunningServer) -> Iterator[Proxy]:
    one = Proxy(server.address)
    yield one
    one.listener.close()


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def asked(address: str, **variables: str) -> str:
    names = ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy")
    clean = {name: value for name, value in os.environ.items() if name.lower() not in names}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, address],
        env={**clean, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.strip()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_server_on_this_machine_is_found_past_any_proxy(server, proxy, host):
    address = server.address.replace("127.0.0.1", host)
    assert asked(address, http_proxy=f"http://{proxy.address}") == "a"
    assert asked(address, https_proxy=f"http://127.0.0.1:{closed_port()}") == "a"
    assert proxy.asked == []


def test_another_machine_is_reached_by_the_proxy(proxy):
    assert asked("gpu.invalid:50051", http_proxy=f"http://{proxy.address}") == "a"
    assert proxy.asked == ["gpu.invalid:50051"]


def test_a_proxy_that_fails_is_named_without_its_password():
    address = f"127.0.0.1:{closed_port()}"
    message = asked("gpu.invalid:50051", http_proxy=f"http://me:secret@{address}")
    assert message.startswith("ServerError ")
    assert "gpu.invalid:50051" in message
    assert f"proxy {address} that http_proxy names" in message
    assert "no_proxy" in message
    assert "secret" not in message
    assert TABLE[ServerError].grpc == "UNAVAILABLE"


def test_a_server_that_is_not_there_is_not_blamed_on_the_proxy():
    message = asked(f"127.0.0.1:{closed_port()}", http_proxy="http://127.0.0.1:9")
    assert "start it with `lanner serve`" in message
    assert "proxy" not in message
