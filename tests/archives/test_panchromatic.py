"""A batch whose detector gives its scenes of a single band to another one."""

import json
from pathlib import Path

import geopandas as gpd
import pyogrio
import pytest

import lanner
from lanner.archives.ledger import FILE, BatchLedger
from tests.archives.fixtures_archive import own_cache
from tests.fixtures_panchromatic import detectors, scenes

__all__ = ["detectors", "own_cache", "scenes"]

pytestmark = pytest.mark.usefixtures("own_cache")


def test_scenes_of_both_kinds_are_in_one_archive_and_are_done_once(scenes, detectors, tmp_path):
    folder = Path(scenes["colour"]).parent
    out = tmp_path / "out"
    first = lanner.batch(folder, detectors["mine"], out, on="serial", formats=["gpkg", "geojson"])
    counts = {one.scene.name: one.outcome.features for one in first.records}
    assert not first.failed
    assert len(counts) == 2
    assert min(counts.values()) > 0
    layer = gpd.read_file(out / "features.gpkg", layer="roads")
    found = layer.groupby("scene")["detector"].unique().to_dict()
    names = {Path(scenes["colour"]).stem: ["roads"], "pan": ["pan"]}
    assert {name: list(some) for name, some in found.items()} == names
    for name, number in counts.items():
        path = out / "scenes" / f"{name}.gpkg"
        assert [str(one) for one, kind in pyogrio.list_layers(path) if kind] == ["roads"]
        assert len(gpd.read_file(path)) == number
        texts = json.loads((out / "scenes" / f"{name}.geojson").read_text())
        assert len(texts["features"]) == number

    again = lanner.batch(folder, detectors["mine"], out, on="serial", formats=["gpkg", "geojson"])
    assert {one.attempts for one in again.records} == {1}
    with BatchLedger(out / FILE, None) as ledger:
        for name, (who,) in names.items():
            facts = ledger.summary(name, detectors["mine"])["detector"]
            assert facts["name"] == who
            assert ledger.config(facts["config_sha256"])["name"] == who


def test_changes_of_either_detector_do_its_scenes_again(scenes, detectors, tmp_path):
    folder, out = Path(scenes["colour"]).parent, tmp_path / "out"
    lanner.batch(folder, detectors["mine"], out, on="serial")
    pan = Path(detectors["pan"])
    pan.write_text(pan.read_text().replace("tile: 1024", "tile: 768"))
    again = lanner.batch(folder, detectors["mine"], out, on="serial")
    assert {one.scene.name: one.attempts for one in again.records} == {
        Path(scenes["colour"]).stem: 1,
        "pan": 2,
    }
