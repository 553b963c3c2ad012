"""Step evaluate: predictions of the test images, calibration, figures, a report."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detectors.calibration import FILE
from lanner.core.config import Member
from lanner.core.errors import DatasetError
from lanner.factory.project import SAMPLES, Outcome, Project
from lanner.factory.samples import read_samples
from lanner.factory.steps.evaluate import store
from lanner.factory.steps.evaluate.calibrate import fit_calibration
from lanner.factory.steps.evaluate.figures import figures_as_data, measure
from lanner.factory.steps.evaluate.raw import RawSet, predict
from lanner.factory.steps.evaluate.steps import steps_until

if TYPE_CHECKING:
    from lanner.factory.steps.evaluate.chapter import Chapter

FIGURES, TIMING, TABLE, REPORT = "figures.json", "timing.json", "objects.csv", "report.html"


def run(project: Project) -> Outcome:
    """Measure the detector that was trained.

    Leaves `raw/SPLIT/` (see `raw.predict`) of every split of `evaluate.splits` and of
    `evaluate.calibrate_on`, `calibration.json`, `figures.json` by split (the same bytes for the
    same weights on the same machine), `timing.json`, `objects.csv` with every object found or
    missed, pictures, and `report.html`, which needs nothing else.

    Raises:
        DatasetError: a split is empty, or there are no weights.
        StepError, ConfigError: a step of the chain that is none, its parameter, `chain_until`.
        LannerError: whatever a prediction or a step raises; finished images stay.
    """
    from lanner.factory.steps.evaluate.chapter import Chapter
    from lanner.factory.steps.evaluate.report import write_report
    from lanner.factory.steps.evaluate.table import write_table

    folder, settings, config = (
        project.step_dir("evaluate"),
        project.config.evaluate,
        project.detector(),
    )
    folder.mkdir(parents=True, exist_ok=True)
    splits = dict.fromkeys((*settings.splits, settings.calibrate_on))
    _check(project, splits)
    weights = weights_of(project)
    raws = {split: predict(project, split, weights, raw_dir(project, split)) for split in splits}
    calibration = fit_calibration(raws[settings.calibrate_on], config, settings)
    store.write_json(calibration.model_dump(mode="json"), folder / FILE)
    chapters, timing = [], {}
    for split in dict.fromkeys(settings.splits):
        project.cancel.check()
        started = time.monotonic()
        measured = measure(raws[split], config, calibration, settings)
        timing[split] = _speed(raws[split], time.monotonic() - started)
        figures = figures_as_data(measured, raws[split], settings)
        chapters.append(Chapter(split, raws[split], measured, figures, timing[split]))
    store.write_json({one.split: one.figures for one in chapters}, folder / FIGURES)
    store.write_json(timing, folder / TIMING)
    write_table(chapters, settings, folder / TABLE)
    pictures = write_report(project.config.factory, chapters, config, settings, folder / REPORT)
    summary = {one.split: _short(one) for one in chapters}
    return Outcome(summary, (folder / REPORT, *pictures))


def _check(project: Project, splits: Iterable[str]) -> None:
    """Refuse what would only be found after the networks have run.

    Raises:
        DatasetError: a split without samples.
        StepError, ConfigError: a step of the chain that is none, its parameter, `chain_until`.
    """
    from postprocess.chain import Chain

    settings = project.config.evaluate
    samples = read_samples(project.need("dataset", SAMPLES))
    there = {str(one.split) for one in samples if one.role != "unlabelled"}
    for split in splits:
        if split not in there:
            raise DatasetError(
                f"evaluate.{'splits' if split in settings.splits else 'calibrate_on'}",
                split,
                "is a split without samples",
                f"name one of {', '.join(sorted(there))}",
            )
    Chain.from_specs(steps_until(project.detector(), settings.chain_until))


def raw_dir(project: Project, split: str) -> Path:
    """Where the raw predictions of a split lie."""
    return project.step_dir("evaluate") / "raw" / split


def weights_of(project: Project) -> dict[str, Path]:
    """The weights file of each member; see `weights_file`.

    Raises:
        DatasetError: a member has none.
    """
    return {member.name: weights_file(project, member) for member in project.detector().members}


def weights_file(project: Project, network: Member) -> Path:
    """The weights of one network: trained here, else (also where it is kept) the last release's.

    Raises:
        DatasetError: there are neither.
    """
    from lanner.factory.releases import last_release
    from lanner.inference.registry import find

    if network.name in project.config.train.trained:
        file = project.step_dir("train") / f"{network.name}.safetensors"
    else:
        released = last_release(project) or find(str(project.detector_path)).release_dir
        file = released / network.weights
    if not file.is_file():
        raise DatasetError(
            "weights",
            file,
            "are not there",
            f"add {network.name} to train.members, then: lanner factory train {project.path.name}",
        )
    return file


def _speed(raw: RawSet, measuring: float) -> dict[str, Any]:
    """What it took on this machine."""
    megapixels, seconds = raw.facts["megapixels"], raw.facts["seconds"]
    return {
        "images": len(raw.samples),
        "megapixels": megapixels,
        "networks_s": seconds["networks"],
        "whole_s": seconds["whole"],
        "chain_and_measures_s": round(measuring, 3),
        "mpx_per_s": round(megapixels / seconds["whole"], 3) if seconds["whole"] else None,
        "runs_on": raw.facts["runs_on"],
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }


SHORT = (
    "f1",
    "precision",
    "recall",
    "ap50",
    "map",
    "ece",
    "accepted",
    "accept_precision",
    "accept_f1",
    "mask_f1",
    "apls",
    "topo_f1",
    "types_top1",
    "types_top5",
)


def _short(chapter: Chapter) -> dict[str, Any]:
    """The figures that the terminal shows, and how many images they say nothing of."""
    figures = chapter.figures["figures"]
    left_out = len(chapter.raw.facts["left_out"])
    values = {name: figures[name]["value"] for name in SHORT if name in figures}
    return {**values, "images left out": left_out} if left_out else values
