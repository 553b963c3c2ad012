"""What an evaluation keeps and leaves out.

Predictions serve every operating point; images that a detector refuses do not stop the others.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from PIL import Image

from detectors.calibration import Calibration
from lanner.core.errors import DatasetError
from lanner.factory.config import FactoryConfig
from lanner.factory.project import Project
from lanner.factory.samples import Label, Sample, write_samples
from lanner.factory.steps import evaluate
from lanner.factory.steps.evaluate.raw import predict

SIDE = 64


def project_of(home: Path, folder: Path, samples: list[Sample], detector: str) -> Project:
    config = {
        "factory": "odd",
        "detector": str(home / "configs" / f"{detector}.yaml"),
        "sources": [{"name": "made", "format": "images", "root": "."}],
        "evaluate": {"splits": ["test"], "calibrate_on": "test", "bootstrap": 0, "worst": 0},
    }
    project = Project(FactoryConfig.model_validate(config), folder / "odd.factory.yaml", folder)
    write_samples(samples, project.step_dir("dataset") / "samples.jsonl")
    return project


@pytest.fixture
def samples(tmp_path, pictures) -> list[Sample]:
    """An image, one without data, and one that is white and unknown."""
    pixels = pictures.texture(SIDE, SIDE, seed=1)
    Image.fromarray(np.moveaxis(pixels, 0, 2)).save(tmp_path / "good.png")
    profile = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": 3, "dtype": "uint8"}
    with rasterio.open(tmp_path / "empty.tif", "w", **profile, nodata=0) as out:
        out.write(np.zeros((3, SIDE, SIDE), np.uint8))
    Image.fromarray(np.full((SIDE, SIDE, 3), 255, np.uint8)).save(tmp_path / "white.png")
    Image.fromarray(np.full((SIDE, SIDE), 255, np.uint8)).save(tmp_path / "unknown.png")
    mask = {"white.png": tmp_path / "unknown.png"}
    return [
        Sample(name, "made", "test", tmp_path / name, SIDE, SIDE, gsd=0.5, mask=mask.get(name),
               labels=(Label("thing", (10, 10, 30, 30)),))
        for name in ("empty.tif", "good.png", "white.png")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("detector", "refused"),
    [
        ("tiny", {"empty.tif": "no valid pixel"}),
        ("tinyroads", {"empty.tif": "no valid pixel", "white.png": "no valid pixel"}),
    ],
)
def test_images_that_the_detector_refuses_are_told_and_left_out(
    tiny_home, tmp_path, samples, detector, refused
):
    project = project_of(tiny_home, tmp_path, samples, detector)
    summary = evaluate.run(project).summary["test"]
    raw = evaluate.raw_dir(project, "test")
    left_out = json.loads((raw / "predict.json").read_text())["left_out"]
    assert left_out.keys() == refused.keys()
    for name, why in refused.items():
        assert why in left_out[name]
    assert summary["images left out"] == len(refused)


def test_no_network_runs_again_for_another_box_threshold(tiny_home, tmp_path, samples):
    """Boxes are kept down to a score below any; a search moves the threshold."""
    project = project_of(tiny_home, tmp_path, samples[1:2], "tiny")
    weights = evaluate.weights_of(project)
    first = predict(project, "test", weights, tmp_path / "raw", "cpu")
    before = {path: path.stat().st_mtime_ns for path in first.folder.glob("*.npz")}
    facts = yaml.safe_load((tiny_home / "configs" / "tiny.yaml").read_text())
    facts["members"][0]["threshold"] = 0.6
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "tiny.yaml").write_text(yaml.safe_dump(facts))
    moved = project_of(tmp_path, tmp_path / "moved", samples[1:2], "tiny")
    again = predict(moved, "test", weights, first.folder, "cpu")
    assert {path: path.stat().st_mtime_ns for path in first.folder.glob("*.npz")} == before
    anew = predict(moved, "test", weights, tmp_path / "anew", "cpu")
    one, two = (raw.detect(raw.config, Calibration())[0] for raw in (again, anew))
    np.testing.assert_array_equal(one.boxes, two.boxes)
    assert 0 < len(one.boxes) < len(first.detect(first.config, Calibration())[0].boxes)


def test_where_every_image_is_refused_that_is_an_error(tiny_home, tmp_path, samples):
    project = project_of(tiny_home, tmp_path, samples[:1], "tiny")
    with pytest.raises(DatasetError, match="no image that tiny takes: holds no valid pixel"):
        predict(project, "test", evaluate.weights_of(project), tmp_path / "raw", "cpu")
