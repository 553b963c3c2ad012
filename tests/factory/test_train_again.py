"""Two processes train together, and the run is reproduced to the byte."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from lanner.factory.config import load_factory
from lanner.factory.images import write_png
from lanner.factory.project import SAMPLES, Project
from lanner.factory.reproduce import reproduce_run
from lanner.factory.samples import Label, Sample, write_samples
from lanner.factory.steps import dataset, evaluate, train
from lanner.factory.steps.train.child import OUTPUT, job_file
from tests.fixtures_training import TANKS

SPLITS = ("train", "train", "train", "valid", "test")
STEPS = 6
DETECTOR = {
    **TANKS,
    "members": [
        {
            "name": "shapes",
            "kind": "resunet",
            "weights": "shapes.safetensors",
            "threshold": 0.02,
            "arch": {"outputs": ["object", "boundary", "centre"], "decoder_channels": [8, 8, 8]},
        }
    ],
}
FACTORY = {
    "factory": "tanks",
    "detector": "tanks.yaml",
    "sources": [{"name": "drawn", "format": "images", "root": "."}],
    "dataset": {"least": 0},
    "train": {
        "devices": "cpu:2",
        "members": {
            "shapes": {
                "steps": STEPS,
                "sizes": [64],
                "pixels": 8192,
                "warmup": 1,
                "checkpoint_every": 2,
                "workers": 0,
            }
        },
    },
    "evaluate": {"bootstrap": 10, "worst": 0},
}


def drawn(folder: Path, k: int) -> Sample:
    rng = np.random.default_rng(k)
    rgb = rng.integers(60, 120, (96, 96, 3)).astype(np.uint8)
    ids = np.zeros((96, 96), np.uint16)
    labels = []
    for n, (x, y) in enumerate(((8, 8), (52, 20), (30, 60))):
        rgb[y : y + 20, x : x + 20] = (240, 240, 230)
        ids[y : y + 20, x : x + 20] = n + 1
        labels.append(Label("tank", (x, y, x + 20, y + 20)))
    image, mask = folder / f"{k}.png", folder / f"{k}.ids.png"
    write_png(rgb, image)
    write_png(ids, mask)
    return Sample(f"drawn/{k}", "drawn", SPLITS[k], image, 96, 96, labels=tuple(labels), ids=mask)


def shop_at(root: Path, **changes: object) -> Project:
    root.mkdir(exist_ok=True)
    (root / "tanks.yaml").write_text(yaml.safe_dump(DETECTOR))
    (root / "tanks.factory.yaml").write_text(yaml.safe_dump(FACTORY))
    path = root / "tanks.factory.yaml"
    project = Project(load_factory(path), path, root / "work", **changes)
    samples = [drawn(root / "images", k) for k in range(len(SPLITS))]
    write_samples(samples, project.step_dir("process") / SAMPLES)
    project.step_dir("dataset").mkdir(exist_ok=True)
    dataset.run(project)
    return project


def evaluated(project: Project) -> Path:
    """Step evaluate with its record, as the runner leaves it."""
    evaluate.run(project)
    facts = {
        "config": project.config.model_dump(mode="json"),
        "file": str(project.path.resolve()),
        "detector": project.detector().model_dump(mode="json"),
    }
    (project.step_dir("evaluate") / "step.json").write_text(json.dumps(facts))
    return project.folder


@pytest.mark.slow
def test_two_processes_train_and_are_reproduced(tmp_path):
    counts: list[int] = []
    project = shop_at(
        tmp_path, tell=lambda p: counts.append(p.done) if "shapes" in p.stage else None
    )
    train.run(project)
    old = project.step_dir("train")
    assert "MEMBER: 2/2" in (old / "shapes" / OUTPUT).read_text()
    # The first process alone tells and writes: what it will take, then every step once.
    assert counts == [0, 1, 2, 3, 4, 5, 6]
    rows = [json.loads(line) for line in (old / "shapes" / "log.jsonl").open()]
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3, 4, 5, 6]
    # Done again from the record: the same bytes, with the threads of the record.
    again = reproduce_run(evaluated(project), out=tmp_path / "again", train=True)
    assert again.differences == ()
    new = tmp_path / "again" / "04_train"
    assert (new / "shapes.safetensors").read_bytes() == (old / "shapes.safetensors").read_bytes()
    assert job_file(new / "shapes").folder == new / "shapes"
    assert job_file(new / "shapes").threads == job_file(old / "shapes").threads
