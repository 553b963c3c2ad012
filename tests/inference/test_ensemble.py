"""The ensemble on real networks: a tile's result depends on the tile alone."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from detectors.catalog import check_release, entries, resolve
from detectors.ensemble import Ensemble
from detectors.results import encode
from lanner.cli.app import app
from lanner.core.config import load_config
from lanner.core.errors import (
    BandError,
    ConfigError,
    DeviceError,
    GsdError,
    UnknownDetectorError,
    WeightsError,
)
from lanner.core.job import Cancel, DetectRequest
from lanner.inference.pipeline import detect, list_detectors
from tiling.grid import Grid, TilePlan
from tiling.reader import TileImage
from tiling.scene import open_scene

GRID = Grid.over((256, 256), (1, 1), 1)
GRIDS = (GRID,) * 20
PLAN = TilePlan(GRID, 128, 32)


@pytest.fixture(scope="module")
def images(pictures):
    scene = pictures.texture(320, 320).astype(np.float32) / 255
    out = []
    for tile in PLAN:
        y, x = tile.window.y0 + 32, tile.window.x0 + 32
        pixels = np.zeros((3, 128, 128), np.float32)
        part = scene[:, y : y + 128, x : x + 128]
        pixels[:, : part.shape[1], : part.shape[2]] = part
        valid = np.ones((128, 128), bool)
        if tile.index % 5 == 0:
            valid[:, :50] = False
        if tile.index == 7:
            valid[:] = False
        out.append(TileImage(tile, np.where(valid, pixels, 0), valid))
    return out


def open_detector(home, name, **kwargs):
    entry = resolve(name, home)
    return Ensemble(entry.config, entry.release_dir, **{"device": "cpu", **kwargs})


@pytest.fixture(scope="module", params=["tiny", "tinyroads"])
def case(request, tiny_home, images):
    """(ensemble, images, payloads of one tile at a time)."""
    ensemble = open_detector(tiny_home, request.param)
    return ensemble, images, [encode(ensemble.run([i], GRIDS)[0]) for i in images]


def test_results_do_not_depend_on_the_batch_or_order(case):
    ensemble, images, alone = case
    assert len(set(alone)) > len(alone) // 2  # tiles do differ
    for size in (3, len(images)):
        got = []
        for start in range(0, len(images), size):
            got += map(encode, ensemble.run(images[start : start + size], GRIDS))
        assert got == alone
    turned = list(map(encode, ensemble.run(images[::-1], GRIDS)))[::-1]
    assert turned == alone


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core")
def test_results_do_not_depend_on_the_number_of_threads(case):
    ensemble, images, alone = case
    if ensemble.compute.autocast is None:
        pytest.skip("float32 convolutions split their sums by thread")
    before, whole = torch.get_num_threads(), ensemble.compute
    try:
        for threads in (1, 2, 3):
            ensemble.compute = replace(whole, threads=threads)
            for slots in (None, 1):
                results = ensemble.run(images[:6], GRIDS, slots)
                assert list(map(encode, results)) == alone[:6]
                assert torch.get_num_threads() == before
    finally:
        ensemble.compute = whole


def test_objects_come_with_votes_and_outlines(tiny_home, images):
    results = open_detector(tiny_home, "tiny").run(images, GRIDS)
    votes = np.concatenate([r.votes for r in results])
    assert len(votes) > 20
    assert not np.isnan(votes).all(axis=0).any()  # each member saw something
    outlines = [ring for r in results for ring in r.outlines]
    assert any(ring is not None for ring in outlines)
    for result, image in zip(results, images, strict=True):
        assert (result.boxes >= 0).all()
        assert (result.boxes <= 256).all()
        centre = (result.boxes[:, :2] + result.boxes[:, 2:]) / 2
        at = np.floor(centre - [image.tile.window.x0, image.tile.window.y0]).astype(int)
        assert image.valid[at[:, 1], at[:, 0]].all()
    assert len(results[7]) == 0


def test_where_nothing_is_valid_the_probability_is_nothing(tiny_home, images):
    ensemble = open_detector(tiny_home, "tinyroads")
    part, empty = ensemble.run([images[5], images[7]], GRIDS)
    assert empty.probability is None
    assert (part.probability[:, :, :50] == 0).all()
    assert part.probability[:, :, 50:].any()


def test_what_is_not_valid_is_not_looked_at(tiny_home, images):
    ensemble = open_detector(tiny_home, "tiny")
    image = images[5]
    noisy = image.pixels.copy()
    noisy[:, ~image.valid] = 0.7
    assert encode(ensemble.run([TileImage(image.tile, noisy, image.valid)], GRIDS)[0]) == encode(
        ensemble.run([image], GRIDS)[0]
    )


def test_a_member_alone_is_the_ensemble_without_the_other(tiny_home, images):
    alone = open_detector(tiny_home, "tiny", members=["masks"])
    assert alone.names == ("masks",)
    result = alone.run(images[:1], GRIDS)[0]
    assert result.votes.shape == (len(result), 1)
    assert all(ring is not None for ring in result.outlines)
    np.testing.assert_allclose(result.scores, result.votes[:, 0], atol=2e-6)  # no penalty
    with pytest.raises(ConfigError, match=r"mask.*boxes, masks.*did you mean 'masks'"):
        open_detector(tiny_home, "tiny", members=["mask"])
    with pytest.raises(ConfigError, match="names no member"):
        open_detector(tiny_home, "tiny", members=[])


def test_calibration_is_applied_after_fusion(tiny_home, tmp_path, images):
    home = copy_home(tiny_home, tmp_path)
    curve = {"kind": "isotonic", "knots": [[0, 0], [1, 0.5]]}
    folder = home / "weights/tiny/1.0.0"
    (folder / "calibration.json").write_text(json.dumps({"curve": curve}))
    before = open_detector(tiny_home, "tiny").run(images[:1], GRIDS)[0]
    after = open_detector(home, "tiny").run(images[:1], GRIDS)[0]
    np.testing.assert_allclose(after.scores, before.scores / 2, atol=2e-6)
    np.testing.assert_array_equal(after.votes, before.votes)


def copy_home(home, tmp_path):
    return shutil.copytree(home, tmp_path / "copy")


def test_the_catalog_lists_and_finds(tiny_home, tmp_path, monkeypatch):
    assert [entry.config.name for entry in entries(tiny_home)] == ["tiny", "tinyroads"]
    with pytest.raises(UnknownDetectorError, match=r"tiny, tinyroads.*did you mean 'tiny'"):
        resolve("tinny", tiny_home)
    with pytest.raises(ConfigError, match="cannot be read"):
        resolve("nowhere.yaml", tiny_home)
    entry = resolve(str(tiny_home / "configs/tiny.yaml"), None)
    assert entry.release_dir == tiny_home / "weights/tiny/1.0.0"
    shutil.copytree(tiny_home / "configs", tmp_path / "own" / "configs")
    own = resolve(str(tmp_path / "own/configs/tiny.yaml"), tmp_path / "elsewhere")
    assert own.release_dir == tmp_path / "own/weights/tiny/1.0.0"
    monkeypatch.chdir(tiny_home / "configs")  # named from beside it, as `cd` leaves one
    assert resolve("tiny.yaml", None).release_dir == tiny_home / "weights/tiny/1.0.0"
    release = check_release(entry)
    assert set(release.files) == {"boxes.safetensors", "masks.safetensors", "calibration.json"}
    assert len(release.sha256) == 64
    assert check_release(entry, ["masks"]).sha256 != release.sha256


def spoil(how, folder):
    if how == "no folder":
        shutil.rmtree(folder)
    elif how == "no card":
        (folder / "card.yaml").unlink()
    elif how == "card without licence":
        card = yaml.safe_load((folder / "card.yaml").read_text())
        del card["data"][0]["licence"]
        (folder / "card.yaml").write_text(yaml.safe_dump(card))
    elif how == "other release":
        text = (folder / "card.yaml").read_text().replace("1.0.0", "2.0.0")
        (folder / "card.yaml").write_text(text)
    elif how == "no weights":
        (folder / "masks.safetensors").unlink()
    elif how == "damaged":
        data = bytearray((folder / "masks.safetensors").read_bytes())
        data[-1] ^= 1
        (folder / "masks.safetensors").write_bytes(data)
    elif how == "no calibration":
        (folder / "calibration.json").unlink()


def test_only_detectors_are_listed_and_names_are_their_own(tiny_home, tmp_path):
    home = copy_home(tiny_home, tmp_path)
    (home / "configs/types.yaml").write_text("types: [a, b]\n")
    assert [entry.config.name for entry in entries(home)] == ["tiny", "tinyroads"]
    shutil.copy(home / "configs/tiny.yaml", home / "configs/again.yaml")
    with pytest.raises(ConfigError, match=r"again\.yaml and tiny\.yaml"):
        entries(home)


def test_a_draft_that_cannot_be_read_stops_no_other(tiny_home, tmp_path, monkeypatch):
    home = copy_home(tiny_home, tmp_path)
    text = (home / "configs/tiny.yaml").read_text()
    (home / "configs/draft.yaml").write_text(text.replace("classes:", "clases:"))
    shutil.copy(home / "configs/tinyroads.yaml", home / "configs/same.yaml")
    monkeypatch.setenv("LANNER_HOME", str(home))
    assert resolve("tiny", home).config.name == "tiny"
    for name, words in (("draft", "did you mean 'classes'"), ("tinyroads", "is in both")):
        with pytest.raises(ConfigError, match=words):
            resolve(name, home)
    draft, tiny, roads = list_detectors()
    assert [one.name for one in (draft, tiny, roads)] == ["draft", "tiny", "tinyroads"]
    assert "clases" in draft.problem and tiny.problem is None and "same.yaml" in roads.problem
    with pytest.raises(ConfigError, match="clases"):
        entries(home)
    result = CliRunner().invoke(app, ["detectors"])
    assert result.exit_code == 0 and "clases" in result.stdout
    # A healthy detector of that name is the one that is meant.
    shutil.copy(home / "configs/tiny.yaml", home / "configs/mine.yaml")
    (home / "configs/tiny.yaml").write_text("members: [")
    assert resolve("tiny", home).path.name == "mine.yaml"


@pytest.mark.parametrize(
    "how",
    [
        "no folder",
        "no card",
        "card without licence",
        "other release",
        "no weights",
        "damaged",
        "no calibration",
    ],
)
def test_spoilt_releases_are_refused_and_listed(how, tiny_home, tmp_path, monkeypatch, pictures):
    home = copy_home(tiny_home, tmp_path)
    spoil(how, home / "weights/tiny/1.0.0")
    monkeypatch.setenv("LANNER_HOME", str(home))
    scene = pictures.write_tif(tmp_path / "s.tif", pictures.texture(140, 140))
    with pytest.raises(WeightsError):
        detect(DetectRequest(str(scene), "tiny"), Cancel(), print)
    tiny, roads = list_detectors()
    assert tiny.problem
    assert roads.problem is None
    assert [len(n.weights_sha256) for n in roads.networks] == [64]


def test_weights_of_another_architecture_are_refused(tiny_home, tmp_path):
    entry = resolve("tiny", tiny_home)
    folder = tmp_path / "other"
    shutil.copytree(entry.release_dir, folder)
    state = load_file(folder / "masks.safetensors")
    save_file(
        {k: v for k, v in state.items() if "segmentation" not in k}, folder / "masks.safetensors"
    )
    with pytest.raises(WeightsError, match="another architecture"):
        Ensemble(entry.config, folder, "cpu")
    (folder / "masks.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(WeightsError, match="get it back from the repository"):
        Ensemble(entry.config, folder, "cpu")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"arch": {"decoder_chanels": [8]}}, r"did you mean 'decoder_channels'"),
        ({"arch": {"outputs": ["object", "centre"]}}, "objects need"),
    ],
)
def test_architectures_that_do_not_fit_are_refused(change, words, tiny_home, tmp_path, pictures):
    config = {**pictures.objects, "members": [{**pictures.objects["members"][1], **change}]}
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(ConfigError, match=words):
        Ensemble(load_config(path), tiny_home / "weights/tiny/1.0.0", "cpu")


def test_devices_that_are_not_there_are_refused(tiny_home):
    with pytest.raises(DeviceError, match="auto, cpu, cuda"):
        open_detector(tiny_home, "tiny", device="tpu")
    with pytest.raises(DeviceError):
        open_detector(tiny_home, "tiny", device="cuda:99")


@pytest.mark.parametrize(
    ("request_", "bands", "kind", "words"),
    [
        ({"gsd": 3.0}, 3, GsdError, "^gsd '3.0'.*0.5 to 2 m"),
        ({"tile": 100}, 3, ConfigError, "^tile '100'.*use 128"),
        ({"tile": 64}, 3, ConfigError, "^tile '64'.*at least 96"),
        ({"members": ("nose",)}, 3, ConfigError, "^members 'nose'"),
        ({}, 2, BandError, "red"),
    ],
)
def test_requests_that_cannot_be_met(request_, bands, kind, words, at_home, tmp_path, pictures):
    scene = pictures.write_tif(tmp_path / "s.tif", pictures.texture(140, 140)[:bands])
    with pytest.raises(kind, match=words):
        detect(DetectRequest(str(scene), "tiny", **request_), Cancel(), lambda _: None)


def test_a_scene_too_coarse_names_its_sampling(at_home, tmp_path, pictures):
    from affine import Affine

    scene = pictures.write_tif(
        tmp_path / "s.tif",
        pictures.texture(140, 140),
        transform=Affine(10, 0, 500_000, 0, -10, 5_000_000),
    )
    with pytest.raises(GsdError, match=r"has 10 m pixels, tiny takes 0\.5 to 2 m"):
        detect(DetectRequest(str(scene), "tiny"), Cancel(), lambda _: None)


@pytest.mark.parametrize(("easting", "nominal"), [(850_000, 0.5), (500_000, 2.0)])
def test_a_nominal_sampling_at_the_end_of_the_range_is_taken(
    easting, nominal, at_home, tmp_path, pictures
):
    """On the ground UTM makes the one 0.4995 m and the other 2.0008 m."""
    from affine import Affine

    scene = pictures.write_tif(
        tmp_path / "s.tif",
        pictures.texture(140, 140),
        transform=Affine(nominal, 0, easting, 0, -nominal, 5_000_000),
    )
    assert not all(0.5 <= gsd <= 2.0 for gsd in open_scene(scene).gsd)
    detect(DetectRequest(str(scene), "tiny"), Cancel(), lambda _: None)
