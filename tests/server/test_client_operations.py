"""Submitted detections from Python: followed, fetched, and found again."""

import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import geopandas as gpd
import pytest

import lanner
from lanner.core.errors import (
    Cancelled,
    ConfigError,
    DeadlineError,
    SceneError,
    ServerError,
    UnknownOperationError,
)
from server.options import ServeOptions
from server.run import start
from tests.fixtures_points import WORK, scenes, server_command

__all__ = ["scenes"]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def client(scenes):
    server = start(WORK, ServeOptions(port=0, roots=(scenes,)))
    with lanner.Client(server.address) as found:
        yield found
    server.stop(0)


def test_the_same_as_the_call_that_waits(client, tmp_path):
    told = []
    operation = client.submit("few.tif", "points")
    found = operation.result(20, told.append)
    assert list(found.features) == list(client.detect("few.tif", "points").features)
    assert found.summary == {"counts": 3}
    assert (operation.state, operation.done, operation.attempts) == ("succeeded", True, 1)
    for ending, read in (
        ("geojson", gpd.read_file),
        ("gpkg", gpd.read_file),
        ("fgb", gpd.read_file),
        ("parquet", gpd.read_parquet),
    ):
        path = operation.save(tmp_path / f"it.{ending}")
        assert sorted(read(path)["id"]) == ["p0", "p1", "p2"]
    with pytest.raises(ConfigError):
        operation.save(tmp_path / "it.docx")
    assert not (tmp_path / "it.docx").exists()
    assert list(client.submit("none.tif", "points").result(20).features) == []


def test_progress_and_cancelling(client):
    seen = threading.Event()
    operation = client.submit("slow.tif", "points")
    with pytest.raises(ServerError, match="timeout"):
        operation.wait(0.3)
    waiting = threading.Thread(
        target=operation.wait, args=(20, lambda progress: progress.done and seen.set())
    )
    waiting.start()
    assert seen.wait(10)
    client.operation(operation.name).cancel()
    began = time.monotonic()
    waiting.join(10)
    assert time.monotonic() - began < 2
    assert operation.state == "cancelled"
    with pytest.raises(Cancelled):
        operation.result()
    operation.delete()
    with pytest.raises(UnknownOperationError):
        operation.refresh()


def test_errors_keep_their_class(client):
    with pytest.raises(SceneError, match="is empty"):
        client.submit("bad.tif", "points").result(20)
    with pytest.raises(SceneError, match=r"gone\.tif"):
        client.submit("gone.tif", "points")
    slow = [client.submit("slow.tif", "points", priority=9) for _ in range(2)]
    with pytest.raises(DeadlineError):
        client.submit("few.tif", "points", queue_timeout=0.5).result(20)
    for one in slow:
        one.cancel()


def test_a_request_again_and_the_list(client):
    first = client.submit("few.tif", "points", request_id="again")
    assert client.submit("few.tif", "points", request_id="again").name == first.name
    assert client.submit("few.tif", "points").name != first.name
    assert first.name in [one.name for one in client.operations()]


@contextmanager
def server_process(scenes, data, port):
    words = server_command(scenes, data, port=port, grace_s=0, lease_s=1.0)
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            process.stdout.readline()
            yield process
        finally:
            process.kill()


def test_a_server_that_dies_and_comes_back_is_waited_for(scenes, tmp_path):
    (scenes / "while.tif").write_text('{"count": 40, "each_s": 0.05}')
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    found, told = [], threading.Event()
    with lanner.Client(f"127.0.0.1:{port}") as client:
        with server_process(scenes, tmp_path / "data", port) as process:
            operation = client.submit("while.tif", "points")
            waiting = threading.Thread(
                target=lambda: found.append(operation.result(60, lambda _: told.set()))
            )
            waiting.start()
            assert told.wait(10)
            process.send_signal(signal.SIGKILL)
            process.wait()
        with server_process(scenes, tmp_path / "data", port):
            waiting.join(40)
    assert len(found[0].features) == 40
    assert operation.attempts == 2


def test_a_server_that_stays_away_is_told(tmp_path):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    with lanner.Client(f"127.0.0.1:{port}", patience=1.0) as client:
        began = time.monotonic()
        with pytest.raises(ServerError, match="cannot be reached"):
            client.submit("few.tif", "points")
        # At least three tries, half of whose pauses may be left to chance.
        assert 0.3 < time.monotonic() - began < 10


def test_what_would_be_taken_is_said_before(client):
    found = client.plan("few.tif", "points")
    assert (found.tiles, found.seconds, found.result_bytes) == (3, 2.25, None)
    with pytest.raises(SceneError):
        client.plan("gone.tif", "points")


def test_a_scene_of_ones_own(client, tmp_path):
    path, told = tmp_path / "mine.tif", []
    path.write_text('{"count": 2, "padding": "' + "x" * (3 << 20) + '"}')
    upload = client.upload(path, told.append)
    assert told[-1].done == told[-1].total == upload.size == path.stat().st_size
    assert len(client.detect(upload, "points").features) == 2
    assert client.plan(upload, "points").tiles == 2
    assert len(client.submit(upload, "points").result(20).features) == 2
    with pytest.raises(SceneError):
        client.upload(tmp_path / "none.tif")


def test_events_of_one_that_runs_and_of_one_that_is_done(client):
    operation = client.submit("slow.tif", "points")
    kinds = []
    for event in operation.watch():
        kinds.append(event.kind)
        if kinds.count("preview") > 3:
            break
    assert kinds[0] == "progress"
    operation.cancel()
    assert [event.kind for event in operation.watch()][-1] == "done"
    operation = client.submit("many.tif", "points")
    events = [event for event in operation.watch(previews=False) if event.kind == "features"]
    texts = [text for event in events for text in event.features]
    assert texts == list(operation.result(20).features)
    half = events[len(events) // 2 - 1]
    rest = [text for event in operation.watch(cursor=half.cursor) for text in event.features]
    assert texts[-len(rest) :] == rest and 0 < len(rest) < len(texts)
    with pytest.raises(ConfigError):
        list(operation.watch(cursor="x"))


def test_a_watch_goes_on_when_its_server_is_back(scenes, tmp_path):
    (scenes / "watched.tif").write_text('{"count": 30, "each_s": 0.05}')
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    data = tmp_path / "data"
    with server_process(scenes, data, port) as process:
        client = lanner.Client(f"127.0.0.1:{port}")
        events = client.submit("watched.tif", "points").watch()
        assert next(events).kind == "progress"
        process.kill()
        process.wait()
    with server_process(scenes, data, port), client:
        rest = list(events)
    texts = [text for event in rest if event.kind == "features" for text in event.features]
    assert len(texts) == 30 and rest[-1].kind == "done"
