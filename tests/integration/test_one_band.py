"""A scene of a single band goes to the detector that was made for such scenes."""

import pytest
import rasterio
import yaml

from lanner.config import config_sha256, load_config
from lanner.errors import ConfigError, UnknownDetectorError
from lanner.job import Cancel, DetectRequest
from lanner.pipeline import detect, handed_over
from lanner.released import find
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


@pytest.mark.parametrize(
    ("scene", "members", "who"),
    [
        ("colour", None, "roads"),
        ("grey", None, "roads-pan"),
        ("grey", ("resunet",), "roads"),
    ],
)
def test_who_looks_at_a_scene(scenes, scene, members, who):
    request = DetectRequest(scenes[scene], "roads", members=members)
    assert handed_over(find("roads"), request).config.name == who


def test_its_features_say_who_saw_them(scenes, tmp_path):
    request = DetectRequest(scenes["grey"], "roads", run_dir=str(tmp_path / "run"))
    done = detect(request, Cancel(), lambda _: None)
    assert done.summary["detector"]["name"] == "roads-pan"
    named = detect(DetectRequest(scenes["grey"], "roads-pan"), Cancel(), lambda _: None)
    assert done.features == named.features
    assert done.features
    # And the same folder goes on with the same detector.
    again = detect(request, Cancel(), lambda _: None)
    assert again.features == done.features


def test_a_detector_hands_scenes_to_one_beside_it(scenes, tmp_path):
    facts = yaml.safe_load((ROOT / "configs" / "roads.yaml").read_text())
    mine = tmp_path / "mine.yaml"
    mine.write_text(yaml.safe_dump({**facts, "one_band": "grey.yaml"}))
    request = DetectRequest(scenes["grey"], str(mine))
    with pytest.raises(UnknownDetectorError, match=r"grey\.yaml"):
        handed_over(find(str(mine)), request)
    other = {**facts, "name": "grey", "bands": ["green"] * 3}
    del other["one_band"]
    (tmp_path / "grey.yaml").write_text(yaml.safe_dump(other))
    assert handed_over(find(str(mine)), request).path == tmp_path / "grey.yaml"


def test_it_is_no_one_itself(tmp_path):
    facts = yaml.safe_load((ROOT / "configs" / "roads.yaml").read_text())
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**facts, "one_band": "roads"}))
    with pytest.raises(ConfigError, match="one_band names another detector"):
        load_config(path)
    del facts["one_band"]
    path.write_text(yaml.safe_dump(facts))
    without = load_config(path)
    # What it says of other scenes does not hang on it.
    assert config_sha256(without) == config_sha256(load_config(ROOT / "configs" / "roads.yaml"))
