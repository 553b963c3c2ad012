"""Callers that go, by the thousand; `make accept` (LANNER_FULL=1) brings all of them."""

import os
import socket
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import grpc
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc

import lanner
from lanner.core.errors import BusyError, DeadlineError, LannerError
from lanner.v1 import detection_pb2 as words
from lanner.v1 import detection_service_pb2 as pb
from lanner.v1 import detection_service_pb2_grpc as pb_grpc
from tests.fixtures_bright import bright_server, write_squares
from tests.fixtures_points import scenes, server_command

__all__ = ["scenes"]

FULL = bool(os.environ.get("LANNER_FULL"))

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="reads memory from /proc"
)


@contextmanager
def server_process(scenes, data, **options):
    command = server_command(scenes, data, port=0, grace_s=0.0, **options)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.pid, process.stdout.readline().strip()
        finally:
            process.kill()


def resident_mb(pid):
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_watches_that_are_cancelled_leave_nothing(scenes, tmp_path):
    (scenes / "long.tif").write_text('{"count": 100000, "each_s": 0.05}')
    with server_process(scenes, tmp_path) as (pid, address), lanner.Client(address) as client:
        name = client.submit("long.tif", "points").name
        with grpc.insecure_channel(address) as channel:
            stub = pb_grpc.DetectionServiceStub(channel)

            def cancelled(count):
                for _ in range(count):
                    call = stub.Watch(pb.WatchRequest(name=name, previews=True))
                    next(call)
                    call.cancel()

            def by_threads(count):
                threads = [
                    threading.Thread(target=cancelled, args=[count // 10]) for _ in range(10)
                ]
                for one in threads:
                    one.start()
                for one in threads:
                    one.join()

            by_threads(300)
            before = resident_mb(pid)
            by_threads(10_000 if FULL else 1000)
            assert resident_mb(pid) - before < 20
        assert client.operation(name).state == "running"


def test_connections_that_are_reset_leave_their_slots_free(scenes, tmp_path):
    (scenes / "short.tif").write_text('{"count": 3, "each_s": 0.02}')
    (scenes / "long.tif").write_text('{"count": 100000, "each_s": 0.05}')
    spec = words.DetectionSpec(
        scene=words.SceneSource(uri="long.tif"), detector=words.DetectorChoice(name="points")
    )
    request = pb.DetectRequest(spec=spec).SerializeToString()
    path = b"/lanner.v1.DetectionService/Detect"
    count = 1000 if FULL else 100
    with server_process(scenes, tmp_path, per_device=1, max_waiting=8) as (_, address):
        host, port = address.rsplit(":", 1)
        for _ in range(count):
            with socket.create_connection((host, int(port)), 10) as one:
                one.sendall(_http2_call(address.encode(), path, request))
                # Gone without a word: a reset, and no end of the stream.
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end = time.monotonic() + 20
        with lanner.Client(address) as client:
            while True:
                try:
                    began = time.monotonic()
                    assert len(client.detect("short.tif", "points", timeout=5).features) == 3
                    break
                except lanner.LannerError:
                    assert time.monotonic() < end
            assert time.monotonic() - began < 3
            # Every place in line is free again: as many fit as may, beside the one at work.
            found = []
            several = [
                threading.Thread(target=lambda: found.append(client.detect("short.tif", "points")))
                for _ in range(9)
            ]
            for one in several:
                one.start()
            for one in several:
                one.join()
            assert len(found) == 9


def _http2_call(host, path, message):
    """The frames of one gRPC call (RFC 9113, RFC 7541 without compression), and no more."""

    def frame(kind, flags, stream, payload):
        return (
            len(payload).to_bytes(3, "big")
            + bytes([kind, flags])
            + stream.to_bytes(4, "big")
            + payload
        )

    def header(name, value):
        return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value

    headers = b"".join(
        header(name, value)
        for name, value in (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path),
            (b":authority", host),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
        )
    )
    body = b"\x00" + len(message).to_bytes(4, "big") + message
    return (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + frame(4, 0, 0, b"")
        + frame(1, 4, 1, headers)
        + frame(0, 1, 1, body)
    )


def test_operations_are_told_quickly_while_one_runs(scenes, tmp_path):
    with server_process(scenes, tmp_path) as (_, address), lanner.Client(address) as client:
        name = client.submit("slow.tif", "points").name
        with grpc.insecure_channel(address) as channel:
            stub = operations_pb2_grpc.OperationsStub(channel)
            times = []
            for _ in range(300):
                began = time.perf_counter()
                stub.GetOperation(operations_pb2.GetOperationRequest(name=name))
                times.append(time.perf_counter() - began)
        # A bound for shared machines; `make accept` on a quiet one prints what it is there.
        print(f"median {sorted(times)[150] * 1e3:.1f} ms, p99 {sorted(times)[297] * 1e3:.1f} ms")
        assert sorted(times)[297] < 0.2


def test_many_clients_with_small_scenes_are_all_answered_rightly(tmp_path):
    """`make accept`: two hundred clients for two minutes."""
    clients, seconds = (200, 120.0) if FULL else (20, 6.0)
    folder = tmp_path / "scenes"
    folder.mkdir()
    sides = (96, 128, 160, 200)
    expected = {side: write_squares(folder / f"{side}.tif", side) for side in sides}
    assert len(set(expected.values())) == len(sides)
    with bright_server(folder, tmp_path / "data", max_jobs=1000) as (process, address):
        end = time.monotonic() + seconds

        def ask(number):
            """Detections one after the other, by turns submitted and streamed; how many."""
            done = 0
            with lanner.Client(address) as client:
                while not done or time.monotonic() < end:
                    side = sides[(number + done) % len(sides)]
                    try:
                        if number % 2:
                            found = client.submit(f"{side}.tif", "bright").result(900)
                        else:
                            found = client.detect(f"{side}.tif", "bright", timeout=900)
                    except BusyError:
                        time.sleep(0.2)
                        continue
                    assert len(found.features) == expected[side]
                    done += 1
            return done

        with lanner.Client(address) as client:
            client.detect("96.tif", "bright")
        memory = []

        def follow():
            while time.monotonic() < end:
                memory.append(resident_mb(process.pid))
                time.sleep(seconds / 60)

        with ThreadPoolExecutor(clients + 1) as pool:
            pool.submit(follow)
            done = list(pool.map(ask, range(clients)))
        assert all(done)
        # Every thread that works has its own buffers after the first third.
        first, last = max(memory[15:25]), max(memory[-10:])
        print(f"{sum(done)} detections; {first:.0f} MB, then {last:.0f} MB")
        assert last < first * 1.2 + 20
        with lanner.Client(address) as client:
            states = {one.state for one in client.operations()}
        assert states == {"succeeded"}


def test_jobs_at_once_take_no_longer_than_one_after_another(tmp_path):
    folder = tmp_path / "scenes"
    folder.mkdir()
    count = write_squares(folder / "a.tif", 320, step=64)
    jobs = 8 if FULL else 4
    with (
        bright_server(folder, tmp_path / "data", {"TILE_S": "0.1"}) as (_, address),
        lanner.Client(address) as client,
    ):
        client.submit("a.tif", "bright").wait(60)

        def seconds(at_once):
            began = time.monotonic()
            running = []
            for _ in range(jobs):
                running.append(client.submit("a.tif", "bright"))
                if not at_once:
                    running[-1].wait(60)
            assert all(len(one.result(60).features) == count for one in running)
            return time.monotonic() - began

        serial, together = seconds(at_once=False), seconds(at_once=True)
    print(f"one after another {serial:.1f} s, at once {together:.1f} s")
    assert serial / together > 0.95


def test_the_first_tile_comes_soon_after_the_request(tmp_path):
    folder, log = tmp_path / "scenes", tmp_path / "log"
    folder.mkdir()
    write_squares(folder / "a.tif", 640, step=128)
    times = []
    with (
        bright_server(folder, tmp_path / "data", {"WORK_LOG": str(log)}) as (_, address),
        lanner.Client(address) as client,
    ):
        for _ in range(15 if FULL else 5):
            log.write_text("")
            began = time.monotonic()
            client.submit("a.tif", "bright").wait(60)
            times.append(float(log.read_text().split()[1]) - began)
    median = sorted(times[2:])[len(times[2:]) // 2]
    print(f"median {median * 1e3:.0f} ms to the first tile")
    # Of a quiet machine; on others it is not the server that is measured.
    assert median < (0.05 if FULL else 2.0)


def test_a_large_result_through_the_usual_limits(tmp_path):
    """`make accept`: half a gigabyte."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    size, count = (500_000_000, 50_000) if FULL else (50_000_000, 5_000)
    (folder / "large.tif").write_text(f'{{"count": {count}, "text": {size // count}}}')
    with server_process(folder, tmp_path / "data") as (_, address):
        with lanner.Client(address) as client:
            path = client.submit("large.tif", "points").save(tmp_path / "large.geojson")
        assert path.stat().st_size > size
        with path.open("rb") as file:
            assert sum(1 for _ in file) == count + 2  # a feature a line
        with grpc.insecure_channel(address) as channel:
            stub = pb_grpc.DetectionServiceStub(channel)
            names = operations_pb2_grpc.OperationsStub(channel).ListOperations(
                operations_pb2.ListOperationsRequest(name="operations")
            )
            request = pb.WatchRequest(name=names.operations[0].name)
            features = sum(len(one.features.features) for one in stub.Watch(request))
        assert features == count


@pytest.mark.parametrize("by", ["a job", "a stream"])
def test_a_place_in_line_has_an_end_beside_long_work(scenes, tmp_path, by):
    wait_s = 10 if FULL else 2
    with (
        server_process(scenes, tmp_path, per_device=1) as (_, address),
        lanner.Client(address) as client,
    ):
        begun = threading.Event()
        if by == "a job":
            slow = client.submit("slow.tif", "points")
            while slow.refresh().state != "running":
                time.sleep(0.02)
        else:

            def stream():
                with suppress(LannerError):
                    client.detect("slow.tif", "points", on_progress=lambda _: begun.set())

            threading.Thread(target=stream, daemon=True).start()
            assert begun.wait(20)
        began = time.monotonic()
        late = client.submit("few.tif", "points", queue_timeout=wait_s)
        with pytest.raises(DeadlineError):
            late.result(60)
        assert wait_s <= time.monotonic() - began < wait_s + 1
        client.cancel()
        if by == "a job":
            slow.cancel()
        assert len(client.submit("few.tif", "points").result(60).features) == 3
