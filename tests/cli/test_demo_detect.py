"""`lanner detect` end to end, on small networks with random weights."""

import json
import os
import shutil
import signal
import sqlite3
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from lanner.cli.app import app
from lanner.cli.outputs import FORMATS
from lanner.core.job import Cancel, DetectRequest
from lanner.inference.pipeline import detect
from lanner.inference.run_folder import LEDGER


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    done = CliRunner().invoke(
        app, ["render", str(path), "--size", "200x160", "--gsd", "1.0", "--seed", "3", "--quiet"]
    )
    assert done.exit_code == 0, done.output
    return path


def run(*words: object):
    return CliRunner().invoke(app, ["detect", *map(str, words)], env={"COLUMNS": "200"})


def test_every_format_holds_the_pipelines_features(at_home, scene, tmp_path):
    outs = [tmp_path / f"found{ending}" for ending in FORMATS]
    done = run(scene, "-d", "tiny", *(word for out in outs for word in ("-o", out)))
    assert done.exit_code == 0, done.output
    result = detect(DetectRequest(str(scene), "tiny"), Cancel(), lambda _: None)
    ids = [json.loads(text)["id"] for text in result.features]
    assert len(set(ids)) == len(ids) > 0
    for out in outs:
        if out.suffix in (".geojson", ".json"):
            lines = out.read_text().splitlines()
            assert [line.removesuffix(",") for line in lines[1:-1]] == list(result.features)
        else:
            read = gpd.read_parquet if out.suffix == ".parquet" else gpd.read_file
            frame = read(out)
            assert sorted(frame["id"]) == sorted(ids)
            assert frame.crs.is_projected
        assert out.name in done.stdout
    assert "thing" in done.stdout
    assert "Mpx/s" in done.stdout
    assert "detect " in done.stderr


def test_json_is_the_summary_and_the_files(at_home, scene, tmp_path):
    out = tmp_path / "roads.gpkg"
    done = run(scene, "-d", "tinyroads", "-o", out, "--json", "-q")
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert summary["written"] == [str(out)]
    assert summary["detector"]["name"] == "tinyroads"
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["-d", "tinny"], 15, "did you mean 'tiny'?"),
        (["-d", "tiny", "--members", "bxes"], 14, "did you mean 'boxes'?"),
        (["-d", "tiny", "--gsd", "9"], 13, "--gsd"),
        (["-d", "tiny", "--tile", "100"], 14, "--tile"),
        (["-d", "tiny", "--device", "cude"], 19, "--device"),
        (["-d", "gone.yaml"], 14, "gone.yaml"),
    ],
)
def test_refusals_name_argument_and_remedy(at_home, scene, tmp_path, words, code, message):
    done = run(scene, *words, "-o", tmp_path / "x.gpkg")
    assert done.exit_code == code, done.output
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert list(tmp_path.iterdir()) == []


def test_a_scene_that_is_none(at_home, tmp_path):
    (tmp_path / "a.tif").write_text("not a raster")
    done = run(tmp_path / "a.tif", "-d", "tiny", "-o", tmp_path / "x.gpkg")
    assert done.exit_code == 10
    assert "Traceback" not in done.output


def tiles_done(ledger: Path) -> int:
    """Rows of the run's ledger, 0 where it is not there yet.

    A run keeps others out of it until it ends, so that what a kill would leave is looked at.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / ledger.name
        try:
            for ending in ("", "-wal"):
                if ledger.with_name(ledger.name + ending).exists():
                    shutil.copyfile(f"{ledger}{ending}", f"{copy}{ending}")
            with closing(sqlite3.connect(copy)) as file:
                return file.execute("SELECT count(*) FROM tile").fetchone()[0]
        except (FileNotFoundError, sqlite3.DatabaseError):
            return 0


def test_stopped_by_a_signal_and_resumed_to_the_same_bytes(at_home, tmp_path):
    scene, run_dir = tmp_path / "large.tif", tmp_path / "run"
    result = CliRunner().invoke(
        app, ["render", str(scene), "--size", "448x384", "--gsd", "1.0", "--quiet"]
    )
    assert result.exit_code == 0
    plain, again = tmp_path / "a.geojson", tmp_path / "b.geojson"
    words = [scene, "-d", "tiny", "--run", run_dir, "-o", again]

    over = threading.Event()

    def interrupt() -> None:
        while not over.wait(0.005):
            if tiles_done(run_dir / LEDGER):
                os.kill(os.getpid(), signal.SIGINT)
                return

    killer = threading.Thread(target=interrupt)
    killer.start()
    stopped = run(*words)
    over.set()
    killer.join()
    assert stopped.exit_code == 130, stopped.output
    assert stopped.stderr.splitlines()[-1] == (
        f"error: stopped by the caller; run the same command again to resume from {run_dir}"
    )
    assert not again.exists()
    kept = tiles_done(run_dir / LEDGER)
    assert kept > 0
    resumed = run(*words)
    assert resumed.exit_code == 0, resumed.output
    first = next(line for line in resumed.stderr.splitlines() if line.startswith("detect "))
    assert first.startswith(f"detect {kept}/"), "what was finished is not done twice"
    assert run(scene, "-d", "tiny", "-o", plain, "-q").exit_code == 0
    assert again.read_bytes() == plain.read_bytes()


def test_geojson_of_a_scene_without_crs_is_refused_before_the_work(at_home, tmp_path):
    picture = tmp_path / "photo.tif"
    Image.fromarray(np.full((160, 200, 3), 90, np.uint8)).save(picture)
    done = run(picture, "-d", "tiny", "--gsd", "1", "-o", tmp_path / "x.geojson")
    assert done.exit_code == 18
    assert "detect" not in done.stderr
    assert "--out" in done.stderr
    assert ".json" in done.stderr
    assert run(picture, "-d", "tiny", "--gsd", "1", "-o", tmp_path / "x.json").exit_code == 0


def test_detectors_are_listed_for_people_and_programs(at_home):
    table = CliRunner().invoke(app, ["detectors"], env={"COLUMNS": "200"})
    listed = json.loads(CliRunner().invoke(app, ["detectors", "--json"]).stdout)
    assert [one["name"] for one in listed] == ["tiny", "tinyroads"]
    assert listed[0]["members"] == ["boxes", "masks"]
    assert len(listed[0]["networks"][0]["weights_sha256"]) == 64
    assert "tinyroads" in table.stdout
    assert "merge_seams" in table.stdout
