"""A client that knows /openapi.json alone: whatever it sends, answers are those documented there.

LANNER_FULL=1 sends ten times as much, other requests each time.
"""

import json
import os
import subprocess

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from lanner import __version__
from server.http.openapi import document
from server.http.rules import rules_of
from server.http.uploads import OPERATIONS
from server.results import FORMATS
from server.services import SERVICES
from server.uploads import UploadLimits
from tests.fixtures_points import scenes, server_command
from tests.server.http.test_http import SPEC, Page

__all__ = ["scenes"]

FULL = os.environ.get("LANNER_FULL") == "1"
HANG_S = 20
"""No request of these waits for anything: what takes so long hangs."""

DOCUMENT = document(rules_of(SERVICES), __version__, OPERATIONS)
documented = schemathesis.openapi.from_dict(DOCUMENT)


class Server(Page):
    """A page that has what can be asked about."""

    def __init__(self, address):
        super().__init__(address)
        self._kept = {}

    def id_of(self, kind, verb):
        """Of an operation that has ended or an upload; one of its own for what deletes it."""
        if kind == "name":
            return "points"
        make = {"operation": self.operation, "upload": self.upload}[kind]
        if verb == "DELETE":
            return make()
        if kind not in self._kept:
            self._kept[kind] = make()
        return self._kept[kind]

    def operation(self):
        name = self.submit("few.tif")
        self.wait(name)
        return name.removeprefix("operations/")

    def upload(self):
        status, upload = self.ask("POST", "/v1/uploads", {"size": 1000})
        assert status == 200
        return upload["name"].removeprefix("uploads/")


@pytest.fixture(scope="module")
def server(scenes, tmp_path_factory):
    # Uploads that are small enough for any disk: one that is full is a documented 507.
    options = {"port": 0, "http_port": 0, "uploads": UploadLimits(size=10_000)}
    command = server_command(scenes, tmp_path_factory.mktemp("data"), **options)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        _, address = process.stdout.readline(), process.stdout.readline()
        yield Server(address.strip())
        assert process.poll() is None
        process.terminate()
        assert process.wait(HANG_S) == 0


def test_the_server_says_of_itself_what_the_tests_below_go_by(server):
    assert server.ask("GET", "/openapi.json") == (200, DOCUMENT)


@documented.parametrize()
@settings(
    max_examples=150 if FULL else 15,
    derandomize=not FULL,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@pytest.mark.timeout(1500 if FULL else 300)
def test_answers_are_those_documented(case, server):
    check(case, server)
    if aim(case, server):
        check(case, server)


def check(case, server):
    # Fields say more in words than their types do, such as the range of a priority: what
    # schemathesis would have accepted is looked at below.
    without = [positive_data_acceptance]
    if has_null(case.body):
        # In proto3 JSON null is a field that is not set, and no schema that people read says so.
        without.append(negative_data_rejection)
    address = f"http://{server.address}"
    response = case.call_and_validate(address, timeout=HANG_S, excluded_checks=without)
    if case.meta.generation.mode is GenerationMode.POSITIVE and response.status_code in (400, 422):
        details = {one["@type"].rpartition(".")[2]: one for one in response.json()["details"]}
        # What fits its schema is never refused as a whole, only for one of its fields.
        assert details["ErrorInfo"]["metadata"]["argument"] not in ("body", "query"), details


def aim(case, server):
    """Ask about what is there; whether the case says more so."""
    before = repr((case.path_parameters, case.body))
    for kind in case.path_parameters:
        case.path_parameters[kind] = server.id_of(kind, case.method)
    is_positive = case.meta.generation.mode is GenerationMode.POSITIVE
    if is_positive and isinstance(case.body, dict) and "spec" in case.body:
        case.body["spec"].update(SPEC, scene={"uri": "few.tif"})
    return repr((case.path_parameters, case.body)) != before


def has_null(value):
    if isinstance(value, dict | list):
        return any(map(has_null, value.values() if isinstance(value, dict) else value))
    return value is None


def test_events_hold_the_message_that_is_documented(server):
    watch = DOCUMENT["paths"]["/v1/operations/{operation}:watch"]["get"]
    event = watch["responses"]["200"]["content"]["text/event-stream"]["schema"]
    schema = {**event["properties"]["data"]["contentSchema"], "components": DOCUMENT["components"]}
    name = f"operations/{server.id_of('operation', 'GET')}"
    events = [data for _, _, data in server.events(name, "?previews=true")]
    assert [key for one in events for key in one] == ["cursor", "features", "operation"]
    for one in events:
        jsonschema.validate(one, schema, jsonschema.Draft202012Validator)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"feature": {}}, schema, jsonschema.Draft202012Validator)


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_results_are_of_a_type_that_is_documented(server, form):
    result = DOCUMENT["paths"]["/v1/operations/{operation}/result"]["get"]
    name = f"operations/{server.id_of('operation', 'GET')}"
    connection, response = server.raw("GET", f"/v1/{name}/result?format={form}")
    assert response.status == 200
    assert response.headers["content-type"] in result["responses"]["200"]["content"]
    connection.close()


@pytest.mark.parametrize(
    ("verb", "path", "allowed"),
    [
        ("PUT", "/v1/detectors", "GET"),
        ("TRACE", "/v1/uploads/none", "DELETE, GET, HEAD, PATCH"),
        ("DELETE", "/v1/operations/none:watch", "GET"),
        ("DELETE", "/v1/operations/none/result", "GET"),
        ("POST", "/healthz", "GET, HEAD"),
    ],
)
def test_a_verb_that_is_none_of_a_path_is_told_the_others(server, verb, path, allowed):
    connection, response = server.raw(verb, path)
    assert (response.status, response.headers["allow"]) == (405, allowed)
    assert json.loads(response.read())["code"] == 12
    connection.close()
