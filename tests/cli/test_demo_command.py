"""`lanner demo`: its scene, and its files and table on small networks."""

import json
from pathlib import Path

import pytest
import rasterio
from PIL import Image
from typer.testing import CliRunner

from lanner.cli.app import app
from lanner.cli.demo import HEIGHT, WIDTH, _rendered


@pytest.fixture
def demo_home(tiny_home, tmp_path, pictures) -> Path:
    """A home whose `aircraft` and `roads` are the tiny networks."""
    from safetensors.torch import load_file

    class Loaded:
        def __init__(self, path: Path) -> None:
            self.state_dict = lambda: load_file(path)

    home = tmp_path / "home"
    for name, like in (("aircraft", pictures.objects), ("roads", pictures.raster)):
        folder = tiny_home / "weights" / like["name"] / like["release"]
        nets = {path.name: Loaded(path) for path in sorted(folder.glob("*.safetensors"))}
        pictures.release(home, {**like, "name": name}, nets)
    return home


def test_the_rendered_scene_has_both_kinds_in_view(tmp_path):
    scene, known = _rendered(tmp_path)
    with rasterio.open(scene) as file:
        assert (file.width, file.height) == (WIDTH, HEIGHT)
    assert known["aircraft"] >= 20
    assert known["roads"] >= 10


def test_it_writes_features_and_pictures_of_every_detector(demo_home, tmp_path, monkeypatch):
    monkeypatch.setenv("LANNER_HOME", str(demo_home))
    scene, out = tmp_path / "scene.tif", tmp_path / "a" / "demo"
    assert (
        CliRunner()
        .invoke(app, ["render", str(scene), "--size", "200x160", "--gsd", "1.0", "--quiet"])
        .exit_code
        == 0
    )
    done = CliRunner().invoke(
        app, ["demo", "--out", str(out), "--scene", str(scene)], env={"COLUMNS": "200"}
    )
    assert done.exit_code == 0, done.output
    for name in ("aircraft", "roads"):
        assert json.loads((out / f"{name}.geojson").read_text())["type"] == "FeatureCollection"
        assert (out / f"{name}.gpkg").stat().st_size > 0
        with Image.open(out / f"{name}.png") as picture:
            assert picture.width >= 200
        assert f"{out}/{name}.png" in done.stdout
    assert "unknown" in done.stdout


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "file" / "demo")])
    assert done.exit_code == 18
    assert done.stderr.startswith("error: --out ")
