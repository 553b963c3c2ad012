"""Each call has an id, which its answer and every line of the log about it and its job carry."""

import http.client
import json
import re
import signal
import subprocess
import threading
import time
from contextlib import contextmanager

import grpc
import pytest

from lanner.v1 import detection_pb2 as words
from lanner.v1 import detection_service_pb2 as pb
from lanner.v1 import detection_service_pb2_grpc as pb_grpc
from tests.fixtures_points import scenes, server_command

__all__ = ["scenes"]

MADE = re.compile(r"[0-9a-f]{32}")


class Server:
    """A server in a process of its own, and what it logs."""

    def __init__(self, process):
        self.process = process
        self.lines = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        (listening,) = self.until(1, event="listening")
        self.address, self.http = listening["address"], listening["http"]

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(json.loads(line))

    def logged(self, **fields):
        return [one for one in list(self.lines) if fields.items() <= one.items()]

    def until(self, count, **fields):
        """The first so many lines of the log that say this."""
        end = time.monotonic() + 60
        while len(found := self.logged(**fields)) < count:
            assert time.monotonic() < end, (fields, self.lines)
            time.sleep(0.02)
        return found[:count]

    def ask(self, verb, path, body=None, headers=()):
        connection = http.client.HTTPConnection(self.http, timeout=60)
        text = None if body is None else json.dumps(body)
        connection.request(verb, path, text, dict(headers))
        answer = connection.getresponse()
        found = answer.read()
        connection.close()
        return answer, json.loads(found) if found.startswith(b"{") else found


@contextmanager
def serving(scenes, data, **options):
    command = server_command(scenes, data, port=0, http_port=0, **options)
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        yield Server(process)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.fixture(scope="module")
def server(scenes, tmp_path_factory):
    with serving(scenes, tmp_path_factory.mktemp("data")) as found:
        yield found


def submission(scene):
    return {"spec": {"scene": {"uri": scene}, "detector": {"name": "points"}}}


def test_the_id_of_a_call_over_http_is_in_its_answer_and_its_line(server):
    for path, status in (("/v1/detectors", 200), ("/v1/operations/none", 404)):
        sent = f"mine-{status}"
        answer, _ = server.ask("GET", path, headers={"X-Request-Id": sent})
        assert (answer.status, answer.headers["x-request-id"]) == (status, sent)
        (line,) = server.until(1, request_id=sent)
        assert line["client"] == ""
        assert line["code"] == {200: "OK", 404: "NOT_FOUND"}[status]


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, 'a"b', "\xe4"])
def test_an_id_that_is_none_is_replaced(server, sent):
    answer, _ = server.ask("GET", "/v1/detectors", headers={"X-Request-Id": sent})
    made = answer.headers["x-request-id"]
    assert MADE.fullmatch(made)
    (line,) = server.until(1, request_id=made)
    assert line["method"] == "ListDetectors"


@pytest.mark.parametrize(
    ("verb", "path", "host", "status"),
    [
        ("GET", "/healthz", None, 200),
        ("GET", "/nothing", None, 404),
        ("DELETE", "/v1/detectors", None, 405),
        ("GET", "/v1/detectors", "elsewhere.example", 403),
        ("HEAD", "/v1/uploads/none", None, 404),
    ],
)
def test_every_answer_over_http_has_one_id(server, verb, path, host, status):
    headers = {"X-Request-Id": "any-answer", **({"Host": host} if host else {})}
    answer, _ = server.ask(verb, path, headers=headers)
    assert answer.status == status
    assert answer.headers.get_all("x-request-id") == ["any-answer"]


def test_the_id_of_a_call_over_grpc_is_in_its_trailing_metadata_and_its_line(server):
    spec = words.DetectionSpec(
        scene=words.SceneSource(uri="none.tif"), detector=words.DetectorChoice(name="points")
    )
    with grpc.insecure_channel(server.address) as channel:
        stub = pb_grpc.DetectionServiceStub(channel)
        sent = (("x-request-id", "grpc-1"),)
        _, call = stub.ListDetectors.with_call(pb.ListDetectorsRequest(), metadata=sent)
        assert dict(call.trailing_metadata())["x-request-id"] == "grpc-1"
        stream = stub.Detect(pb.DetectRequest(spec=spec))
        assert len(list(stream)) > 0
        made = dict(stream.trailing_metadata())["x-request-id"]
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetDetector(pb.GetDetectorRequest(name="none"), metadata=(("x-request-id", "g2"),))
    failed = dict(caught.value.trailing_metadata())
    assert failed["x-request-id"] == "g2"
    assert "grpc-status-details-bin" in failed
    for identity, method, code in (
        ("grpc-1", "ListDetectors", "OK"),
        (made, "Detect", "OK"),
        ("g2", "GetDetector", "NOT_FOUND"),
    ):
        (line,) = server.until(1, request_id=identity)
        assert (line["method"], line["code"]) == (method, code)


def test_lines_of_a_job_name_it_and_the_call_that_brought_it(server):
    for scene, state, error in (
        ("few.tif", "succeeded", None),
        ("bad.tif", "failed", "SceneError"),
    ):
        sent = f"job-{state}"
        answer, operation = server.ask(
            "POST", "/v1/detections", submission(scene), {"X-Request-Id": sent}
        )
        assert answer.status == 200
        job = operation["name"].removeprefix("operations/")
        begun, ended = server.until(2, event="job", job=job)
        assert (begun["state"], ended["state"], ended.get("error")) == ("running", state, error)
        for line in (begun, ended):
            assert (line["request_id"], line["client"], line["kind"]) == (sent, "", "detect")
            assert line["attempt"] == 1
        assert ended["seconds"] >= 0
        (call,) = server.until(1, event="rpc", request_id=sent)
        assert (call["job"], call["scene"], call["detector"]) == (job, scene, "points")
        server.ask("GET", f"/v1/operations/{job}", headers={"X-Request-Id": f"see-{state}"})
        (call,) = server.until(1, request_id=f"see-{state}")
        assert call["job"] == job


def test_a_server_that_stops_takes_nothing_in_over_http(scenes, tmp_path):
    with serving(scenes, tmp_path, grace_s=20.0) as server:
        _, slow = server.ask("POST", "/v1/detections", submission("slow.tif"))
        job = slow["name"].removeprefix("operations/")
        server.until(1, event="job", job=job, state="running")
        assert server.ask("GET", "/readyz")[0].status == 200
        server.process.send_signal(signal.SIGTERM)
        server.until(1, event="stopping")
        end = time.monotonic() + 10
        while server.ask("GET", "/readyz")[0].status == 200:
            assert time.monotonic() < end
        time.sleep(0.3)  # health says so just before
        for verb, path, body in (
            ("POST", "/v1/detections", submission("few.tif")),
            ("POST", "/v1/uploads", {"size": 10}),
            ("GET", "/v1/detectors", None),
        ):
            answer, error = server.ask(verb, path, body)
            assert answer.status == 503
            assert int(answer.headers["retry-after"]) > 0
            assert error["details"][0]["reason"] == "SERVER_ERROR"
        (refused,) = server.until(1, method="SubmitDetection", code="UNAVAILABLE")
        assert "job" not in refused
        assert server.ask("GET", "/healthz")[0].status == 200
        with (
            grpc.insecure_channel(server.address) as channel,
            pytest.raises(grpc.RpcError) as caught,
        ):
            pb_grpc.DetectionServiceStub(channel).ListDetectors(pb.ListDetectorsRequest())
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
