"""What may happen to a server that runs for a year; `make accept` brings all of it."""

import os
import random
import signal
import sys
import threading
import time
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

import lanner
from lanner.core.errors import LannerError, OutputError
from tests.fixtures_bright import bright_server, write_squares
from tests.fixtures_damage import write_damaged

FULL = bool(os.environ.get("LANNER_FULL"))

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="counts on signals and limits of Linux"
)


@pytest.fixture
def scenes(tmp_path):
    folder = tmp_path / "scenes"
    folder.mkdir()
    write_squares(folder / "town.tif", 640)
    return folder


def undisturbed(scenes, folder, name="town.tif"):
    """Bytes of a scene's GeoJSON by a server that nothing happens to."""
    with (
        bright_server(scenes, folder / "calm") as (_, address),
        lanner.Client(address) as client,
    ):
        operation = client.submit(name, "bright")
        operation.wait(60)
        return operation.save(folder / "calm.geojson").read_bytes()


def test_a_server_that_is_killed_again_and_again_gives_the_same_bytes(scenes, tmp_path):
    expected = undisturbed(scenes, tmp_path)
    kills, chance = (20 if FULL else 3), random.Random(4)
    data, names = tmp_path / "data", []
    environment = {"TILE_S": "0.05"}
    for number in range(kills):
        # Every fourth server kills itself in the reaper, before its transaction is whole.
        marked = {"KILLED_IN_REAPER": "1"} if number % 4 == 2 else {}
        with bright_server(scenes, data, {**environment, **marked}) as (process, address):
            with lanner.Client(address) as client:
                names.append(client.submit("town.tif", "bright").name)
                time.sleep(chance.uniform(0, 2.5))
            process.send_signal(signal.SIGKILL)
    with bright_server(scenes, data) as (_, address), lanner.Client(address) as client:
        for name in names:
            operation = client.operation(name)
            operation.wait(60)
            assert operation.state == "succeeded", operation
            path = operation.save(tmp_path / "again.geojson")
            assert path.read_bytes() == expected
        assert len(list(client.operations())) == kills
    # Of every job its result is left, and nothing else.
    folders = sorted((data / "jobs").iterdir())
    assert [len(list(one.iterdir())) for one in folders] == [1] * kills


def test_a_signal_gives_the_work_back_where_it_stood(scenes, tmp_path):
    expected = undisturbed(scenes, tmp_path)
    data, log = tmp_path / "data", tmp_path / "log"
    slow = {"TILE_S": "0.15", "WORK_LOG": str(log)}
    with bright_server(scenes, data, slow) as (process, address):
        with lanner.Client(address) as client:
            operation = client.submit("town.tif", "bright")
            until(lambda: operation.refresh().progress.done >= 10)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    before = log.read_text().count("device")
    with (
        bright_server(scenes, data, {"WORK_LOG": str(log)}) as (_, address),
        lanner.Client(address) as client,
    ):
        again = client.operation(operation.name)
        again.wait(60)
        assert again.save(tmp_path / "again.geojson").read_bytes() == expected
    # Two workers are each at one tile whose result the ledger does not hold yet.
    tiles = 100
    assert before >= 10
    assert tiles <= log.read_text().count("device") <= tiles + 6


def test_a_full_disk_fails_the_job_and_not_the_server(scenes, tmp_path):
    write_squares(scenes / "city.tif", 1600)
    count = write_squares(scenes / "town.tif", 640)
    data = tmp_path / "data"
    limit = {"LARGEST_FILE": "3000000"}
    with bright_server(scenes, data, limit) as (process, address), lanner.Client(address) as client:
        with pytest.raises(OutputError):
            client.submit("city.tif", "bright").result(60)
        assert len(client.submit("town.tif", "bright").result(60).features) == count
        assert process.poll() is None
    with bright_server(scenes, data) as (_, address), lanner.Client(address) as client:
        assert client.submit("city.tif", "bright").result(60).features


def test_damaged_blocks_make_a_partial_result_that_says_so(scenes, tmp_path):
    whole = write_squares(scenes / "whole.tif", 640)
    assert write_squares(scenes / "part.tif", 640, [(4, 4)]) == whole
    with (
        bright_server(scenes, tmp_path / "data", http_port=0) as (_, address),
        lanner.Client(address) as client,
    ):
        every, some = (
            client.submit(name, "bright").result(60) for name in ("whole.tif", "part.tif")
        )
        assert every.summary["unread"] == []
        assert some.summary["unread"] == [[256, 256, 320, 320]]
        assert len(every.features) - len(some.features) in range(9, 26)
        streamed = client.detect("part.tif", "bright")
        assert streamed.summary["unread"] == [[256, 256, 320, 320]]


def until(what, timeout_s=20.0):
    end = time.monotonic() + timeout_s
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


@pytest.mark.parametrize("where", ["device", "chain"])
def test_work_stops_soon_after_its_caller_is_gone(scenes, tmp_path, where):
    log = tmp_path / "log"
    write_squares(scenes / "chain.tif", 300)
    write_squares(scenes / "device.tif", 1280)
    environment = {"WORK_LOG": str(log), "TILE_S": "0.05" if where == "device" else "0"}
    with (
        bright_server(scenes, tmp_path / "data", environment) as (_, address),
        lanner.Client(address) as client,
    ):
        started = until_begun(client, f"{where}.tif", log, where)
        assert time.monotonic() - started < 30
        client.close()
        gone = time.monotonic()
        time.sleep(2.5)
        last = [float(line.split()[1]) for line in log.read_text().splitlines()][-1]
        assert last - gone < 2


def until_begun(client, scene, log, where):
    """A detection of a client in a thread, once the server is at that part of it."""

    def ask():
        try:
            client.detect(scene, "bright")
        except LannerError:
            return
        raise AssertionError("it came to its end")

    started = time.monotonic()
    threading.Thread(target=ask, daemon=True).start()
    until(lambda: log.exists() and where in log.read_text())
    return started


@contextmanager
def silent_from(path, after):
    """A server of one file that answers a few requests, and then keeps its callers waiting: its
    address, and an event that one waits.
    """
    ended, waiting, asked = threading.Event(), threading.Event(), []

    class Handler(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.answer(b"", 200)

        def do_GET(self):
            asked.append(self.path)
            if len(asked) > after:
                waiting.set()
                ended.wait(60)
                return
            first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
            self.answer(path.read_bytes()[first : last + 1], 206, first)

        def answer(self, body, status, first=0):
            size = path.stat().st_size
            self.send_response(status)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(body) if status == 206 else size))
            if status == 206:
                last = first + len(body) - 1
                self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            self.end_headers()
            self.wfile.write(body)

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}", waiting
    finally:
        ended.set()
        httpd.shutdown()
        thread.join()
        httpd.server_close()


def test_reading_stops_soon_after_its_caller_is_gone(scenes, tmp_path):
    """The server of the scene says nothing any more; the next in line has the device soon."""
    noise = np.random.default_rng(1).integers(1, 255, (3, 1600, 1600), np.uint8)
    write_damaged(scenes / "noise.tif", noise, [])
    with (
        silent_from(scenes / "noise.tif", after=4) as (url, waiting),
        bright_server(
            scenes, tmp_path / "data", per_device=1, allow_remote=True, allow_private=True
        ) as (_, address),
        lanner.Client(address) as client,
    ):
        reading = client.submit(f"{url}/noise.tif", "bright")
        assert waiting.wait(30)
        time.sleep(0.5)
        assert reading.refresh().state == "running"
        reading.cancel()
        began = time.monotonic()
        until(lambda: reading.refresh().state == "cancelled")
        assert time.monotonic() - began < 2
        assert client.submit("town.tif", "bright").result(30).features
