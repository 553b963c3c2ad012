"""A place in colour and by a panchromatic camera, and a detector with one for such scenes."""

import shutil

import pytest
import rasterio
import yaml

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
