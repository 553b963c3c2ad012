"""Outputs are judged before any work: ending, folder, permission, the scene itself."""

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanner.cli.outputs import FORMATS, STREAMED, check_folder, check_outputs
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


def test_a_name_may_be_as_long_as_the_disk_takes(tmp_path):
    for ending in FORMATS:
        longest = tmp_path / ("n" * (255 - len(ending)) + ending)
        check_outputs([longest], "scene.tif")
        longest.touch()
        check_outputs([longest], "scene.tif")
        assert "longer name" in refused([tmp_path / ("n" * (256 - len(ending)) + ending)])
    assert "longer name" in refused([tmp_path / ("n" * 256) / "x.fgb"])
    assert "longer name" in refused([Path("/" + "/".join(["n" * 200] * 21)) / "x.fgb"])


def test_a_folder_too_deep_for_sqlite_takes_other_formats(tmp_path):
    deep = tmp_path
    while len(str(deep)) < 470:
        deep /= "d" * 20
    deep.mkdir(parents=True)
    room = 504 - len(str(deep)) - 1
    check_outputs([deep / "x.fgb"], "scene.tif")
    assert "SQLite" in refused([deep / ("n" * (room - 4) + ".gpkg")])
    (tmp_path / "near.gpkg").symlink_to(deep / ("n" * (room - 4) + ".gpkg"))
    assert "SQLite" in refused([tmp_path / "near.gpkg"])


def test_a_link_is_judged_by_what_it_leads_to(tmp_path):
    (tmp_path / "store").mkdir()
    link = tmp_path / "x.gpkg"
    link.symlink_to(tmp_path / "store" / "real.gpkg")
    check_outputs([link], "scene.tif")
    assert "twice" in refused([link, tmp_path / "store" / "real.gpkg"])
    other = tmp_path / "y.gpkg"
    other.symlink_to(tmp_path / "gone" / "real.gpkg")
    assert f"mkdir -p {tmp_path / 'gone'}" in refused([other])
    loop = tmp_path / "z.gpkg"
    loop.symlink_to(loop)
    assert "leads to itself" in refused([loop])


def test_one_file_by_two_links_is_one_file(tmp_path):
    scene, out = tmp_path / "scene.tif", tmp_path / "a.json"
    scene.write_bytes(b"raster")
    out.hardlink_to(scene)
    assert "is the scene itself" in refused([out], str(scene))
    other = tmp_path / "b.json"
    other.hardlink_to(out)
    assert "twice" in refused([out, other], "elsewhere.tif")


def test_a_pipe_takes_geojson_alone(tmp_path):
    for ending in FORMATS:
        pipe = tmp_path / f"x{ending}"
        os.mkfifo(pipe)
        if ending in STREAMED:
            check_outputs([pipe], "scene.tif")
        else:
            assert "takes GeoJSON alone" in refused([pipe])


def test_what_is_no_file_is_refused(tmp_path):
    path = tmp_path / "x.geojson"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        assert "no file that can be written" in refused([path])


@pytest.mark.parametrize("name", ["manifest.json", "rejected.parquet", "03_orient.parquet"])
def test_files_of_the_run_are_the_runs(tmp_path, name):
    (tmp_path / "run").mkdir()
    run = tmp_path / "other"
    run.symlink_to(tmp_path / "run")
    with pytest.raises(OutputError, match="of the run itself"):
        check_outputs([tmp_path / "run" / name], "scene.tif", run)
    check_outputs([tmp_path / "run" / f"my_{name}", tmp_path / name], "scene.tif", run)
