"""Work that nobody waits for stops within two seconds, however its caller went."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import lanner
from lanner.core.errors import BusyError, Cancelled, ServerError
from lanner.core.job import Cancel, DetectRequest, DetectResult, Progress
from lanner.core.offers import DetectorOffer
from server.options import ServeOptions
from server.run import RunningServer, start
from server.work import Work

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 2.0
CHILD = """
import sys, lanner
print("asking", flush=True)
lanner.Client(sys.argv[1]).detect(
    sys.argv[2], "slow", on_progress=lambda p: print(p.stage, flush=True)
)
"""


class SlowDetection:
    """A detection that loops until it is cancelled or let go, and tells when that was."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.running: list[str] = []
        self.most = 0
        self.stopped: dict[str, float] = {}
        self._lock = threading.Lock()

    def detect(
        self, request: DetectRequest, cancel: Cancel, progress: Callable[[Progress], None]
    ) -> DetectResult:
        name = Path(request.scene).stem
        with self._lock:
            self.running.append(name)
            self.most = max(self.most, len(self.running))
        try:
            for step in range(10**6):
                progress(Progress("tiles", step, 10**6))
                cancel.check()
                if self.go.wait(0.02):
                    break
        finally:
            with self._lock:
                self.running.remove(name)
                self.stopped[name] = time.monotonic()
        if name == "broken":
            raise ValueError("after all that")
        return DetectResult((), {"scene": name}, None)

    def until(self, condition: Callable[["SlowDetection"], bool], timeout: float = 10) -> None:
        deadline = time.monotonic() + timeout
        while not condition(self):
            assert time.monotonic() < deadline, (self.running, self.stopped)
            time.sleep(0.005)


@pytest.fixture
def work() -> Iterator[SlowDetection]:
    one = SlowDetection()
    yield one
    one.go.set()


@pytest.fixture
def serving(tmp_path: Path, work: SlowDetection) -> Iterator[Callable[..., RunningServer]]:
    servers: list[RunningServer] = []
    for name in "abcdefgh":
        (tmp_path / f"{name}.tif").write_bytes(b"x")
    (tmp_path / "broken.tif").write_bytes(b"x")

    def begin(**options: object) -> RunningServer:
        offer = DetectorOffer("slow", "1", "", (), "objects", 1, (1, 1), (), (), ())
        options = {"per_device": 1, **options}
        chosen = ServeOptions(port=0, roots=(tmp_path,), **options)
        servers.append(start(Work(work.detect, lambda: [offer]), chosen))
        return servers[-1]

    yield begin
    work.go.set()
    for server in servers:
        server.stop(0)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as one:
        yield one


def entered(pool: ThreadPoolExecutor, client: lanner.Client, name: str, **options: object):
    """A detection that runs or stands in line."""
    event = threading.Event()
    future = pool.submit(
        client.detect, f"{name}.tif", "slow", on_progress=lambda _: event.set(), **options
    )
    assert event.wait(10)
    return future


def child(address: str, scene: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, address, scene]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def test_cancel_from_another_thread_stops_the_work(serving, work, pool):
    with lanner.Client(serving().address) as client:
        cancel = Cancel()
        future = pool.submit(client.detect, "a.tif", "slow", cancel=cancel)
        work.until(lambda w: w.running == ["a"])
        asked = time.monotonic()
        cancel.set()
        with pytest.raises(Cancelled):
            future.result(LIMIT_S)
        work.until(lambda w: "a" in w.stopped)
        assert work.stopped["a"] - asked < LIMIT_S


def test_the_client_cancels_all_it_runs(serving, work, pool):
    with lanner.Client(serving(per_device=3).address) as client:
        futures = [pool.submit(client.detect, f"{name}.tif", "slow") for name in "abc"]
        work.until(lambda w: sorted(w.running) == ["a", "b", "c"])
        asked = time.monotonic()
        client.cancel()
        for future in futures:
            with pytest.raises(Cancelled):
                future.result(LIMIT_S)
        work.until(lambda w: len(w.stopped) == 3)
        assert max(work.stopped.values()) - asked < LIMIT_S


def test_closing_the_client_stops_the_work(serving, work, pool):
    client = lanner.Client(serving().address)
    future = pool.submit(client.detect, "a.tif", "slow")
    work.until(lambda w: w.running == ["a"])
    asked = time.monotonic()
    client.close()
    with pytest.raises(Cancelled):
        future.result(LIMIT_S)
    work.until(lambda w: "a" in w.stopped)
    assert work.stopped["a"] - asked < LIMIT_S


def test_a_deadline_stops_the_work(serving, work):
    asked = time.monotonic()
    with lanner.Client(serving().address) as client, pytest.raises(ServerError, match="timeout"):
        client.detect("a.tif", "slow", timeout=0.5)
    work.until(lambda w: "a" in w.stopped)
    assert 0.4 < work.stopped["a"] - asked < 0.5 + LIMIT_S


def test_a_killed_client_stops_the_work(serving, work):
    process = child(serving().address, "a.tif")
    try:
        work.until(lambda w: w.running == ["a"], 30)
        killed = time.monotonic()
        process.kill()
        work.until(lambda w: "a" in w.stopped)
        assert work.stopped["a"] - killed < LIMIT_S
    finally:
        process.kill()
        process.communicate()


def test_a_client_that_only_falls_silent_stops_the_work(serving, work):
    # SIGSTOP keeps its connection open, as a pulled cable does.
    process = child(serving(keepalive_s=0.5).address, "a.tif")
    try:
        work.until(lambda w: w.running == ["a"], 30)
        silenced = time.monotonic()
        os.kill(process.pid, signal.SIGSTOP)
        work.until(lambda w: "a" in w.stopped)
        assert work.stopped["a"] - silenced < LIMIT_S
    finally:
        process.kill()
        process.communicate()


def test_a_patient_client_outlives_many_keepalives(serving, work, pool):
    with lanner.Client(serving(keepalive_s=0.2).address) as client:
        future = pool.submit(client.detect, "a.tif", "slow")
        time.sleep(2.5)
        assert work.running == ["a"]
        work.go.set()
        assert future.result(5).summary == {"scene": "a"}


def test_one_runs_on_a_device_and_the_next_says_that_it_is_queued(serving, work, pool):
    with lanner.Client(serving().address) as client:
        stages: list[str] = []
        first = pool.submit(client.detect, "a.tif", "slow")
        work.until(lambda w: w.running == ["a"])
        second = pool.submit(
            client.detect, "b.tif", "slow", on_progress=lambda p: stages.append(p.stage)
        )
        work.until(lambda w: stages == ["queued"])
        assert work.running == ["a"]
        work.go.set()
        assert [first.result(5).summary, second.result(5).summary] == [
            {"scene": "a"},
            {"scene": "b"},
        ]
        assert stages == ["queued", "tiles"]
        assert work.most == 1


def test_names_of_one_device_share_a_line_and_other_devices_do_not(serving, work, pool):
    with lanner.Client(serving(auto_device="cuda:0").address) as client:
        for name, device in (("a", "cuda"), ("b", "auto"), ("c", "cuda:0"), ("d", "cpu")):
            entered(pool, client, name, device=device)
        assert work.running == ["a", "d"]
        client.cancel()


def test_cancelling_in_line_leaves_the_line(serving, work, pool):
    with lanner.Client(serving().address) as client, lanner.Client(client.address) as other:
        entered(pool, client, "a")
        cancel = Cancel()
        waiting = entered(pool, other, "b", cancel=cancel)
        cancel.set()
        with pytest.raises(Cancelled):
            waiting.result(LIMIT_S)
        third = entered(pool, other, "c")
        work.go.set()
        assert third.result(LIMIT_S).summary == {"scene": "c"}
        assert "b" not in work.stopped


def test_a_client_killed_in_line_leaves_the_line(serving, work, pool):
    server = serving(max_waiting=1)
    with lanner.Client(server.address) as client:
        pool.submit(client.detect, "a.tif", "slow")
        work.until(lambda w: w.running == ["a"])
        process = child(server.address, "b.tif")
        try:
            assert process.stdout is not None
            assert [process.stdout.readline() for _ in range(2)] == ["asking\n", "queued\n"]
            with pytest.raises(BusyError):
                client.detect("c.tif", "slow")
            killed = time.monotonic()
            process.kill()
        finally:
            process.kill()
            process.communicate()
        event = threading.Event()
        while not event.is_set():
            assert time.monotonic() - killed < LIMIT_S
            future = pool.submit(client.detect, "d.tif", "slow", on_progress=lambda _: event.set())
            time.sleep(0.2)
        work.go.set()
        assert future.result(5).summary == {"scene": "d"}


def test_a_full_line_is_refused_and_a_freed_one_is_not(serving, work, pool):
    with lanner.Client(serving(max_waiting=2).address) as client:
        futures = [entered(pool, client, name) for name in "abc"]
        started = time.monotonic()
        with pytest.raises(BusyError, match="try again later"):
            client.detect("d.tif", "slow")
        assert time.monotonic() - started < 1
        assert client.detectors()[0].name == "slow"
        work.go.set()
        assert [future.result(5).summary["scene"] for future in futures] == ["a", "b", "c"]
        assert client.detect("d.tif", "slow").summary == {"scene": "d"}


def test_open_streams_are_bounded_and_lists_are_still_answered(serving, work, pool):
    server = serving(max_streams=2, per_device=8)
    with lanner.Client(server.address) as client:
        futures = [pool.submit(client.detect, f"{name}.tif", "slow") for name in "ab"]
        work.until(lambda w: len(w.running) == 2)
        for _ in range(20):
            with pytest.raises(BusyError, match="streams"):
                client.detect("c.tif", "slow")
        assert client.detectors()[0].name == "slow"
        work.go.set()
        assert [future.result(5).summary["scene"] for future in futures] == ["a", "b"]
        assert client.detect("c.tif", "slow").summary == {"scene": "c"}


def test_a_failure_that_nobody_is_left_to_hear_of_is_logged(serving, work, pool, caplog):
    class Deaf(SlowDetection):
        """Goes on after it was cancelled, and then fails."""

        def detect(self, request, cancel, progress):
            return super().detect(request, Cancel(), progress)

    deaf = Deaf()
    work.detect = deaf.detect
    with caplog.at_level(logging.INFO, "lanner.server"):
        with lanner.Client(serving().address) as client, pytest.raises(ServerError):
            client.detect("broken.tif", "slow", timeout=0.5)
        deaf.until(lambda _: bool(caplog.records))
        deaf.go.set()
        deaf.until(lambda _: any(r.exc_info for r in caplog.records), 2)
    lines = [record.fields for record in caplog.records]
    assert [(one["event"], one.get("code")) for one in lines] == [
        ("rpc", "DEADLINE_EXCEEDED"),
        ("error", None),
    ]
