"""When a file cannot be written the others are, and what was found is kept or said to be lost."""

import os
import re
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import pyogrio
import pytest
import shapely

from lanner.cli.write import write_outputs
from lanner.core.errors import Cancelled, OutputError
from lanner.core.job import Cancel, DetectResult


def result(crs: object = 32633) -> DetectResult:
    texts = ['{"type":"Feature","id":"a","geometry":{"type":"Point","coordinates":[1,2]}}']
    frame = gpd.GeoDataFrame({"id": ["a"]}, geometry=[shapely.box(0, 0, 1, 1)], crs=crs)
    return DetectResult(texts, {}, frame, layer="aircraft")


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch) -> Path:
    """The folder of temporary files, and another one to be in."""
    folder = tmp_path / "tmp"
    for one in (folder, tmp_path / "here"):
        one.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.chdir(tmp_path / "here")
    return folder


def failure(paths: list[Path], run: Path | None = None, of: DetectResult | None = None) -> str:
    with pytest.raises(OutputError) as caught:
        write_outputs(of or result(), paths, None, run, Cancel())
    assert caught.value.argument in ("path", "output")
    return str(caught.value)


def test_one_that_fails_keeps_no_other_from_being_written(tmp_path, temporary):
    outs = [tmp_path / name for name in ("a.geojson", "gone/b.gpkg", "c.fgb", "gone/d.parquet")]
    text = failure(outs)
    assert (tmp_path / "a.geojson").exists() and len(gpd.read_file(tmp_path / "c.fgb")) == 1
    assert "gone/b.gpkg'" in text and "gone/d.parquet: its folder does not exist" in text
    kept = [Path(one) for one in re.findall(rf"{temporary}/\S+", text)]
    assert [one.name for one in kept] == ["b.gpkg", "d.parquet"]
    assert len(gpd.read_file(kept[0])) == len(gpd.read_parquet(kept[1])) == 1


def test_a_run_keeps_what_was_found(tmp_path, temporary):
    text = failure([tmp_path / "gone" / "a.gpkg"], run=tmp_path / "my.run")
    assert f"resumes from {tmp_path / 'my.run'}" in text
    assert list(temporary.iterdir()) == []


def test_what_a_format_cannot_say_is_kept_in_another(tmp_path, temporary):
    text = failure([tmp_path / "a.geojson"], of=result(crs=None))
    (kept,) = temporary.glob("*/aircraft.parquet")
    assert str(kept) in text
    assert len(gpd.read_parquet(kept)) == 1


def test_the_current_folder_is_the_next_best(tmp_path, temporary):
    temporary.rmdir()
    text = failure([tmp_path / "gone" / "a.fgb"])
    (kept,) = (tmp_path / "here").glob("*/a.fgb")
    assert str(kept) in text


def test_where_nothing_can_be_kept_that_is_said(tmp_path, temporary):
    temporary.rmdir()
    os.rmdir(tmp_path / "here")
    assert "could not be kept" in failure([tmp_path / "gone" / "a.fgb"])


def test_what_else_a_file_holds_is_told(tmp_path):
    path = tmp_path / "project.gpkg"
    gpd.GeoDataFrame({"n": [1]}, geometry=[shapely.Point(0, 0)], crs=32633).to_file(
        path, layer="mine"
    )
    notes = write_outputs(result(), [tmp_path / "a.fgb", path], None, None, Cancel())
    assert notes == ["added layer aircraft to project.gpkg beside 1 other layer"]


def test_a_cancelled_run_writes_no_more(tmp_path):
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Cancelled):
        write_outputs(result(), [tmp_path / "a.fgb"], None, None, cancel)
    assert not (tmp_path / "a.fgb").exists()


def test_candidates_that_cannot_be_written_are_kept_as_what_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = result()
    left = replace(result(), features=(), frame=found.frame.iloc[:0], layer="aircraft_candidates")
    gone = tmp_path / "gone" / "left.gpkg"
    with pytest.raises(OutputError, match=r"left\.gpkg"):
        write_outputs(replace(found, candidates=left), [tmp_path / "a.gpkg"], gone, None, Cancel())
    (kept,) = tmp_path.glob("lanner-kept-*/left.gpkg")
    assert pyogrio.read_info(kept, layer="aircraft_candidates")["features"] == 0
    assert (tmp_path / "a.gpkg").is_file()
