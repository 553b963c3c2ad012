"""What QGIS makes of our files: a real one, without a screen."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from typer.testing import CliRunner

from lanner.cli.app import app

PYTHON = "/usr/bin/python3"
LOOK = Path(__file__).with_name("qgis_look.py")


def qgis(vector: Path, layer: str, picture: Path, *raster: Path) -> dict:
    """What QGIS sees of a layer, and draws to `picture`."""
    done = subprocess.run(
        [PYTHON, LOOK, vector, layer, picture, *raster],
        capture_output=True,
        text=True,
        check=False,
        env={"HOME": str(picture.parent), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]) | {"warnings": done.stderr}


def run(*words: object) -> None:
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == 0, done.output


@pytest.fixture(scope="module")
def airfield(tmp_path_factory) -> Path:
    """A rendered scene and its aircraft and roads in one GeoPackage, moved elsewhere alone."""
    folder = tmp_path_factory.mktemp("airfield")
    scene = folder / "scene.tif"
    run("render", scene, "--size", "640x480", "--gsd", "0.5", "--seed", "4", "-q")
    for name in ("aircraft", "roads"):
        run("detect", scene, "-d", name, "-o", folder / "found.gpkg", "-q")
    (folder / "moved").mkdir()
    shutil.move(folder / "found.gpkg", folder / "moved" / "found.gpkg")
    return folder


def colours(path: Path) -> set[tuple[int, int, int]]:
    image = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
    return {tuple(row) for row in np.unique(image, axis=0).tolist()}


@pytest.mark.parametrize("layer", ["aircraft", "roads"])
def test_a_geopackage_alone_brings_style_labels_names_and_tips(airfield, tmp_path, layer):
    picture = tmp_path / "map.png"
    seen = qgis(airfield / "moved" / "found.gpkg", layer, picture, airfield / "scene.tif")
    assert seen["valid"] == [True, True] and seen["drawing"] == []
    assert seen["crs"] == "EPSG:32632" and seen["count"] > 0
    assert seen["renderer"] == "categorizedSymbol"
    assert seen["categories"][:2] == ["accept", "review"]
    assert seen["labels"]
    for one in seen["features"]:
        assert one["errors"] == []
        assert one["name"].endswith("%")
        assert one["label"]
        assert "confidence" in one["tip"] and "[%" not in one["tip"]
    kinds = dict(zip(seen["fields"], seen["types"], strict=True))
    assert kinds["acquired"] == "DateTime" and kinds["confidence"] == "Real"
    assert (38, 160, 90) in colours(picture), "the colour of what is accepted"
    assert "Warning" not in seen["warnings"]


def test_a_picture_without_a_place_lies_under_its_features(airfield, tmp_path):
    plain, found = tmp_path / "plain.tif", tmp_path / "found.gpkg"
    with rasterio.open(airfield / "scene.tif") as scene:
        pixels, size = scene.read(), (scene.width, scene.height)
    with rasterio.open(
        plain, "w", driver="GTiff", width=size[0], height=size[1], count=3, dtype="uint8"
    ) as file:
        file.write(pixels)
    run("detect", plain, "-d", "aircraft", "--gsd", "0.5", "-o", found, "-q")
    seen = qgis(found, "aircraft", tmp_path / "map.png", plain)
    assert seen["valid"] == [True, True] and seen["count"] > 0
    inner, outer = seen["extents"]
    assert outer[0] <= inner[0] < inner[2] <= outer[2]
    assert outer[1] <= inner[1] < inner[3] <= outer[3]


def test_candidates_are_a_layer_beside(airfield, tmp_path):
    found = tmp_path / "found.gpkg"
    scene = airfield / "scene.tif"
    run("detect", scene, "-d", "aircraft", "-o", found, "--candidates", found, "-q")
    seen = qgis(found, "aircraft_candidates", tmp_path / "map.png", scene)
    assert seen["valid"][0] and seen["categories"] == ["candidate"]
    assert "reason" in seen["fields"]
