"""Runs done again from their record: the same bytes, and what is told where they are not."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import lanner
from lanner.cli.app import app
from lanner.core.errors import ConfigError, OutputError, ReplayError
from lanner.inference.manifest import FILE, RESULT, RUN, read_manifest
from tests.archives.fixtures_archive import make_archive, own_cache
from tests.fixtures_scenes import write_scene

__all__ = ["own_cache"]

pytestmark = pytest.mark.usefixtures("at_home", "own_cache")


def command(*words):
    return CliRunner().invoke(app, ["replay", *map(str, words)])


@pytest.fixture
def scene(pictures, tmp_path):
    return pictures.write_tif(tmp_path / "scene.tif", pictures.texture(160, 170, seed=1))


def change(folder, *path, to):
    """Another value in the manifest of a run."""
    facts = read_manifest(folder)
    inner = facts
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    (folder / FILE).write_text(json.dumps(facts))


def refusal(folder, **options):
    with pytest.raises(ReplayError) as caught:
        lanner.replay(folder, **options)
    return str(caught.value)


# ------------------------------------------------------------------------------ the record


def test_the_record_keeps_the_request_the_result_and_the_files(scene, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["detect", "scene.tif", "-d", "tiny", "--run", "run", "-o", "a.geojson", "-o", "a.gpkg"]
    words += ["--candidates", "left.geojson", "--gsd", "1.1", "--tile", "160", "--members", "masks"]
    assert CliRunner().invoke(app, [*words, "-q"]).exit_code == 0
    run = read_manifest(Path("run"))[RUN]
    assert run["request"] == {
        "scene": str(scene), "detector": "tiny", "gsd": 1.1, "device": "auto", "tile": 160,
        "members": ["masks"], "candidates": True, "crs": None, "estimate_gsd": False,
    }  # fmt: skip
    assert run["result"]["features"] == len(json.loads(Path("a.geojson").read_text())["features"])
    assert [Path(one["path"]).name for one in run["outputs"]] == [
        "a.geojson", "a.gpkg", "left.geojson"
    ]  # fmt: skip
    again = lanner.replay("run")
    assert again.identical
    assert again.runs[0].causes == ()


def test_the_key_does_not_depend_on_where_the_scene_lies(scene, tmp_path):
    lanner.detect(scene, "tiny", run=tmp_path / "one")
    (tmp_path / "far").mkdir()
    lanner.detect(shutil.copy(scene, tmp_path / "far"), "tiny", run=tmp_path / "two")
    one, two = read_manifest(tmp_path / "one"), read_manifest(tmp_path / "two")
    assert one["key"] == two["key"]
    assert one[RUN]["request"]["scene"] != two[RUN]["request"]["scene"]
    assert one[RUN]["result"] == two[RUN]["result"]
    assert (tmp_path / "one" / RESULT).read_bytes() == (tmp_path / "two" / RESULT).read_bytes()


def test_an_address_is_kept_without_its_signature():
    from lanner.core.job import DetectRequest
    from lanner.inference.manifest import portable_request

    request = DetectRequest("https://me:word@example.com/a.tif?signature=1", "tiny")
    assert portable_request(request)["scene"] == "https://example.com/a.tif"


def test_a_detector_of_a_file_is_found_from_anywhere(
    scene, pictures, own_config, tmp_path, monkeypatch
):
    mine = Path(own_config(pictures.objects))
    monkeypatch.chdir(mine.parent)
    lanner.detect(scene, mine.name, run=tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    assert lanner.replay("run").identical


# ------------------------------------------------------------------------------ one run


@pytest.mark.parametrize("detector", ["tiny", "tinyroads"])
def test_a_run_again_is_the_same_to_the_byte(detector, scene, tmp_path):
    lanner.detect(scene, detector, run=tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    done = command(tmp_path / "run", "--json", "--out", tmp_path / "again")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["identical"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
    # What is kept is a run of its own.
    one, two = read_manifest(tmp_path / "again"), read_manifest(tmp_path / "run")
    assert (one["key"], one[RUN]["result"]) == (two["key"], two[RUN]["result"])
    assert lanner.replay(tmp_path / "again").identical


def test_the_real_detector_of_aircraft(tmp_path, monkeypatch):
    monkeypatch.delenv("LANNER_HOME")
    scene = write_scene(tmp_path, width=400, height=400, aircraft=4).path
    found = lanner.detect(scene, "aircraft", run=tmp_path / "run")
    assert len(found)
    done = command(tmp_path / "run", "-q")
    assert done.exit_code == 0, done.output


def test_a_changed_scene_is_refused_and_shown_anyway(scene, pictures, tmp_path):
    lanner.detect(scene, "tiny", run=tmp_path / "run")
    pictures.write_tif(scene, pictures.texture(160, 170, seed=2))
    done = command(tmp_path / "run", "-q")
    assert done.exit_code == 26
    assert "scene content" in done.output and "--anyway" in done.output
    done = command(tmp_path / "run", "--anyway", "--json")
    assert done.exit_code == 8, done.output
    (one,) = json.loads(done.stdout)["scenes"]
    assert [cause["what"] for cause in one["causes"]] == ["scene content"]
    assert one["changes"]


def test_a_changed_configuration_is_named_by_its_keys(scene, pictures, own_config, tmp_path):
    mine = Path(own_config(pictures.objects))
    lanner.detect(scene, str(mine), run=tmp_path / "run")
    facts = yaml.safe_load(mine.read_text())
    mine.write_text(yaml.safe_dump({**facts, "fusion": {"min_score": 0.2}}))
    assert "fusion.min_score 0.05 is now 0.2" in refusal(tmp_path / "run")
    (one,) = lanner.replay(tmp_path / "run", anyway=True).runs
    assert [cause.what for cause in one.causes] == ["configuration fusion.min_score"]


@pytest.mark.parametrize(
    ("path", "what"),
    [
        (("detector", "weights", "masks.safetensors"), "weights masks.safetensors"),
        (("detector", "release"), "release"),
        (("detector", "runs_on"), "cuda float8"),
    ],
)
def test_what_is_not_as_recorded_is_named(path, what, scene, tmp_path):
    lanner.detect(scene, "tiny", run=tmp_path / "run", device="cpu")
    change(tmp_path / "run", *path, to="cpu float8" if path[-1] == "runs_on" else "0" * 64)
    assert what.replace("cuda", "cpu") in refusal(tmp_path / "run")
    done = lanner.replay(tmp_path / "run", anyway=True)
    assert done.identical
    assert len(done.runs[0].causes) == 1


def test_a_device_that_is_not_here_is_told_as_such(scene, tmp_path):
    import torch

    if torch.backends.mps.is_available():
        pytest.skip("there is one")
    lanner.detect(scene, "tiny", run=tmp_path / "run")
    change(tmp_path / "run", "detector", "runs_on", to="mps float32 torch 2")
    assert "mps float32" in refusal(tmp_path / "run")
    (one,) = lanner.replay(tmp_path / "run", anyway=True).runs
    assert [cause.what for cause in one.causes] == ["number format"]
    assert command(tmp_path / "run", "--device", "moon").exit_code == 19


def test_another_version_runs_and_is_a_cause_where_something_differs(scene, tmp_path):
    lanner.detect(scene, "tiny", run=tmp_path / "run")
    change(tmp_path / "run", "lanner", to="0.0.1")
    (one,) = lanner.replay(tmp_path / "run").runs
    assert one.identical
    assert [cause.what for cause in one.causes] == ["Lanner version"]


def test_features_that_are_the_same_may_differ_in_bytes(scene, tmp_path):
    lanner.detect(scene, "tiny", run=tmp_path / "run")
    change(tmp_path / "run", RUN, "result", "features_sha256", to="0" * 64)
    done = command(tmp_path / "run", "--json")
    assert done.exit_code == 8
    assert json.loads(done.stdout)["scenes"][0]["changes"] == []
    assert command(tmp_path / "run", "-q").exit_code == 8


def test_a_scene_that_was_moved_may_be_named(scene, tmp_path):
    lanner.detect(scene, "tiny", run=tmp_path / "run")
    (tmp_path / "new").mkdir()
    now = scene.rename(tmp_path / "new" / "scene.tif")
    assert "not there any more" in refusal(tmp_path / "run")
    assert lanner.replay(tmp_path / "run", scenes=str(now)).identical


def test_what_was_left_out_is_compared_too(scene, tmp_path):
    lanner.detect(scene, "tiny", run=tmp_path / "run", candidates=True)
    assert lanner.replay(tmp_path / "run").identical
    change(tmp_path / "run", RUN, "result", "candidates_sha256", to="0" * 64)
    assert not lanner.replay(tmp_path / "run").identical


def test_an_unfinished_run_is_told(scene, tmp_path):
    lanner.detect(scene, "tiny", run=tmp_path / "run")
    facts = read_manifest(tmp_path / "run")
    del facts[RUN]
    (tmp_path / "run" / FILE).write_text(json.dumps(facts))
    with pytest.raises(ConfigError, match="same command again"):
        lanner.replay(tmp_path / "run")
    lanner.detect(scene, "tiny", run=tmp_path / "run")
    assert lanner.replay(tmp_path / "run").identical


@pytest.mark.parametrize("name", ["none", "file", "empty"])
def test_what_is_no_run_is_refused(name, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError):
        lanner.replay(tmp_path / name)


def test_what_comes_out_goes_to_no_folder_with_files(scene, tmp_path):
    lanner.detect(scene, "tiny", run=tmp_path / "run")
    with pytest.raises(OutputError, match="not empty"):
        lanner.replay(tmp_path / "run", out=tmp_path)


# ------------------------------------------------------------------------------ a batch


@pytest.fixture
def batch(pictures, tmp_path):
    """A batch of three scenes and two that cannot be run, by both tiny detectors."""
    archive, out = make_archive(tmp_path / "in", pictures, 3), tmp_path / "out"
    lanner.batch(archive, ["tiny", "tinyroads"], out)
    return out


def test_a_batch_again_is_the_same_to_the_byte(batch, tmp_path):
    done = lanner.replay(batch, out=tmp_path / "again")
    assert done.identical
    assert [(one.scene, one.detector) for one in done.runs] == [
        (f"scene{k}", name) for k in range(3) for name in ("tiny", "tinyroads")
    ]
    assert lanner.replay(tmp_path / "again" / "scene1.tiny").identical


def test_a_scene_that_changed_keeps_no_other_from_being_run(batch, pictures, tmp_path):
    pictures.write_tif(tmp_path / "in" / "scene1.tif", pictures.texture(160, 170, seed=50))
    (tmp_path / "in" / "scene2.tif").unlink()
    done = command(batch, "--json")
    assert done.exit_code == 26
    found = {(one["scene"], one["detector"]): one for one in json.loads(done.stdout)["scenes"]}
    assert found["scene0", "tiny"]["identical"]
    assert found["scene1", "tiny"]["error"]["kind"] == "ReplayError"
    assert found["scene2", "tiny"]["identical"] is None
    table = command(batch, "-q", "--scene", "scene0", "--scene", "scene1", "--anyway")
    assert table.exit_code == 8
    assert "scene2" not in table.output


def test_a_scene_that_a_batch_has_not_is_told(batch):
    assert command(batch, "--scene", "moon").exit_code == 14
