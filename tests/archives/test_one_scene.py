"""What one detection would take, before it is run."""

import pytest

import lanner
from lanner.archives.one_scene import plan_detection
from lanner.archives.rates import LEAST
from lanner.core.errors import LannerError
from lanner.core.job import DetectRequest
from tests.archives.fixtures_archive import own_cache

__all__ = ["own_cache"]

pytestmark = pytest.mark.usefixtures("at_home", "own_cache")


def test_tiles_bytes_and_memory_are_known_and_time_once_a_batch_has_measured_it(pictures, tmp_path):
    scene = pictures.write_tif(tmp_path / "in.tif", pictures.texture(200, 210))
    request = DetectRequest(str(scene), "tinyroads", device="cpu")
    plan = plan_detection(request)
    assert plan.tiles == 16 and plan.megapixels == 0.042
    assert 0 < plan.read_bytes <= scene.stat().st_size
    assert plan.memory_bytes > 0
    assert plan.seconds is None and plan.result_bytes is None and plan.notes
    several = tmp_path / "several"
    several.mkdir()
    for k in range(LEAST):
        pictures.write_tif(several / f"{k}.tif", pictures.texture(70, 70, seed=k))
    lanner.batch(several, "tinyroads", tmp_path / "out", on="serial")
    plan = plan_detection(request)
    assert plan.seconds > 0 and plan.result_bytes > 0 and not plan.notes


def test_what_cannot_be_run_is_told(pictures, tmp_path):
    scene = pictures.write_tif(tmp_path / "in.tif", pictures.texture(64, 64))
    for request in (
        DetectRequest(str(scene), "none"),
        DetectRequest(str(tmp_path / "gone.tif"), "tiny"),
        DetectRequest(str(scene), "tiny", gsd=50.0),
        DetectRequest(str(scene), "tiny", members=("none",)),
    ):
        with pytest.raises(LannerError):
            plan_detection(request)
