"""The HTTP twin: the same calls as over gRPC, asked for by a client that knows HTTP alone."""

import http.client
import json
import logging
import time
from contextlib import contextmanager

import grpc
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf import json_format

from lanner.v1 import detection_service_pb2 as pb
from lanner.v1 import detection_service_pb2_grpc as pb_grpc
from server.options import ServeOptions
from server.run import start
from tests.fixtures_points import PROPERTIES, WORK, scenes

__all__ = ["scenes"]

SPEC = {"scene": {"uri": "few.tif"}, "detector": {"name": "points"}}


class Page:
    """A connection to one server."""

    def __init__(self, address):
        self.address = address

    def raw(self, verb, path, body=None, **headers):
        host, port = self.address.rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        sent = None if body is None else body if isinstance(body, bytes) else json.dumps(body)
        connection.request(verb, path, sent, headers)
        return connection, connection.getresponse()

    def ask(self, verb, path, body=None, **headers):
        connection, response = self.raw(verb, path, body, **headers)
        text = response.read()
        connection.close()
        return response.status, json.loads(text) if text else None

    def submit(self, scene, **fields):
        spec = {**SPEC, "scene": {"uri": scene}}
        status, operation = self.ask("POST", "/v1/detections", {"spec": spec, **fields})
        assert status == 200, operation
        return operation["name"]

    def wait(self, name):
        status, operation = self.ask("POST", f"/v1/{name}:wait", {"timeout": "20s"})
        assert (status, operation["done"]) == (200, True)
        return operation

    def events(self, name, query="", **headers):
        """The server-sent events of an operation: cursor (or None), kind and JSON."""
        connection, response = self.raw("GET", f"/v1/{name}:watch{query}", **headers)
        assert response.status == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        try:
            yield from iter(lambda: self._block(response), None)
        finally:
            connection.close()

    def _block(self, response):
        lines = []
        while line := response.readline().decode().rstrip("\n"):
            lines.append(line.split(": ", 1))
        fields = dict(lines)
        if not fields:
            return None
        return fields.get("id"), fields.get("event"), json.loads(fields["data"])


@contextmanager
def serving(scenes, **options):
    options = ServeOptions(port=0, http_port=0, roots=(scenes,), **options)
    server = start(WORK, options)
    try:
        yield server
    finally:
        server.stop(0)


@pytest.fixture(scope="module")
def server(scenes):
    with serving(scenes) as found:
        yield found


@pytest.fixture
def page(server):
    return Page(server.http_address)


def test_a_detection_from_its_request_to_its_files(page):
    assert page.ask("GET", "/v1/detectors")[1]["detectors"][0]["name"] == "points"
    status, detector = page.ask("GET", "/v1/detectors/points")
    assert (status, json.loads(detector["propertiesSchema"])) == (200, PROPERTIES)
    status, plan = page.ask("POST", "/v1/plans", {"spec": SPEC})
    assert plan == {
        "tiles": "3",
        "megapixels": 1.5,
        "readBytes": "100",
        "workTime": "2.250s",
        "memoryBytes": "1000",
        "notes": ["A note."],
    }
    name = page.submit("few.tif")
    operation = page.wait(name)
    assert operation["response"]["summary"]["featureCount"] == "3"
    assert page.ask("GET", f"/v1/{name}")[1] == operation
    for form, kind, start_of in (
        ("geojson", "application/geo+json", b'{"type"'),
        ("gpkg", "application/geopackage+sqlite3", b"SQLite format 3"),
        ("parquet", "application/vnd.apache.parquet", b"PAR1"),
    ):
        connection, response = page.raw("GET", f"/v1/{name}/result?format={form}")
        assert (response.status, response.headers["content-type"]) == (200, kind)
        assert response.read().startswith(start_of)
        connection.close()
    names = [
        one["name"] for one in page.ask("GET", "/v1/operations?pageSize=1000")[1]["operations"]
    ]
    assert name in names
    assert page.ask("DELETE", f"/v1/{name}") == (200, {})
    assert page.ask("GET", f"/v1/{name}")[0] == 404


def test_both_doors_answer_alike(server, page):
    name = page.submit("few.tif")
    page.wait(name)
    with grpc.insecure_channel(server.address) as channel:
        detections = pb_grpc.DetectionServiceStub(channel)
        operations = operations_pb2_grpc.OperationsStub(channel)
        asked = operations_pb2.GetOperationRequest(name=name)
        for path, message in (
            ("/v1/detectors", detections.ListDetectors(pb.ListDetectorsRequest())),
            ("/v1/detectors/points", detections.GetDetector(pb.GetDetectorRequest(name="points"))),
            (f"/v1/{name}", operations.GetOperation(asked)),
        ):
            assert page.ask("GET", path) == (200, json_format.MessageToDict(message))
        over_grpc = list(detections.Watch(pb.WatchRequest(name=name)))
        over_http = [event for _, _, event in page.events(name)]
        assert over_http == [json_format.MessageToDict(one) for one in over_grpc]


def test_events_while_it_runs_and_previews_are_replaced(page):
    name = page.submit("slow.tif")
    kinds, drawn = [], []
    for _, _, event in page.events(name, "?previews=true"):
        kinds.append(next(key for key in event if key != "cursor"))
        if "preview" in event:
            drawn += [one["id"] for one in event["preview"]["features"]]
        if len(drawn) > 5:
            break
    assert kinds[0] == "progress"
    assert drawn == [f"preview-{k}" for k in range(len(drawn))]
    assert page.ask("POST", f"/v1/{name}:cancel", {}) == (200, {})
    events = list(page.events(name))
    assert events[-1][2]["operation"]["error"]["code"] == grpc.StatusCode.CANCELLED.value[0]


def test_a_watch_that_is_cut_gives_every_feature_once(page):
    name = page.submit("many.tif")
    found, cursor, cuts = [], None, 0
    while True:
        headers = {} if cursor is None else {"Last-Event-ID": cursor}
        ended = False
        for count, (identity, _, event) in enumerate(page.events(name, **headers)):
            if "features" in event:
                found += [one["id"] for one in event["features"]["features"]]
                cursor = identity
            ended = "operation" in event
            if count and "features" in event and cuts < 50:
                break
        if ended:
            break
        cuts += 1
    assert found == [f"{k}" for k in range(30_000)]
    assert cuts >= 3


@pytest.mark.parametrize(
    ("verb", "path", "body", "status", "part"),
    [
        ("GET", "/v1/operations/none", None, 404, "UNKNOWN_OPERATION_ERROR"),
        ("GET", "/v1/detectors/pints", None, 404, "UNKNOWN_DETECTOR_ERROR"),
        ("POST", "/v1/detections", b"{", 400, "CONFIG_ERROR"),
        ("POST", "/v1/detections", b"\xff", 400, "CONFIG_ERROR"),
        ("POST", "/v1/detections", b"[" * 5000, 400, "CONFIG_ERROR"),
        ("POST", "/v1/detections", [], 400, "CONFIG_ERROR"),
        ("POST", "/v1/detections", {"spek": {}}, 400, "CONFIG_ERROR"),
        ("POST", "/v1/detections", {"spec": {**SPEC, "tile": "a"}}, 400, "CONFIG_ERROR"),
        ("POST", "/v1/detections", {"spec": {**SPEC, "gsd_m": -1}}, 422, "GSD_ERROR"),
        ("POST", "/v1/detections", {}, 404, "UNKNOWN_DETECTOR_ERROR"),
        ("GET", "/v1/detectors?pages=3", None, 400, "CONFIG_ERROR"),
        ("GET", "/v1/operations?page_size=many", None, 400, "CONFIG_ERROR"),
        ("GET", "/v1/operations/none:watch", None, 404, "UNKNOWN_OPERATION_ERROR"),
        ("GET", "/v1/operations/none/result", None, 404, "UNKNOWN_OPERATION_ERROR"),
    ],
)
def test_what_cannot_be_answered_says_why(page, verb, path, body, status, part):
    found, error = page.ask(verb, path, body)
    assert (found, error["details"][0]["reason"]) == (status, part), error
    assert error["details"][0]["@type"].endswith("google.rpc.ErrorInfo")


def test_paths_and_verbs_that_are_none(page):
    assert page.ask("GET", "/v1/nothing")[0] == 404
    connection, response = page.raw("DELETE", "/v1/detectors")
    assert (response.status, response.headers["allow"]) == (405, "GET")
    connection.close()
    connection, response = page.raw("POST", "/v1/detections", b"x" * (5 << 20))
    assert response.status == 400
    connection.close()


def test_a_stranger_from_another_page_is_refused(scenes, page):
    assert page.ask("GET", "/v1/detectors", Host="evil.example")[0] == 403
    assert page.ask("GET", "/v1/detectors", Origin="https://evil.example")[0] == 403
    assert page.ask("GET", "/v1/detectors", Origin=f"http://{page.address}")[0] == 200
    with serving(scenes, origins=("https://maps.example",)) as server:
        connection, response = Page(server.http_address).raw(
            "GET", "/v1/detectors", Origin="https://maps.example"
        )
        assert response.status == 200
        assert response.headers["access-control-allow-origin"] == "https://maps.example"
        connection.close()


def test_health_and_readiness(scenes):
    server = start(WORK, ServeOptions(port=0, http_port=0, roots=(scenes,)), prepared=False)
    try:
        page = Page(server.http_address)
        for path, status in (("/healthz", 200), ("/readyz", 503)):
            connection, response = page.raw("GET", path)
            assert response.status == status
            connection.close()
        server.prepared()
        connection, response = page.raw("GET", "/readyz")
        assert response.status == 200
        connection.close()
    finally:
        server.stop(0)


def test_the_description_holds_every_call_and_all_that_it_refers_to(page):
    _, api = page.ask("GET", "/openapi.json")
    assert api["openapi"] == "3.1.0"
    assert {
        "/v1/detectors",
        "/v1/detectors/{name}",
        "/v1/detections",
        "/v1/plans",
        "/v1/operations/{operation}",
        "/v1/operations/{operation}:cancel",
        "/v1/operations/{operation}:wait",
        "/v1/operations/{operation}:watch",
        "/v1/operations/{operation}/result",
    } <= set(api["paths"])
    text = json.dumps(api)
    for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in api["components"]["schemas"]
    connection, response = page.raw("GET", "/")
    shown = response.read().decode()
    assert response.status == 200 and "/openapi.json" in shown and "https://" not in shown
    connection.close()


def test_a_client_that_leaves_stops_its_call(page):
    ended = []

    class Kept(logging.Handler):
        def emit(self, record):
            fields = getattr(record, "fields", {})
            if fields.get("method") == "Watch":
                ended.append(fields["code"])

    log, kept = logging.getLogger("lanner.server"), Kept()
    level = log.level
    log.addHandler(kept)
    log.setLevel(logging.INFO)
    try:
        name = page.submit("slow.tif")
        readers = [page.events(name) for _ in range(20)]
        for one in readers:
            next(one)
        for one in readers:
            one.close()
        end = time.monotonic() + 10
        while len(ended) < 20 and time.monotonic() < end:
            time.sleep(0.05)
        assert ended == ["CANCELLED"] * 20
        page.ask("POST", f"/v1/{name}:cancel", {})
    finally:
        log.removeHandler(kept)
        log.setLevel(level)
