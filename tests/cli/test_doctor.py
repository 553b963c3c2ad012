"""`lanner doctor` says what is good and what is not, and of what is not what to do."""

import json
import socket

import pytest
from typer.testing import CliRunner

from lanner.cli.app import app
from server.database.engine import Database, default_url

pytestmark = pytest.mark.usefixtures("at_home")


def examined(*words):
    done = CliRunner().invoke(app, ["doctor", "--json", *map(str, words)])
    return done.exit_code, {one["what"]: one for one in json.loads(done.stdout)}


def test_a_sound_machine(tmp_path):
    Database(default_url(tmp_path)).close()
    code, found = examined("--data", tmp_path, "--port", 0)
    assert code == 0
    assert {"versions", "device", "tiny", "tinyroads", "--data", "database", "clock"} <= set(found)
    assert all(one["state"] != "bad" for one in found.values())
    assert "good" in CliRunner().invoke(app, ["doctor", "--data", str(tmp_path)]).stdout


def test_what_is_bad_is_told_with_its_remedy(tmp_path, at_home):
    weights = next((at_home / "weights" / "tiny").glob("*/boxes.safetensors"))
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-1] + b"?")
    try:
        code, found = examined("--data", tmp_path)
    finally:
        weights.write_bytes(kept)
    assert code == 1
    bad = [one for one in found.values() if one["state"] == "bad"]
    assert bad and all(one["remedy"] for one in bad)
    code, found = examined("--database", "sqlite:////dev/null/none.sqlite")
    assert code == 1 and any(one["state"] == "bad" for one in found.values())


def test_a_port_in_use_is_told(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        _, found = examined("--data", tmp_path, "--port", port)
    assert found[f"port {port}"]["state"] == "note" and found[f"port {port}"]["remedy"]
