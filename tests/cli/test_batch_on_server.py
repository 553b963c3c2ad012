"""`lanner batch --server` and `lanner plan --server` do what the commands do alone."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

import lanner
from lanner.archives import api
from lanner.archives.ledger import FILE, BatchLedger
from lanner.archives.one_scene import plan_detection
from lanner.cli.app import app
from lanner.client.batch_scenes import ServerScenes
from lanner.core.errors import Cancelled
from lanner.core.job import Cancel
from lanner.inference.pipeline import detect, list_detectors
from lanner.inference.registry import describe_release
from server.options import ServeOptions
from server.run import start
from server.work import Work
from tests.archives.fixtures_archive import BROKEN, contents, make_archive, own_cache
from tests.fixtures_releases import two_releases

__all__ = ["own_cache", "two_releases"]

pytestmark = pytest.mark.usefixtures("at_home", "own_cache")


@pytest.fixture(scope="module")
def archive(pictures, tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive") / "in", pictures, 3)


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    """Notes about uploads are kept here, not with those of the user."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def server(tmp_path, at_home):
    (tmp_path / "there").mkdir()
    options = ServeOptions(port=0, roots=(tmp_path / "there",), data=tmp_path / "data")
    work = Work(detect, list_detectors, plan_detection, release=describe_release)
    server = start(work, options)
    yield server
    server.stop(0)


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def uploads(tmp_path):
    return sorted(path.name for path in (tmp_path / "data" / "uploads").glob("*"))


def test_a_batch_of_a_server_has_the_bytes_of_one_that_was_run_here(server, archive, tmp_path):
    here, there = tmp_path / "here", tmp_path / "out"
    words = ["-d", "tiny", "-d", "tinyroads", "--format", "gpkg", "--format", "geojson"]
    words += ["--format", "fgb", "--format", "parquet"]
    assert run("batch", archive, *words, "-o", here, "-q").exit_code == 9
    far = ["--server", server.address]
    done = run("batch", archive, *words, "-o", there, "--json", *far)
    assert done.exit_code == 9, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert lines[-1]["states"] == {"done": 3, "failed": 2}
    failed = {line["scene"]: line["error"] for line in lines[:-1] if line["error"]}
    assert set(failed) <= {*BROKEN} and all(error["remedy"] for error in failed.values())
    assert contents(there) == contents(here)
    assert uploads(tmp_path) == []
    with lanner.Client(server.address) as client:
        before = [one.name for one in client.operations()]
        # Nothing is done again, here or there.
        assert run("batch", archive, *words, "-o", there, "-q", *far).exit_code == 9
        assert [one.name for one in client.operations()] == before
    # What a server has done stands where the batch goes on without it.
    with BatchLedger(there / FILE, None) as ledger:
        tried = {(one.scene.name, one.detector): one.attempts for one in ledger.records()}
    assert run("batch", archive, *words, "-o", there, "-q").exit_code == 9
    with BatchLedger(there / FILE, None) as ledger:
        assert tried == {(one.scene.name, one.detector): one.attempts for one in ledger.records()}


def test_a_batch_that_is_stopped_goes_on_with_what_was_submitted(server, archive, tmp_path):
    out, cancel = tmp_path / "out", Cancel()
    with lanner.Client(server.address) as client:
        scenes = ServerScenes(client, ["tiny"])
        options = {"formats": ["geojson"], "workers": 4, "run_scene": scenes}
        with pytest.raises(Cancelled):
            api.batch(
                archive, "tiny", out, **options, cancel=cancel, on_record=lambda _: cancel.set()
            )
        submitted = {one.name for one in client.operations()}
        assert submitted
        result = api.batch(archive, "tiny", out, **options)
        assert {one.scene.name for one in result.failed} == {*BROKEN}
        every = {one.name: one.state for one in client.operations()}
        assert submitted <= set(every)
        # Each good scene was submitted once; what failed may have been tried again.
        assert list(every.values()).count("succeeded") == 3
    assert uploads(tmp_path) == []
    assert not (out / "work").exists()


def test_what_failed_is_tried_again_on_request(server, archive, tmp_path):
    out, far = tmp_path / "out", ["--server", server.address]
    words = ["batch", archive / "scene0.tif", archive / "empty.tif", "-d", "tiny", "-o", out, "-q"]
    assert run(*words, *far).exit_code == 9
    assert run(*words, *far, "--retry-failed").exit_code == 9
    with BatchLedger(out / FILE, None) as ledger:
        assert {one.scene.name: one.state for one in ledger.records()} == {
            "scene0": "done",
            "empty": "failed",
        }


def test_a_scene_of_several_files_is_not_sent(server, archive, pictures, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    pictures.write_tif(folder / "alone.tif", pictures.texture(120, 120, seed=1), crs="EPSG:32633")
    pictures.write_tif(folder / "two.tif", pictures.texture(120, 120, seed=2), crs="EPSG:32633")
    pictures.write_tif(folder / "mask.tif", pictures.texture(120, 120, seed=3)[:1] * 0 + 255)
    (folder / "mask.tif").rename(folder / "two.tif.msk")
    done = run(
        "batch", folder, "-d", "tiny", "-o", tmp_path / "out", "--json", "--server", server.address
    )
    assert done.exit_code == 9, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    states = {line["scene"]: line["state"] for line in lines[:-1]}
    assert states == {"alone": "done", "two": "failed"}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--candidates"], 14),
        (["--crs", "EPSG:32633"], 14),
        (["--on", "serial"], 14),
        (["-d", "none"], 15),
    ],
)
def test_what_a_server_does_not_do_is_told(server, archive, tmp_path, words, code):
    given = [] if "-d" in words else ["-d", "tiny"]
    out = tmp_path / "out"
    done = run("batch", archive, *given, "-o", out, *words, "--server", server.address)
    assert done.exit_code == code, done.output
    assert not out.exists()


def test_another_release_is_refused(archive, tmp_path, at_home):
    def offers():
        return [replace(one, release="9.9.9", releases=("9.9.9",)) for one in list_detectors()]

    server = start(Work(detect, offers), ServeOptions(port=0, roots=(tmp_path,)))
    try:
        words = ["-d", "tiny", "-o", tmp_path / "out", "--server", server.address]
        done = run("batch", archive, *words)
        assert done.exit_code == 15, done.output
        assert "9.9.9" in done.output
    finally:
        server.stop(0)


def test_a_batch_has_one_release_whatever_is_the_default_there(
    server, archive, tmp_path, two_releases
):
    far = ["--server", server.address]
    words = ["batch", archive / "scene0.tif", "-q"]
    here, there = tmp_path / "here", tmp_path / "out"
    assert run(*words, "-d", "tiny@1.1.0", "-o", here).exit_code == 0
    assert run(*words, "-d", "tiny@1.1.0", "-o", there, *far).exit_code == 0
    assert contents(here) == contents(there)
    other = tmp_path / "other"
    assert run(*words, "-d", "tiny", "-o", other, *far).exit_code == 0
    assert contents(other) != contents(there)
    assert run(*words, "-d", "tiny@3.0.0", "-o", tmp_path / "none", *far).exit_code == 15


def test_a_plan_keeps_what_it_sent_for_the_detection(server, archive, pictures, tmp_path):
    pictures.write_tif(tmp_path / "there" / "theirs.tif", pictures.texture(150, 170, seed=3))
    scene, far = archive / "scene0.tif", ["--server", server.address]
    words = ["plan", scene, "theirs.tif", archive / "empty.tif", "-d", "tiny", "--json", *far]
    done = run(*words)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout[done.stdout.index("{") :])
    alone = json.loads(run("plan", scene, "-d", "tiny", "--json", "-q").stdout)
    tiles = {one["scene"]: one["tiles"] for one in found["plans"]}
    assert tiles[str(scene)] == alone["tiles"]
    assert set(tiles) >= {str(scene), "theirs.tif"}
    kept = uploads(tmp_path)
    assert len(kept) == 2
    # Another plan sends nothing again; the detection takes it and leaves nothing.
    assert run(*words).exit_code == 0
    assert uploads(tmp_path) == kept
    seen = run("detect", scene, "-d", "tiny", "-o", tmp_path / "a.geojson", "-q", *far)
    assert seen.exit_code == 0, seen.output
    assert len(uploads(tmp_path)) == 1 and set(uploads(tmp_path)) < set(kept)
    assert run("plan", scene, "-d", "tiny", "--workers", "4", *far).exit_code == 14
    shown = run("plan", scene, "-d", "tiny", *far)
    assert shown.exit_code == 0 and str(scene) in shown.output.replace("\n", "")
