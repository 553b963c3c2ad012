"""Does an evaluation again from its record, in a fresh folder, and compares to the byte."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from lanner.core.config import DetectorConfig, load_config
from lanner.core.errors import DatasetError, GateError, OutputError
from lanner.core.job import Cancel, Progress
from lanner.factory.config import FactoryConfig
from lanner.factory.evaluated import RAW, evaluate_folder
from lanner.factory.project import Project
from lanner.factory.step_status import read_record, read_settings
from lanner.factory.steps.train.child import JOB, job_file

FIGURES = "figures.json"
LONGEST = 40
"""Differences that are printed."""


@dataclass(frozen=True)
class Reproduced:
    """What came of it; `differences` is empty where everything is identical."""

    run: Path
    figures: int
    differences: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """For people."""
        if not self.differences:
            return f"{self.run}: all {self.figures} figures are identical."
        return f"{self.run}: {len(self.differences)} differences."

    def facts(self) -> dict[str, Any]:
        """The same as JSON data."""
        return {
            "run": str(self.run),
            "figures": self.figures,
            "identical": not self.differences,
            "differences": list(self.differences),
        }

    def refuse(self) -> None:
        """Raise where anything differs.

        Raises:
            GateError: so it is.
        """
        if self.differences:
            raise GateError(
                "RUN",
                self.run,
                f"could not be reproduced, {len(self.differences)} differences",
                "compare versions of Lanner and torch, the device, and what else the list names",
            )


def reproduce_run(
    run: Path,
    config: Path | None = None,
    out: Path | None = None,
    *,
    train: bool = False,
    cancel: Cancel | None = None,
    tell: Callable[[Progress], None] = lambda _: None,
) -> Reproduced:
    """Evaluate again what a run evaluated, with the detector and settings of its record.

    Predictions are made anew; with `train` so are the weights. Images, labels and weights are
    those of the run; where they have changed since, that is a difference.

    Args:
        run: folder of step evaluate, or of its factory.
        config: another factory file; None for the recorded one.
        out: fresh folder; None for a temporary one.
        train: train again first.
        cancel: looked at between pieces of work.
        tell: told of progress.

    Raises:
        DatasetError: no finished evaluation there, or the fresh folder is not empty.
        OutputError: it cannot be made.
        LannerError: whatever the steps raise.
    """
    folder = evaluate_folder(run)
    path = config or Path(str(read_record(folder).get("file", "")))
    old = _figures(folder)
    with _fresh(out) as place:
        settings, detector = read_settings(folder)
        project = _project(Project(settings, path, place, cancel or Cancel(), tell), detector)
        changes = _changed(project, folder.parent)
        _carry(project, folder.parent, train)
        if train:
            from lanner.factory.steps.train import run as train_run

            project.step_dir("train").mkdir(parents=True, exist_ok=True)
            train_run(project)
            changes += _weights(project, folder.parent)
        from lanner.factory.steps.evaluate import run as evaluate_run

        project.step_dir("evaluate").mkdir(parents=True, exist_ok=True)
        evaluate_run(project)
        new = _figures(project.step_dir("evaluate"))
        if not train:
            changes += _other_weights(project.config, folder, project.step_dir("evaluate"))
    changes += unlike(json.loads(old), json.loads(new))
    if old != new and not changes:
        changes.append(f"{FIGURES}: the same figures in other bytes")
    return Reproduced(run, _count(json.loads(old)), tuple(changes))


def unlike(one: Any, two: Any, where: str = "") -> list[str]:
    """Where two pieces of JSON data differ, a line each: path, first value, second value."""
    if isinstance(one, dict) and isinstance(two, dict):
        names = [*one, *(name for name in two if name not in one)]
        return [
            line
            for name in names
            for line in unlike(
                one.get(name, "nothing"), two.get(name, "nothing"), f"{where}.{name}".strip(".")
            )
        ]
    if isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        pairs = enumerate(zip(one, two, strict=True))
        return [line for i, (a, b) in pairs for line in unlike(a, b, f"{where}[{i}]")]
    same = json.dumps(one) == json.dumps(two)
    return [] if same else [f"{where}: {_brief(one)} before, {_brief(two)} now"]


def _project(recorded: Project, then: DetectorConfig) -> Project:
    """The recorded factory in its fresh folder, with the detector as it was then."""
    # A store of MLflow holds the run's own curves, which are not to be gone on with.
    quiet = recorded.config.train.model_copy(update={"tracking": None})
    settings = recorded.config.model_copy(update={"train": quiet})
    project, place = replace(recorded, config=settings), recorded.folder
    now = load_config(project.detector_path) if project.detector_path.exists() else None
    if now == then:
        return project
    # A release has moved the threshold since, say: the evaluation had the earlier detector.
    own = place / "configs" / f"{then.name}.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(yaml.safe_dump(then.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
    weights = _weights_beside(project)
    if weights is not None:
        (place / "weights").symlink_to(weights)
    return replace(project, config=settings.model_copy(update={"detector": str(own.resolve())}))


def _weights_beside(project: Project) -> Path | None:
    from lanner.factory.releases import weights_home

    home = weights_home(project.detector_path)
    return home.resolve() if home.is_dir() else None


def _carry(project: Project, run: Path, train: bool) -> None:
    """Take over what the evaluation starts from."""
    names = ["dataset"] if train else ["dataset", "train"]
    for name in names:
        source = run / project.step_dir(name).name
        target = project.step_dir(name)
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted(source.iterdir()) if source.is_dir() else ():
            if path.is_file():
                shutil.copyfile(path, target / path.name)
    for name in project.config.train.trained if train else ():
        # Sums depend on the number of threads: a training that was told before keeps its own.
        job_path = run / project.step_dir("train").name / name / JOB
        if job_path.is_file():
            (project.step_dir("train") / name).mkdir(parents=True)
            shutil.copyfile(job_path, project.step_dir("train") / name / JOB)


def _changed(project: Project, run: Path) -> list[str]:
    """Samples that are no more what was frozen."""
    from lanner.factory.steps.dataset import changed

    return [f"sample {name}: changed since" for name in changed(replace(project, folder=run))]


def _weights(project: Project, run: Path) -> list[str]:
    """Members whose weights came out otherwise, and whether they followed from other things."""
    changes = []
    for name in project.config.train.trained:
        old, new = (folder / project.step_dir("train").name for folder in (run, project.folder))
        file = f"{name}.safetensors"
        if not (old / file).is_file():
            changes.append(f"weights {file}: not there before")
            continue
        if (old / file).read_bytes() == (new / file).read_bytes():
            continue
        jobs = job_file(old / name), job_file(new / name)
        changed = None in jobs or len({job.key for job in jobs if job}) > 1
        why = ", trained from other settings, labels or first weights" if changed else ""
        changes.append(f"weights {file}: other bytes{why}")
    return changes


def _other_weights(config: FactoryConfig, old: Path, new: Path) -> list[str]:
    """Members that were not evaluated with the weights of then: trained or released since."""
    changes: dict[str, None] = {}
    for split in (*config.evaluate.splits, config.evaluate.calibrate_on):
        then, now = (_checksums(folder / RAW / split) for folder in (old, new))
        for name in now:
            if name in then and then[name] != now[name]:
                changes[f"weights of {name}: others than those that were evaluated"] = None
    return list(changes)


def _checksums(folder: Path) -> dict[str, str]:
    """Checksums of the weights that predictions were made with, by member."""
    from lanner.factory.steps.evaluate import store

    weights: dict[str, str] = (store.read_facts(folder / store.FACTS) or {}).get("weights", {})
    return weights


def _figures(folder: Path) -> str:
    try:
        text = (folder / FIGURES).read_text(encoding="utf-8")
        json.loads(text)
    except (OSError, ValueError) as error:
        raise DatasetError(
            "RUN", folder, f"{FIGURES} cannot be read ({error})", "evaluate first"
        ) from error
    return text


@contextmanager
def _fresh(out: Path | None) -> Iterator[Path]:
    if out is None:
        with tempfile.TemporaryDirectory(prefix="lanner-") as folder:
            yield Path(folder)
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        empty = not any(out.iterdir())
    except OSError as error:
        raise OutputError(
            "--out", out, f"cannot be made ({error.strerror})", "name a fresh folder"
        ) from error
    if not empty:
        raise DatasetError("--out", out, "is not empty", "name a fresh folder")
    yield out


def _count(figures: Any) -> int:
    if isinstance(figures, dict):
        return sum(_count(one) for one in figures.values())
    if isinstance(figures, list):
        return sum(_count(one) for one in figures)
    return 1


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "\u2026"


__all__ = ["Reproduced", "reproduce_run", "unlike"]
