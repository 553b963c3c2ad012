"""A server that runs while the default of its detector changes; requests that name a release."""

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import lanner
from detectors import install
from lanner.core.errors import ConfigError, UnknownDetectorError
from tests.fixtures_releases import release_beside

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory, pictures):
    folder = tmp_path_factory.mktemp("scenes")
    pictures.write_tif(folder / "town.tif", pictures.texture(60, 60))
    pictures.write_tif(folder / "county.tif", pictures.texture(2400, 2400))
    return folder


@pytest.fixture(scope="module")
def home(tiny_home, tmp_path_factory):
    """`LANNER_HOME` with tiny 1.0.0 and 1.1.0, which finds less."""
    folder = tmp_path_factory.mktemp("releases") / "home"
    shutil.copytree(tiny_home, folder)
    release_beside(folder, "1.1.0", fusion={"min_score": 0.4})
    return folder


@pytest.fixture(scope="module")
def server(home, scenes, tmp_path_factory):
    """Its addresses over gRPC and HTTP."""
    ready = tmp_path_factory.mktemp("ready") / "ready.json"
    words = ["--port", "0", "--http-port", "0", "--root", str(scenes), "--ready-file", str(ready)]
    words += ["--device", "cpu", "--warm", "tiny"]
    process = subprocess.Popen(
        [sys.executable, "-m", "lanner", "serve", *words],
        env={
            **os.environ,
            "LANNER_HOME": str(home),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        },
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if '"event": "prepared"' in line:
            break
    facts = json.loads(ready.read_text())
    yield facts
    process.send_signal(signal.SIGTERM)
    process.stderr.read()
    assert process.wait(60) == 0


@pytest.fixture
def client(server, home):
    with lanner.Client(server["grpc"]) as one:
        yield one
    (home / "weights" / "tiny" / "default.yaml").unlink(missing_ok=True)


def release_of(found):
    return found.summary["detector"]["release"]


def offers(client):
    return {one.name: one for one in client.detectors()}


def http_get(server, path):
    with urllib.request.urlopen(f"{server['http']}{path}") as answer:
        return json.loads(answer.read())


def test_a_running_server_has_the_new_default_and_the_old_one_again(client, home):
    assert offers(client)["tiny"].release == "1.0.0"
    assert offers(client)["tiny"].releases == ("1.1.0", "1.0.0")
    before = client.detect("town.tif", "tiny")
    assert release_of(before) == "1.0.0"
    install.set_default(home, "tiny@1.1.0")
    after = client.detect("town.tif", "tiny")
    assert (release_of(after), offers(client)["tiny"].release) == ("1.1.0", "1.1.0")
    assert len(after) < len(before)
    install.roll_back(home, "tiny")
    assert client.detect("town.tif", "tiny").features == before.features


def test_a_request_names_a_release(client, home):
    for number in ("1.1.0", "1.0.0"):
        assert release_of(client.detect("town.tif", f"tiny@{number}")) == number
    members = client.detect("town.tif", "tiny@1.1.0", members=["boxes"])
    assert members.summary["detector"]["members"] == ["boxes"]
    with pytest.raises(ConfigError):
        client.detect("town.tif", "tiny@1.1.0", members=["none"])
    assert offers(client).keys() == {"tiny", "tinyroads"}


@pytest.mark.parametrize(
    "name",
    [
        "tiny@2.0.0",
        "tiny@",
        "tinny@1.0.0",
        "tiny@../tiny/1.1.0",
        "tiny@/../../configs/tiny.yaml",
        "tinyroads@1.1.0",
    ],
)
def test_a_release_that_is_not_there_is_told(client, name):
    with pytest.raises(UnknownDetectorError):
        client.detect("town.tif", name)


def test_a_release_that_is_put_there_while_it_runs_can_be_asked_for(client, home, tmp_path):
    made = release_beside(home, "1.2.0", tile=160)
    source = shutil.move(made, tmp_path / "new")
    with pytest.raises(UnknownDetectorError):
        client.detect("town.tif", "tiny@1.2.0")
    install.add(home, source)
    assert offers(client)["tiny"].releases == ("1.2.0", "1.1.0", "1.0.0")
    assert release_of(client.detect("town.tif", "tiny@1.2.0")) == "1.2.0"
    install.remove(home, "tiny@1.2.0")
    with pytest.raises(UnknownDetectorError):
        client.detect("town.tif", "tiny@1.2.0")


def test_http_describes_the_default_and_each_release(client, server, home):
    install.set_default(home, "tiny@1.1.0")
    whole = http_get(server, "/v1/detectors/tiny")
    assert (whole["name"], whole["version"]) == ("tiny", "1.1.0")
    assert whole["releases"] == ["1.1.0", "1.0.0"]
    for at in ("@", "%40"):
        one = http_get(server, f"/v1/detectors/tiny{at}1.0.0")
        assert (one["name"], one["version"]) == ("tiny@1.0.0", "1.0.0")
        assert json.loads(one["propertiesSchema"])["type"] == "object"
    with pytest.raises(urllib.error.HTTPError) as caught:
        http_get(server, "/v1/detectors/tiny@3.0.0")
    assert caught.value.code == 404


def test_a_job_in_line_has_the_default_of_when_it_begins(client, home):
    # Two at a time are at work.
    busy = [client.submit("county.tif", "tiny") for _ in range(2)]
    try:
        waiting = client.submit("town.tif", "tiny")
        named = client.submit("town.tif", "tiny@1.0.0")
        install.set_default(home, "tiny@1.1.0")
    finally:
        for one in busy:
            one.cancel()
    assert release_of(waiting.result()) == "1.1.0"
    assert release_of(named.result()) == "1.0.0"
