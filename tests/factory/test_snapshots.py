"""What puts a step out of date: its section, the files it reads, and what the step before left."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from lanner.core.errors import DatasetError, OutputError, error_status
from lanner.factory.images import write_png
from lanner.factory.project import SAMPLES, Project, open_project
from lanner.factory.runner import run_step, step_key
from lanner.factory.samples import read_samples
from lanner.factory.step_status import step_states
from tests.fixtures_process import ROOT

STEPS = ("explore", "process", "dataset")


def paint(path: Path, seed: int) -> None:
    write_png(np.random.default_rng(seed).integers(0, 255, (40, 40, 3), np.uint8), path)


def label(path: Path, width: int) -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[10 : 10 + width] = 1
    write_png(mask, path)


@pytest.fixture
def file(tmp_path) -> Path:
    """A factory file beside its labels, and images elsewhere."""
    for split in ("train", "valid"):
        for k in range(3):
            paint(tmp_path / "data" / "town" / f"{split}{k}.png", len(split) * 10 + k)
            label(tmp_path / "repo" / "labels" / split / f"{split}{k}.png", 5)
    facts = {
        "factory": "towns",
        "detector": str(ROOT / "configs" / "roads.yaml"),
        "data": str(tmp_path / "data"),
        "sources": [
            {
                "name": "town",
                "format": "masks",
                "root": "town",
                "labels": "labels",
                "splits": {"train": "train", "valid": "valid"},
                "classes": {"road": "road"},
                "options": {"no_file": "leave"},
            }
        ],
        "dataset": {"split": {"by": "source"}},
    }
    path = tmp_path / "repo" / "towns.factory.yaml"
    path.write_text(yaml.safe_dump(facts), encoding="utf-8")
    return path


def opened(file: Path) -> Project:
    return open_project(file, file.parent.parent / "w")


def ran(file: Path) -> tuple[dict[str, bool], str]:
    """Which steps did something, and the version of the dataset."""
    project = opened(file)
    done = {step: run_step(project, step) for step in STEPS}
    return {step: now for step, (_, now) in done.items()}, done["dataset"][0].summary["version"]


def test_nothing_is_done_twice(file):
    first, version = ran(file)
    assert all(first.values())
    again, same = ran(file)
    assert not any(again.values())
    assert same == version


@pytest.mark.parametrize(("step", "name"), [("process", SAMPLES), ("dataset", "manifest.json")])
def test_a_step_whose_files_are_gone_is_run_again(file, step, name):
    _, version = ran(file)
    (opened(file).step_dir(step) / name).unlink()
    states = {one.step: one.state for one in step_states(opened(file))}
    assert (states["explore"], states[step]) == ("fresh", "stale")
    again, same = ran(file)
    assert [one for one, now in again.items() if now] == [step]
    assert same == version
    assert not any(ran(file)[0].values())


def test_what_a_step_made_elsewhere_must_be_there_too(file, tmp_path):
    ran(file)
    record = opened(file).step_dir("dataset") / "step.json"
    facts = json.loads(record.read_text())
    elsewhere = tmp_path / "card.yaml"  # as the release is, in the folder of weights
    record.write_text(json.dumps({**facts, "files": [*facts["files"], str(elsewhere)]}))
    elsewhere.touch()
    assert not any(ran(file)[0].values())
    elsewhere.unlink()
    assert ran(file)[0]["dataset"]


@pytest.mark.parametrize("what", ["labels", "image", "another image"])
def test_changed_files_are_seen_and_give_another_dataset(file, what):
    _, version = ran(file)
    data = file.parent.parent / "data" / "town"
    if what == "labels":
        label(file.parent / "labels" / "train" / "train1.png", 9)
    if what == "image":
        before = (data / "train1.png").stat()
        paint(data / "train1.png", 99)
        # Even of the same second: names are the same, sizes may be.
        os.utime(data / "train1.png", ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    if what == "another image":
        paint(data / "train7.png", 77)
        label(file.parent / "labels" / "train" / "train7.png", 5)
    states = {one.step: one.state for one in step_states(opened(file))}
    assert [states[step] for step in STEPS] == ["stale"] * 3
    with pytest.raises(DatasetError, match="other files") as refused:
        run_step(opened(file), "dataset")
    assert f"--workdir {file.parent.parent / 'w'}" in str(refused.value)
    again, changed = ran(file)
    assert all(again.values())
    assert changed != version


def test_a_step_forced_to_the_same_result_leaves_the_next_ones_alone(file):
    _, version = ran(file)
    run_step(opened(file), "explore", force=True)
    again, same = ran(file)
    assert not any(again.values())
    assert same == version


def test_touched_files_of_the_same_content_are_the_same_dataset(file):
    _, version = ran(file)
    os.utime(file.parent.parent / "data" / "town" / "train0.png", (1, 1))
    again, same = ran(file)
    assert again["explore"]
    assert same == version


def test_images_behind_a_link_are_read_and_their_changes_seen(file):
    town = file.parent.parent / "data" / "town"
    other = town.parent.parent / "nas"
    other.mkdir()
    for path in town.glob("train*.png"):
        path.rename(other / path.name)
    (town / "linked").symlink_to(other)
    (other / "back").symlink_to(town.parent)
    facts = yaml.safe_load(file.read_text(encoding="utf-8"))
    facts["sources"][0] |= {"splits": {}, "options": {"no_file": "negative"}}
    facts["dataset"] = {"split": {"by": "hash"}, "least": 0}
    file.write_text(yaml.safe_dump(facts), encoding="utf-8")
    for split in ("train", "valid"):
        for path in (file.parent / "labels" / split).iterdir():
            path.rename(path.parent.parent / path.name)
    ran(file)
    assert len(read_samples(opened(file).step_dir("explore") / SAMPLES)) == 6
    paint(other / "train1.png", 99)
    assert {one.step: one.state for one in step_states(opened(file))}["explore"] == "stale"


@pytest.mark.parametrize("kilobytes", [1, 140])
def test_a_full_disk_is_told_and_no_file_is_half_there(file, kilobytes):
    # A limit on the size of files fails where they are written, as a full disk does.
    project = opened(file)
    ran(file)
    whole = max(path.stat().st_size for path in project.folder.rglob("*") if path.is_file())
    assert whole > 140 * 1024
    shutil.rmtree(project.folder)
    code = (
        "import resource, signal, sys; from pathlib import Path;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({kilobytes * 1024},) * 2);"
        "from lanner.cli.app import app; app()"
    )
    words = ["factory", "explore", str(file), "--workdir", str(project.folder), "--quiet"]
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == error_status(OutputError("", "", "", "")).exit, done.stderr
    assert "Traceback" not in done.stderr
    assert "cannot be written (File too large" in done.stderr
    kept = [path.name for path in project.folder.rglob("*") if path.is_file()]
    assert not (project.step_dir("explore") / "step.json").exists()
    assert not [name for name in kept if name.startswith(".")]


def test_a_work_folder_that_cannot_be_made_is_told(file):
    taken = file.parent.parent / "w"
    taken.write_text("a file", encoding="utf-8")
    with pytest.raises(OutputError, match=r"--workdir .*01_explore.*cannot be made"):
        run_step(opened(file), "explore")


def test_another_data_folder_is_read(file):
    _, version = ran(file)
    data = file.parent.parent / "data"
    data.rename(data.with_name("moved"))
    paint(data.with_name("moved") / "town" / "valid0.png", 5)
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(str(data), str(data.with_name("moved"))), encoding="utf-8")
    again, changed = ran(file)
    assert all(again.values())
    assert changed != version


def test_files_that_an_operation_names_count_by_content(file):
    cut = file.parent.parent / "data" / "cut" / "A320"
    rgba = np.full((30, 60, 4), 200, np.uint8)
    cut.mkdir(parents=True)
    from PIL import Image

    Image.fromarray(rgba).save(cut / "a.png")
    facts = yaml.safe_load(file.read_text(encoding="utf-8"))
    facts["process"] = [
        {"op": "composites", "cutouts": "cut", "backgrounds": ["town"], "count": 2, "label": "road"}
    ]
    facts["dataset"]["least"] = 0
    file.write_text(yaml.safe_dump(facts), encoding="utf-8")
    for k in range(3):
        label(file.parent / "labels" / "train" / f"train{k}.png", 0)
    ran(file)
    assert not any(ran(file)[0].values())
    rgba[..., 0] = 20
    Image.fromarray(rgba).save(cut / "a.png")
    again, _ = ran(file)
    assert not again["explore"]
    assert again["process"] and again["dataset"]


def test_a_changed_catalogue_puts_what_tells_types_out_of_date(file):
    types = file.parent / "types.yaml"
    shutil.copy(ROOT / "configs" / "types.yaml", types)
    text = (ROOT / "configs" / "aircraft.yaml").read_text(encoding="utf-8")
    own = file.parent / "own.yaml"
    own.write_text(text.replace("- step: identify", f"- step: identify\n    catalogue: {types}"))
    factory_text = file.read_text(encoding="utf-8")
    file.write_text(factory_text.replace(str(ROOT / "configs" / "roads.yaml"), str(own)))
    project = opened(file)
    steps = ("dataset", "train", "evaluate", "search", "release")
    before = {step: step_key(project, step) for step in steps}
    types.write_text(types.read_text(encoding="utf-8") + "# another\n", encoding="utf-8")
    stale = {step for step in steps if step_key(project, step) != before[step]}
    assert stale == {"evaluate", "search", "release"}
    # That it is gone is for the step itself to tell.
    types.unlink()
    assert [one.state for one in step_states(project)] == ["missing"] * 7
