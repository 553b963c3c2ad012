"""Figures of detections made up by hand: each is what its name says, whatever the settings."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest

from lanner.core.config import DetectorConfig
from lanner.core.home import VARIABLE
from lanner.factory.config import Evaluate, FactoryConfig
from lanner.factory.samples import Label, Sample
from lanner.factory.steps.evaluate.figures import figures_as_data
from lanner.factory.steps.evaluate.group import Detections
from lanner.factory.steps.evaluate.measured import Measured
from lanner.factory.steps.evaluate.objects import measure_objects
from lanner.factory.steps.evaluate.raw import RawSet

CONFIG = DetectorConfig.model_validate(
    {
        "name": "tanks",
        "release": "1.0.0",
        "description": "Tanks.",
        "classes": ["tank"],
        "output": "objects",
        "gsd": 0.5,
        "gsd_range": [0.3, 1],
        "members": [{"name": "boxes", "kind": "retinanet", "weights": "boxes.safetensors"}],
        "chain": [{"step": "merge_seams"}],
    }
)
REAL = (10.0, 10.0, 30.0, 30.0)


def image(name: str, *labels: Label, source: str = "made") -> Sample:
    return Sample(name, source, "test", Path(f"{name}.png"), 200, 200, gsd=0.5, labels=labels)


def found(*boxes: tuple[float, ...], frame: gpd.GeoDataFrame | None = None) -> Detections:
    count = len(boxes)
    return Detections(
        np.asarray(boxes, np.float64).reshape(-1, 4),
        np.linspace(0.9, 0.8, count),
        ("tank",) * count,
        ("accept",) * count,
        frame,
    )


def once(measured: Measured, statistics: dict, name: str) -> float:
    return float(statistics[name](np.ones((1, measured.images)))[0])


@pytest.mark.parametrize("iou", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("share", [0.4, 0.6])
def test_ap50_is_at_one_half_of_every_size_whatever_makes_an_object_right(iou, share):
    part = (10.0, 10.0, 30.0, 10.0 + 20.0 * share)
    samples = [image("a", Label("tank", REAL))]
    measured = measure_objects([found(part)], samples, CONFIG, Evaluate(iou=iou), False)
    small = measured.sized["small"]
    assert once(measured, measured.statistics, "ap50") == (share > 0.5)
    assert once(measured, small, "ap50") == (share > 0.5)
    assert once(measured, small, "f1") == (share > iou)


TYPES = """\
version: 1
types:
  - {icao: XA1, name: Xavante, family: small, length: 9, spans: [10], wing: straight, engines: 1,
     engines_at: nose, built: 5, retired: false}
"""
FAMILIES = """\
version: 1
families:
  aircraft: {name: aircraft}
  small: {name: small ones, parent: aircraft}
"""


def test_types_are_measured_by_the_catalogue_that_the_detector_tells_them_from(
    tmp_path, monkeypatch
):
    configs = tmp_path / "configs"
    configs.mkdir()
    (configs / "mine.yaml").write_text(TYPES)
    (configs / "families.yaml").write_text(FAMILIES)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    identify = {"step": "identify", "catalogue": "mine.yaml", "taxonomy": "families.yaml"}
    config = DetectorConfig.model_validate(
        {**CONFIG.model_dump(mode="json"), "chain": [{"step": "merge_seams"}, identify]}
    )
    frame = gpd.GeoDataFrame(
        {
            "types": [[{"icao": "XA1", "name": "Xavante", "probability": 0.9}]],
            "taxonomy": [{"path": ["aircraft", "small ones", "Xavante"]}],
        },
        geometry=gpd.GeoSeries.from_wkt(["POLYGON ((10 10, 30 10, 30 30, 10 30, 10 10))"]),
    )
    samples = [image("a", Label("tank", REAL, kind="XA1"))]
    measured = measure_objects([found(REAL, frame=frame)], samples, config, Evaluate(), False)
    assert once(measured, measured.statistics, "types_top1") == 1
    assert measured.values["types_level"] == 2


def test_a_slice_of_one_image_has_no_interval():
    samples = tuple(
        image(name, Label("tank", REAL), source=source)
        for name, source in (("a", "alone"), ("b", "many"), ("c", "many"))
    )
    detections = [found(REAL), found(REAL, (100.0, 100.0, 120.0, 120.0)), found()]
    settings = Evaluate(bootstrap=50)
    measured = measure_objects(detections, samples, CONFIG, settings, False)
    slices = figures_as_data(measured, RawSet(Path(), CONFIG, samples), settings)["slices"][
        "source"
    ]
    assert slices["alone"]["f1"] == {"value": 1.0}
    assert slices["many"]["f1"]["value"] == 0.5
    assert slices["many"]["f1"]["low"] < 0.5 < slices["many"]["f1"]["high"]


def test_only_sources_can_be_pretended():
    facts = {
        "factory": "tanks",
        "detector": "tanks.yaml",
        "sources": [{"name": "made", "format": "images", "root": "."}],
        "evaluate": {"pretend_gsd": {"maid": 1.0}},
    }
    with pytest.raises(ValueError, match="'maid' is none of made"):
        FactoryConfig.model_validate(facts)
