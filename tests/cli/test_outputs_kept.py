"""`lanner detect` and its files: links, projects, folders that go, terminals without umlauts."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import pyogrio
import pytest
import shapely
from typer.testing import CliRunner

from lanner.cli.app import app


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


def project(path: Path, layer: str = "parcels") -> None:
    frame = gpd.GeoDataFrame({"owner": ["me"]}, geometry=[shapely.Point(0, 0)], crs=2056)
    pyogrio.write_dataframe(frame, path, driver="GPKG", layer=layer)


def test_a_project_gets_a_layer_by_a_link_and_says_so(at_home, scene, tmp_path):
    real, link, plain = tmp_path / "project.gpkg", tmp_path / "link.gpkg", tmp_path / "a.gpkg"
    project(real)
    link.symlink_to(real)
    done = run(scene, "-d", "tiny", "-o", link, "-o", plain)
    assert done.exit_code == 0, done.output
    note = "layer tiny {} project.gpkg beside 1 other layer"
    assert done.stdout.splitlines()[-1] == f"added {note.format('to')}"
    again = run(scene, "-d", "tiny", "-o", link, "--json", "-q")
    assert json.loads(again.stdout)["notes"] == [f"replaced {note.format('in')}"]
    assert {name for name, _ in pyogrio.list_layers(real)} >= {"parcels", "tiny"}
    ours = gpd.read_file(real, layer="tiny")
    assert ours.equals(gpd.read_file(plain))
    assert link.is_symlink()


def test_a_layer_that_is_not_ours_is_refused_before_the_work(at_home, scene, tmp_path):
    path = tmp_path / "project.gpkg"
    project(path, "tiny")
    before = path.read_bytes()
    done = run(scene, "-d", "tiny", "-o", path)
    assert done.exit_code == 18
    assert done.stderr.count("\n") == 1, "no progress: nothing was begun"
    assert "layer 'tiny' that Lanner did not write" in done.stderr
    assert path.read_bytes() == before


def test_a_project_that_is_being_written_is_refused_before_the_work(at_home, scene, tmp_path):
    path = tmp_path / "project.gpkg"
    project(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        done = run(scene, "-d", "tiny", "-o", path)
    assert done.exit_code == 18
    assert done.stderr.count("\n") == 1
    assert "another program" in done.stderr


@pytest.mark.parametrize("kept", [True, False])
def test_a_folder_that_goes_during_the_run_loses_no_work(
    at_home, scene, tmp_path, monkeypatch, kept
):
    gone, there = tmp_path / "gone" / "a.gpkg", tmp_path / "b.geojson"
    temporary, run_dir = tmp_path / "tmp", tmp_path / "run"
    for folder in (gone.parent, temporary):
        folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    begun = run_dir if kept else temporary
    over = threading.Event()

    def remove() -> None:
        while not over.wait(0.005):
            if list(begun.glob("**/manifest.json")):
                shutil.rmtree(gone.parent)
                return

    remover = threading.Thread(target=remove)
    remover.start()
    words = ["--run", run_dir] if kept else []
    done = run(scene, "-d", "tiny", "-o", gone, "-o", there, *words)
    over.set()
    remover.join()
    assert done.exit_code == 18, done.output
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"error: --out '{gone}': its folder does not exist")
    count = len(json.loads(there.read_text())["features"])
    if kept:
        assert f"resumes from {run_dir}" in last
        gone.parent.mkdir()
        assert run(scene, "-d", "tiny", "-o", gone, *words).exit_code == 0
        assert len(gpd.read_file(gone)) == count
    else:
        (found,) = temporary.glob("lanner-kept-*/a.gpkg")
        assert str(found) in last
        assert len(gpd.read_file(found)) == count


def test_umlauts_on_a_terminal_of_ascii_end_no_run(at_home, scene, tmp_path):
    folder = tmp_path / "Flughäfen"
    folder.mkdir()
    shutil.copy(scene, folder / "süd.tif")
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "COLUMNS": "200"}
    words = (folder / "süd.tif", "-d", "tiny", "-o", folder / "ä.gpkg")
    done = subprocess.run(
        [sys.executable, "-m", "lanner", "detect", *words],
        env=env,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"\\xe4.gpkg" in done.stdout


def test_what_is_wrong_with_the_file_of_candidates_is_told_of_it(at_home, scene, tmp_path):
    out = tmp_path / "a.geojson"
    for path in (out, tmp_path / "a.shp", tmp_path / "none" / "a.gpkg"):
        done = run(scene, "-d", "tiny", "-o", out, "--candidates", path)
        assert done.exit_code == 18
        assert done.stderr.startswith("error: --candidates '"), done.stderr
    assert not out.exists()


def test_candidates_are_written_beside_what_was_found(at_home, scene, tmp_path):
    both, alone = tmp_path / "a.gpkg", tmp_path / "left.geojson"
    done = run(scene, "-d", "tiny", "-o", both, "--candidates", both, "-q")
    assert done.exit_code == 0, done.output
    assert run(scene, "-d", "tiny", "-o", both, "--candidates", alone, "-q").exit_code == 0
    names = {name for name, _ in pyogrio.list_layers(both)}
    assert {"tiny", "tiny_candidates"} <= names
    left = gpd.read_file(both, layer="tiny_candidates")
    assert len(left) == len(json.loads(alone.read_text())["features"])


def test_a_layer_of_candidates_that_is_not_ours_is_refused_before_the_work(
    at_home, scene, tmp_path
):
    path = tmp_path / "project.gpkg"
    project(path, "tiny_candidates")
    before = path.read_bytes()
    done = run(scene, "-d", "tiny", "-o", tmp_path / "a.geojson", "--candidates", path)
    assert done.exit_code == 18
    assert done.stderr.count("\n") == 1, "nothing was begun"
    assert path.read_bytes() == before
