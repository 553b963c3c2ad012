"""Short trainings on parts of a dataset, for a learning curve."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lanner.core.errors import DatasetError
from lanner.factory.project import SAMPLES, Project
from lanner.factory.samples import read_samples, write_samples


def order_of(sample_id: str, seed: int) -> str:
    """What images are sorted by, so that a smaller part lies within every larger one."""
    return hashlib.sha256(f"{seed}/{sample_id}".encode()).hexdigest()


def parts_of(
    project: Project, fractions: Sequence[float], folder: Path, steps: int
) -> list[tuple[Project, int]]:
    """What `part_of` makes of each fraction, `part-8` in the folder of an eighth; each part once.

    Of few images two fractions may be the same ones. Trained again they would give the same
    score, and that two trainings never differ is not what a learning curve should be told.

    Raises:
        DatasetError: as `part_of`.
    """
    found: dict[bytes, tuple[Project, int]] = {}
    for fraction in fractions:
        part, labels = part_of(project, fraction, folder / f"part-{round(1 / fraction)}", steps)
        found.setdefault(part.need("dataset", SAMPLES).read_bytes(), (part, labels))
    return list(found.values())


def part_of(project: Project, fraction: float, folder: Path, steps: int) -> tuple[Project, int]:
    """A factory whose training split is a part of the images, and how many labels that has.

    Parts are nested: a smaller one lies within every larger one. Other splits stay whole.

    Args:
        project: its dataset must be frozen.
        fraction: of the training images, above 0.
        folder: where the part's steps leave their snapshots.
        steps: of the training of each member.

    Raises:
        DatasetError: the dataset was not frozen, or the part has no label.
    """
    samples = read_samples(project.need("dataset", SAMPLES))
    train = [one for one in samples if one.split == "train"]
    ranked = sorted(train, key=lambda one: order_of(one.id, project.config.seed))
    kept = {one.id for one in ranked[: math.ceil(fraction * len(ranked))]}
    part = [one for one in samples if one.split != "train" or one.id in kept]
    labels = sum(
        sum(label.weight > 0 for label in one.labels) or one.mask is not None
        for one in part
        if one.split == "train"
    )
    if not labels:
        raise DatasetError(
            "forecast", f"{fraction:g}", "of the training images hold no label", "take more"
        )
    train_section = project.config.train
    members = {
        name: one.model_copy(update={"steps": steps, "warmup": min(one.warmup, steps // 4)})
        for name, one in train_section.members.items()
    }
    config = project.config.model_copy(
        update={"train": train_section.model_copy(update={"members": members, "keep": ()})}
    )
    other = replace(project, config=config, folder=folder)
    write_samples(part, other.step_dir("dataset") / SAMPLES)
    return other, labels


def trained_figures(project: Project) -> dict[str, Any]:
    """Train, evaluate, and give the figures of the first split by name.

    What the steps finished in the folder earlier is kept.
    """
    from lanner.factory.steps.evaluate import run as evaluate
    from lanner.factory.steps.train import run as train

    for step, run in (("train", train), ("evaluate", evaluate)):
        project.cancel.check()
        project.step_dir(step).mkdir(parents=True, exist_ok=True)
        run(project)
    figures = json.loads(
        (project.step_dir("evaluate") / "figures.json").read_text(encoding="utf-8")
    )
    # Predictions are large, and nothing looks at them again.
    shutil.rmtree(project.step_dir("evaluate") / "raw", ignore_errors=True)
    return figures_by_name(figures, project.config.evaluate.splits[0])


def figures_by_name(figures: dict[str, Any], split: str) -> dict[str, Any]:
    """Values out of `figures.json`."""
    return {name: one["value"] for name, one in figures[split]["figures"].items()}
