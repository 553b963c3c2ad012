"""The step `train`: a member killed on the way, gone on with, and kept when nothing changed."""

import json
import os
import shlex
import signal
import sqlite3
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from detectors.card import seal
from detectors.training.checkpoint import load_checkpoint
from detectors.training.imagenet import PUBLISHED, Published, published
from lanner.core.errors import (
    Cancelled,
    ConfigError,
    DatasetError,
    OutputError,
    TrainingError,
    WeightsError,
)
from lanner.core.job import Cancel
from lanner.factory.config import load_factory
from lanner.factory.images import write_png
from lanner.factory.project import SAMPLES, Project
from lanner.factory.samples import IDS_UNKNOWN, Label, Sample, write_samples
from lanner.factory.steps.evaluate import weights_of
from lanner.factory.steps.train import run
from lanner.factory.steps.train.child import job_file
from lanner.factory.steps.train.draw import draw_curves
from lanner.factory.steps.train.pictures import pictures
from lanner.factory.steps.train.plan import check, dataset_key, job_of
from tests.fixtures_training import TANKS

DETECTOR = {
    **TANKS,
    "members": [
        {"name": "boxes", "kind": "retinanet", "weights": "boxes.safetensors"},
        {
            "name": "shapes",
            "kind": "resunet",
            "weights": "shapes.safetensors",
            "arch": {
                "outputs": ["object", "boundary", "centre"],
                "decoder_channels": [8, 8, 8],
            },
        },
    ],
}

SHAPES = {
    "steps": 6,
    "sizes": [64],
    "pixels": 8192,
    "warmup": 1,
    "checkpoint_every": 2,
    "threads": 1,
    "workers": 1,
}


def drawn(folder, k: int) -> Sample:
    rng = np.random.default_rng(k)
    rgb = rng.integers(60, 120, (96, 96, 3)).astype(np.uint8)
    ids = np.zeros((96, 96), np.uint16)
    labels = []
    for n, (x, y) in enumerate(((8, 8), (52, 20), (30, 60))):
        rgb[y : y + 20, x : x + 20] = (240, 240, 230)
        ids[y : y + 20, x : x + 20] = n + 1 if k % 2 else IDS_UNKNOWN
        labels.append(Label("tank", (x, y, x + 20, y + 20)))
    image, mask = folder / f"{k}.png", folder / f"{k}.ids.png"
    write_png(rgb, image)
    write_png(ids, mask)
    split = "valid" if k == 4 else "train"
    return Sample(f"drawn/{k}", "drawn", split, image, 96, 96, labels=tuple(labels), ids=mask)


@pytest.fixture
def project_of(tmp_path):
    def make(members, samples=None, keep=(), **changes) -> Project:
        (tmp_path / "tanks.yaml").write_text(yaml.safe_dump(DETECTOR))
        file = tmp_path / "tanks.factory.yaml"
        facts = {
            "factory": "tanks",
            "detector": "tanks.yaml",
            "sources": [{"name": "drawn", "format": "images", "root": "."}],
            "train": {"devices": "cpu", "members": members, "keep": list(keep)},
        }
        file.write_text(yaml.safe_dump(facts, sort_keys=False))
        project = Project(load_factory(file), file, tmp_path / "work", **changes)
        found = samples or [drawn(tmp_path / "images", k) for k in range(5)]
        write_samples(found, project.step_dir("dataset") / SAMPLES)
        return project

    return make


def samples_of(project):
    from lanner.factory.samples import read_samples

    return read_samples(project.need("dataset", SAMPLES))


@pytest.mark.slow
def test_a_killed_member_goes_on_to_the_same_bytes_and_is_then_kept(project_of, tmp_path):
    events = []

    def kill(progress):
        events.append(progress)
        if progress.stage == "train shapes" and progress.done == 3:
            lock = tmp_path / "work" / "04_train" / "shapes" / "lock"
            os.kill(int(lock.read_text()), signal.SIGKILL)

    project = project_of({"shapes": SHAPES}, tell=kill)
    folder = project.step_dir("train")
    with pytest.raises(TrainingError, match="ended by SIGKILL; run it again to resume"):
        run(project)
    assert not (folder / "shapes.safetensors").exists()
    assert {p.stage for p in events} == {"decode", "train shapes"}
    (remark,) = (p for p in events if p.remark)
    assert (remark.done, remark.total) == (0, 6) and "6 steps" in remark.remark

    # Gone on with on a machine where other workers read.
    events.clear()
    outcome = run(project_of({"shapes": {**SHAPES, "workers": 0}}, tell=events.append))
    # Of a run that is gone on with its own steps tell; they say what they know.
    assert not any(one.remark for one in events)
    later_events = [one for one in events if one.stage == "train shapes"]
    assert later_events[-1].done == 6 and later_events[-1].detail.startswith("loss ")
    store = f"sqlite:///{tmp_path / 'work' / 'mlflow.db'}"
    assert shlex.split(outcome.summary["all runs"])[-3:] == ["ui", "--backend-store-uri", store]
    weights = (folder / "shapes.safetensors").read_bytes()
    member = outcome.summary["members"]["shapes"]
    assert member["steps"] == 6
    assert 0 <= member["valid_f1"] <= 1
    for path in outcome.show:
        assert path.read_bytes().startswith(b"\x89PNG")
    rows = [json.loads(line) for line in (folder / "shapes" / "log.jsonl").open()]
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3, 4, 5, 6]

    # The same without a kill, in this process.
    from lanner.factory.steps.train.member import train

    job = job_file(folder / "shapes")
    straight = job.model_copy(
        update={"folder": tmp_path / "straight", "weights": tmp_path / "straight.safetensors"}
    )
    stages = []
    train(straight, lambda what, facts: stages.append(what))
    assert (tmp_path / "straight.safetensors").read_bytes() == weights
    assert stages.count("step") == 6

    with sqlite3.connect(tmp_path / "work" / "mlflow.db") as database:
        runs = database.execute("select run_uuid, status, name from runs").fetchall()
        assert runs == [(member["mlflow"], "FINISHED", "shapes")]
        (steps,) = database.execute("select value from params where key = 'steps'").fetchone()
        assert steps == "6"
        logged = database.execute("select step from metrics where key = 'loss'").fetchall()
        assert {step for (step,) in logged} == {1, 2, 3, 4, 5, 6}

    again = run(project_of({"shapes": {**SHAPES, "workers": 0}}))
    assert again.summary["members"]["shapes"] == {**member, "kept": True}


@pytest.mark.slow
def test_a_stopped_member_has_lost_no_step(project_of, tmp_path):
    cancel = Cancel()

    def stop(progress):
        if progress.stage == "train shapes" and progress.done == 3:
            cancel.set()

    rarely = {**SHAPES, "steps": 400, "checkpoint_every": 400}
    project = project_of({"shapes": rarely}, tell=stop, cancel=cancel)
    folder = project.step_dir("train") / "shapes"
    with pytest.raises(Cancelled):
        run(project)
    found = load_checkpoint(folder, job_file(folder).key)
    assert found is not None
    assert 3 <= found[0].step < 400
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder / "lock").read_text()), 0)


def test_a_file_of_the_current_folder_stands_in_for_no_library(project_of, tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    (here / "yaml.py").write_text("raise SystemExit('another')")
    monkeypatch.chdir(here)
    member = run(project_of({"shapes": {**SHAPES, "steps": 1}})).summary["members"]["shapes"]
    assert member["steps"] == 1


def test_a_work_folder_that_mlflow_would_miss_is_refused(project_of, tmp_path):
    project = project_of({"shapes": SHAPES})
    odd = replace(project, folder=tmp_path / "work #1?")
    project.folder.rename(odd.folder)
    with pytest.raises(OutputError, match=r"--workdir .*where MLflow can keep no runs; name"):
        run(odd)
    assert not (tmp_path / "work #1").exists()


def test_what_a_member_follows_from(project_of, tmp_path):
    def key(**changes):
        project = project_of({"shapes": {**SHAPES, **changes}})
        return job_of(project, project.detector(), "shapes", "d").key

    first = key()
    assert key(workers=3, checkpoint_every=9, threads=2) == first
    assert key(encoder_rate=1.0) == first != key(encoder_rate=0.5)
    assert key(steps=7) != first
    assert key(mix={"drawn": {"odds": 2}}) != first
    project = project_of({"shapes": SHAPES})
    assert job_of(project, project.detector(), "shapes", "other").key != first
    found = samples_of(project)
    heavier = [one.but(weight=2.0) for one in found]
    assert dataset_key(project, found)[1] != dataset_key(project, heavier)[1]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"shape": SHAPES}, "no member of detector tanks; did you mean 'shapes'"),
        ({"shapes": {"mix": {"drwan": {}}}}, "no source of the dataset; did you mean 'drawn'"),
        ({"shapes": {"loss": {"objct": 1}}}, "no loss term of instances; did you mean 'object'"),
        ({"boxes": {"sizes": [250]}}, "multiples of 32"),
        ({"boxes": {"mix": {"drawn": {"scale": [2, 1]}}}}, "must rise"),
        (
            {"shapes": {"encoder_from": "boxes"}, "boxes": {}},
            "is not trained before it; put that member first",
        ),
    ],
)
def test_what_does_not_fit_is_refused_at_once(project_of, members, words):
    project = project_of(members)
    with pytest.raises(ConfigError, match=words):
        check(project, project.detector(), samples_of(project))


def test_nothing_to_learn_from_is_said_before_anything_starts(project_of, tmp_path):
    empty = [drawn(tmp_path, k).but(labels=(), role="negative") for k in range(2)]
    with pytest.raises(TrainingError, match="nothing to learn from in split train"):
        run(project_of({"shapes": SHAPES}, empty))
    off = {**SHAPES, "mix": {"drawn": {"odds": 0}}}
    with pytest.raises(TrainingError, match="nothing to learn from"):
        run(project_of({"shapes": off}))


def test_a_label_of_no_class_is_named(project_of, tmp_path):
    one = drawn(tmp_path, 1)
    odd = one.but(labels=(*one.labels, Label("tnak", (1, 1, 9, 9))))
    # Held out it breaks a training just as well.
    for found in ([odd], [one, odd.but(id="drawn/odd", split="valid")]):
        with pytest.raises(ConfigError, match="'tnak': is in the dataset but no class"):
            run(project_of({"shapes": SHAPES}, found))


def test_starts_are_files_or_releases(project_of, tmp_path):
    project = project_of({"shapes": {**SHAPES, "start": "absent.safetensors"}})
    with pytest.raises(ConfigError, match=r"absent\.safetensors"):
        job_of(project, project.detector(), "shapes", "d")
    project = project_of({"shapes": {**SHAPES, "start": "release"}})
    with pytest.raises(ConfigError, match="release the detector first"):
        job_of(project, project.detector(), "shapes", "d")
    # The detector's own number may be the next one's already.
    release = tmp_path / "weights" / "tanks" / "0.0.9" / "shapes.safetensors"
    release.parent.mkdir(parents=True)
    release.write_bytes(b"weights")
    facts = {"detector": "tanks", "release": "0.0.9", "data": [], "metrics": {}}
    seal(release.parent, {**facts, "training": {"command": "x", "commit": "y"}})
    assert job_of(project, project.detector(), "shapes", "d").start == release
    project = project_of({"boxes": {}, "shapes": {**SHAPES, "encoder_from": "boxes"}})
    (project.step_dir("train")).mkdir(parents=True, exist_ok=True)
    donor = project.step_dir("train") / "boxes.safetensors"
    donor.write_bytes(b"one")
    first = job_of(project, project.detector(), "shapes", "d")
    assert first.encoder_from == donor
    donor.write_bytes(b"two")
    assert job_of(project, project.detector(), "shapes", "d").key != first.key


def test_a_start_from_imagenet_is_a_file_of_a_package(project_of, tmp_path, monkeypatch):
    package = tmp_path / "lite_of_a_test"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "lite0.pth").write_bytes(b"weights")
    monkeypatch.syspath_prepend(str(tmp_path))
    known = Published("lite_of_a_test", "lite0.pth", "")
    monkeypatch.setitem(PUBLISHED, "lite0", known)
    members = {"shapes": {**SHAPES, "start": "imagenet"}}
    with pytest.raises(
        ConfigError, match=r"start 'imagenet': has no weights of the encoder resnet18"
    ):
        run(project_of(members))
    with pytest.raises(ConfigError, match=r"start 'imagenet': is no start of a retinanet"):
        run(project_of({"boxes": {"start": "imagenet"}}))
    arch = {**DETECTOR["members"][1]["arch"], "encoder": "lite0", "decoder_channels": [8] * 5}
    monkeypatch.setitem(DETECTOR["members"][1], "arch", arch)
    project = project_of(members)
    job = job_of(project, project.detector(), "shapes", "d")
    assert job.start == package / "lite0.pth"
    again = project_of({"boxes": {}, "shapes": {**members["shapes"], "encoder_from": "boxes"}})
    with pytest.raises(ConfigError, match="gives the encoder, and so does start: imagenet"):
        check(again, again.detector(), samples_of(again))
    # What is in the file is looked at by the member's own process.
    with pytest.raises(WeightsError, match="checksum differs"):
        run(project)


@pytest.mark.slow
def test_a_lite_member_trains_from_imagenet(project_of, tmp_path, monkeypatch):
    if find_spec(PUBLISHED["lite0"].package) is None:
        pytest.skip("the extra factory is not installed")
    arch = {**DETECTOR["members"][1]["arch"], "encoder": "lite0", "decoder_channels": [8] * 5}
    monkeypatch.setitem(DETECTOR["members"][1], "arch", arch)
    slow = {**SHAPES, "steps": 2, "start": "imagenet", "encoder_rate": 0.1, "lr": 1e-4}
    project = project_of({"shapes": slow})
    assert run(project).summary["members"]["shapes"]["steps"] == 2
    made = load_file(project.step_dir("train") / "shapes.safetensors")
    begun = torch.load(published("lite0"), weights_only=True)["_conv_stem.weight"]
    assert float((made["net.encoder.model.conv_stem.weight"].float() - begun).abs().max()) < 0.01


def test_kept_members_have_the_weights_of_the_last_release(project_of, tmp_path):
    release = tmp_path / "weights" / "tanks" / "0.0.9" / "shapes.safetensors"
    release.parent.mkdir(parents=True)
    release.write_bytes(b"weights")
    facts = {"detector": "tanks", "release": "0.0.9", "data": [], "metrics": {}}
    seal(release.parent, {**facts, "training": {"command": "x", "commit": "y"}})
    project = project_of({"shapes": SHAPES}, keep=["shapes"])
    assert run(project).summary["members"] == {}
    assert not (project.step_dir("train") / "shapes.safetensors").exists()
    # What an earlier training left is not taken for the release's.
    project.step_dir("train").mkdir(parents=True, exist_ok=True)
    (project.step_dir("train") / "shapes.safetensors").write_bytes(b"other")
    with pytest.raises(DatasetError, match=r"boxes\.safetensors"):
        weights_of(project)
    (release.parent / "boxes.safetensors").write_bytes(b"boxes")
    assert weights_of(project)["shapes"] == release
    with pytest.raises(ConfigError, match=r"train\.keep\.shape .*did you mean 'shapes'"):
        run(project_of({"shapes": SHAPES}, keep=["shape"]))


def test_a_cancelled_run_starts_nothing(project_of):
    cancel = Cancel()
    cancel.set()
    project = project_of({"shapes": SHAPES}, cancel=cancel)
    with pytest.raises(Cancelled):
        run(project)
    assert not project.step_dir("train").exists()


def test_pictures_are_what_samples_say(tmp_path):
    labelled = drawn(tmp_path, 1)
    found = pictures([labelled, labelled.but(split="valid")], "train", "boxes", ("pond", "tank"))
    assert len(found) == 1
    assert found[0].classes.tolist() == [1, 1, 1]
    assert found[0].rgb().shape == (96, 96, 3)
    assert found[0].ids().dtype == np.uint16
    assert not pictures([labelled.but(role="unlabelled")], "train", "boxes", ("tank",))
    # A picture without a mask says nothing of roads, unless there are none.
    assert not pictures([labelled], "train", "roads", ("tank",))
    (bare,) = pictures([labelled.but(role="negative")], "train", "roads", ("tank",))
    assert bare.mask is None
    assert not len(bare.boxes)
    (wrong,) = pictures([labelled.but(width=90)], "train", "boxes", ("tank",))
    with pytest.raises(DatasetError, match="96 x 96 pixels, its image 90 x 96"):
        wrong.ids()


def test_curves_are_the_same_bytes_for_the_same_log(tmp_path):
    rows = [{"step": k, "lr": 0.1 / (k + 1), "loss": 1 / (k + 1)} for k in range(5)]
    rows.append({"step": 4, "valid_loss": 0.5, "valid_f1": 0.3})
    draw_curves(rows, tmp_path / "a.png", "shapes")
    draw_curves(rows, tmp_path / "b.png", "shapes")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    draw_curves(rows[:3], tmp_path / "c.png", "shapes")
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "c.png").read_bytes()
