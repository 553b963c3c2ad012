"""Outputs are judged before any work: ending, folder, permission, the scene itself."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanner.cli.outputs import FORMATS, check_folder, check_outputs
from lanner.core.errors import OutputError


def refused(paths: list[Path], scene: str = "scene.tif") -> str:
    with pytest.raises(OutputError) as caught:
        check_outputs(paths, scene)
    return str(caught.value)


def test_every_format_passes_in_either_case(tmp_path):
    for ending in FORMATS:
        check_outputs([tmp_path / f"a{ending}", tmp_path / f"b{ending.upper()}"], "scene.tif")
    assert list(tmp_path.iterdir()) == []


def test_the_formats_are_those_of_the_writers():
    from postprocess.writers import FORMATS as WRITTEN

    assert set(FORMATS) == set(WRITTEN)


@given(st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=6))
def test_any_other_ending_is_refused_with_the_known_ones(ending):
    if f".{ending}" not in FORMATS:
        text = refused([Path(f"a.{ending}")])
        assert all(known in text for known in FORMATS)


@pytest.mark.parametrize(("name", "near"), [("a.geojsn", ".geojson"), ("a.gpgk", ".gpkg")])
def test_a_slip_of_the_pen_gets_the_nearest(tmp_path, name, near):
    assert f"did you mean {near}?" in refused([tmp_path / name])


def test_no_ending_at_all(tmp_path):
    assert "has no ending" in refused([tmp_path / "aircraft"])


def test_a_missing_folder_comes_with_the_command_that_makes_it(tmp_path):
    folder = tmp_path / "a" / "b"
    assert f"mkdir -p {folder}" in refused([folder / "x.gpkg"])
    spaced = tmp_path / "my maps"
    assert f"mkdir -p '{spaced}'" in refused([spaced / "x.gpkg"])


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("")
    assert "is a file" in refused([tmp_path / "file" / "x.gpkg"])


def test_a_folder_in_the_place_of_the_file(tmp_path):
    (tmp_path / "x.gpkg").mkdir()
    assert "is a folder" in refused([tmp_path / "x.gpkg"])


def test_a_name_that_no_driver_opens(tmp_path):
    text = refused([tmp_path / os.fsdecode(b"flugh\xe4fen.gpkg")])
    assert "no valid Unicode" in text
    text.encode()  # what is printed can be


def test_the_same_file_twice_by_two_names(tmp_path):
    (tmp_path / "in").mkdir()
    assert "twice" in refused([tmp_path / "x.gpkg", tmp_path / "in" / ".." / "x.gpkg"])


def test_the_scene_is_never_overwritten(tmp_path):
    scene = tmp_path / "scene.gpkg"
    scene.write_bytes(b"raster")
    assert "is the scene itself" in refused([scene], str(scene))
    assert scene.read_bytes() == b"raster"


def test_the_current_folder_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_outputs([Path("x.gpkg")], "scene.tif")
    check_folder("--out", Path())
