"""A network of its own for the closer look: it draws outlines, and has no say in what is found."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import yaml
from safetensors.torch import load_file, save_file

from detectors.card import load_card, seal
from detectors.catalog import check_release, resolve
from detectors.ensemble import NEAR_PX, Ensemble
from detectors.results import encode
from lanner.core.config import DetectorConfig, config_sha256, load_config
from lanner.core.errors import ConfigError, WeightsError
from lanner.factory.steps.train.plan import member_of
from tiling.grid import Grid, TilePlan
from tiling.reader import TileImage

GRID = Grid.over((128, 128), (1, 1), 1)
VALID = np.ones((128, 128), bool)


@pytest.fixture
def home(tiny_home, tmp_path, pictures):
    """The tiny home, its detector with a network for the closer look that sees the opposite."""
    home = tmp_path / "home"
    shutil.copytree(tiny_home, home)
    masks = pictures.objects["members"][1]
    closer = {**masks, "name": "closer", "weights": "closer.safetensors"}
    path = home / "configs" / "tiny.yaml"
    path.write_text(yaml.safe_dump({**pictures.objects, "closer": closer}))
    folder = home / "weights" / "tiny" / "1.0.0"
    state = load_file(folder / "masks.safetensors")
    flipped = {k: -v if "segmentation_head" in k else v for k, v in state.items()}
    save_file(flipped, folder / "closer.safetensors")
    card = load_card(folder).model_dump(exclude={"files"})
    seal(folder, card)
    return home


def opened(home, **kwargs):
    entry = resolve("tiny", home)
    return Ensemble(entry.config, entry.release_dir, "cpu", **kwargs)


def test_it_draws_and_changes_nothing_that_is_found(home, tiny_home, pictures):
    pixels = pictures.texture(128, 128).astype(np.float32) / 255
    tile = next(iter(TilePlan(GRID, 128, 32)))
    image = TileImage(tile, pixels, VALID)
    with_closer, without = opened(home), opened(tiny_home)
    assert with_closer.names == without.names == ("boxes", "masks")
    found = [one.run([image], [GRID])[0] for one in (with_closer, without)]
    assert encode(found[0]) == encode(found[1])
    box = np.array([0.0, 0.0, 128.0, 128.0])
    rings = [one.outline(pixels, VALID, box, 0.5) for one in (with_closer, without)]
    drawn = [ring for ring in rings if ring is not None]
    assert drawn
    assert len(drawn) == 1 or not np.array_equal(*drawn)
    # What it learned nothing of is left to the members.
    small = np.array([40.0, 50.0, 40.0 + NEAR_PX - 1, 80.0])
    one, two = (each.outline(pixels, VALID, small, 0.5) for each in (with_closer, without))
    assert (one is None and two is None) or np.array_equal(one, two)


def test_it_is_for_members_that_draw(home):
    assert opened(home, members=["boxes"]).outline is None
    assert opened(home, members=["masks"]).outline is not None
    entry = resolve("tiny", home)
    assert "closer.safetensors" in check_release(entry).files
    assert "closer.safetensors" in check_release(entry, ["masks"]).files
    assert "closer.safetensors" not in check_release(entry, ["boxes"]).files
    (entry.release_dir / "closer.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"closer\.safetensors"):
        check_release(entry)


def test_the_factory_can_train_it(home):
    config = resolve("tiny", home).config
    assert member_of(config, "closer").weights == "closer.safetensors"
    assert [one.name for one in config.networks] == ["boxes", "masks", "closer"]
    with pytest.raises(ConfigError, match="did you mean 'closer'"):
        member_of(config, "closr")


def test_what_it_may_be(home, tmp_path, pictures):
    boxes, masks = pictures.objects["members"]
    for change in (
        {"closer": {**boxes, "name": "closer"}},
        {"closer": masks},
        {"members": [masks], "closer": {**masks, "name": "c"}, "output": "raster"},
    ):
        path = tmp_path / "own.yaml"
        path.write_text(yaml.safe_dump({**pictures.objects, **change}))
        with pytest.raises(ConfigError, match=r"closer is a resunet|names must differ"):
            load_config(path)


def test_a_detector_without_keeps_its_checksum(tiny_home, home):
    plain, other = (resolve("tiny", place).config for place in (tiny_home, home))
    assert config_sha256(plain) != config_sha256(other)
    facts = plain.model_dump(mode="json")
    assert config_sha256(DetectorConfig.model_validate(facts)) == config_sha256(plain)
    assert config_sha256(other.model_copy(update={"closer": None})) == config_sha256(plain)
