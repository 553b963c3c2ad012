"""`lanner detect --server` does what the command does alone."""

import json
import socket
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import lanner
from lanner.cli.app import app
from lanner.inference.pipeline import detect, list_detectors
from lanner.inference.registry import describe_release
from server.options import ServeOptions
from server.run import start
from server.work import Work
from tests.fixtures_releases import two_releases
from tests.server.test_client_operations import server_process

__all__ = ["two_releases"]

pytestmark = pytest.mark.usefixtures("at_home")
TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def server(tmp_path, at_home):
    (tmp_path / "there").mkdir()
    options = ServeOptions(port=0, roots=(tmp_path / "there",), token=TOKEN)
    server = start(Work(detect, list_detectors, release=describe_release), options)
    yield server
    server.stop(0)


def run(*words):
    return CliRunner().invoke(app, ["detect", *map(str, words)], env={"LANNER_TOKEN": TOKEN})


def test_a_release_is_asked_for_by_its_number(server, tmp_path, pictures, two_releases):
    scene = pictures.write_tif(tmp_path / "scene.tif", pictures.texture(150, 170, seed=3))
    far = ["--json", "-q", "--server", server.address]
    for name, release in (("tiny", "1.0.0"), ("tiny@1.1.0", "1.1.0"), ("tiny@1.0.0", "1.0.0")):
        found = run(scene, "-d", name, "-o", tmp_path / "a.geojson", *far)
        assert found.exit_code == 0, found.output
        assert json.loads(found.stdout)["detector"]["release"] == release
    none = run(scene, "-d", "tiny@7.0.0", "-o", tmp_path / "a.geojson", *far)
    assert none.exit_code == 15 and "1.1.0" in none.output


def test_the_same_file_and_the_same_words(server, tmp_path, pictures):
    scene = pictures.write_tif(tmp_path / "scene.tif", pictures.texture(150, 170, seed=3))
    here, there = tmp_path / "here.geojson", tmp_path / "there.geojson"
    alone = run(scene, "-d", "tiny", "-o", here, "--json", "-q")
    remote = run(
        scene, "-d", "tiny", "-o", there, "-o", tmp_path / "it.gpkg", "--json", "-q",
        "--server", server.address,
    )  # fmt: skip
    assert remote.exit_code == 0, remote.output
    assert there.read_bytes() == here.read_bytes()
    assert (tmp_path / "it.gpkg").stat().st_size > 0
    one, other = json.loads(alone.stdout), json.loads(remote.stdout)
    assert one["features_sha256"] == other["features_sha256"]
    pictures.write_tif(tmp_path / "there" / "theirs.tif", pictures.texture(150, 170, seed=3))
    found = run("theirs.tif", "-d", "tiny", "-o", there, "-q", "--server", server.address)
    assert found.exit_code == 0, found.output


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--run", "x.run"], 14),
        (["--gsd", "auto"], 14),
        (["--token", "wrong-wrong-wrong-wrong"], 29),
        (["-d", "none"], 15),
    ],
)
def test_what_a_server_does_not_do_is_told(server, tmp_path, pictures, words, code, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scene = pictures.write_tif(tmp_path / "scene.tif", pictures.texture(64, 64))
    given = [] if "-d" in words else ["-d", "tiny"]
    done = run(scene, *given, "-o", tmp_path / "a.geojson", "--server", server.address, *words)
    assert done.exit_code == code, done.output
    assert not (tmp_path / "a.geojson").exists()


def test_a_server_that_is_started_again_is_waited_for_and_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "there").mkdir()
    scene, out, data = tmp_path / "mine.tif", tmp_path / "a.geojson", tmp_path / "data"
    scene.write_text('{"count": 40, "each_s": 0.1}')
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    words = [sys.executable, "-m", "lanner", "detect", scene, "-d", "points", "-o", out]
    words += ["--json", "--server", f"127.0.0.1:{port}"]
    with server_process(tmp_path / "there", data, port) as process:
        command = subprocess.Popen(
            [str(word) for word in words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        line = ""
        while "detect" not in line:  # the work has begun
            line = command.stderr.readline()
            assert line
        process.kill()
        process.wait()
    with server_process(tmp_path / "there", data, port):
        shown, errors = command.communicate(timeout=120)
        assert command.returncode == 0, shown + errors
        with lanner.Client(f"127.0.0.1:{port}") as client:
            assert [one.attempts for one in client.operations()] == [2]
    assert len(json.loads(out.read_text())["features"]) == 40
    assert list((data / "uploads").iterdir()) == []
