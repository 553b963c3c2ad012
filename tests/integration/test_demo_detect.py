"""`lanner detect` end to end, on small networks with random weights."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import pytest
from typer.testing import CliRunner

from lanner.cli import app
from lanner.job import Cancel, DetectRequest
from lanner.pipeline import detect

PROGRAM = Path(sys.executable).parent / "lanner"


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    done = CliRunner().invoke(app, ["render", str(path), "--size", "420x300", "--gsd", "1.0",
                                    "--seed", "3", "--quiet"])
    assert done.exit_code == 0, done.output
    return path


def run(*words: object):
    return CliRunner().invoke(app, ["detect", *map(str, words)])


def test_every_format_holds_the_same_features(at_home, scene, tmp_path):
    outs = [tmp_path / f"found{ending}" for ending in (".geojson", ".gpkg", ".fgb", ".parquet")]
    done = run(scene, "-d", "tiny", *(word for out in outs for word in ("-o", out)))
    assert done.exit_code == 0, done.output
    whole = json.loads(outs[0].read_text())
    assert whole["type"] == "FeatureCollection"
    ids = {feature["id"] for feature in whole["features"]}
    assert len(ids) == len(whole["features"]) > 0
    read = [gpd.read_parquet(out) if out.suffix == ".parquet" else gpd.read_file(out)
            for out in outs[1:]]
    for frame in read:
        assert set(frame["id"]) == ids
        assert frame.crs.is_projected
    assert "thing" in done.stdout
    assert "Mpx/s" in done.stdout
    assert "found.fgb" in done.stdout
    assert "detect " in done.stderr


def test_the_file_is_the_pipelines_own_bytes(at_home, scene, tmp_path):
    out = tmp_path / "found.geojson"
    assert run(scene, "-d", "tiny", "-o", out, "-q").exit_code == 0
    result = detect(DetectRequest(str(scene), "tiny"), Cancel(), lambda _: None)
    text = out.read_text()
    at = -1
    for feature in result.features:
        at = text.index(feature, at + 1)


def test_json_is_the_summary_and_the_files(at_home, scene, tmp_path):
    out = tmp_path / "roads.gpkg"
    done = run(scene, "-d", "tinyroads", "-o", out, "--json", "-q")
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert summary["written"] == [str(out)]
    assert summary["detector"]["name"] == "tinyroads"
    assert done.stderr == ""


@pytest.mark.parametrize(("words", "code", "said"), [
    (["-d", "tinny"], 15, "did you mean 'tiny'?"),
    (["-d", "tiny", "--members", "bxes"], 14, "did you mean 'boxes'?"),
    (["-d", "tiny", "--gsd", "9"], 13, "--gsd"),
    (["-d", "tiny", "--tile", "100"], 14, "--tile"),
    (["-d", "tiny", "--device", "cude"], 19, "--device"),
    (["-d", "gone.yaml"], 14, "gone.yaml"),
])
def test_refusals_name_argument_and_remedy(at_home, scene, tmp_path, words, code, said):
    done = run(scene, *words, "-o", tmp_path / "x.gpkg")
    assert done.exit_code == code, done.output
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert said in errors[0]
    assert list(tmp_path.iterdir()) == []


def test_a_scene_that_is_none(at_home, tmp_path):
    (tmp_path / "a.tif").write_text("not a raster")
    done = run(tmp_path / "a.tif", "-d", "tiny", "-o", tmp_path / "x.gpkg")
    assert done.exit_code == 10
    assert "Traceback" not in done.output


def test_stopped_by_a_signal_and_resumed_to_the_same_bytes(at_home, tmp_path):
    scene = tmp_path / "large.tif"
    made = CliRunner().invoke(app, ["render", str(scene), "--size", "1500x1500", "--gsd", "1.0",
                                    "--quiet"])
    assert made.exit_code == 0
    plain, again, run_dir = tmp_path / "a.geojson", tmp_path / "b.geojson", tmp_path / "run"
    words = [str(PROGRAM), "detect", str(scene), "-d", "tiny", "--run", str(run_dir),
             "-o", str(again)]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=os.environ)
    for line in process.stderr:
        if line.startswith("detect ") and not line.startswith("detect 0/"):
            break
    process.send_signal(signal.SIGINT)
    said = process.stderr.read()
    assert process.wait(60) == 130, said
    assert said.splitlines()[-1].startswith("error: stopped by the caller; run the same command")
    assert str(run_dir) in said
    assert not again.exists()
    resumed = subprocess.run(words, check=True, env=os.environ, capture_output=True, text=True)
    first = next(line for line in resumed.stderr.splitlines() if line.startswith("detect "))
    assert not first.startswith("detect 0/"), "what was finished is not done twice"
    assert run(scene, "-d", "tiny", "-o", plain, "-q").exit_code == 0
    assert again.read_bytes() == plain.read_bytes()


def test_detectors_are_listed_for_people_and_programs(at_home):
    table = CliRunner().invoke(app, ["detectors"], env={"COLUMNS": "200"})
    listed = json.loads(CliRunner().invoke(app, ["detectors", "--json"]).stdout)
    assert [one["name"] for one in listed] == ["tiny", "tinyroads"]
    assert listed[0]["members"] == ["boxes", "masks"]
    assert len(listed[0]["networks"][0]["weights_sha256"]) == 64
    assert "tinyroads" in table.stdout
    assert "merge_seams" in table.stdout
