"""A search where little or nothing is found: it goes on, and says so."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from detectors.views import Views
from lanner.core.config import DetectorConfig, load_config
from lanner.factory.config import FactoryConfig
from lanner.factory.project import Project
from lanner.factory.samples import Label, Sample, write_samples
from lanner.factory.steps import search
from lanner.factory.steps.evaluate import store
from tests.fixtures_reports import dead_links
from tiling.grid import TilePlan
from tiling.scene import open_scene

SIDE = 192
NETWORKS = [
    {"name": "boxes", "kind": "retinanet", "weights": "boxes.safetensors", "threshold": 0.1},
    {"name": "others", "kind": "retinanet", "weights": "others.safetensors", "threshold": 0.1},
]
DETECTOR = {
    "name": "tanks",
    "release": "1.0.0",
    "description": "Tanks.",
    "classes": ["tank"],
    "output": "objects",
    "gsd": 1.0,
    "gsd_range": [0.5, 2],
    "tile": 256,
    "halo": 32,
    "fusion": {"min_score": 0.05},
    "chain": [
        {"step": "merge_seams"},
        {"step": "outline"},
        {"step": "triage", "accept_at": 0.8, "review_box_only": False},
    ],
}
TRUE = [(20.0, 20.0, 44.0, 44.0), (100.0, 60.0, 124.0, 84.0)]
FALSE = [(150.0, 150.0, 170.0, 170.0), (10.0, 150.0, 34.0, 174.0)]

NOTHING: list[tuple[tuple[float, ...], float]] = []
FAINT = [(box, 0.1) for box in (*TRUE, *FALSE)]
WRONG = [(box, 0.7) for box in FALSE]
RIGHT = [(box, 0.7) for box in TRUE]


def written(folder: Path, config: DetectorConfig, predictions, labels) -> None:
    """Raw predictions of two images in which every network saw the same."""
    folder.mkdir(parents=True)
    samples = []
    for number in range(2):
        image = folder / f"{number}.png"
        Image.fromarray(np.zeros((SIDE, SIDE, 3), np.uint8)).save(image)
        scene = open_scene(image, gsd=1.0)
        plan = TilePlan(scene.grid(1.0), 256, 32)
        sample = Sample(
            f"made/{number}", "made", "valid", image, SIDE, SIDE, gsd=1.0, labels=tuple(labels)
        )
        samples.append(sample)
        name = store.stem(sample.id)
        tiles = []
        for tile in plan:
            shift = np.tile([tile.window.x0, tile.window.y0], 2)
            boxes = np.asarray([box for box, _ in predictions], np.float64).reshape(-1, 4) - shift
            views = Views.of(boxes, np.asarray([score for _, score in predictions], np.float64))
            tiles.append((tile.index, np.ones((256, 256), bool), (views,) * len(config.members)))
        store.write_views(tiles, folder / f"{name}.npz")
        store.write_json({"key": "", **store.geometry(scene, plan)}, folder / f"{name}.json")
    write_samples(samples, folder / store.SAMPLES)
    facts = {"detector": config.model_dump(mode="json"), "key": "", "seconds": {"whole": 1.0}}
    store.write_json(facts, folder / store.FACTS)


def searched(
    home: Path, predictions, *, held=None, labels=True, networks=1, space=None, **settings
):
    """The summary of a search, its table, and the folder it left."""
    config = DetectorConfig.model_validate({**DETECTOR, "members": NETWORKS[:networks]})
    (home / "tanks.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    facts = {
        "factory": "tanks",
        "detector": "tanks.yaml",
        "sources": [{"name": "made", "format": "images", "root": "."}],
        "evaluate": {"splits": ["test"], "bootstrap": 0},
        "search": {
            "space": space or {"fusion.min_score": [0.05, 0.6]},
            "split": "test",
            "points": 20,
            "workers": 1,
            **settings,
        },
    }
    path = home / "tanks.factory.yaml"
    path.write_text(yaml.safe_dump(facts))
    project = Project(FactoryConfig.model_validate(facts), path, home / "run")
    truth = [Label("tank", box) for box in TRUE] if labels else []
    raw = project.step_dir("evaluate") / "raw"
    written(raw / "test", config, predictions, truth)
    written(raw / "valid", config, predictions if held is None else held, truth)
    folder = project.step_dir("search")
    folder.mkdir()
    outcome = search.run(project)
    assert all(one.exists() for one in outcome.show)
    assert dead_links(folder / "report.html") == []
    with (folder / "points.csv").open(encoding="utf-8", newline="") as file:
        return outcome.summary, list(csv.DictReader(file)), folder


@pytest.mark.parametrize("objectives", [["f1", "-review"], ["precision"]])
@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("networks", [1, 2])
def test_where_no_point_finds_anything_the_detector_stays(tmp_path, objectives, labels, networks):
    summary, rows, folder = searched(
        tmp_path, NOTHING, objectives=objectives, labels=labels, networks=networks
    )
    assert "nothing is found" in summary["best"] and objectives[-1].strip("-") in summary["best"]
    assert (summary["changed"], summary["front"]) == ({}, 0)
    assert summary["without figures"] == len(rows) == 20
    assert {row["best"] for row in rows} == {"0"}
    assert load_config(folder / "best.yaml") == load_config(tmp_path / "tanks.yaml")


@pytest.mark.parametrize("networks", [1, 2])
def test_points_that_find_nothing_are_behind_those_that_do(tmp_path, networks):
    summary, rows, folder = searched(
        tmp_path, FAINT, networks=networks, space={"fusion.min_score": [0.05, 0.9]}
    )
    silent = [row for row in rows if row["error"]]
    assert 0 < len(silent) < len(rows)
    assert {row["review"] for row in silent} == {""}
    (best,) = (row for row in rows if row["best"] == "1")
    assert not best["error"] and float(best["f1"]) > 0
    assert summary["best"]["f1"] == float(best["f1"])
    assert not any(row["front"] == "1" for row in silent)
    # In the report they stand last.
    text = (folder / "report.html").read_text()
    assert text.index("nothing can be said of review") > text.rindex(">front<")


@pytest.mark.parametrize("predictions", [WRONG, RIGHT])
@pytest.mark.parametrize("held", [NOTHING, WRONG, RIGHT])
@pytest.mark.parametrize("networks", [1, 2])
def test_nothing_to_calibrate_by_is_no_obstacle(tmp_path, predictions, held, networks):
    summary, rows, _ = searched(tmp_path, predictions, held=held, networks=networks)
    assert summary["best"]["f1"] == (1.0 if predictions is RIGHT else 0.0)
    assert any(not row["error"] for row in rows)
