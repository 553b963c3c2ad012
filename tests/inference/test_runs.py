"""Whole runs with real networks: nodata, seams, resuming, cancelling, members."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely

from detectors.rasters import fuse_levels
from lanner.core.config import load_config
from lanner.core.errors import Cancelled
from lanner.core.job import Cancel, DetectRequest
from lanner.inference.manifest import FILE
from lanner.inference.pipeline import detect
from lanner.inference.run_folder import LEDGER

SIDE = 200
ROOT = Path(__file__).resolve().parents[2]
RESULTS = ("*.parquet", "*.tif", FILE)


def run(scene, detector="tiny", **kwargs):
    """The result, and the progress that was told."""
    events = []
    result = detect(DetectRequest(str(scene), detector, **kwargs), Cancel(), events.append)
    return result, events


def holes():
    """Validity with a corner, a slit and an island."""
    valid = np.ones((SIDE, SIDE), bool)
    valid[:60, :100] = False
    valid[:, 150:155] = False
    valid[20:40, 30:60] = True
    return valid


def kept(folder):
    """Bytes of all that a run folder is said to hold identical."""
    paths = sorted(path for pattern in RESULTS for path in folder.glob(pattern))
    return {path.name: path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def scene(tmp_path_factory, pictures):
    return pictures.write_tif(
        tmp_path_factory.mktemp("scene") / "scene.tif", pictures.texture(SIDE, SIDE)
    )


@pytest.fixture(scope="module")
def whole(scene, tiny_home, tmp_path_factory):
    """An undisturbed run of a detector: (result, what its folder keeps); done once."""
    done = {}

    def give(detector):
        if detector not in done:
            folder = tmp_path_factory.mktemp("whole") / "run"
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("LANNER_HOME", str(tiny_home))
                result, _ = run(scene, detector, run_dir=folder)
            done[detector] = (result, kept(folder))
        return done[detector]

    return give


def kinds(folder, pictures, dtype):
    """The same scene with its gaps told in every way that its type allows."""
    valid = holes()
    pixels = pictures.texture(SIDE, SIDE).astype(dtype)
    rubbish = np.where(valid, pixels, pixels[:, ::-1] // 2 + 7).astype(dtype)
    inside = np.where(valid, 255, 0).astype(np.uint8)
    paths = {name: folder / name / "scene.tif" for name in ("value", "alpha", "mask", "nan")}
    for path in paths.values():
        path.parent.mkdir(parents=True)
    nodata = 0 if dtype == np.uint8 else -9999
    pictures.write_tif(paths["value"], np.where(valid, pixels, nodata).astype(dtype), nodata=nodata)
    pictures.write_tif(paths["mask"], rubbish, mask=inside)
    if dtype == np.uint8:
        pictures.write_tif(paths["alpha"], np.concatenate([rubbish, inside[None]]), alpha="yes")
        del paths["nan"]
    else:
        pictures.write_tif(paths["nan"], np.where(valid, pixels, np.nan).astype(dtype))
        del paths["alpha"]
    return paths


@pytest.mark.parametrize(
    ("dtype", "detector"),
    [
        (np.uint8, "tiny"),
        (np.uint8, "tinyroads"),
        (np.float32, "tinyroads"),
    ],
)
def test_nodata_of_any_kind_gives_the_same(dtype, detector, at_home, tmp_path, pictures):
    found = {}
    for name, path in kinds(tmp_path, pictures, dtype).items():
        folder = tmp_path / f"run-{name}"
        result, _ = run(path, detector, run_dir=folder)
        rasters = {p.name: p.read_bytes() for p in sorted(folder.glob("*.tif"))}
        found[name] = (result.features, rasters)
    first = found.pop("value")
    assert first[0] or first[1]
    assert all(other == first for other in found.values())


def test_no_object_and_no_probability_in_nodata(at_home, tmp_path, pictures):
    path = kinds(tmp_path, pictures, np.uint8)["value"]
    valid = holes()
    result, _ = run(path)
    boxes = np.array([json.loads(text)["properties"]["box_px"] for text in result.features])
    assert len(boxes) > 10
    centre = np.floor((boxes[:, :2] + boxes[:, 2:]) / 2).astype(int)
    assert valid[centre[:, 1], centre[:, 0]].all()
    run(path, "tinyroads", run_dir=tmp_path / "roads")
    with rasterio.open(tmp_path / "roads/probability.tif") as raster:
        assert (raster.read()[:, ~valid] == 0).all()
        np.testing.assert_array_equal(raster.dataset_mask() > 0, valid)
        assert raster.descriptions == ("road", "centreline")


def seams(scene, detector, folder, tiles):
    """Probability rasters at these tile sizes, the first of which sees the scene whole."""
    rasters = []
    for tile in tiles:
        run(scene, detector, tile=tile, run_dir=folder / str(tile))
        with rasterio.open(folder / str(tile) / "probability.tif") as raster:
            rasters.append(raster.read() / 255)
    assert np.ptp(rasters[0]) > 0.5  # there is something to get wrong
    return [np.abs(tiled - rasters[0]).max() for tiled in rasters[1:]]


def test_blended_as_if_there_were_no_tiles(at_home, tmp_path, pictures, own_config):
    scene = pictures.write_tif(tmp_path / "s.tif", pictures.texture(330, 330))
    wide = own_config(pictures.raster, tile=512, halo=160)
    assert max(seams(scene, wide, tmp_path, (672, 480))) <= 0.01


def test_released_roads_blend_as_if_there_were_no_tiles(tmp_path, pictures, monkeypatch):
    monkeypatch.delenv("LANNER_HOME", raising=False)
    scene = pictures.write_tif(tmp_path / "s.tif", pictures.texture(440, 440))
    config = load_config(ROOT / "configs/roads.yaml")
    halo = config.halo
    assert max(seams(scene, "roads", tmp_path, (448 + 2 * halo, 224 + 2 * halo))) <= 0.01


def test_several_road_networks_speak_together_and_each_for_itself(
    at_home, tmp_path, pictures, own_config
):
    (first,) = pictures.raster["members"]
    members = [first, {**first, "name": "again", "mirror": True, "override_above": 0.4}]
    detector = own_config(pictures.raster, members=members)
    scene = pictures.write_tif(tmp_path / "s.tif", pictures.texture(SIDE, SIDE))
    run(scene, detector, run_dir=tmp_path / "both")
    run(scene, detector, run_dir=tmp_path / "one", members=("masks",))
    rasters = {}
    for path in (tmp_path / "both").glob("*.tif"):
        with rasterio.open(path) as raster:
            rasters[path.stem] = raster.read()
            if path.stem != "threshold":
                assert raster.descriptions == ("road", "centreline")
                assert raster.dataset_mask().all()
    mine, sure = rasters["vote-masks"], rasters["vote-again"]
    config = load_config(Path(detector))
    np.testing.assert_array_equal(rasters["probability"], fuse_levels(config.members, [mine, sure]))
    # There is something to hear.
    assert (rasters["probability"][0] > mine[0] + 12.0).mean() > 0.01
    with rasterio.open(tmp_path / "one" / "probability.tif") as raster:
        np.testing.assert_array_equal(raster.read(), mine)
    assert not list((tmp_path / "one").glob("vote-*.tif"))


def test_the_one_road_network_asked_votes_by_its_name(at_home, scene, pictures, own_config):
    (first,) = pictures.raster["members"]
    members = [{**first, "name": "masks"}, {**first, "name": "again"}]
    chain = [{"step": name} for name in ("threshold", "clean", "skeletonise", "trace", "measure")]
    detector = own_config(pictures.raster, members=members, chain=chain)
    for asked in (None, ("again",)):
        result, _ = run(scene, detector, members=asked)
        voted = {tuple(json.loads(text)["properties"]["votes"]) for text in result.features}
        assert voted == {asked or ("masks", "again")}


def test_stages_are_told_in_order(at_home, scene, tmp_path):
    result, events = run(scene, "tinyroads", run_dir=tmp_path / "new" / "run")
    stages = list(dict.fromkeys(p.stage for p in events))
    assert stages[:5] == ["open", "normalise", "load", "detect", "blend"]
    assert any("threshold" in stage for stage in stages[5:-1])
    assert stages[-1] == "write"
    assert list(result.summary["seconds"]) == stages
    for stage in ("detect", "blend"):
        counts = [(p.done, p.total) for p in events if p.stage == stage]
        assert counts == sorted(counts)
        assert counts[-1][0] == counts[-1][1] == result.summary["plan"]["tiles"]
    assert json.loads(json.dumps(result.summary)) == dict(result.summary)


def test_one_member_alone_votes_alone(at_home, scene, whole):
    both, _ = whole("tiny")
    alone, _ = run(scene, members=("masks",))
    votes = [set(json.loads(text)["properties"]["votes"]) for text in both.features]
    assert {"boxes", "masks"} == set().union(*votes)
    assert {"masks"} == set().union(
        *(json.loads(text)["properties"]["votes"] for text in alone.features)
    )
    assert alone.summary["detector"]["members"] == ["masks"]
    assert alone.summary["detector"]["weights_sha256"] != both.summary["detector"]["weights_sha256"]


def test_without_a_crs_gsd_places_the_pixels(at_home, tmp_path, pictures):
    scene = pictures.write_tif(
        tmp_path / "s.tif",
        pictures.texture(160, 160),
        crs=None,
        transform=rasterio.Affine.identity(),
    )
    result, _ = run(scene, gsd=0.5)
    boxes = np.array([json.loads(text)["properties"]["box_px"] for text in result.features])
    assert result.summary["plan"]["width"] == 80
    assert len(boxes)
    assert boxes.max() <= 160
    assert boxes.max() > 80  # scene pixels, not the grid's
    assert result.frame.crs is None


class StopAt:
    """Raises the flag when a stage has come so far."""

    def __init__(self, stage, done):
        self.stage, self.done, self.cancel, self.when, self.events = stage, done, Cancel(), 0.0, []

    def __call__(self, progress):
        self.events.append(progress)
        if progress.stage.endswith(self.stage) and progress.done >= self.done:
            self.cancel.set()
            self.when = self.when or time.monotonic()


@pytest.mark.parametrize(
    ("stage", "done"),
    [
        ("open", 1),
        ("detect", 3),
        ("blend", 1),
        ("threshold", 0),
    ],
)
def test_cancel_stops_soon_and_the_same_request_resumes(
    stage, done, at_home, scene, whole, tmp_path
):
    request = DetectRequest(str(scene), "tinyroads", run_dir=tmp_path / "run")
    stop = StopAt(stage, done)
    with pytest.raises(Cancelled):
        detect(request, stop.cancel, stop)
    assert time.monotonic() - stop.when < 1
    events = []
    result = detect(request, Cancel(), events.append)
    begun = next(p.done for p in events if p.stage == "detect")
    if stage == "detect":  # tiles that were looked at together are not thrown away
        assert 3 <= begun < 16
    else:
        assert begun == {"open": 0, "blend": 16, "threshold": 16}[stage]
    assert (result.features, kept(tmp_path / "run")) == (
        whole("tinyroads")[0].features,
        whole("tinyroads")[1],
    )


SCRIPT = """
import sys
from pathlib import Path
from lanner.core.job import Cancel, DetectRequest
from lanner.inference.pipeline import detect
def tell(progress):
    print(progress.stage, progress.done, flush=True)
detect(DetectRequest(sys.argv[1], sys.argv[2], run_dir=Path(sys.argv[3])), Cancel(), tell)
"""


@pytest.mark.parametrize(
    ("detector", "line"),
    [
        ("tiny", "detect 7"),
        ("tinyroads", "blend 2"),
    ],
)
def test_killed_and_run_again_to_the_same_bytes(detector, line, at_home, scene, whole, tmp_path):
    folder = tmp_path / "run"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(scene), detector, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        for text in process.stdout:
            if text.strip() == line:
                os.kill(process.pid, signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    again, events = run(scene, detector, run_dir=folder)
    begun = next(p.done for p in events if p.stage == "detect")
    assert begun >= int(line.split()[1])
    if line.startswith("detect"):
        assert begun < again.summary["plan"]["tiles"]
    assert (again.features, kept(folder)) == (whole(detector)[0].features, whole(detector)[1])


def test_another_request_in_the_same_folder_starts_afresh(at_home, scene, tmp_path):
    run(scene, run_dir=tmp_path / "run")
    assert (tmp_path / "run" / LEDGER).is_file()
    result, events = run(scene, run_dir=tmp_path / "run", members=("masks",))
    assert next(p.done for p in events if p.stage == "detect") == 0
    assert all(set(json.loads(t)["properties"]["votes"]) == {"masks"} for t in result.features)
    # Finished tiles are not done twice.
    second, events = run(scene, run_dir=tmp_path / "run", members=("masks",))
    assert [p.done for p in events if p.stage == "detect"] == [result.summary["plan"]["tiles"]]
    assert second.features == result.features


def test_the_frame_is_the_features(whole):
    result, _ = whole("tiny")
    assert len(result.frame) == len(result.features) == result.summary["objects"]
    assert result.frame["id"].tolist() == [json.loads(t)["id"] for t in result.features]
    assert result.frame.crs.to_epsg() == 32633
    assert shapely.is_valid(result.frame.geometry.values).all()
    counts = result.summary["counts"]
    assert sum(n for row in counts.values() for n in row.values()) == len(result.features)
