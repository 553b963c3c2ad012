"""Detections that go on without their callers, over a real server on loopback."""

import json
import signal
import subprocess
import time
from contextlib import contextmanager

import geopandas as gpd
import grpc
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2

from lanner.core.errors import (
    BusyError,
    ConfigError,
    DeadlineError,
    SceneError,
    UnknownOperationError,
)
from lanner.core.grpc_errors import DETAILS_KEY, decode
from lanner.v1 import detection_pb2 as words
from lanner.v1 import detection_service_pb2 as pb
from lanner.v1 import detection_service_pb2_grpc as pb_grpc
from server.options import ServeOptions
from server.run import start
from tests.fixtures_points import WORK, scenes, server_command

__all__ = ["scenes"]


class Stubs:
    """Stubs of one server."""

    def __init__(self, address):
        self.channel = grpc.insecure_channel(address)
        self.detections = pb_grpc.DetectionServiceStub(self.channel)
        self.operations = operations_pb2_grpc.OperationsStub(self.channel)

    def submit(self, scene, **fields):
        spec = words.DetectionSpec(
            scene=words.SceneSource(uri=scene), detector=words.DetectorChoice(name="points")
        )
        return self.detections.SubmitDetection(pb.SubmitDetectionRequest(spec=spec, **fields))

    def get(self, name):
        return self.operations.GetOperation(operations_pb2.GetOperationRequest(name=name))

    def wait(self, name, seconds=20):
        return self.operations.WaitOperation(
            operations_pb2.WaitOperationRequest(name=name, timeout=Duration(seconds=seconds))
        )

    def result(self, name, form=""):
        parts = list(self.detections.GetResult(pb.GetResultRequest(name=name, format=form)))
        assert all(not one.content_type for one in parts[1:])
        return parts[0].content_type, b"".join(one.data for one in parts)


def metadata(operation):
    found = pb.DetectionMetadata()
    assert operation.metadata.Unpack(found)
    return found


@contextmanager
def serving(scenes, **options):
    server = start(WORK, ServeOptions(port=0, roots=(scenes,), **options))
    door = Stubs(server.address)
    try:
        yield door
    finally:
        door.channel.close()
        server.stop(0)


@pytest.fixture(scope="module")
def door(scenes):
    with serving(scenes) as found:
        yield found


@contextmanager
def refused(kind, code):
    with pytest.raises(grpc.RpcError) as caught:
        yield
    assert caught.value.code() == code
    assert isinstance(decode(caught.value.trailing_metadata()), kind)


def test_a_detection_from_its_request_to_its_files(door, tmp_path):
    asked = door.submit("few.tif", request_id="one", priority=3)
    assert not asked.done
    done = door.wait(asked.name)
    assert done.done and not done.HasField("error")
    facts = metadata(done)
    assert facts.state == pb.OPERATION_STATE_SUCCEEDED
    assert facts.spec.scene.uri == "few.tif"
    assert facts.attempts == 1
    assert facts.create_time.ToNanoseconds() <= facts.start_time.ToNanoseconds()
    assert facts.start_time.ToNanoseconds() <= facts.end_time.ToNanoseconds()
    result = pb.DetectionResult()
    assert done.response.Unpack(result)
    assert result.summary.feature_count == 3
    assert json.loads(result.summary.json) == {"counts": 3}
    for form in result.formats:
        kind, data = door.result(asked.name, form)
        path = tmp_path / f"it.{form}"
        path.write_bytes(data)
        read = gpd.read_parquet if form == "parquet" else gpd.read_file
        assert sorted(read(path)["id"]) == ["p0", "p1", "p2"], form
        assert "/" in kind
    assert door.result(asked.name) == door.result(asked.name, "geojson")
    assert door.submit("few.tif", request_id="one", priority=3).name == asked.name


def test_a_result_above_what_a_message_may_hold(door):
    asked = door.submit("many.tif")
    assert door.wait(asked.name).done
    kind, data = door.result(asked.name)
    assert kind == "application/geo+json"
    assert len(data) > 4 << 20
    assert len(json.loads(data)["features"]) == 30_000


def test_no_feature_at_all(door):
    asked = door.submit("none.tif")
    assert door.wait(asked.name).done
    for form in ("geojson", "gpkg", "fgb", "parquet"):
        assert door.result(asked.name, form)[1]


def test_progress_then_cancelling_then_deleting(door):
    asked = door.submit("slow.tif")
    while not metadata(door.get(asked.name)).progress.done:
        time.sleep(0.02)
    running = metadata(door.get(asked.name))
    assert running.state == pb.OPERATION_STATE_RUNNING
    assert running.progress.total == 1000
    assert not door.wait(asked.name, 0).done
    with refused(ConfigError, grpc.StatusCode.INVALID_ARGUMENT):
        door.result(asked.name)
    began = time.monotonic()
    door.operations.CancelOperation(operations_pb2.CancelOperationRequest(name=asked.name))
    ended = door.wait(asked.name)
    assert time.monotonic() - began < 2
    assert ended.error.code == code_pb2.CANCELLED
    assert metadata(ended).state == pb.OPERATION_STATE_CANCELLED
    door.operations.DeleteOperation(operations_pb2.DeleteOperationRequest(name=asked.name))
    with refused(UnknownOperationError, grpc.StatusCode.NOT_FOUND):
        door.get(asked.name)


def test_errors_of_the_work_and_of_requests(door):
    ended = door.wait(door.submit("bad.tif").name)
    error = decode([(DETAILS_KEY, ended.error.SerializeToString())])
    assert ended.error.code == code_pb2.INVALID_ARGUMENT
    assert isinstance(error, SceneError)
    # What can be told at once is.
    with refused(SceneError, grpc.StatusCode.INVALID_ARGUMENT):
        door.submit("gone.tif")
    for name in ("", "operations/", "jobs/1"):
        with refused(ConfigError, grpc.StatusCode.INVALID_ARGUMENT):
            door.get(name)
    for ask in (door.get, door.wait, door.result):
        with refused(UnknownOperationError, grpc.StatusCode.NOT_FOUND):
            ask("operations/none")
    done = door.submit("few.tif", request_id="other")
    door.wait(done.name)
    with refused(ConfigError, grpc.StatusCode.INVALID_ARGUMENT):
        door.result(done.name, "docx")
    with refused(ConfigError, grpc.StatusCode.INVALID_ARGUMENT):
        door.submit("none.tif", request_id="other")
    with refused(ConfigError, grpc.StatusCode.INVALID_ARGUMENT):
        door.submit("none.tif", priority=101)


def test_pages_of_the_list(scenes):
    with serving(scenes) as door:
        names = [door.submit("few.tif").name for _ in range(5)]
        found, token = [], ""
        while True:
            page = door.operations.ListOperations(
                operations_pb2.ListOperationsRequest(page_size=2, page_token=token)
            )
            found.append([one.name for one in page.operations])
            token = page.next_page_token
            if not token:
                break
        assert [len(page) for page in found] == [2, 2, 1]
        assert [name for page in found for name in page] == names


def test_a_place_in_line_has_an_end_while_another_computes(scenes):
    with serving(scenes, per_device=1) as door:
        slow = door.submit("slow.tif")
        while metadata(door.get(slow.name)).state != pb.OPERATION_STATE_RUNNING:
            time.sleep(0.02)
        began = time.monotonic()
        late = door.submit("few.tif", queue_timeout=Duration(seconds=1))
        ended = door.wait(late.name)
        assert time.monotonic() - began < 2
        assert ended.error.code == code_pb2.DEADLINE_EXCEEDED
        error = decode([(DETAILS_KEY, ended.error.SerializeToString())])
        assert isinstance(error, DeadlineError)
        assert not door.get(slow.name).done


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_detections_outlive_their_server(scenes, tmp_path, how):
    program = server_command(scenes, tmp_path / "data", port=0, grace_s=0.5, lease_s=1.0)
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as server:
        door = Stubs(server.stdout.readline().strip())
        done = door.submit("few.tif").name
        door.wait(done)
        slow = door.submit("slow.tif").name
        while not metadata(door.get(slow)).progress.done:
            time.sleep(0.02)
        before = door.result(done)
        server.send_signal(how)
        server.wait(20)
        door.channel.close()
    with serving(scenes, data=tmp_path / "data", lease_s=1.0) as door:
        assert door.result(done) == before
        # A drained job did not fail; one whose server died begins a second time.
        attempts = 2 if how == signal.SIGKILL else 1
        end = time.monotonic() + 10
        while True:
            facts = metadata(door.get(slow))
            if (facts.state, facts.attempts) == (pb.OPERATION_STATE_RUNNING, attempts):
                break
            assert time.monotonic() < end, facts
            time.sleep(0.05)
        door.operations.CancelOperation(operations_pb2.CancelOperationRequest(name=slow))
        assert door.wait(slow).done


def test_more_than_may_wait_is_refused_and_can_be_asked_again(scenes):
    with serving(scenes, per_device=1, max_jobs=2) as door:
        names = [door.submit("slow.tif").name for _ in range(2)]
        with refused(BusyError, grpc.StatusCode.RESOURCE_EXHAUSTED):
            for _ in range(3):
                door.submit("few.tif")
        for name in names:
            door.operations.CancelOperation(operations_pb2.CancelOperationRequest(name=name))
        assert door.wait(door.submit("few.tif").name).done
