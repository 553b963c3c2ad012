"""Who is let in: tokens and their roles, over both doors."""

import http.client
import json
import os
import stat
import time
import urllib.request

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from typer.testing import CliRunner

import lanner
from lanner.cli.app import app
from lanner.core.errors import (
    AccessError,
    AuthenticationError,
    Cancelled,
    ConfigError,
    UnknownOperationError,
)
from server.database.engine import Database
from server.options import ServeOptions
from server.run import start
from server.tokens import TokenStore, token_of
from tests.fixtures_points import WORK, scenes

__all__ = ["scenes"]

FIXED = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def store(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/data/jobs.sqlite")
    yield TokenStore(database)
    database.close()


@pytest.fixture
def server(scenes, tmp_path, store):
    options = ServeOptions(
        port=0, http_port=0, roots=(scenes,), data=tmp_path / "data", token=FIXED
    )
    server = start(WORK, options)
    yield server
    server.stop(0)


def http_status(server, path, token=None, verb="GET", body=None):
    host, port = server.http_address.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    connection.request(verb, path, body, headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_a_token_is_kept_as_its_checksum_and_works_until_it_is_revoked(store, tmp_path):
    made, text = store.new("ann", "run", 60)
    assert text not in (tmp_path / "data/jobs.sqlite").read_bytes().decode("latin-1")
    assert text.rpartition("_")[2] not in (tmp_path / "data/jobs.sqlite").read_bytes().decode(
        "latin-1"
    )
    assert (store.caller(text).client, store.caller(text).role) == ("ann", "run")
    wrong = text[:-1] + ("a" if text[-1] != "a" else "b")
    for other in (wrong, text[7:], "", "lanner_", f"lanner_{made.id}", "x" * 5000, "lanner_é_é"):
        assert store.caller(other) is None
    assert store.revoke(made.id) and not store.revoke(made.id)
    assert TokenStore(store._database).caller(text) is None
    _, short = store.new("ann", "run", 0.05)
    time.sleep(0.1)
    assert store.caller(short) is None
    with pytest.raises(ConfigError):
        store.new("", "run", None)


def test_roles_may_do_what_those_below_may(server, store):
    tokens = {role: store.new(role, role, None)[1] for role in ("read", "run", "review", "admin")}
    body = json.dumps({"spec": {"scene": {"uri": "few.tif"}, "detector": {"name": "points"}}})
    for token, reads, runs in (
        (None, 401, 401),
        ("wrong", 401, 401),
        (tokens["read"], 200, 403),
        (tokens["run"], 200, 200),
        (tokens["review"], 200, 200),
        (tokens["admin"], 200, 200),
        (FIXED, 200, 200),
    ):
        assert http_status(server, "/v1/detectors", token) == reads
        assert http_status(server, "/v1/detections", token, "POST", body) == runs
        assert http_status(server, "/v1/plans", token, "POST", body) == runs
        assert http_status(server, "/v1/uploads", token, "POST", '{"size": 5}') == runs
        assert http_status(server, "/v1/uploads/x", token, "HEAD") == (404 if runs == 200 else runs)
    assert http_status(server, "/healthz") == http_status(server, "/readyz") == 200
    for token, error in ((None, AuthenticationError), ("no", AuthenticationError)):
        with lanner.Client(server.address, token=token) as client:
            with pytest.raises(error):
                client.detectors()
            with pytest.raises(error):
                client.detect("few.tif", "points")
            with pytest.raises(error):
                client.submit("few.tif", "points")
    with lanner.Client(server.address, token=tokens["read"]) as client:
        assert [one.name for one in client.detectors()] == ["points"]
        with pytest.raises(AccessError):
            client.detect("few.tif", "points")
    with lanner.Client(server.address, token=tokens["run"]) as client:
        assert len(client.detect("few.tif", "points").features) == 3
    with grpc.insecure_channel(server.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        assert health.Check(health_pb2.HealthCheckRequest()).status == 1


def test_clients_do_not_see_one_another(server, store):
    ann, bob = (store.new(name, "run", None)[1] for name in ("ann", "bob"))
    with (
        lanner.Client(server.address, token=ann) as one,
        lanner.Client(server.address, token=bob) as other,
    ):
        operation = one.submit("few.tif", "points", request_id="same")
        assert other.submit("few.tif", "points", request_id="same").name != operation.name
        assert operation.name not in [each.name for each in other.operations()]
        with pytest.raises(UnknownOperationError):
            other.operation(operation.name)
        assert len(operation.result(20).features) == 3


def test_an_admin_sees_and_ends_everybodys(server, store):
    _, ann = store.new("ann", "run", None)
    _, root = store.new("root", "admin", None)
    with lanner.Client(server.address, token=ann) as client:
        name = client.submit("slow.tif", "points").name
    with lanner.Client(server.address, token=root) as client:
        assert name in [one.name for one in client.operations()]
        operation = client.operation(name)
        assert metadata_of(server, name, root)["client"] == "ann"
        operation.cancel()
        with pytest.raises(Cancelled):
            operation.result(30)
        operation.delete()
        assert name not in [one.name for one in client.operations()]
        assert len(client.submit("few.tif", "points").result(30).features) == 3


def metadata_of(server, name, token):
    with urllib.request.urlopen(
        urllib.request.Request(
            f"http://{server.http_address}/v1/{name}", headers={"Authorization": f"Bearer {token}"}
        )
    ) as answer:
        return json.load(answer)["metadata"]


def test_tokens_are_not_in_the_log(server, store, caplog):
    _, text = store.new("ann", "read", None)
    http_status(server, "/v1/detectors", text)
    http_status(server, "/v1/detectors", text + "x")
    assert text not in caplog.text


def test_the_token_of_a_file(tmp_path):
    path = tmp_path / "token"
    text = token_of(path)
    assert len(text) >= 43 and token_of(path) == text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    os.chmod(path, 0o644)
    with pytest.raises(ConfigError, match="others"):
        token_of(path)
    os.chmod(path, 0o600)
    path.write_text("short")
    with pytest.raises(ConfigError):
        token_of(path)


def test_the_command(tmp_path):
    run = CliRunner()
    data = ["--data", str(tmp_path / "data")]
    made = run.invoke(app, ["token", "new", "ann", "--role", "read", "--days", "3", *data])
    assert made.exit_code == 0, made.output
    text = made.stdout.strip()
    listed = json.loads(run.invoke(app, ["token", "list", "--json", *data]).stdout)
    assert [(one["client"], one["role"]) for one in listed] == [("ann", "read")]
    assert text not in json.dumps(listed)
    database = Database(f"sqlite:///{tmp_path}/data/jobs.sqlite")
    assert TokenStore(database).caller(text).client == "ann"
    assert run.invoke(app, ["token", "revoke", listed[0]["id"], *data]).exit_code == 0
    assert TokenStore(database).caller(text) is None
    database.close()
    assert run.invoke(app, ["token", "revoke", "none", *data]).exit_code == 14
    assert "ann" in run.invoke(app, ["token", "list", *data]).stdout
