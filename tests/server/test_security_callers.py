"""Callers that are not let in, may not do what they ask for, send too much or ask too often."""

import http.client
import json
import time

import grpc
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.message_factory import GetMessageClass

from lanner.v1 import detection_pb2 as words
from lanner.v1 import detection_service_pb2 as pb
from lanner.v1 import detection_service_pb2_grpc as pb_grpc
from lanner.v1 import upload_service_pb2 as upload_pb
from lanner.v1 import upload_service_pb2_grpc as upload_grpc
from server.database.engine import Database
from server.options import ServeOptions
from server.run import start
from server.services import SERVICES
from server.tokens import TokenStore
from server.uploads import UploadLimits
from tests.fixtures_points import WORK, scenes

__all__ = ["scenes"]

FIXED = "fixed0123456789abcdef0123456789abcdef"


@pytest.fixture
def guarded(scenes, tmp_path):
    """In this process; `store` makes tokens for it."""
    options = ServeOptions(
        port=0,
        http_port=0,
        roots=(scenes,),
        data=tmp_path / "data",
        token=FIXED,
        uploads=UploadLimits(size=1000),
        max_client_detections=2,
        max_client_streams=3,
        per_device=8,
    )
    database = Database(f"sqlite:///{tmp_path}/data/jobs.sqlite")
    store = TokenStore(database)
    running = start(WORK, options)
    yield running, store
    running.stop(0)
    database.close()


def metadata(token):
    """Of a call over gRPC with a token."""
    return [("authorization", f"Bearer {token}")]


def grpc_code(address, method, message, authorization=None):
    """The status of a call of any method, by its descriptor."""
    sent_with = [] if authorization is None else [("authorization", authorization)]
    kind = "stream" if method.client_streaming else "unary"
    back = "stream" if method.server_streaming else "unary"
    with grpc.insecure_channel(address) as channel:
        call = getattr(channel, f"{kind}_{back}")(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=lambda one: one.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        sent = iter([message]) if method.client_streaming else message
        try:
            found = call(sent, metadata=sent_with, timeout=30)
            if method.server_streaming:
                list(found)
        except grpc.RpcError as error:
            return error.code().name
    return "OK"


def http_status(running, verb, path, body=None, token=None, **headers):
    host, port = running.http_address.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    if token is not None:
        headers["Authorization"] = token
    connection.request(verb, path, body, headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


METHODS = [method for service in SERVICES for method in service.methods]
PATHS = [
    ("GET", "/v1/detectors"),
    ("GET", "/v1/detectors/points"),
    ("POST", "/v1/plans"),
    ("POST", "/v1/detections"),
    ("GET", "/v1/operations"),
    ("GET", "/v1/operations/x"),
    ("DELETE", "/v1/operations/x"),
    ("POST", "/v1/operations/x:wait"),
    ("POST", "/v1/operations/x:cancel"),
    ("GET", "/v1/operations/x:watch"),
    ("GET", "/v1/operations/x/result"),
    ("POST", "/v1/uploads"),
    ("GET", "/v1/uploads/x"),
    ("HEAD", "/v1/uploads/x"),
    ("PATCH", "/v1/uploads/x"),
    ("DELETE", "/v1/uploads/x"),
]


def test_no_method_answers_a_token_that_is_none(guarded):
    running, store = guarded
    made, text = store.new("ann", "admin", None)
    _, expired = store.new("ann", "admin", 0.01)
    gone, revoked = store.new("ann", "admin", None)
    store.revoke(gone.id)
    other, _ = store.new("bob", "read", None)
    secret = text.removeprefix(f"lanner_{made.id}_")
    time.sleep(0.05)
    for forged in (
        None,
        "Bearer",
        "Bearer ",
        f"Basic {text}",
        text,
        f"Bearer {text[:-1]}",
        f"Bearer {text}x",
        f"Bearer {text.upper()}",
        f"Bearer {expired}",
        f"Bearer {revoked}",
        f"Bearer lanner_{other.id}_{secret}",
        f"Bearer lanner_{made.id}_",
        f"Bearer lanner_' OR 1=1 --_{secret}",
        f"Bearer {FIXED[:-1]}",
    ):
        for method in METHODS:
            message = GetMessageClass(method.input_type)()
            code = grpc_code(running.address, method, message, forged)
            assert code == "UNAUTHENTICATED", (method.full_name, forged)
        for verb, path in PATHS:
            body = "{}" if verb == "POST" else None
            assert http_status(running, verb, path, body, forged) == 401, (verb, path, forged)
    assert http_status(running, "GET", "/v1/detectors", token=f"Bearer {text}") == 200
    assert http_status(running, "GET", "/v1/detectors", token=f"bearer {FIXED}") == 200


def test_a_role_that_is_too_small_is_refused(guarded):
    running, store = guarded
    _, text = store.new("ann", "read", None)
    writes = {
        "PlanDetection",
        "Detect",
        "SubmitDetection",
        "CancelOperation",
        "DeleteOperation",
        *(one.name for one in SERVICES[2].methods),
    }
    token = f"Bearer {text}"
    for method in METHODS:
        code = grpc_code(running.address, method, GetMessageClass(method.input_type)(), token)
        assert (code == "PERMISSION_DENIED") == (method.name in writes), method.full_name
    for verb, path in PATHS:
        reads = (verb == "GET" and "uploads" not in path) or path.endswith(":wait")
        status = http_status(running, verb, path, "{}" if verb == "POST" else None, token)
        assert (status == 403) == (not reads), (verb, path)


def test_what_is_too_large_is_refused(guarded):
    running, _ = guarded
    token = f"Bearer {FIXED}"
    large = "x" * (5 << 20)
    plan = next(one for one in METHODS if one.name == "PlanDetection")
    spec = words.DetectionSpec(scene=words.SceneSource(uri=large))
    message = pb.PlanDetectionRequest(spec=spec)
    assert grpc_code(running.address, plan, message, token) == "RESOURCE_EXHAUSTED"
    body = json.dumps({"spec": {"scene": {"uri": large}}})
    assert http_status(running, "POST", "/v1/plans", body, token) == 400

    create = next(one for one in METHODS if one.name == "CreateUpload")
    asked = upload_pb.CreateUploadRequest(size=1001)
    assert grpc_code(running.address, create, asked, token) == "INVALID_ARGUMENT"
    for size in ("1001", str(1 << 62), "0", "-1"):
        status = http_status(running, "POST", "/v1/uploads", f'{{"size": "{size}"}}', token)
        assert status == 400
    with grpc.insecure_channel(running.address) as channel:
        name = (
            upload_grpc.UploadServiceStub(channel)
            .CreateUpload(upload_pb.CreateUploadRequest(size=10), metadata=metadata(FIXED))
            .name
        )
    status = http_status(
        running, "PATCH", f"/v1/{name}", b"x" * 11, token, **{"Upload-Offset": "0"}
    )
    assert status == 409
    assert http_status(running, "GET", "/v1/detectors", token=token) == 200


SLOW = words.DetectionSpec(
    scene=words.SceneSource(uri="slow.tif"), detector=words.DetectorChoice(name="points")
)


def opened(stub, count, token):
    """Calls of detections that have begun."""
    request = pb.DetectRequest(spec=SLOW)
    calls = [stub.Detect(request, metadata=metadata(token)) for _ in range(count)]
    for one in calls:
        next(one)
    return calls


def test_one_client_does_not_take_all_streams(guarded):
    running, store = guarded
    ann, bob = (store.new(name, "run", None)[1] for name in ("ann", "bob"))
    with grpc.insecure_channel(running.address) as channel:
        stub = pb_grpc.DetectionServiceStub(channel)
        operations = operations_pb2_grpc.OperationsStub(channel)
        anns = metadata(ann)
        calls = opened(stub, 2, ann)
        with pytest.raises(grpc.RpcError) as caught:
            opened(stub, 1, ann)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        # Of another kind it may have one more, and then none.
        job = stub.SubmitDetection(pb.SubmitDetectionRequest(spec=SLOW), metadata=anns).name
        watch = stub.Watch(pb.WatchRequest(name=job), metadata=anns)
        next(watch)
        for other in (
            stub.Watch(pb.WatchRequest(name=job), metadata=anns),
            stub.GetResult(pb.GetResultRequest(name=job), metadata=anns),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                next(other)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        status = http_status(running, "GET", f"/v1/{job}:watch", token=f"Bearer {ann}")
        assert status == 429
        calls += opened(stub, 2, bob)
        asked = operations_pb2.GetOperationRequest(name=job)
        assert not operations.GetOperation(asked, metadata=anns).done
        for one in (*calls, watch):
            one.cancel()
        until = time.monotonic() + 20
        while True:
            try:
                again = opened(stub, 2, ann)
                break
            except grpc.RpcError as error:
                assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                assert time.monotonic() < until
                time.sleep(0.1)
        for one in again:
            one.cancel()
        operations.DeleteOperation(operations_pb2.DeleteOperationRequest(name=job), metadata=anns)
