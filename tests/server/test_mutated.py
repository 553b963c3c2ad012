"""Whatever bytes come, a server answers with a status that blames who sent them; never INTERNAL."""

import http.client
import json
import os
import random

import grpc
import pytest
from google.longrunning import operations_pb2
from google.protobuf.duration_pb2 import Duration

from lanner.v1 import detection_pb2 as words
from lanner.v1 import detection_service_pb2 as pb
from lanner.v1 import upload_service_pb2 as uploads_pb
from server.options import ServeOptions
from server.run import start
from server.services import SERVICES
from tests.fixtures_points import WORK, scenes

__all__ = ["scenes"]

COUNT = 10_000 if os.environ.get("LANNER_FULL") else 600
SPEC = words.DetectionSpec(
    scene=words.SceneSource(uri="few.tif"),
    detector=words.DetectorChoice(name="points"),
    gsd_m=0.5,
    tile=128,
)
SEEDS = {
    "ListDetectors": pb.ListDetectorsRequest(),
    "GetDetector": pb.GetDetectorRequest(name="points"),
    "PlanDetection": pb.PlanDetectionRequest(spec=SPEC),
    "Detect": pb.DetectRequest(spec=SPEC),
    "SubmitDetection": pb.SubmitDetectionRequest(
        spec=SPEC, request_id="a", priority=3, queue_timeout=Duration(seconds=5)
    ),
    "Watch": pb.WatchRequest(name="operations/abc", cursor="f3", previews=True),
    "GetResult": pb.GetResultRequest(name="operations/abc", format="gpkg"),
    "GetOperation": operations_pb2.GetOperationRequest(name="operations/abc"),
    "ListOperations": operations_pb2.ListOperationsRequest(page_size=5, page_token="x"),
    "WaitOperation": operations_pb2.WaitOperationRequest(
        name="operations/abc", timeout=Duration(seconds=1)
    ),
    "CancelOperation": operations_pb2.CancelOperationRequest(name="operations/abc"),
    "DeleteOperation": operations_pb2.DeleteOperationRequest(name="operations/abc"),
    "CreateUpload": uploads_pb.CreateUploadRequest(size=5, sha256="0" * 64, file_name="a.tif"),
    "GetUpload": uploads_pb.GetUploadRequest(name="uploads/abc"),
    "WriteUpload": uploads_pb.WriteUploadRequest(name="uploads/abc", offset=3, data=b"abc"),
    "DeleteUpload": uploads_pb.DeleteUploadRequest(name="uploads/abc"),
}
GUILTLESS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED}


@pytest.fixture(scope="module")
def server(scenes):
    server = start(WORK, ServeOptions(port=0, http_port=0, roots=(scenes,)))
    yield server
    server.stop(0)


def mutated(raw, chance):
    """Bytes changed, cut, doubled or put in."""
    raw = bytearray(raw)
    for _ in range(chance.randrange(0, 4)):
        place = chance.randrange(len(raw) + 1)
        match chance.randrange(5):
            case 0 if raw:
                raw[place % len(raw)] ^= 1 << chance.randrange(8)
            case 1:
                raw[place:place] = chance.randbytes(chance.randrange(1, 9))
            case 2:
                del raw[place : place + chance.randrange(1, 9)]
            case 3:
                raw[place:place] = raw[:place]
            case _:
                raw[place:place] = bytes([chance.choice([0, 0x7F, 0x80, 0xFF])]) * 10
    return bytes(raw[:4096])


def test_every_method_is_tried():
    assert set(SEEDS) == {method.name for service in SERVICES for method in service.methods}


def test_mutated_messages(server):
    chance, bad = random.Random(7), []
    methods = [method for service in SERVICES for method in service.methods]
    with grpc.insecure_channel(server.address) as channel:
        for _ in range(COUNT):
            method = chance.choice(methods)
            raw = mutated(SEEDS[method.name].SerializeToString(), chance)
            path = f"/{method.containing_service.full_name}/{method.name}"
            try:
                if method.server_streaming:
                    list(channel.unary_stream(path)(raw, timeout=20))
                elif method.client_streaming:
                    channel.stream_unary(path)(iter([raw, raw]), timeout=20)
                else:
                    channel.unary_unary(path)(raw, timeout=20)
            except grpc.RpcError as error:
                if error.code() in GUILTLESS:
                    bad.append((method.name, raw, error.code(), error.details()))
    assert not bad, bad[:3]


def test_mutated_requests_over_http(server):
    chance, bad = random.Random(8), []
    host, port = server.http_address.rsplit(":", 1)
    texts = [
        ("POST", "/v1/detections", json.dumps({"spec": {"scene": {"uri": "few.tif"}}})),
        ("POST", "/v1/plans", json.dumps({"spec": {"detector": {"name": "points"}, "tile": 128}})),
        ("POST", "/v1/uploads", json.dumps({"size": "5", "fileName": "a"})),
        ("GET", "/v1/operations?pageSize=3&pageToken=a", ""),
        ("GET", "/v1/operations/abc:watch?cursor=f1&previews=true", ""),
        ("GET", "/v1/operations/abc/result?format=gpkg", ""),
        ("PATCH", "/v1/uploads/abc", "abc"),
        ("POST", "/v1/operations/abc:wait", '{"timeout": "1s"}'),
    ]
    for _ in range(COUNT):
        verb, path, body = chance.choice(texts)
        letters = [chr(c) for c in range(33, 127)]
        spot = chance.randrange(4, len(path) + 1)
        if chance.random() < 0.5:
            path = path[:spot] + "".join(chance.choices(letters, k=3)) + path[spot:]
        raw = mutated(body.encode(), chance)
        connection = http.client.HTTPConnection(host, int(port), timeout=20)
        try:
            connection.request(verb, path, raw, {"Upload-Offset": str(chance.randrange(9))})
            status = connection.getresponse().status
            if status >= 500:
                bad.append((verb, path, raw, status))
        finally:
            connection.close()
    assert not bad, bad[:3]


@pytest.mark.parametrize(
    "uri",
    [
        "../secret.tif",
        "/etc/passwd",
        "few.tif/../../../../etc/passwd",
        "/vsizip/few.zip/a.tif",
        "/vsicurl/http://127.0.0.1/a.tif",
        "zip+file://few.zip!a.tif",
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data",
        "link.tif",
        "few.tif\0.png",
        "GTIFF_DIR:1:few.tif",
        "",
    ],
)
def test_scenes_that_are_nobodys_to_name(server, scenes, uri, tmp_path):
    (tmp_path / "secret.tif").write_text('{"count": 1}')
    link = scenes / "link.tif"
    if not link.is_symlink():
        link.symlink_to(tmp_path / "secret.tif")
    request = pb.DetectRequest(
        spec=words.DetectionSpec(
            scene=words.SceneSource(uri=uri), detector=words.DetectorChoice(name="points")
        )
    )
    path = "/lanner.v1.DetectionService/Detect"
    with grpc.insecure_channel(server.address) as channel, pytest.raises(grpc.RpcError) as caught:
        list(channel.unary_stream(path)(request.SerializeToString(), timeout=20))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert str(tmp_path) not in caught.value.details()
