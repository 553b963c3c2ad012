"""One run a folder at a time, and nothing of an earlier one in what comes out."""

from __future__ import annotations

import pytest

from lanner.errors import OutputError
from lanner.job import Cancel, DetectRequest
from lanner.pipeline import detect


@pytest.fixture
def scene(tmp_path, pictures):
    return pictures.write_tif(tmp_path / "scene.tif", pictures.texture(200, 200))


def run(scene, folder, told=lambda _: None, **kwargs):
    kwargs = {"detector": "tinyroads", **kwargs}
    return detect(DetectRequest(str(scene), run_dir=folder, **kwargs), Cancel(), told)


def test_a_scene_is_not_written_over_by_its_own_run(at_home, tmp_path, pictures):
    for name in ("threshold", "probability"):
        scene = pictures.write_tif(tmp_path / f"{name}.tif", pictures.texture(100, 100))
        before = scene.read_bytes()
        with pytest.raises(OutputError, match="holds the scene itself"):
            run(scene, tmp_path)
        assert scene.read_bytes() == before
    with pytest.raises(OutputError, match="name a new folder"):
        run("elsewhere.tif", tmp_path)
