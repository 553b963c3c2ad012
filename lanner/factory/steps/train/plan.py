"""What is to be trained, from what, and whether it was trained already."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lanner.core.config import ENCODERS, DetectorConfig, Member, Strict
from lanner.core.errors import ConfigError, TrainingError
from lanner.core.machine import cores
from lanner.factory.config import Training
from lanner.factory.project import SAMPLES, Project
from lanner.factory.releases import IMAGENET, weights_of
from lanner.factory.samples import Sample

FORMAT = 2
"""Raised when the same configuration no longer gives the same weights."""

TERMS = {
    "boxes": ("cls", "box"),
    "instances": ("object", "boundary", "centre", "projection"),
    "roads": ("bce", "dice", "centreline", "cldice"),
}
"""Loss terms of each task, as in `detectors.training`."""

NO_MATTER = {"workers", "checkpoint_every", "threads"}
"""Settings that the weights do not hang on (threads are kept through a resume)."""


LATER: dict[str, Any] = {"sensor": None, "single_band": False, "encoder_rate": 1.0}
"""Settings that came later, with the values that change nothing: such a training keeps its key."""


class Job(Strict):
    """One member to train, as its process is told.

    `start` and `encoder_from` are files, `folder` the member's own, `weights` what it is to
    leave, `samples` the frozen dataset.
    """

    detector: DetectorConfig
    member: str
    training: Training
    seed: int
    devices: str
    threads: int
    samples: Path
    folder: Path
    weights: Path
    start: Path | None
    encoder_from: Path | None
    key: str

    @property
    def task(self) -> str:
        """One of `TERMS`."""
        return task_of(self.detector, member_of(self.detector, self.member))


def member_of(detector: DetectorConfig, name: str, where: str = "train.members") -> Member:
    """A network of the detector: a member, or the one for the closer look.

    `where` names what names it, for errors.

    Raises:
        ConfigError: it has none of that name; the message names the nearest.
    """
    for member in detector.networks:
        if member.name == name:
            return member
    raise ConfigError(
        f"{where}.{name}",
        name,
        f"is no member of detector {detector.name}",
        near(name, [one.name for one in detector.networks]),
    )


def task_of(detector: DetectorConfig, member: Member) -> str:
    """Which of `TERMS` a member learns."""
    if member.kind == "retinanet":
        return "boxes"
    return "roads" if detector.output == "raster" else "instances"


def near(name: str, known: Iterable[str]) -> str:
    """A remedy that names the nearest of the known names."""
    names = sorted(known)
    found = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {found[0]!r}?" if found else f"use one of {', '.join(names)}"


def check(project: Project, detector: DetectorConfig, samples: Iterable[Sample]) -> None:
    """Refuse what cannot be trained, before hours are spent on the member before it.

    Raises:
        ConfigError: an unknown member, source, loss term or order; a size that no network takes;
            weights from ImageNet that are not there.
        TrainingError: split train has nothing to learn from.
    """
    for name in project.config.train.keep:
        member_of(detector, name, "train.keep")
    members = project.config.train.trained
    if not members:
        return
    everything = tuple(samples)
    train = [one for one in everything if one.split == "train" and one.role != "unlabelled"]
    known = {one.source for one in everything} | {one.name for one in project.config.sources}
    for place, (name, training) in enumerate(members.items()):
        member = member_of(detector, name)
        task = task_of(detector, member)
        where = f"train.members.{name}"
        if training.start == IMAGENET:
            imagenet_of(member, f"{where}.start")
            if training.encoder_from is not None:
                raise ConfigError(
                    f"{where}.encoder_from",
                    training.encoder_from,
                    f"gives the encoder, and so does start: {IMAGENET}",
                    "leave one of them out",
                )
        for source in training.mix:
            if source not in known:
                raise ConfigError(
                    f"{where}.mix", source, "is no source of the dataset", near(source, known)
                )
        for term in training.loss:
            if term not in TERMS[task]:
                raise ConfigError(
                    f"{where}.loss", term, f"is no loss term of {task}", near(term, TERMS[task])
                )
        if not training.sizes or any(size < 64 or size % 32 for size in training.sizes):
            raise ConfigError(
                f"{where}.sizes", training.sizes, "are sides in pixels", "use multiples of 32"
            )
        for source, mix in training.mix.items():
            if not 0 < mix.scale[0] <= mix.scale[1]:
                raise ConfigError(
                    f"{where}.mix.{source}.scale", mix.scale, "must rise from above 0", "order it"
                )
        later = list(members)[place:]
        if training.encoder_from in later:
            raise ConfigError(
                f"{where}.encoder_from",
                training.encoder_from,
                "is not trained before it",
                "put that member first",
            )
        _something(name, task, train, training)
    held = [one for one in everything if one.split == "valid" and one.role != "unlabelled"]
    _classes(detector, [*train, *held])


def _something(name: str, task: str, train: list[Sample], training: Training) -> None:
    """Refuse a member that has no object to learn from."""
    mix = training.mix
    drawn = [one for one in train if one.source not in mix or mix[one.source].odds > 0]
    if task == "roads":
        there = any(one.mask is not None for one in drawn)
        remedy = "add masks (process: masks_from_polygons)"
    else:
        there = any(label.weight > 0 for one in drawn for label in one.labels)
        remedy = "add labelled images to split train"
    if not there:
        raise TrainingError(
            f"train.members.{name}", "train", "has nothing to learn from in split train", remedy
        )


def _classes(detector: DetectorConfig, samples: list[Sample]) -> None:
    """Refuse labels that the detector has no class for."""
    if detector.output == "raster":
        return
    for label in sorted({label.label for one in samples for label in one.labels}):
        if label not in detector.classes:
            raise ConfigError(
                "classes",
                label,
                f"is in the dataset but no class of detector {detector.name}",
                near(label, detector.classes),
            )


def dataset_key(project: Project, samples: Iterable[Sample]) -> tuple[str, str]:
    """The dataset's version ("" where it says none), and a checksum of all that training uses."""
    manifest = project.step_dir("dataset") / "manifest.json"
    version = ""
    if manifest.exists():
        version = str(json.loads(manifest.read_text(encoding="utf-8")).get("version", ""))
    digest = hashlib.sha256(version.encode())
    for one in samples:
        labels = [[x.label, x.box, x.weight] for x in one.labels]
        facts = [one.id, one.source, one.split, one.role, one.weight, labels]
        facts += [one.mask is not None, one.ids is not None]
        if not version:
            facts += [str(one.image), str(one.mask), str(one.ids)]
        digest.update(json.dumps(facts).encode())
    return version, digest.hexdigest()


def job_of(project: Project, detector: DetectorConfig, name: str, dataset: str) -> Job:
    """What the process of one member is told; members before it are trained.

    Raises:
        ConfigError: `start` or `encoder_from` names no file.
    """
    training = project.config.train.members[name]
    member = member_of(detector, name)
    folder = project.step_dir("train")
    start = _start(project, detector, member, training)
    encoder = _encoder(project, member, training)
    facts: dict[str, Any] = {
        "format": FORMAT,
        "member": {"kind": member.kind, "arch": member.arch, "name": name},
        "classes": detector.classes,
        "output": detector.output,
        "training": {
            key: value
            for key, value in training.model_dump(mode="json").items()
            if key not in NO_MATTER and (key, value) not in LATER.items()
        },
        "seed": project.config.seed,
        "devices": project.config.train.devices,
        "weights": {one.name: one.weight for one in project.config.sources},
        "dataset": dataset,
        "start": _sha256(start),
        "encoder": _sha256(encoder),
    }
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return Job(
        detector=detector,
        member=name,
        training=_weighted(project, training),
        seed=int(hashlib.sha256(f"{project.config.seed}/{name}".encode()).hexdigest()[:7], 16),
        devices=project.config.train.devices,
        threads=training.threads or _threads(training.workers, project.config.train.devices),
        samples=project.need("dataset", SAMPLES),
        folder=folder / name,
        weights=folder / f"{name}.safetensors",
        start=start,
        encoder_from=encoder,
        key=key,
    )


def _weighted(project: Project, training: Training) -> Training:
    """The same with the sources' own weights in their odds."""
    from lanner.factory.config import Mix

    mix = dict(training.mix)
    for source in project.config.sources:
        if source.weight != 1:
            own = mix.get(source.name, Mix())
            mix[source.name] = own.model_copy(update={"odds": own.odds * source.weight})
    return training.model_copy(update={"mix": mix})


def _start(
    project: Project, detector: DetectorConfig, member: Member, training: Training
) -> Path | None:
    if training.start is None:
        return None
    where = f"train.members.{member.name}.start"
    if training.start == IMAGENET:
        return imagenet_of(member, where)
    return weights_of(project, training.start, member.weights, where, ConfigError)


def imagenet_of(member: Member, where: str) -> Path:
    """The file of a member's encoder as it was trained on ImageNet.

    Raises:
        ConfigError: there is none of this encoder, or its package is not installed.
    """
    from detectors.training.imagenet import published

    if member.kind != "resunet":
        raise ConfigError(where, IMAGENET, f"is no start of a {member.kind}", "leave it out")
    return published(str(member.arch.get("encoder", ENCODERS[0])), where)


def _encoder(project: Project, member: Member, training: Training) -> Path | None:
    if training.encoder_from is None:
        return None
    if training.encoder_from in project.config.train.trained:
        return project.step_dir("train") / f"{training.encoder_from}.safetensors"
    where = f"train.members.{member.name}.encoder_from"
    return weights_of(project, training.encoder_from, member.weights, where, ConfigError)


def _sha256(path: Path | None) -> str | None:
    return None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()


def _threads(workers: int, devices: str) -> int:
    """Cores that are left to the network, shared by the processes of `cpu:N`."""
    kind, _, count = devices.partition(":")
    processes = max(1, int(count)) if kind == "cpu" and count.isdecimal() else 1
    return max(1, cores() // processes - workers)
