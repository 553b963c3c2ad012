"""A scene of a single band goes to the detector that was made for such scenes."""

import json
from pathlib import Path

import pytest

from lanner.core.config import config_sha256, load_config
from lanner.core.errors import ConfigError, UnknownDetectorError
from lanner.core.job import Cancel, DetectRequest
from lanner.inference.pipeline import detect, detector_for_scene
from lanner.inference.registry import find
from tests.fixtures_panchromatic import detectors, scenes
from tests.fixtures_process import ROOT

__all__ = ["detectors", "scenes"]


@pytest.mark.parametrize(
    ("scene", "members", "who"),
    [("colour", None, "roads"), ("grey", None, "pan"), ("grey", ("resunet",), "roads")],
)
def test_who_looks_at_a_scene(scenes, detectors, scene, members, who):
    request = DetectRequest(scenes[scene], detectors["mine"], members=members)
    assert detector_for_scene(find(request.detector), request).config.name == who
    plain = DetectRequest(scenes[scene], "roads", members=members)
    assert detector_for_scene(find("roads"), plain).config.name == "roads"


def test_features_say_who_saw_them(scenes, detectors, tmp_path):
    request = DetectRequest(scenes["grey"], detectors["mine"], run_dir=tmp_path / "run")
    done = detect(request, Cancel(), lambda _: None)
    named = detect(DetectRequest(scenes["grey"], detectors["pan"]), Cancel(), lambda _: None)
    assert done.features == named.features
    assert json.loads(done.features[0])["properties"]["detector"] == "pan"
    # And the same folder goes on with the same detector.
    assert detect(request, Cancel(), lambda _: None).features == done.features


def test_a_detector_that_is_not_there_is_named(scenes, detectors):
    text = Path(detectors["mine"]).read_text()
    Path(detectors["mine"]).write_text(text.replace("pan.yaml", "roods"))
    request = DetectRequest(scenes["grey"], detectors["mine"])
    with pytest.raises(UnknownDetectorError, match=r"roods.*roads"):
        detector_for_scene(find(request.detector), request)


def test_it_is_another_one_and_not_part_of_the_checksum(detectors):
    path = Path(detectors["mine"])
    with_it = load_config(path)
    assert config_sha256(with_it) == config_sha256(load_config(ROOT / "configs" / "roads.yaml"))
    path.write_text(path.read_text().replace("pan.yaml", "roads"))
    with pytest.raises(ConfigError, match="panchromatic_detector names another detector"):
        load_config(path)
