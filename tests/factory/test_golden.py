"""Golden outputs of images as operations leave them: told what step evaluate tells of each."""

from pathlib import Path

import numpy as np
import pytest
import shapely
from PIL import Image

from detectors.calibration import Calibration
from detectors.catalog import resolve
from lanner.factory.config import FactoryConfig
from lanner.factory.project import SAMPLES, Project
from lanner.factory.samples import Sample, read_samples, write_samples
from lanner.factory.steps import evaluate
from lanner.factory.steps.evaluate.raw import predict
from lanner.factory.steps.process import run as process
from lanner.factory.steps.release.golden import golden_output, golden_outputs

OPS = {
    "nothing": [],
    "tile": [{"op": "tile", "side": 96}],
    "bands": [{"op": "bands", "bands": [1, 2, 3]}],
    "resample": [{"op": "resample", "gsd": 1.25}],
}


def project_of(home: Path, folder: Path, ops=(), pretend=True) -> Project:
    """A factory of the tiny detector, whose step explore found one GeoTIFF of 1 m pixels."""
    facts = {
        "factory": "tiny",
        "detector": str(home / "configs" / "tiny.yaml"),
        "sources": [{"name": "made", "format": "images", "root": "."}],
        "process": ops,
        "evaluate": {"pretend_gsd": pretend},
    }
    return Project(FactoryConfig.model_validate(facts), folder / "factory.yaml", folder / "work")


@pytest.fixture
def scene(tmp_path, pictures) -> Sample:
    path = pictures.write_tif(tmp_path / "a.tif", pictures.texture(120, 120, seed=2))
    return Sample("made/a", "made", "test", path, 120, 120, gsd=1.0, place=(15.0, 45.0))


@pytest.mark.parametrize("name", OPS)
def test_they_are_what_evaluate_measured(tiny_home, tmp_path, scene, name):
    project = project_of(tiny_home, tmp_path, OPS[name])
    write_samples([scene], project.step_dir("explore") / SAMPLES)
    process(project)
    samples = read_samples(project.step_dir("process") / SAMPLES)
    assert all(one.place is not None for one in samples)
    write_samples(samples, project.step_dir("dataset") / SAMPLES)
    raw = predict(project, "test", evaluate.weights_of(project), tmp_path / "raw", "cpu")
    found = raw.detect(project.detector(), Calibration())
    rows = golden_outputs(project, resolve("tiny", tiny_home), raw.samples)
    wanted = {"nothing": None, "resample": 1.25}.get(name, 1.0)
    assert {row["gsd"] for row in rows} == {wanted}
    assert len(rows) == {"tile": 4}.get(name, 1)
    for row, one in zip(rows, found, strict=True):
        boxes = [feature["properties"]["box_px"] for feature in row["features"]]
        mine, theirs = (shapely.box(*np.asarray(some, float).reshape(-1, 4).T)
                        for some in (boxes, one.boxes))  # fmt: skip
        assert len(mine) == len(theirs) > 0
        assert sorted(shapely.area(mine)) == pytest.approx(sorted(shapely.area(theirs)), rel=0.01)


def test_a_pretended_sampling_is_that_of_the_images_source(tiny_home, tmp_path, scene):
    entry, path = resolve("tiny", tiny_home), tmp_path / "b.png"
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(path)
    bare = scene.but(image=path, width=64, height=64, gsd=None)
    table = project_of(tiny_home, tmp_path, pretend={"made": 0.8})
    for place in (None, scene.place):
        sample = bare.but(place=place)
        assert golden_output(table, entry, sample)["gsd"] == 0.8
        assert golden_output(project_of(tiny_home, tmp_path), entry, sample)["gsd"] == 1.0
        known = sample.but(gsd=0.6)
        assert golden_output(table, entry, known)["gsd"] == 0.6


def test_a_raster_that_says_where_it_lies_is_read_as_it_is(tiny_home, tmp_path, scene, pictures):
    path = tmp_path / "c.jp2"
    more = {"driver": "JP2OpenJPEG", "QUALITY": 100, "REVERSIBLE": "YES", "tiled": False}
    pictures.write_tif(path, pictures.texture(128, 128), **more)
    sample = scene.but(image=path, width=128, height=128)
    row = golden_output(project_of(tiny_home, tmp_path), resolve("tiny", tiny_home), sample)
    assert row["gsd"] is None
    assert row["features"]
