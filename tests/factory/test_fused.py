"""Several road networks in evaluation: fused as the detector does, and never from old rasters."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from detectors.calibration import Calibration
from detectors.rasters import fuse_rasters
from lanner.core.config import DetectorConfig
from lanner.core.errors import ConfigError, DatasetError, OutputError
from lanner.factory.config import Evaluate
from lanner.factory.samples import Label, Sample, write_samples
from lanner.factory.steps.evaluate import store
from lanner.factory.steps.evaluate.chapter import Chapter
from lanner.factory.steps.evaluate.figures import figures_of, measure
from lanner.factory.steps.evaluate.raw import load_raw
from lanner.factory.steps.evaluate.worst import worst
from tests.factory.test_search_roads import DETECTOR
from tiling.grid import TilePlan
from tiling.scene import open_scene

SIDE = 96
SAMPLE = "made/valid/0"


def detector(**changes: object) -> DetectorConfig:
    """Two networks, the second of which is heard where it is sure."""
    (first,) = DETECTOR.model_dump(mode="json")["members"]
    second = {**first, "name": "streets", "override_above": 0.8, **changes}
    return DetectorConfig.model_validate(
        {**DETECTOR.model_dump(mode="json"), "members": [first, second]}
    )


def write_raster(folder: Path, member: str, probability: np.ndarray) -> None:
    """A network's own raster of the image."""
    profile = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": 1, "dtype": "uint8"}
    path = folder / store.raster(store.stem(SAMPLE), member)
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", **profile) as out,
    ):
        out.write(np.rint(probability * 255).astype(np.uint8), 1)
        out.set_band_description(1, "road")
        out.write_mask(np.ones((SIDE, SIDE), bool))


@pytest.fixture
def folder(tmp_path) -> Path:
    """Raw predictions of one image by two networks."""
    image = tmp_path / "0.png"
    Image.fromarray(np.zeros((SIDE, SIDE, 3), np.uint8)).save(image)
    write_samples(
        [Sample(SAMPLE, "made", "valid", image, SIDE, SIDE, gsd=1.0)], tmp_path / store.SAMPLES
    )
    predicted(tmp_path, "first", np.full((SIDE, SIDE), 0.1), stripe(1.0))
    store.write_json(
        {"detector": detector().model_dump(mode="json"), "key": ""}, tmp_path / store.FACTS
    )
    return tmp_path


def predicted(folder: Path, key: str, first: np.ndarray, second: np.ndarray) -> None:
    """What one run of the networks leaves of the image."""
    scene = open_scene(folder / "0.png", gsd=1.0)
    facts = {"key": key, **store.geometry(scene, TilePlan(scene.grid(1.0), 512, 64))}
    store.write_json(facts, folder / f"{store.stem(SAMPLE)}.json")
    write_raster(folder, "resunet", first)
    write_raster(folder, "streets", second)


def stripe(level: float) -> np.ndarray:
    """A road of eight pixels across the image."""
    probability = np.zeros((SIDE, SIDE))
    probability[40:48] = level
    return probability


def together(folder: Path, config: DetectorConfig) -> np.ndarray:
    with rasterio.open(load_raw(folder).probability(0, config)) as file:
        return file.read(1)


def test_a_variant_hears_a_network_from_another_level_on(folder):
    rasters = [np.full((1, SIDE, SIDE), 0.1, np.float32), stripe(1.0)[None].astype(np.float32)]
    for level in (0.8, 0.1, None):
        config = detector(override_above=level)
        want = np.rint(fuse_rasters(config.members, rasters) * 255)[0]
        assert np.abs(together(folder, config) - want).max() <= 1
        (found,) = load_raw(folder).detect(config, Calibration())
        assert (len(found.scores) > 0) == (level is not None)
    with pytest.raises(ConfigError, match="differs in more than its say"):
        load_raw(folder).detect(detector(mirror=True), Calibration())


def test_rasters_of_variants_that_were_tried_do_not_stay(folder):
    mine = together(folder, detector())
    for level in (0.1, 0.2, 0.3):
        together(folder, detector(override_above=level))
    assert len(list(folder.glob("*.fused.tif"))) == 4
    load_raw(folder).forget_variants(detector())
    (left,) = folder.glob("*.fused.tif")
    assert load_raw(folder).probability(0, detector()) == left
    np.testing.assert_array_equal(together(folder, detector()), mine)
    # Those of the members are what everything is made from.
    assert together(folder, detector(override_above=0.1)).max() == 255


def test_each_line_has_the_votes_of_both(folder):
    (found,) = load_raw(folder).detect(detector(), Calibration(), frames=True)
    assert found.frame is not None
    assert found.frame["votes"].iloc[0] == pytest.approx({"resunet": 0.1, "streets": 1}, abs=0.02)


def test_networks_that_looked_again_are_fused_again(folder):
    before = together(folder, detector())
    assert before.max() == 255
    predicted(folder, "second", np.full((SIDE, SIDE), 0.2), stripe(0.0))
    again = together(folder, detector())
    assert again.max() == 51
    assert json.loads((folder / f"{store.stem(SAMPLE)}.json").read_text())["key"] == "second"


@pytest.mark.parametrize("gsd", [None, 2.0])
def test_kept_predictions_lie_where_the_image_did(tmp_path, gsd):
    path = tmp_path / "a.tif"
    profile = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": 1, "dtype": "uint8"}
    where = rasterio.Affine(0.5, 0, 5e5, 0, -0.5, 5e6)
    with rasterio.open(path, "w", **profile, crs="EPSG:32633", transform=where) as out:
        out.write(np.ones((SIDE, SIDE), np.uint8), 1)
    scene = open_scene(path, gsd=gsd)
    facts = json.loads(json.dumps(store.geometry(scene, TilePlan(scene.grid(1.0), 512, 64))))
    place, plan = store.placed(facts)
    assert place == scene.place
    assert place.overruled == (gsd is not None)
    assert plan == TilePlan(scene.grid(1.0), 512, 64)


def drawn(folder: Path, mask: Path | None) -> dict[str, float | None]:
    """Figures where the truth is a line down the middle of the stripe, with a mask or without."""
    line = Label("road", (0, 43, SIDE, 45), line=((0.0, 44.0), (float(SIDE), 44.0)))
    sample = Sample(
        SAMPLE, "made", "valid", folder / "0.png", SIDE, SIDE, gsd=1.0, labels=(line,), mask=mask
    )
    write_samples([sample], folder / store.SAMPLES)
    raw, config = load_raw(folder), detector()
    found = figures_of(raw, config, Calibration(), Evaluate(bootstrap=0))
    return {name: one["value"] for name, one in found["figures"].items()}


def test_of_lines_alone_nothing_is_said_about_a_mask(folder):
    """Nobody drew where road is and where it is not: that is not the same as none."""
    alone = drawn(folder, None)
    assert {alone[f"mask_{name}"] for name in ("f1", "precision", "recall")} == {None}
    assert alone["f1"] > 0.9
    mask = folder / "mask.png"
    Image.fromarray((stripe(1.0) > 0).astype(np.uint8)).save(mask)
    assert drawn(folder, mask)["mask_f1"] == 1


def test_metres_of_an_image_that_does_not_say_are_those_it_was_predicted_at(folder):
    """A table of `pretend_gsd` says what its pixels are; measures of ways are in metres."""
    scene = open_scene(folder / "0.png", gsd=0.5)
    facts = {"key": "", **store.geometry(scene, TilePlan(scene.grid(0.5), 512, 64))}
    store.write_json(facts, folder / f"{store.stem(SAMPLE)}.json")
    # Six pixels beside the middle of what is found: three metres, which APLS lets pass.
    line = Label("road", (0, 49, SIDE, 51), line=((0.0, 50.0), (float(SIDE), 50.0)))
    sample = Sample(SAMPLE, "made", "valid", folder / "0.png", SIDE, SIDE, labels=(line,))
    write_samples([sample], folder / store.SAMPLES)
    found = figures_of(load_raw(folder), detector(), Calibration(), Evaluate(bootstrap=0))
    assert found["counts"]["kilometres"] == pytest.approx(SIDE * 0.5 / 1000, abs=0.004)
    assert found["figures"]["apls"]["value"] > 0.9
    assert found["figures"]["topo_f1"]["value"] > 0.9


def test_an_image_without_roads_where_none_were_found_is_no_bad_case(folder):
    predicted(folder, "", np.full((SIDE, SIDE), 0.1), stripe(0.0))
    raw, settings = load_raw(folder), Evaluate(bootstrap=0, worst=3)
    measured = measure(raw, detector(), Calibration(), settings)
    assert worst(Chapter("valid", raw, measured, {}, {}), settings) is None
    # The same image, with a road that is not there, is.
    predicted(folder, "again", np.full((SIDE, SIDE), 0.1), stripe(1.0))
    raw = load_raw(folder)
    measured = measure(raw, detector(), Calibration(), settings)
    assert worst(Chapter("valid", raw, measured, {}, {}), settings) is not None


@pytest.mark.parametrize("left", [0, 10, 300])
def test_damaged_predictions_name_their_file(tmp_path, left):
    path = tmp_path / "0.npz"
    store.write_views([(0, np.ones((8, 8), bool), ())], path)
    assert store.read_views(path).holes == {}
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(DatasetError, match=r"delete it and predict again: .* --force"):
        store.read_views(path)
    np.savez_compressed(path, other=np.arange(3))
    with pytest.raises(DatasetError, match=r"delete it and predict again: .* --force"):
        store.read_views(path)


def test_predictions_that_cannot_be_written_name_what_chose_their_folder(tmp_path):
    for name in ("0.npz", "0.json"):
        (tmp_path / name).mkdir()
    with pytest.raises(OutputError, match=r"^--workdir .*0\.npz"):
        store.write_views([(0, np.ones((8, 8), bool), ())], tmp_path / "0.npz")
    with pytest.raises(OutputError, match=r"^--workdir .*0\.json"):
        store.write_json({}, tmp_path / "0.json")
