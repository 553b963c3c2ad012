"""A server as a process of its own: starting, being asked how it is, and stopping."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

import lanner
from lanner.core.errors import (
    AddressError,
    AuthenticationError,
    ConfigError,
    SceneError,
    ServerError,
)
from lanner.core.job import Cancel, DetectRequest, DetectResult, Progress
from lanner.core.offers import DetectorOffer
from server.options import ServeOptions
from server.run import start
from server.services import SERVICE
from server.work import Work

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import sys, time
from pathlib import Path
from lanner.core.job import DetectResult, Progress
from lanner.core.offers import DetectorOffer
from server.options import ServeOptions
from server.process import serve
from server.work import Work

def detect(request, cancel, progress):
    progress(Progress("tiles", 0, 1))
    end = time.monotonic() + {"short": 2.0, "long": 60.0, "deaf": 4.0}[request.detector]
    while time.monotonic() < end:
        if request.detector != "deaf":
            cancel.check()
        time.sleep(0.02)
    return DetectResult(("{}",), {"n": 1}, None)

names = ("short", "long", "deaf")
offers = [DetectorOffer(n, "1", "", (), "raster", 1, (1, 1), (), (), ()) for n in names]
finished = serve(
    Work(detect, lambda: offers),
    ServeOptions(sys.argv[3], 0, roots=(Path(sys.argv[1]),), grace_s=float(sys.argv[2])),
    ready=lambda running: print(running.address, flush=True),
)
print("finished" if finished else "cut short", flush=True)
"""
Begin = Callable[..., tuple[subprocess.Popen[str], str]]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    processes: list[subprocess.Popen[str]] = []
    (tmp_path / "a.tif").write_bytes(b"x")

    def one(grace: float = 5, host: str = "127.0.0.1") -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path), str(grace), host],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        processes.append(process)
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address
        return process, address

    yield one
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as one:
        yield one


def running(client: lanner.Client, detector: str, pool: ThreadPoolExecutor):
    """A detection that has begun."""
    begun = threading.Event()
    future = pool.submit(client.detect, "a.tif", detector, on_progress=lambda _: begun.set())
    assert begun.wait(10)
    return future


def logged(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def until(process: subprocess.Popen[str], event: str) -> list[dict[str, object]]:
    """What the process logs up to `event`."""
    assert process.stderr is not None
    lines: list[dict[str, object]] = []
    while not lines or lines[-1]["event"] != event:
        line = process.stderr.readline()
        assert line, f"ended before {event}"
        lines += logged(line)
    return lines


def offer(name: str) -> DetectorOffer:
    return DetectorOffer(name, "1", "", (), "raster", 1, (1, 1), (), (), ())


def nothing(
    request: DetectRequest, cancel: Cancel, progress: Callable[[Progress], None]
) -> DetectResult:
    return DetectResult((), {}, None)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_work_finish_and_refuses_new(begin, pool, number):
    process, address = begin()
    with lanner.Client(address) as client, lanner.Client(address) as late:
        future = running(client, "short", pool)
        process.send_signal(number)
        first = until(process, "stopping")
        with pytest.raises(ServerError, match="lanner serve"):
            for _ in range(20):  # the line is written just before the door is shut
                late.detectors()
                time.sleep(0.05)
        assert not future.done()
        assert future.result(5).features == ("{}",)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (0, "finished\n")
    lines = [line for line in first + logged(err) if line.get("method") != "ListDetectors"]
    assert [one["event"] for one in lines] == ["listening", "stopping", "rpc", "stopped"]
    assert all(one["time"].endswith("Z") and one["level"] == "info" for one in lines)
    assert lines[2]["code"] == "OK"


def test_what_outlasts_the_grace_is_stopped_and_told_why(begin, pool):
    process, address = begin(grace=0.5)
    with lanner.Client(address) as client:
        future = running(client, "long", pool)
        started = time.monotonic()
        process.terminate()
        with pytest.raises(ServerError, match="shuts down"):
            future.result(5)
        out, _ = process.communicate(timeout=10)
    assert out == "cut short\n"
    assert 0.4 < time.monotonic() - started < 6


def test_what_is_deaf_to_its_cancel_does_not_hold_its_caller(begin, pool):
    process, address = begin(grace=0.2)
    with lanner.Client(address) as client:
        future = running(client, "deaf", pool)
        process.terminate()
        with pytest.raises(ServerError, match="went away"):
            future.result(3.5)
    assert process.wait(10) == 0


def test_a_second_signal_ends_the_process(begin, pool):
    process, address = begin(grace=30)
    with lanner.Client(address) as client:
        future = running(client, "long", pool)
        process.terminate()
        until(process, "stopping")
        assert process.poll() is None
        process.terminate()
        assert process.wait(2) == -signal.SIGTERM
        with pytest.raises(ServerError, match="went away"):
            future.result(5)


def test_a_killed_server_is_said_to_have_gone_and_is_found_again(begin, pool):
    process, address = begin()
    with lanner.Client(address) as client:
        future = running(client, "long", pool)
        process.kill()
        with pytest.raises(ServerError, match=r"went away.*send the request again"):
            future.result(5)


def test_a_server_that_falls_silent_is_given_up(begin, pool):
    process, address = begin()
    with lanner.Client(address, keepalive_s=1) as client:
        future = running(client, "long", pool)
        os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(ServerError, match="went away"):
            future.result(8)


def test_beyond_loopback_nobody_is_let_in_without_a_token_and_no_tls_is_warned_of(begin):
    process, address = begin(host="0.0.0.0")
    with (
        lanner.Client(address.replace("0.0.0.0", "127.0.0.1")) as client,
        pytest.raises(AuthenticationError),
    ):
        client.detectors()
    process.terminate()
    _, err = process.communicate(timeout=10)
    assert [(one["event"], one["level"]) for one in logged(err)][:2] == [
        ("listening", "info"),
        ("unencrypted", "warning"),
    ]


def test_nobody_there_is_said_with_the_address_and_what_to_do(tmp_path):
    server = start(Work(nothing, lambda: []), ServeOptions(port=0, roots=(tmp_path,)))
    server.stop(0)
    with lanner.Client(server.address) as client:
        for ask in (client.detectors, lambda: client.detect("a.tif", "x")):
            with pytest.raises(ServerError, match="start it with `lanner serve`") as caught:
                ask()
            assert caught.value.value == server.address


def test_a_client_finds_a_server_that_came_back(tmp_path):
    options = ServeOptions(port=0, roots=(tmp_path,))
    server = start(Work(nothing, lambda: [offer("a")]), options)
    with lanner.Client(server.address) as client:
        assert [one.name for one in client.detectors()] == ["a"]
        server.stop(0)
        with pytest.raises(ServerError):
            client.detectors()
        port = int(server.address.rsplit(":", 1)[1])
        again = start(
            Work(nothing, lambda: [offer("b")]), ServeOptions(port=port, roots=(tmp_path,))
        )
        deadline = time.monotonic() + 10
        while True:
            try:
                assert [one.name for one in client.detectors()] == ["b"]
                break
            except ServerError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        again.stop(0)


def test_health_and_reflection(tmp_path):
    server = start(Work(nothing, lambda: []), ServeOptions(port=0, roots=(tmp_path,)))
    with grpc.insecure_channel(server.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", SERVICE):
            answer = health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as caught:
            health.Check(health_pb2.HealthCheckRequest(service="other"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert set(ProtoReflectionDescriptorDatabase(channel).get_services()) == {
            "lanner.v1.DetectionService",
            "lanner.v1.UploadService",
            "google.longrunning.Operations",
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
        }
        watch = health.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        started = time.monotonic()
        assert server.stop(5)
        assert time.monotonic() - started < 2  # a watcher is not waited for
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING


def test_a_closed_client_says_so(tmp_path):
    server = start(Work(nothing, lambda: []), ServeOptions(port=0, roots=(tmp_path,)))
    with lanner.Client(server.address) as client:
        assert client.detectors() == ()
    for ask in (client.detectors, lambda: client.detect("a.tif", "x")):
        with pytest.raises(ServerError, match="is closed"):
            ask()
    client.close()
    server.stop(0)


def test_a_server_of_another_kind_is_told_apart(tmp_path):
    other = grpc.server(ThreadPoolExecutor(1))
    port = other.add_insecure_port("127.0.0.1:0")
    other.start()
    with (
        lanner.Client(f"127.0.0.1:{port}") as client,
        pytest.raises(ServerError, match="does not speak lanner"),
    ):
        client.detectors()
    other.stop(0).wait()


def test_a_taken_port_and_a_root_that_is_none_are_refused(tmp_path):
    server = start(Work(nothing, lambda: []), ServeOptions(port=0, roots=(tmp_path,)))
    port = int(server.address.rsplit(":", 1)[1])
    with pytest.raises(AddressError, match="is in use on") as caught:
        start(Work(nothing, lambda: []), ServeOptions(port=port, roots=(tmp_path,)))
    assert (caught.value.argument, caught.value.value) == ("port", port)
    server.stop(0)
    start(Work(nothing, lambda: []), ServeOptions(port=port, roots=(tmp_path,))).stop(0)
    with pytest.raises(ConfigError, match=r"^roots"):
        start(Work(nothing, lambda: []), ServeOptions(port=0, roots=(tmp_path / "none",)))


def test_an_address_of_another_machine_is_not_blamed_on_the_port(tmp_path):
    options = ServeOptions(host="203.0.113.9", port=0, roots=(tmp_path,))  # RFC 5737: nobody's
    with pytest.raises(AddressError, match="is not of this machine") as caught:
        start(Work(nothing, lambda: []), options)
    assert (caught.value.argument, caught.value.value) == ("host", "203.0.113.9")


def test_the_current_folder_is_the_root_unless_told_otherwise(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ServeOptions().roots == (tmp_path,)


@pytest.mark.parametrize(
    ("auto", "asked", "given"),
    [
        (lambda: "cuda", "auto", "cuda:0"),
        (lambda: "cpu", "auto", "cpu"),
        ("cpu", "auto", "cpu"),
        ("cpu", "cuda:1", "cuda:1"),
        ("cuda", "auto", "cuda:0"),
        ("cuda:1", "cuda", "cuda:0"),
        ("auto", "auto", "auto"),
    ],
)
def test_a_request_for_auto_computes_on_the_servers_device(tmp_path, auto, asked, given):
    """And each device has one name, so that its networks are loaded once."""
    (tmp_path / "a.tif").write_bytes(b"x")
    devices: list[str] = []

    def remember(
        request: DetectRequest, cancel: Cancel, progress: Callable[[Progress], None]
    ) -> DetectResult:
        devices.append(request.device)
        return nothing(request, cancel, progress)

    options = ServeOptions(port=0, roots=(tmp_path,), auto_device=auto)
    server = start(Work(remember, lambda: [offer("a")]), options)
    with lanner.Client(server.address) as client:
        client.detect("a.tif", "a", device=asked)
    server.stop(0)
    assert devices == [given]


def test_a_request_above_the_limit_is_not_one_to_send_again(tmp_path):
    server = start(Work(nothing, lambda: []), ServeOptions(port=0, roots=(tmp_path,)))
    with lanner.Client(server.address) as client, pytest.raises(ConfigError, match="is larger"):
        client.detect("x" * (5 << 20), "a")
    server.stop(0)


def test_a_long_name_is_cut_in_the_log_and_in_the_error(tmp_path, caplog):
    server = start(Work(nothing, lambda: [offer("a")]), ServeOptions(port=0, roots=(tmp_path,)))
    with caplog.at_level(logging.INFO, "lanner.server"):
        with lanner.Client(server.address) as client, pytest.raises(SceneError) as caught:
            client.detect("x" * (3 << 20), "a")
        server.stop(0)
    assert len(str(caught.value)) < 1000
    assert len(caplog.records[0].fields["scene"]) == 500


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
def test_tls(tmp_path):
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-keyout",
            "key",
            "-out",
            "crt",
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    key, certificate = ((tmp_path / name).read_bytes() for name in ("key", "crt"))
    options = ServeOptions(
        port=0, roots=(tmp_path,), credentials=grpc.ssl_server_credentials([(key, certificate)])
    )
    server = start(Work(nothing, lambda: [offer("a")]), options)
    address = server.address.replace("127.0.0.1", "localhost")
    with lanner.Client(address, credentials=grpc.ssl_channel_credentials(certificate)) as client:
        assert [one.name for one in client.detectors()] == ["a"]
    with lanner.Client(address) as client, pytest.raises(ServerError):
        client.detectors()
    server.stop(0)
