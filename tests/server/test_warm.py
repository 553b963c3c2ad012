"""A server is open while it makes ready, says when it is, and stops promptly meanwhile."""

import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import lanner
from lanner.core.errors import TABLE, ServerError, WeightsError
from lanner.core.job import Cancel, DetectRequest, DetectResult, Progress
from lanner.core.offers import DetectorOffer
from lanner.inference.pipeline import detect_with
from lanner.inference.registry import LoadedDetector, find, load
from lanner.inference.rehearsal import Rehearsal, _crossing
from lanner.inference.warm import SIDE, _write, warm
from server.options import ServeOptions
from server.run import start
from server.services import SERVICE
from server.work import Work

ROOT = Path(__file__).resolve().parents[2]
NO, YES = health_pb2.HealthCheckResponse.NOT_SERVING, health_pb2.HealthCheckResponse.SERVING
SCRIPT = """
import sys, time
from pathlib import Path
from lanner.core.errors import WeightsError
from lanner.core.job import DetectResult
from server.options import ServeOptions
from server.process import serve
from server.work import Work

def prepare(cancel):
    if sys.argv[2] == "fail":
        time.sleep(0.5)
        raise WeightsError("weights", "x", "are missing", "fetch them")
    while True:
        cancel.check()
        time.sleep(0.02)

try:
    finished = serve(
        Work(lambda *_: DetectResult((), {}, None), lambda: []),
        ServeOptions(port=0, roots=(Path(sys.argv[1]),)),
        ready=lambda running: print(running.address, flush=True),
        prepare=prepare,
    )
    print("finished" if finished else "cut short", flush=True)
except WeightsError as error:
    print(error, flush=True)
"""


def health(address: str) -> list[int]:
    with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return [
            stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=60).status
            for name in ("", SERVICE)
        ]


def nothing(
    request: DetectRequest, cancel: Cancel, progress: Callable[[Progress], None]
) -> DetectResult:
    return DetectResult((), {}, None)


def test_requests_are_answered_while_health_says_not_yet(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"x")
    offer = DetectorOffer("a", "1", "", (), "raster", 1, (1, 1), (), (), ())
    options = ServeOptions(port=0, roots=(tmp_path,))
    server = start(Work(nothing, lambda: [offer]), options, prepared=False)
    with lanner.Client(server.address) as client:
        assert health(server.address) == [NO, NO]
        assert client.detect("a.tif", "a").features == ()
        server.prepared()
        assert health(server.address) == [YES, YES]
        server.stop(0)
        server.prepared()  # late, when it has stopped: harmless
        with pytest.raises(ServerError):
            client.detectors()


@contextmanager
def process(*words: object, **variables: str) -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen(
        [sys.executable, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables},
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_preparation(tmp_path, number):
    with process("-c", SCRIPT, tmp_path, "wait") as server:
        address = server.stdout.readline().strip()
        assert health(address) == [NO, NO]
        since = time.monotonic()
        server.send_signal(number)
        out, _ = server.communicate(timeout=60)
        assert (server.returncode, out) == (0, "finished\n")
        assert time.monotonic() - since < 5


def test_a_preparation_that_fails_ends_the_server_with_its_error(tmp_path):
    with process("-c", SCRIPT, tmp_path, "fail") as server:
        assert server.stdout.readline().strip()
        out, _ = server.communicate(timeout=60)
        assert out == "weights 'x': are missing; fetch them\n"


@contextmanager
def serving(home: Path, *words: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`lanner serve`, and its address as soon as it is open."""
    with process("-m", "lanner", "serve", "--port", 0, *words, LANNER_HOME=str(home)) as server:
        for line in server.stderr:
            if match := re.match(r"serving on (\S+)$", line):
                yield server, match[1]
                return
        pytest.fail("it never served")


def until_warm(server: subprocess.Popen[str]) -> list[str]:
    """What it says up to the line that tells of health."""
    lines: list[str] = []
    while not lines or '"event": "prepared"' not in lines[-1]:
        line = server.stderr.readline()
        assert line, lines
        lines.append(line)
    return lines


def test_the_port_is_open_before_anything_is_loaded(tiny_home, tmp_path, pictures):
    pictures.write_tif(tmp_path / "town.tif", pictures.texture(60, 60))
    words = ("--root", tmp_path, "--device", "cpu", "--warm", "tiny", "--warm", "tinyroads")
    with serving(tiny_home, *words) as (server, address), lanner.Client(address) as client:
        assert health(address) == [NO, NO]
        assert [one.name for one in client.detectors()] == ["tiny", "tinyroads"]
        meanwhile = client.detect("town.tif", "tiny", device="cpu")
        lines = until_warm(server)
        assert [line.split()[0] for line in lines if " is warm (" in line] == ["tiny", "tinyroads"]
        assert health(address) == [YES, YES]
        for device in ("auto", "cpu"):
            assert client.detect("town.tif", "tiny", device=device).features == meanwhile.features
        server.send_signal(signal.SIGTERM)
        server.stderr.read()
        assert server.wait(60) == 0


def test_sigterm_while_a_detector_is_warmed(tiny_home, tmp_path):
    with serving(tiny_home, "--root", tmp_path, "--warm", "tiny") as (server, address):
        assert health(address) == [NO, NO]
        server.send_signal(signal.SIGTERM)
        log = server.stderr.read()
        assert server.wait(60) == 0
        assert "Traceback" not in log
        assert '"event": "stopped"' in log


def test_weights_that_are_missing_are_told_and_end_the_server(tiny_home, tmp_path):
    home = tmp_path / "home"
    shutil.copytree(tiny_home, home)
    next((home / "weights" / "tiny").rglob("boxes.safetensors")).unlink()
    with serving(home, "--root", tmp_path, "--warm", "tiny") as (server, _):
        log = server.stderr.read()
        assert server.wait(60) == TABLE[WeightsError].exit
        assert "boxes.safetensors" in log.splitlines()[-1]


def test_the_first_request_after_warming_costs_what_the_next_one_does(
    tiny_home, tmp_path, pictures
):
    pictures.write_tif(tmp_path / "town.tif", pictures.texture(150, 150))
    for detector in ("tiny", "tinyroads"):
        words = ("--root", tmp_path, "--device", "cpu", "--warm", detector)
        with serving(tiny_home, *words) as (server, address), lanner.Client(address) as client:
            until_warm(server)
            seconds = []
            for _ in range(4):
                since = time.monotonic()
                client.detect("town.tif", detector)
                seconds.append(time.monotonic() - since)
        # Unwarmed the first one imports and loads, which takes some fifty times as long.
        assert seconds[0] < 4 * statistics.median(seconds[1:]) + 0.5, (detector, seconds)


def test_a_rehearsal_finds_something_on_bare_ground_for_the_chain_to_work_on(at_home, tmp_path):
    scene = str(tmp_path / "grey.tif")
    asked = DetectRequest(scene, "tiny", 1.0, "cpu")
    entry = find("tiny")
    _write(scene, entry.config, SIDE)
    loaded = load(entry, asked)
    played = LoadedDetector(Rehearsal(loaded.predictor), loaded.weights_sha256, loaded.files)
    found = detect_with(entry.config, lambda: played, asked, Cancel(), lambda _: None)
    assert found.summary["objects"] == 1
    # What it borrowed the networks of sees what it saw before.
    before = detect_with(entry.config, lambda: loaded, asked, Cancel(), lambda _: None)
    warm("tiny", "cpu")
    after = detect_with(entry.config, lambda: loaded, asked, Cancel(), lambda _: None)
    assert list(after.features) == list(before.features)


def test_the_made_up_crossing_is_in_every_channel():
    crossing = _crossing(3, 64)
    assert crossing.shape == (3, 64, 64)
    assert (crossing[:, 32, :] > 0.9).all() and (crossing[:, :, 32] > 0.9).all()
    assert (crossing[:, 5, 5] < 0.1).all()
