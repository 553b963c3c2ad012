"""`lanner render` writes what was asked for, and refuses in one line what it cannot."""

import json
import os

import pytest
import rasterio
from typer.testing import CliRunner

from lanner.cli.app import app


def render(*words: object):
    return CliRunner().invoke(app, ["render", *map(str, words)])


def test_scene_and_truth_are_what_was_asked_for(tmp_path):
    path = tmp_path / "a.tif"
    done = render(
        path,
        "--size",
        "300x200",
        "--gsd",
        0.6,
        "--dtype",
        "uint16",
        "--bands",
        4,
        "--nodata",
        "value",
        "--epsg",
        32633,
        "--at",
        "15.1,50.2",
        "--aircraft",
        3,
    )
    assert done.exit_code == 0, done.output
    with rasterio.open(path) as scene:
        assert (scene.width, scene.height, scene.count) == (300, 200, 4)
        assert scene.dtypes[0] == "uint16"
        assert scene.crs.to_epsg() == 32633
        assert not scene.dataset_mask().all()
    truth = json.loads((tmp_path / "a.truth.geojson").read_text())
    assert truth["type"] == "FeatureCollection"
    assert "aircraft" in done.stdout


def test_one_seed_is_one_picture(tmp_path):
    for name in ("a", "b"):
        assert render(tmp_path / f"{name}.tif", "--size", "64x64", "--seed", 5).exit_code == 0
    assert render(tmp_path / "c.tif", "--size", "64x64", "--seed", 6).exit_code == 0
    a, b, c = ((tmp_path / f"{name}.tif").read_bytes() for name in "abc")
    assert a == b
    assert a != c


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["a.png"], 18, "does not end in .tif"),
        (["no/a.tif"], 18, "mkdir -p no"),
        (["a.tif", "--size", "64"], 14, "2048x2048"),
        (["a.tif", "--size", "nanx64"], 14, "2048x2048"),
        (["a.tif", "--size", "64.5x64"], 14, "2048x2048"),
        (["a.tif", "--at", "1,2,3"], 14, "11.78,48.36"),
        (["a.tif", "--at", "nan,0"], 14, "lon"),
        (["a.tif", "--dtype", "uint9"], 14, "uint16"),
        (["a.tif", "--bands", "2"], 14, "1, 3, 4"),
    ],
)
def test_refusals(tmp_path, monkeypatch, words, code, message):
    monkeypatch.chdir(tmp_path)
    done = render(*words)
    assert done.exit_code == code
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_followed(tmp_path):
    (tmp_path / "store").mkdir()
    link = tmp_path / "a.tif"
    link.symlink_to("store/real.tif")
    for _ in range(2):
        assert render(link, "--size", "64x64").exit_code == 0
        assert link.is_symlink()
        assert [one.name for one in (tmp_path / "store").iterdir()] == ["real.tif"]


def test_a_name_may_be_as_long_as_that_of_the_truth_allows(tmp_path):
    longest = tmp_path / ("n" * (255 - len(".truth.geojson")) + ".tif")
    assert render(longest, "--size", "64x64").exit_code == 0
    done = render(tmp_path / f"n{longest.name}", "--size", "64x64")
    assert done.exit_code == 18
    assert "longer name" in done.stderr
    assert {one.name for one in tmp_path.iterdir()} == {
        longest.name,
        longest.with_suffix(".truth.geojson").name,
    }


def test_a_name_that_no_driver_opens(tmp_path):
    done = render(tmp_path / os.fsdecode(b"flugh\xe4fen.tif"), "--size", "64x64")
    assert done.exit_code == 18
    assert "no valid Unicode" in done.stderr
