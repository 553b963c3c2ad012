"""What every step of the factory is handed: configuration, folders, progress and cancel."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lanner.core.config import DetectorConfig, load_config
from lanner.core.errors import ConfigError, DatasetError
from lanner.core.job import Cancel, Progress
from lanner.factory.config import FactoryConfig, load_factory

STEPS = ("explore", "process", "dataset", "train", "evaluate", "search", "release")
"""In order; the folder of a step is `NN_step`."""

SAMPLES = "samples.jsonl"
"""In the folder of `explore` (as read), `process` (as changed) and `dataset` (as frozen)."""


@dataclass(frozen=True)
class Project:
    """One factory file and the folder its steps leave their snapshots in.

    `path` is the factory file. `tell` is told of progress; `cancel` is looked at between pieces
    of work. `workdir` is the work folder as it was named, None where it was not.
    """

    config: FactoryConfig
    path: Path
    folder: Path
    cancel: Cancel = field(default_factory=Cancel)
    tell: Callable[[Progress], None] = lambda _: None
    workdir: Path | None = None

    @property
    def asked(self) -> str:
        """The factory file, and the work folder where one was named, as a command line has them."""
        return shlex.join(
            [str(self.path), *(["--workdir", str(self.workdir)] if self.workdir else [])]
        )

    @property
    def data(self) -> Path:
        """Folder that the roots of sources are relative to."""
        return Path(self.config.data)

    @property
    def detector_path(self) -> Path:
        """The detector's YAML file."""
        return (self.path.parent / self.config.detector).resolve()

    def detector(self) -> DetectorConfig:
        """The detector that is made.

        Raises:
            ConfigError: missing or malformed.
        """
        return load_config(self.detector_path)

    def step_dir(self, step: str) -> Path:
        """Folder of a step's snapshot."""
        if step not in STEPS:
            raise ConfigError("STEP", step, "is no step", f"choose one of {', '.join(STEPS)}")
        return self.folder / f"{STEPS.index(step) + 1:02d}_{step}"

    def need(self, step: str, name: str) -> Path:
        """A file of an earlier step's snapshot.

        Raises:
            DatasetError: it is not there; the message names the command that makes it.
        """
        path = self.step_dir(step) / name
        if not path.exists():
            raise DatasetError(
                step, path, "is not there", f"run: lanner factory {step} {self.asked}"
            )
        return path


@dataclass(frozen=True)
class Outcome:
    """What a step says when it is done.

    `summary` is small and goes into `step.json` and to the terminal; `show` are files worth
    opening, most interesting first. What the step wrote lies in its folder.
    """

    summary: dict[str, Any]
    show: tuple[Path, ...] = ()


def open_project(
    path: Path,
    workdir: Path | None = None,
    cancel: Cancel | None = None,
    tell: Callable[[Progress], None] = lambda _: None,
) -> Project:
    """A factory file and its folder.

    The folder is `workdir`, else the file's own `workdir` (relative to the file), else
    `runs/<factory>` in the current folder.

    Raises:
        ConfigError: the file, or the detector it names, is missing or malformed.
    """
    config = load_factory(path)
    # Samples name files in it; steps may be run from different folders.
    folder = _folder(config, path, workdir).absolute()
    project = Project(config, path, folder, cancel or Cancel(), tell, workdir)
    # A mistake there should be told before the first step, not before the fourth.
    project.detector()
    return project


def _folder(config: FactoryConfig, path: Path, workdir: Path | None) -> Path:
    if workdir is not None:
        return workdir
    if config.workdir:
        return path.parent / config.workdir
    return Path("runs") / config.factory
