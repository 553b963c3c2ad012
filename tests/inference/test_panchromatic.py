"""A scene of a single band goes to the detector that was made for such scenes."""

import json
import shutil
from pathlib import Path

import pytest
import rasterio
import yaml

from lanner.core.config import config_sha256, load_config
from lanner.core.errors import ConfigError, UnknownDetectorError
from lanner.core.job import Cancel, DetectRequest
from lanner.inference.pipeline import detect, detector_for_scene
from lanner.inference.registry import find
from tests.fixtures_process import ROOT
from tests.fixtures_scenes import write_scene


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """One place in colour and, green alone, as a panchromatic camera delivers it."""
    folder = tmp_path_factory.mktemp("bands")
    colour = write_scene(folder, "uint16", "value", "utm", width=512, height=512, gsd=0.8).path
    with rasterio.open(colour) as source:
        profile = {**source.profile, "count": 1, "photometric": "minisblack"}
        green = source.read(2)
    grey = folder / "pan.tif"
    with rasterio.open(grey, "w", **profile) as out:
        out.write(green, 1)
    return {"colour": str(colour), "grey": str(grey)}


@pytest.fixture
def detectors(tmp_path):
    """Roads, and beside it one for scenes of a single band, with the same weights."""
    facts = yaml.safe_load((ROOT / "configs" / "roads.yaml").read_text())
    pan = {**facts, "name": "pan", "bands": ["green"] * 3, "members": facts["members"][:1]}
    (tmp_path / "mine.yaml").write_text(
        yaml.safe_dump({**facts, "panchromatic_detector": "pan.yaml"})
    )
    (tmp_path / "pan.yaml").write_text(yaml.safe_dump(pan))
    weights = tmp_path / "weights" / "pan" / facts["release"]
    shutil.copytree(ROOT / "weights" / "roads" / facts["release"], weights)
    card = yaml.safe_load((weights / "card.yaml").read_text())
    (weights / "card.yaml").write_text(yaml.safe_dump({**card, "detector": "pan"}))
    return {"mine": str(tmp_path / "mine.yaml"), "pan": str(tmp_path / "pan.yaml")}


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
