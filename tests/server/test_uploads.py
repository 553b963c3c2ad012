"""Scenes that clients send: cut, resumed, refused, and used by both doors."""

import hashlib
import http.client
import json
import os
import threading
import time

import grpc
import pytest

from lanner.core.errors import BusyError, ConfigError, OutputError, UnknownUploadError, UploadError
from lanner.core.grpc_errors import decode
from lanner.v1 import detection_pb2 as words
from lanner.v1 import detection_service_pb2 as pb
from lanner.v1 import detection_service_pb2_grpc as pb_grpc
from lanner.v1 import upload_service_pb2 as uploads_pb
from lanner.v1 import upload_service_pb2_grpc as uploads_grpc
from server.options import ServeOptions
from server.run import start
from server.uploads import UploadLimits, Uploads
from tests.fixtures_points import WORK, scenes

__all__ = ["scenes"]

SCENE = json.dumps({"count": 2, "padding": "x" * 5000}).encode()
SUM = hashlib.sha256(SCENE).hexdigest()


@pytest.fixture
def uploads(tmp_path):
    return Uploads(tmp_path / "uploads", UploadLimits(size=10_000, of_client=15_000, kept_s=60))


def put(uploads, upload, client, offset, data):
    with uploads.writer(upload, client, offset) as writer:
        writer.write(data)
    return uploads.finish(upload, client)


def test_an_upload_in_pieces_is_the_file(uploads):
    one = uploads.create("ann", len(SCENE), SUM, "../a scene.tif")
    put(uploads, one.id, "ann", 0, SCENE[:100])
    assert (uploads.get(one.id, "ann").offset, uploads.get(one.id, "ann").complete) == (100, False)
    with pytest.raises(UploadError, match="bytes"):
        uploads.path(one.id, "ann")
    put(uploads, one.id, "ann", 100, SCENE[100:])
    assert uploads.get(one.id, "ann").complete
    path = uploads.path(one.id, "ann")
    assert path.read_bytes() == SCENE
    assert list(path.parent.iterdir()) == [path]
    assert path.name == "a_scene.tif"
    put(uploads, one.id, "ann", len(SCENE), b"")  # asked for again: nothing to do
    with pytest.raises(UploadError, match="more"):
        put(uploads, one.id, "ann", len(SCENE), b"x")


def test_what_does_not_fit_is_refused_before_a_byte_is_kept(uploads):
    for size in (0, -1, 10_001):
        with pytest.raises(ConfigError):
            uploads.create("ann", size)
    with pytest.raises(ConfigError):
        uploads.create("ann", 5, "abc")
    uploads.create("ann", 10_000)
    with pytest.raises(BusyError):
        uploads.create("ann", 5001)
    uploads.create("bob", 5001)
    huge = Uploads(uploads._folder, UploadLimits(size=1 << 60, of_client=1 << 60))
    with pytest.raises(OutputError):
        huge.create("eve", 1 << 55)


def test_bytes_are_checked_and_never_more_than_announced(uploads):
    one = uploads.create("ann", len(SCENE), SUM)
    for offset in (1, 5, -1):
        with pytest.raises(UploadError):
            put(uploads, one.id, "ann", offset, b"x")
    with pytest.raises(UploadError):
        put(uploads, one.id, "ann", 0, SCENE + b"x")
    assert uploads.get(one.id, "ann").offset == 0
    with pytest.raises(UploadError):
        put(uploads, one.id, "ann", 0, SCENE[:-1] + b"?")
    assert uploads.get(one.id, "ann").offset == 0
    put(uploads, one.id, "ann", 0, SCENE)
    assert uploads.get(one.id, "ann").complete


def test_one_call_writes_at_a_time(uploads):
    one = uploads.create("ann", 100)
    with uploads.writer(one.id, "ann", 0) as writer:
        writer.write(b"x")
        with pytest.raises(UploadError, match="another call"):
            put(uploads, one.id, "ann", 0, b"y")
    put(uploads, one.id, "ann", 1, b"x" * 99)


def test_uploads_are_their_clients_and_names_are_no_paths(uploads):
    one = uploads.create("ann", 5)
    for upload, client in ((one.id, "bob"), ("..", "ann"), (f"../{one.id}", "ann"), ("", "ann")):
        with pytest.raises(UnknownUploadError):
            uploads.get(upload, client)
        with pytest.raises(UnknownUploadError):
            uploads.delete(upload, client)
    uploads.delete(one.id, "ann")
    with pytest.raises(UnknownUploadError):
        uploads.get(one.id, "ann")


def test_a_server_that_ended_before_it_named_the_file(uploads):
    one = uploads.create("ann", len(SCENE), SUM)
    (uploads._folder / one.id / "bytes").write_bytes(SCENE)
    assert not uploads.get(one.id, "ann").complete
    assert uploads.path(one.id, "ann").read_bytes() == SCENE


def test_what_nobody_uses_is_forgotten(uploads):
    one, two = uploads.create("ann", 5), uploads.create("ann", 5)
    put(uploads, two.id, "ann", 0, b"12345")
    os.utime(uploads._folder / one.id / "upload.json", (0, 0))
    os.utime(uploads._folder / one.id / "bytes", (0, 0))
    assert uploads.expire(time.time()) == 1
    assert [each.id for each in uploads.all()] == [two.id]


@pytest.fixture(scope="module")
def server(scenes):
    server = start(WORK, ServeOptions(port=0, http_port=0, roots=(scenes,)))
    yield server
    server.stop(0)


def ask(server, verb, path, body=None, **headers):
    host, port = server.http_address.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.request(verb, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
    response = connection.getresponse()
    text = response.read()
    connection.close()
    return response.status, response.headers, text


def test_over_http_an_upload_that_is_cut_goes_on(server):
    body = json.dumps({"size": str(len(SCENE)), "sha256": SUM, "fileName": "a.tif"})
    status, _, text = ask(server, "POST", "/v1/uploads", body)
    name = json.loads(text)["name"]
    assert status == 200
    host, port = server.http_address.rsplit(":", 1)
    cut = http.client.HTTPConnection(host, int(port))
    cut.putrequest("PATCH", f"/v1/{name}")
    cut.putheader("Upload-Offset", "0")
    cut.putheader("Content-Length", str(len(SCENE)))
    cut.endheaders()
    cut.send(SCENE[: len(SCENE) // 2])
    end = time.monotonic() + 10
    while time.monotonic() < end:
        status, headers, _ = ask(server, "HEAD", f"/v1/{name}")
        if int(headers["Upload-Offset"]) == len(SCENE) // 2:
            break
        time.sleep(0.05)
    cut.close()
    assert (status, headers["Upload-Complete"]) == (204, "?0")
    offset = int(headers["Upload-Offset"])
    assert offset == len(SCENE) // 2
    assert ask(server, "PATCH", f"/v1/{name}", SCENE)[0] == 400
    while True:  # until the call that was cut has let go
        status, headers, text = ask(
            server, "PATCH", f"/v1/{name}", SCENE[offset:], Upload_Offset=str(offset)
        )
        if status == 204 or time.monotonic() > end:
            break
        time.sleep(0.05)
    assert (status, headers["Upload-Complete"]) == (204, "?1"), text
    assert ask(server, "PATCH", f"/v1/{name}", b"x", Upload_Offset="7")[0] == 409
    spec = {"scene": {"upload": name}, "detector": {"name": "points"}}
    _, _, text = ask(server, "POST", "/v1/detections", json.dumps({"spec": spec}))
    operation = json.loads(text)["name"]
    _, _, text = ask(server, "POST", f"/v1/{operation}:wait", "{}")
    assert json.loads(text)["response"]["summary"]["featureCount"] == "2"
    assert ask(server, "DELETE", f"/v1/{name}")[0] == 200
    assert ask(server, "HEAD", f"/v1/{name}")[0] == 404
    assert ask(server, "POST", "/v1/detections", json.dumps({"spec": spec}))[0] == 404


def test_over_grpc_an_upload_that_is_cut_goes_on(server):
    with grpc.insecure_channel(server.address) as channel:
        uploads = uploads_grpc.UploadServiceStub(channel)
        made = uploads.CreateUpload(uploads_pb.CreateUploadRequest(size=len(SCENE), sha256=SUM))
        half = threading.Event()

        def some():
            yield uploads_pb.WriteUploadRequest(name=made.name, data=SCENE[:2000])
            half.wait(20)

        cut = uploads.WriteUpload.future(some())
        get = uploads_pb.GetUploadRequest(name=made.name)
        end = time.monotonic() + 10
        while uploads.GetUpload(get).offset < 2000 and time.monotonic() < end:
            time.sleep(0.02)
        cut.cancel()
        half.set()
        rest = uploads_pb.WriteUploadRequest(name=made.name, offset=2000, data=SCENE[2000:])
        while True:
            try:
                found = uploads.WriteUpload(iter([rest]))
                break
            except grpc.RpcError as error:
                assert isinstance(decode(error.trailing_metadata()), UploadError)
                assert time.monotonic() < end
                time.sleep(0.05)
        assert found.complete and found.offset == len(SCENE)
        spec = words.DetectionSpec(
            scene=words.SceneSource(upload=made.name), detector=words.DetectorChoice(name="points")
        )
        detections = pb_grpc.DetectionServiceStub(channel)
        *_, last = detections.Detect(pb.DetectRequest(spec=spec))
        assert last.summary.feature_count == 2
        parts = [
            uploads_pb.WriteUploadRequest(name=made.name, offset=0, data=b"a"),
            uploads_pb.WriteUploadRequest(name=made.name, offset=5, data=b"b"),
        ]
        for bad in (parts, [], [uploads_pb.WriteUploadRequest(name="x")]):
            with pytest.raises(grpc.RpcError) as caught:
                uploads.WriteUpload(iter(bad))
            assert isinstance(decode(caught.value.trailing_metadata()), UploadError | ConfigError)
