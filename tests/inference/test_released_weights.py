"""The weights that ship: whole, able, and saying the same at every tile size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from detectors.views import iou_matrix
from lanner.core.job import Cancel, DetectRequest
from lanner.inference.pipeline import detect
from lanner.inference.registry import list_detectors
from lanner.synth.scene import render
from lanner.synth.spec import RenderSpec

LEAST_PX = 33
"""20 m in the rendered scene of 0.6 m."""


@pytest.fixture(scope="module")
def airfield(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A rendered scene and the boxes of the aircraft in view, scene pixels."""
    folder = tmp_path_factory.mktemp("airfield")
    path, truth = folder / "scene.tif", folder / "truth.geojson"
    render(path, RenderSpec(1500, 1100, 0.6, seed=11), truth_path=truth)
    facts = [one["properties"] for one in json.loads(truth.read_text())["features"]]
    boxes = [f["box_px"] for f in facts if "icao" in f and f["visible"] > 0.7]
    return path, np.array(boxes, float).reshape(-1, 4)


def _found(path: Path, tile: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    result = detect(
        DetectRequest(str(path), "aircraft", tile=tile, device="cpu"), Cancel(), lambda _: None
    )
    facts = [json.loads(text)["properties"] for text in result.features]
    boxes = np.array([f["box_px"] for f in facts], float).reshape(-1, 4)
    return boxes, np.array([f["confidence"] for f in facts])


def test_every_release_can_run_and_says_how_good_it_is() -> None:
    offered = {one.name: one for one in list_detectors()}
    assert {"aircraft", "roads"} <= set(offered)
    for one in offered.values():
        assert one.problem is None
        assert all(network.weights_sha256 for network in one.networks)


def test_rendered_aircraft_are_found(airfield: tuple[Path, np.ndarray]) -> None:
    """A guard against broken weights, not a figure: the networks learned real imagery."""
    path, truth = airfield
    boxes, confidence = _found(path)
    large = truth[(truth[:, 2:] - truth[:, :2]).max(1) >= LEAST_PX]
    overlap = iou_matrix(large, boxes)
    assert len(large) >= 8
    assert (overlap.max(1) >= 0.5).mean() >= 0.7
    sure = boxes[confidence >= 0.5]
    assert (iou_matrix(truth, sure).max(0) >= 0.5).mean() >= 0.7


def test_the_tile_does_not_change_what_is_found(airfield: tuple[Path, np.ndarray]) -> None:
    path, _ = airfield
    wide, sure = _found(path, 1024)
    small, less = _found(path, 320)
    one, two = wide[sure >= 0.6], small[less >= 0.3]
    back, forth = wide[sure >= 0.3], small[less >= 0.6]
    assert len(one) >= 8
    # What one is sure of, the other sees at the same place.
    assert (iou_matrix(one, two).max(1) >= 0.75).mean() >= 0.95
    assert (iou_matrix(forth, back).max(1) >= 0.75).mean() >= 0.95
