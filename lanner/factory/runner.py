"""Runs steps, remembers what each was made from, and skips what is still right."""

from __future__ import annotations

import errno
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from lanner.core.errors import DatasetError, OutputError
from lanner.core.version import __version__
from lanner.factory.files import make_folder, write_text
from lanner.factory.project import STEPS, Outcome, Project
from lanner.factory.snapshot import RECORD, files_of, inputs, left, recorded, recorded_left

# A step's snapshot depends on its own section, on these others, on files (`snapshot.inputs`), and
# on what the step named last left.
_SECTIONS: dict[str, tuple[str, ...]] = {
    "explore": ("sources", "explore", "seed"),
    "process": ("process", "seed"),
    "dataset": ("dataset", "seed"),
    "train": ("train", "seed"),
    "evaluate": ("evaluate",),
    "search": ("search", "evaluate"),
    "release": ("release", "evaluate"),
}
_UNWRITABLE = (
    errno.EACCES,
    errno.EDQUOT,
    errno.EEXIST,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
)
_AFTER: dict[str, str | None] = {
    "explore": None,
    "process": "explore",
    "dataset": "process",
    "train": "dataset",
    "evaluate": "train",
    "search": "evaluate",
    "release": "evaluate",
}


def run_step(project: Project, step: str, force: bool = False) -> tuple[Outcome, bool]:
    """Run one step, or say what it said when it was last run and nothing has changed since.

    Args:
        project: configuration and folders.
        step: one of `STEPS`.
        force: run it even so.

    Returns:
        What the step says, and whether it was run now.

    Raises:
        DatasetError: the step before was never run, or is out of date; the message names it.
        LannerError: whatever the step raises; its folder holds what was finished.
    """
    folder = project.step_dir(step)
    _require_fresh(project, step)
    if not force and _right(project, step) and (old := recorded(project, step)) is not None:
        return Outcome(old["summary"], tuple(folder / name for name in old["show"])), False
    with _writing(folder):
        return _run(project, step, step_key(project, step)), True


def _run(project: Project, step: str, key: str) -> Outcome:
    """Run a step and leave its record."""
    folder = project.step_dir(step)
    make_folder(folder)
    (folder / RECORD).unlink(missing_ok=True)
    started = time.monotonic()
    # As it is now: step release changes the detector's file.
    detector = project.detector().model_dump(mode="json")
    outcome = _runner(step)(project)
    record = {
        "step": step,
        "key": key,
        "left": left(project, step),
        "lanner": __version__,
        "seconds": round(time.monotonic() - started, 3),
        "config": project.config.model_dump(mode="json"),
        "file": str(project.path.resolve()),
        "detector": detector,
        "summary": outcome.summary,
        "show": [_recorded_path(path, folder) for path in outcome.show],
        "files": _outputs(outcome, folder, step),
    }
    write_text(json.dumps(record, indent=1, sort_keys=True), folder / RECORD)
    return outcome


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """A disk that takes nothing more is no bug: told in a line, whichever file it was.

    `lanner.factory.files` tells it of our own files; this is for those that libraries write.

    Raises:
        OutputError: the work folder cannot be written to.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        raise OutputError(
            "--workdir",
            error.filename or folder,
            f"cannot be written ({error.strerror})",
            "free some space, or name another folder with --workdir",
        ) from error


def _outputs(outcome: Outcome, folder: Path, step: str) -> list[str]:
    """What later steps read, and what lies elsewhere, as a release does: it must still be there."""
    paths = [_recorded_path(path, folder) for path in outcome.show]
    return [
        *(_recorded_path(path, folder) for path in sorted(files_of(folder, step))),
        *(name for name in paths if Path(name).is_absolute()),
    ]


def _recorded_path(path: Path, folder: Path) -> str:
    """A path as the record keeps it: relative to the step's folder where it lies in it."""
    here, there = folder.resolve(), path.resolve()
    return str(there.relative_to(here) if there.is_relative_to(here) else there)


def step_key(project: Project, step: str) -> str:
    """Checksum of everything that a step's snapshot follows from.

    That is its configuration, the files that it reads from outside, and what the step before it
    left; whether that step is up to date itself is for `step_status`.
    """
    whole = project.config.model_dump(mode="json")
    facts: dict[str, Any] = {name: whole[name] for name in _SECTIONS[step]}
    if step in ("train", "evaluate", "search", "release"):
        facts["detector"] = _detector_facts(project, step)
    before = _AFTER[step]
    facts["inputs"] = inputs(project, step)
    facts["before"] = None if before is None else recorded_left(project, before)
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _detector_facts(project: Project, step: str) -> dict[str, Any]:
    """What a step takes from the detector: training hangs on neither fusion nor chain."""
    detector = project.detector()
    whole = detector.facts
    if step != "train":
        return whole
    names = {"name", "classes", "output", "gsd", "bands", "normalise"}
    if any(one.start == "release" for one in project.config.train.trained.values()):
        names.add("release")
    every = [one.model_dump(mode="json") for one in detector.networks]
    nets = [{key: one[key] for key in ("name", "kind", "arch")} for one in every]
    return {**{name: whole[name] for name in sorted(names)}, "members": nets}


def step_status(project: Project) -> dict[str, bool]:
    """Whether each step was run and nothing that it follows from has changed."""
    found: dict[str, bool] = {}
    for step in STEPS:
        found[step] = all(found[one] for one in _earlier(step)) and _right(project, step)
    return found


def _right(project: Project, step: str) -> bool:
    """Whether a step was run from what there is now, and what it made is still there."""
    old, folder = recorded(project, step), project.step_dir(step)
    if old is None or old["key"] != step_key(project, step):
        return False
    return all((folder / name).exists() for name in old.get("files", ()))


def _earlier(step: str) -> tuple[str, ...]:
    """The steps that a step follows from, in order."""
    before = _AFTER[step]
    return () if before is None else (*_earlier(before), before)


def _require_fresh(project: Project, step: str) -> None:
    """Make sure that the steps before one are up to date."""
    for before in _earlier(step):
        if not _right(project, before):
            has_run = recorded(project, before) is not None
            raise DatasetError(
                "STEP",
                before,
                "was run with another configuration or other files, or what it left is gone"
                if has_run
                else "was not run yet",
                f"run: lanner factory {before} {project.asked}",
            )


def _runner(step: str) -> Callable[[Project], Outcome]:
    run: Callable[[Project], Outcome] = import_module(f"lanner.factory.steps.{step}").run
    return run


__all__ = ["STEPS", "run_step", "step_key", "step_status"]
