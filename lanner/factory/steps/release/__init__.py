"""Step release: calibrated, thresholds set, gates passed, written to `weights/`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detectors.card import FILE as CARD
from detectors.card import Data, load_card, seal
from detectors.catalog import Entry, check_release
from detectors.releases import DETECTOR
from lanner.core.config import DetectorConfig, config_sha256, load_config
from lanner.core.errors import ConfigError, GateError
from lanner.core.job import Progress
from lanner.factory.compare import draw_differences
from lanner.factory.evaluated import EvaluatedDetector, differences, split_folder
from lanner.factory.files import write_text
from lanner.factory.project import SAMPLES, Outcome, Project
from lanner.factory.releases import (
    IMAGENET,
    RELEASE,
    last_release,
    other_default,
    released,
    weights_home,
)
from lanner.factory.samples import Sample, read_samples
from lanner.factory.steps.release.accept import (
    FLOOR,
    PATH,
    ReviewFloor,
    Threshold,
    accept_curve,
    choose,
    draw_curve,
    review_floor,
)
from lanner.factory.steps.release.folder import Target, recover, stage, swap
from lanner.factory.steps.release.golden import FILE as GOLDEN
from lanner.factory.steps.release.golden import golden_outputs
from lanner.factory.steps.release.versions import released_evaluation, weights_files
from lanner.factory.steps.search.edit import edited
from lanner.factory.steps.search.space import at_point
from tiling.pinned import PinnedFile

if TYPE_CHECKING:
    from detectors.calibration import Calibration
    from lanner.factory.steps.evaluate.raw import RawSet

ACCEPT_PICTURE = "accept.png"
NO_TRIAGE = "the chain has no step triage"

FACTORY = "factory.yaml"
"""The factory file, in the release folder."""


def run(project: Project) -> Outcome:
    """Release what was evaluated.

    Leaves in its folder `figures.json` at the released operating point, `gates.json`,
    `accept.png` and `gates.png`; writes `weights/<detector>/<release>/` beside the detector's
    home and `accept_at` into the detector's file. The old release stays whole until the new one
    is there.

    Raises:
        GateError: the target precision is out of reach, or a gated figure is worse than that of
            the released version beyond its interval.
        ConfigError: a gate is no figure, or two networks cannot both have the file they name.
        OutputError: a file is too large or cannot be written.
        WeightsError: the evaluated weights, or those of the released version, are gone.
    """
    from lanner.factory.steps.evaluate.calibrate import fit_calibration
    from lanner.factory.steps.evaluate.figures import figures_of
    from lanner.factory.steps.evaluate.raw import load_raw

    settings, wanted = project.config.evaluate, project.config.release
    folder, detector = project.step_dir("release"), project.detector()
    home = weights_home(project.detector_path)
    target = Target(home / detector.name / detector.release)
    # First of all: it is the release to measure against.
    recover(target)
    _tell(project, "calibrate")
    evaluated = project.step_dir("evaluate")
    held = load_raw(split_folder(evaluated, settings.calibrate_on), settings.chain_until)
    calibration = fit_calibration(held, detector, settings)
    show: list[Path] = []
    text = was = project.detector_path.read_text(encoding="utf-8")
    triage: _Triage | None = None
    if any(spec.step == "triage" for spec in detector.chain):
        triage = _triage(project, held, detector, calibration)
        show.append(folder / ACCEPT_PICTURE)
        detector, text = at_point(detector, triage.point), edited(text, triage.point)
    figures: dict[str, Any] = {}
    sides = {}
    for split in settings.splits:
        _tell(project, f"measure {split}")
        raw = load_raw(split_folder(evaluated, split), settings.chain_until)
        figures[split] = figures_of(raw, detector, calibration, settings)
        sides[split] = EvaluatedDetector(
            f"new {detector.release}", raw, detector, calibration, settings
        )
    _put(folder / "figures.json", figures)
    before = released(home, detector)
    rows = _compared(project, before, sides, figures)
    _put(folder / "gates.json", {"against": before and before.name, "rows": rows})
    if rows:
        draw_differences(rows, folder / "gates.png")
        show.append(folder / "gates.png")
    _refuse(rows, before)
    weights = weights_files(project, held.facts["weights"])
    texts = {DETECTOR: text, FACTORY: project.path.read_text(encoding="utf-8")}
    copies = stage(target, detector, weights, calibration, texts, _read_by(detector))
    samples = _golden_samples(sides[settings.splits[0]], wanted.golden) if sides else []
    accepted = triage.threshold if triage else None
    facts = _card(project, detector, weights, _metrics(figures, accepted, wanted.precision), copies)
    # Sealed once without, so that the very folder that is released gives the golden outputs.
    seal(target.part, facts)
    entry = Entry(load_config(target.part / DETECTOR), target.part / DETECTOR, target.part)
    _refuse_other_files(target, entry, project.detector_path)
    _tell(project, "golden outputs")
    _put(target.part / GOLDEN, golden_outputs(project, entry, samples))
    seal(target.part, facts)
    project.cancel.check()
    swap(target, project.detector_path, was, text)
    return Outcome(
        {
            "release": str(target.folder),
            **_default_note(home, detector),
            "measured against": before.name if before else "nothing: it is the first",
            "accept": triage.threshold.facts() if triage else NO_TRIAGE,
            "review": triage.floor.facts() if triage else NO_TRIAGE,
            "gates": _verdicts(project, figures, rows) if before else {},
            "figures": {split: _short(one) for split, one in figures.items()},
            "golden": [sample.id for sample in samples],
        },
        (*show, target.folder / "card.yaml"),
    )


def _default_note(home: Path, detector: DetectorConfig) -> dict[str, str]:
    """What is left to do where the detector's name means another release than the new one."""
    other = other_default(home, detector)
    name = f"{detector.name}@{detector.release}"
    return {} if other is None else {"default": f"{other} still: lanner models default {name}"}


@dataclass(frozen=True)
class _Triage:
    """What step triage is set to."""

    threshold: Threshold
    floor: ReviewFloor

    @property
    def point(self) -> dict[str, float]:
        """The same by dotted paths of the detector's file."""
        # What is accepted needs no floor above it.
        return {PATH: self.threshold.at, FLOOR: min(self.floor.at, self.threshold.at)}


def _triage(
    project: Project, held: RawSet, detector: DetectorConfig, calibration: Calibration
) -> _Triage:
    """Choose both thresholds, and draw the first.

    Raises:
        GateError: the target precision is out of reach.
    """
    settings, wanted = project.config.evaluate, project.config.release
    curve = accept_curve(held, detector, calibration, settings)
    threshold = choose(curve, wanted.precision)
    draw_curve(curve, threshold, wanted.precision, project.step_dir("release") / ACCEPT_PICTURE)
    variant = at_point(detector, {PATH: threshold.at})
    floor = review_floor(held, variant, calibration, settings, wanted.review_precision)
    return _Triage(threshold, floor)


def _compared(
    project: Project,
    before: Path | None,
    sides: dict[str, EvaluatedDetector],
    figures: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Rows of differences of the gated figures, on every split; none at the first release."""
    _check_gates(project, figures)
    if before is None:
        return []
    rows = []
    for split, new in sides.items():
        _tell(project, f"released version on {split}")
        old = released_evaluation(project, before, split, new)
        gates = _gates(project, old, new)
        found = differences(old, new, project.config.evaluate.bootstrap, gates)
        rows += [{"split": split, **row} for row in found]
    return rows


def _gates(project: Project, old: EvaluatedDetector, new: EvaluatedDetector) -> Sequence[str]:
    """The gated figures; of those that nobody asked for, the ones that the detector has."""
    gates = project.config.release.gates
    if "gates" in project.config.release.model_fields_set:
        return gates
    return [name for name in gates if name in old.statistics and name in new.statistics]


def _check_gates(project: Project, figures: Mapping[str, Any]) -> None:
    """Refuse a gate that is no figure, also while there is nothing to measure against."""
    from lanner.factory.steps.train.plan import near

    if "gates" not in project.config.release.model_fields_set:
        return
    for split, whole in figures.items():
        for name in project.config.release.gates:
            if name not in whole["figures"]:
                raise ConfigError(
                    "release.gates",
                    name,
                    f"is no figure of split {split}",
                    near(name, whole["figures"]),
                )


def _verdicts(
    project: Project, figures: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    """What each gate says, by split and figure; also where one side has no such figure."""
    gates = project.config.release.gates
    verdicts = {f"{row['split']} {row['figure']}": str(row["verdict"]) for row in rows}
    known = [(s, name) for s, one in figures.items() for name in gates if name in one["figures"]]
    return {f"{s} {name}": verdicts.get(f"{s} {name}", "cannot be told") for s, name in known}


def _refuse(rows: list[dict[str, Any]], before: Path | None) -> None:
    worse = [row for row in rows if row["verdict"] == "worse"]
    if worse and before is not None:
        row = worse[0]
        raise GateError(
            "release.gates",
            row["figure"],
            f"is {row['b']:.4f} on {row['split']}, {row['a']:.4f} in release {before.name}: worse "
            f"beyond its interval ({row['low']:+.4f} to {row['high']:+.4f})",
            "improve it, or leave the gate out; the release is as it was",
        )


def _read_by(detector: DetectorConfig) -> dict[str, PinnedFile]:
    """The files that the detector's chain reads, as they are now, by the name it asks for."""
    from postprocess.chain import Chain
    from postprocess.chain_files import find_files

    return find_files(Chain.from_specs(detector.chain).files, {})


def _refuse_other_files(target: Target, entry: Entry, path: Path) -> None:
    """Refuse a release whose features would carry the checksums of the one that it replaces, while
    its chain reads another catalogue.

    Raises:
        ConfigError: so it is.
    """
    new = check_release(entry)
    before = target.folder / DETECTOR
    if not before.is_file():
        return
    old = Entry(load_config(before), before, target.folder)
    if config_sha256(old.config) != config_sha256(entry.config):
        return
    was = check_release(old)
    for name, one in was.chain_files.items():
        if was.sha256 == new.sha256 and new.chain_files[name].sha256 != one.sha256:
            raise ConfigError(
                "release",
                entry.config.release,
                f"is there with another {name} and the same weights and configuration: its "
                "features could not be told apart",
                f"give `release` in {path.name} another number",
            )


def _golden_samples(side: EvaluatedDetector, count: int) -> list[Sample]:
    """The first images in which something is found."""
    if not count:
        return []
    found = side.raw.detect(side.config, side.calibration)
    full = [s for s, one in zip(side.raw.samples, found, strict=True) if len(one.scores)]
    return sorted(full, key=lambda sample: sample.id)[:count]


def _metrics(figures: dict[str, Any], threshold: Threshold | None, target: float) -> dict[str, Any]:
    """Figures with their intervals, by split, for the card."""
    result: dict[str, Any] = {
        split: {
            name: {key: round(value, 4) for key, value in one.items() if value is not None}
            for name, one in whole["figures"].items()
            if one["value"] is not None
        }
        for split, whole in figures.items()
    }
    if threshold is not None:
        result["accept"] = {"target precision": target, **threshold.facts()}
    return result


def _short(figures: dict[str, Any]) -> dict[str, float]:
    names = ["f1", "f1_half", "ap50", "mask_f1", "graph_f1", "apls", "ece", "accepted"]
    names += ["accept_precision", "accept_recall", "accept_f1"]
    values = figures["figures"]
    return {name: values[name]["value"] for name in names if name in values}


def _card(
    project: Project,
    detector: DetectorConfig,
    weights: dict[str, Path],
    metrics: dict[str, Any],
    copies: Mapping[str, str],
) -> dict[str, Any]:
    samples = read_samples(project.need("dataset", SAMPLES))
    wanted = project.config.release
    return {
        "detector": detector.name,
        "release": detector.release,
        "description": wanted.description or detector.description,
        "licence": wanted.licence,
        "data": credits(project, samples, weights),
        "training": _training(project, samples, weights),
        "metrics": metrics,
        **({"chain_files": dict(copies)} if copies else {}),
    }


def _training(
    project: Project, samples: Sequence[Sample], weights: dict[str, Path]
) -> dict[str, Any]:
    """What made the weights; where all are kept, what their release's card says of it."""
    from lanner.factory.steps.train.plan import dataset_key
    from lanner.factory.steps.train.tracking import commit_of

    folders = {path.parent for path in weights.values()}
    if not project.config.train.trained and len(folders) == 1:
        (folder,) = folders
        return {"weights_of": folder.name, **load_card(folder).training.model_dump()}
    return {
        "command": f"lanner factory all {project.path.name}",
        "commit": commit_of(project.detector_path.parent) or "not under version control",
        "dataset": dataset_key(project, samples)[0],
        "lanner": version("lanner"),
        "torch": version("torch"),
    }


def credits(
    project: Project, samples: Sequence[Sample], weights: dict[str, Path]
) -> list[dict[str, str]]:
    """What the weights learned from: the sources, what was made of them, and what earlier
    releases that they are or went on from learned from, as far as it is not credited yet.
    """
    rows = [
        {
            "name": one.name,
            "source": Path(one.root).name if Path(one.root).is_absolute() else one.root,
            "licence": one.licence,
            "attribution": one.attribution,
        }
        for one in project.config.sources
    ]
    named = {row["name"] for row in rows}
    sources = sorted({sample.source for sample in samples} - named)
    rows += [
        {"name": name, "source": "step process", "licence": "of what it is made of"}
        | {"attribution": "lanner factory process"}
        for name in sources
    ]
    if any(one.start == IMAGENET for one in project.config.train.trained.values()):
        rows.append(imagenet_credit())
    trained = project.step_dir("train")
    folders = {path.parent for path in weights.values()} - {trained}
    for folder in sorted(folders | _started_from(project)):
        rows += [one.model_dump() for one in load_card(folder).data if not _credited(one, rows)]
    return rows


def imagenet_credit() -> dict[str, str]:
    """What a network that began with `start: imagenet` learned from before."""
    from detectors.training.imagenet import ATTRIBUTION, LICENCE

    return {
        "name": IMAGENET,
        "source": "an encoder's weights, as published",
        "licence": LICENCE,
        "attribution": ATTRIBUTION,
    }


def _credited(one: Data, rows: Sequence[Mapping[str, str]]) -> bool:
    """Whether one of the rows is of the same data: by its owner's words, by name without them."""
    return any(
        one.attribution == row["attribution"]
        if one.attribution and row["attribution"]
        else one.name == row["name"]
        for row in rows
    )


def _started_from(project: Project) -> set[Path]:
    """Folders of the releases that training went on from, with whole networks or encoders."""
    found = set()
    trained = project.config.train.trained
    for name in [name for one in trained.values() for name in (one.start, one.encoder_from)]:
        if name == RELEASE:
            found.add(last_release(project))
        elif name is not None and name != IMAGENET and name not in trained:
            found.add((project.path.parent / name).resolve().parent)
    return {folder for folder in found if folder is not None and (folder / CARD).is_file()}


def _tell(project: Project, stage_: str) -> None:
    project.cancel.check()
    project.tell(Progress(stage_, 0, 1))


def _put(path: Path, facts: Any) -> None:
    write_text(json.dumps(facts, indent=1) + "\n", path)


__all__ = ["FACTORY", "credits", "run"]
