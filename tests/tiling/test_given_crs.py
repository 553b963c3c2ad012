"""A CRS for a file that says none: a JPEG with a world file."""

from __future__ import annotations

import json

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from typer.testing import CliRunner

import lanner
from lanner.cli.app import app
from lanner.core.errors import PlaceError
from tiling.scene import open_scene

UTM = Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)


@pytest.fixture
def jpeg(tmp_path):
    """A JPEG and its world file: upper left pixel's centre at (500000.25, 4999999.75)."""
    path = tmp_path / "photo.jpg"
    pixels = np.random.default_rng(1).integers(0, 255, (3, 96, 128), np.uint8)
    with rasterio.open(
        path, "w", driver="JPEG", width=128, height=96, count=3, dtype="uint8"
    ) as file:
        file.write(pixels)
    path.with_suffix(".jgw").write_text("0.5\n0\n0\n-0.5\n500000.25\n4999999.75\n")
    return path


def test_it_is_placed(jpeg):
    with pytest.raises(PlaceError, match="crs"):
        open_scene(jpeg)
    scene = open_scene(jpeg, crs="EPSG:32633")
    assert scene.place.crs.to_epsg() == 32633
    assert scene.place.affine.almost_equals(UTM)
    assert scene.gsd == pytest.approx((0.5, 0.5), rel=1e-3)
    assert open_scene(jpeg, crs="EPSG:32633", gsd=0.4).place.crs.to_epsg() == 32633


@pytest.mark.parametrize("crs", ["nonsense", "EPSG:1"])
def test_what_is_no_crs_is_refused_also_where_sampling_is_given(jpeg, crs):
    for gsd in (None, 0.5):
        with pytest.raises(PlaceError, match="is no CRS"):
            open_scene(jpeg, crs=crs, gsd=gsd)


def test_a_file_of_a_crs_is_not_opened(jpeg, tmp_path):
    path = tmp_path / "crs.wkt"
    path.write_text(open_scene(jpeg, crs="EPSG:32633").place.crs.to_wkt())
    with pytest.raises(PlaceError, match="is no CRS"):
        open_scene(jpeg, crs=str(path))


def test_it_may_repeat_what_the_file_says_and_not_contradict_it(tmp_path):
    path = tmp_path / "scene.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=64, height=64, count=1, dtype="uint8",
        crs="EPSG:32633", transform=UTM,
    ) as file:  # fmt: skip
        file.write(np.full((1, 64, 64), 9, np.uint8))
    assert open_scene(path, crs="EPSG:32633").place.crs.to_epsg() == 32633
    with pytest.raises(PlaceError, match="EPSG:32633"):
        open_scene(path, crs="EPSG:32632")


def test_a_picture_without_a_world_file_needs_more_than_a_crs(jpeg):
    jpeg.with_suffix(".jgw").unlink()
    with pytest.raises(PlaceError, match="no affine"):
        open_scene(jpeg, crs="EPSG:32633")


def test_the_command_line_and_python_take_it(at_home, jpeg, tmp_path):
    out = tmp_path / "a.gpkg"
    words = ["detect", str(jpeg), "-d", "tiny", "-o", str(out), "-q"]
    assert CliRunner().invoke(app, words).exit_code == 11
    done = CliRunner().invoke(app, [*words, "--crs", "EPSG:32633", "--json"])
    assert done.exit_code == 0, done.output
    assert "UTM zone 33N" in json.loads(done.stdout)["scene"]["crs"]
    assert gpd.read_file(out, layer="tiny").crs.to_epsg() == 32633
    found = lanner.detect(jpeg, "tiny", crs="EPSG:32633")
    assert found.gdf.crs.to_epsg() == 32633
    assert len(found) == len(gpd.read_file(out, layer="tiny"))
    assert found.overlay(tmp_path / "a.png").is_file()
