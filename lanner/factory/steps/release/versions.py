"""Which files the networks' weights are, and what the released version says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from detectors.calibration import FILE, load_calibration
from detectors.card import chain_files, check_files, load_card, sha256_file
from detectors.releases import DETECTOR
from lanner.core.config import DetectorConfig, load_config
from lanner.core.errors import WeightsError
from lanner.factory.evaluated import EvaluatedDetector, split_folder
from lanner.factory.project import Project
from lanner.factory.releases import homes


def weights_files(project: Project, wanted: Mapping[str, str]) -> dict[str, Path]:
    """The files that evaluation used, by member, found by their checksums; and the `closer`, which
    no evaluation needs.

    Args:
        project: the factory; its train step and the detector's releases are looked at.
        wanted: SHA-256 by member, as `predict.json` has them.

    Raises:
        WeightsError: a file is gone.
        DatasetError: there is no file of the `closer`.
    """
    from lanner.factory.steps.evaluate import weights_file

    detector = project.detector()
    result = {}
    for member in detector.members:
        train = project.step_dir("train")
        places = [train / f"{member.name}.safetensors"]
        for home in homes(project):
            found = sorted(home.glob(f"{detector.name}/*/{member.weights}"))
            # Hidden ones were left by a release that was stopped, and go away in the next one.
            places += [path for path in found if not path.parent.name.startswith(".")]
        same = (p for p in places if p.is_file() and sha256_file(p) == wanted.get(member.name))
        file = next(same, None)
        if file is None:
            raise WeightsError(
                "weights",
                member.name,
                "the file that was evaluated is gone",
                f"run: lanner factory train {project.asked}, then evaluate",
            )
        result[member.name] = file
    if detector.closer is not None:
        result[detector.closer.name] = weights_file(project, detector.closer)
    return result


def released_evaluation(
    project: Project, folder: Path, split: str, new: EvaluatedDetector
) -> EvaluatedDetector:
    """The released version on the images of a split, predicted where it was not yet.

    Raises:
        WeightsError: files of the release are missing or not what its card says.
    """
    from lanner.factory.steps.evaluate.raw import load_raw, predict

    config = project.detector()
    own = folder / DETECTOR
    if own.exists():
        config = load_config(own)
    card = load_card(folder)
    check_files(folder, card, (*(m.weights for m in config.members), FILE))
    weights = {member.name: folder / member.weights for member in config.members}
    raw_folder = split_folder(project.step_dir("evaluate"), split)
    settings = project.config.evaluate
    until = _last_common(config, project.detector(), settings.chain_until)
    if _same_networks(config, weights, new):
        raw = load_raw(raw_folder, until)
    else:
        path = own if own.exists() else project.detector_path
        settings_of = project.config.model_copy(update={"detector": str(path.resolve())})
        other = replace(project, config=settings_of)
        where = project.step_dir("release") / "released" / folder.name / split
        predict(other, split, weights, where)
        raw = load_raw(where, until)
    calibration = load_calibration(folder / FILE)
    raw = replace(raw, files=chain_files(folder, card))
    return EvaluatedDetector(f"release {folder.name}", raw, config, calibration, settings)


def _last_common(
    released: DetectorConfig, detector: DetectorConfig, until: str | None
) -> str | None:
    """The step that the released chain is run to: a later one has steps that it does not know."""
    if until is None:
        return None
    there = {spec.step for spec in released.chain}
    names = [spec.step for spec in detector.chain]
    before = names[: names.index(until) + 1]
    return next((name for name in reversed(before) if name in there), until)


def _same_networks(
    config: DetectorConfig, weights: Mapping[str, Path], new: EvaluatedDetector
) -> bool:
    """Whether the new one's predictions are also those of the released one."""
    from lanner.core.errors import ConfigError
    from lanner.factory.steps.evaluate.fusing import check_variant

    kept = new.raw.facts.get("weights", {})
    if any(kept.get(name) != sha256_file(path) for name, path in weights.items()):
        return False
    try:
        check_variant(config, new.raw.config)
    except ConfigError:
        return False
    return True


__all__ = [
    "released_evaluation",
    "weights_files",
]
