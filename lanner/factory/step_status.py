"""What is known of each step: whether it is up to date, its record and its settings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from lanner.core.config import DetectorConfig
from lanner.core.errors import DatasetError
from lanner.factory.config import FactoryConfig
from lanner.factory.project import STEPS, Project
from lanner.factory.runner import step_status
from lanner.factory.snapshot import RECORD

State = Literal["fresh", "stale", "missing"]


@dataclass(frozen=True)
class StepState:
    """How a step stands; `seconds` is what its last run took, None where there was none."""

    step: str
    state: State
    folder: Path
    seconds: float | None = None


def step_states(project: Project) -> tuple[StepState, ...]:
    """How each step stands, in order."""
    right = step_status(project)
    return tuple(_state(project, step, right[step]) for step in STEPS)


def read_record(folder: Path) -> dict[str, Any]:
    """`step.json` of a step's folder.

    Raises:
        DatasetError: missing or damaged.
    """
    path = folder / RECORD
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(
            "RUN", folder, f"{RECORD} cannot be read ({error})", "name the folder of a finished run"
        ) from error
    return record


def read_settings(folder: Path) -> tuple[FactoryConfig, DetectorConfig]:
    """The factory file and the detector that a step was run with.

    Raises:
        DatasetError: no record, or one of another Lanner, which had other keys.
    """
    record = read_record(folder)
    try:
        return (
            FactoryConfig.model_validate(record["config"]),
            DetectorConfig.model_validate(record["detector"]),
        )
    except (KeyError, TypeError, ValidationError) as error:
        by = f"Lanner {record['lanner']}" if "lanner" in record else "an earlier Lanner"
        raise DatasetError(
            "RUN",
            folder,
            f"was recorded by {by} in words that this one does not know",
            "run the step again with this one, or look at it with that one",
        ) from error


def _state(project: Project, step: str, right: bool) -> StepState:
    folder = project.step_dir(step)
    if not (folder / RECORD).exists():
        return StepState(step, "missing", folder)
    seconds = read_record(folder).get("seconds")
    return StepState(step, "fresh" if right else "stale", folder, seconds)


__all__ = ["State", "StepState", "read_record", "read_settings", "step_states"]
