"""Process: from samples as read to samples as wanted, one operation after the other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from lanner.core.errors import ConfigError
from lanner.factory import draw
from lanner.factory.config import line_of
from lanner.factory.files import write_text
from lanner.factory.ops.registry import Op, op
from lanner.factory.ops.work import FILES, Samples, Work
from lanner.factory.project import SAMPLES, Outcome, Project
from lanner.factory.samples import Sample, read_samples, write_samples

CHANGES = "changes.jsonl"
"""One line a change: operation, sample id, what was done."""

__all__ = ["CHANGES", "checked", "run"]


def run(project: Project) -> Outcome:
    """Apply the operations of `config.process` in order to what explore left.

    Files of operations are named by what they were made from: what is finished is not made
    again, and what nothing uses any more is removed at the end.

    Raises:
        ConfigError: an operation or one of its parameters is unknown.
        DatasetError: explore was not run, or an operation leaves no sample.
        LannerError: from an operation; what is finished stays.
    """
    # Everything is checked before anything is made.
    steps = checked(project)
    samples = read_samples(project.need("explore", SAMPLES))
    folder = project.step_dir("process")
    folder.mkdir(parents=True, exist_ok=True)
    changes, sheets, used, counts = [], [], set(), {}
    for k, (step, params) in enumerate(steps):
        project.cancel.check()
        work = Work(project, step.name, k)
        after = step.run(samples, work, params)
        _require_unique(after, step.name)
        after, lines = recorded(samples, after, work)
        name = f"{k:02d}_{step.name}"
        changes += lines
        counts[name] = len(lines)
        sheets.append(_sheet(samples, after, folder / f"{name}.png"))
        used |= work.used
        samples = after
    write_samples(samples, folder / SAMPLES)
    _write_lines(changes, folder / CHANGES)
    _sweep(folder / FILES, used)
    sheets.append(draw.contact_sheet(samples, folder / "samples.png"))
    summary = {
        "images": len(samples),
        "objects": sum(len(one.labels) for one in samples),
        "changes": counts,
    }
    return Outcome(summary, tuple(reversed(sheets)))


def checked(project: Project) -> list[tuple[Op, BaseModel]]:
    """The operations of `config.process` with their parameters, in order.

    Raises:
        ConfigError: an operation or one of its parameters is unknown or does not fit, with the
            line that it stands on.
    """
    out = []
    for k, spec in enumerate(project.config.process):
        try:
            found = op(spec.op)
            out.append((found, found.checked(spec.params, f"process.{k}.{spec.op}")))
        except ConfigError as error:
            key = error.argument.removeprefix(f"process.{k}.{spec.op}.").partition(".")[0]
            line = _line(project, ("process", k, key))
            if line is None:
                raise
            problem = f"in {project.path.name} line {line}: {error.problem}"
            raise ConfigError(error.argument, error.value, problem, error.remedy) from error
    return out


def _line(project: Project, where: tuple[int | str, ...]) -> int | None:
    """The line of the factory file on which a key stands; None where there is no such file."""
    try:
        return line_of(project.path.read_text(encoding="utf-8"), where)
    except OSError:
        return None


def recorded(before: Samples, after: Samples, work: Work) -> tuple[Samples, list[dict[str, str]]]:
    """Put an operation's notes into the history of its samples, and into lines of the record.

    What an operation changed, made or dropped without a word is recorded all the same.

    Args:
        before: samples that the operation was given.
        after: those that it gave back.
        work: with its notes.
    """
    old, new = {one.id: one for one in before}, {one.id for one in after}
    changes: dict[str, list[str]] = {}
    for name, text in work.notes:
        changes.setdefault(name, []).append(text)
    for one in after:
        if one.id not in changes and old.get(one.id) != one:
            changes[one.id] = ["changed" if one.id in old else "made"]
    for name in old:
        if name not in new and name not in changes:
            changes[name] = ["dropped"]
    lines = [
        {"op": f"{work.number:02d}_{work.op}", "sample": name, "did": text}
        for name in (*(n for n in old if n in changes), *(n for n in changes if n not in old))
        for text in changes[name]
    ]
    samples = tuple(
        one.but(history=(*one.history, *(f"{work.op}: {text}" for text in changes[one.id])))
        if one.id in changes
        else one
        for one in after
    )
    return samples, lines


def _require_unique(samples: Sequence[Sample], name: str) -> None:
    visited: set[str] = set()
    for one in samples:
        if one.id in visited:
            raise ConfigError(
                "process.op", name, f"makes the sample {one.id!r} twice", "run it only once"
            )
        visited.add(one.id)


def _sheet(before: Samples, after: Samples, path: Path) -> Path:
    """A picture of what an operation did: before and after, else a choice of what it made."""
    old = {one.id: one for one in before}
    changed = [
        (old[one.id], one)
        for one in after
        if one.id in old and _visible(old[one.id]) != _visible(one)
    ]
    if changed:
        picked = {one.id for one in draw.spread([new for _, new in changed], 8)}
        return draw.before_after([pair for pair in changed if pair[1].id in picked], path)
    added = [one for one in after if one.id not in old]
    return draw.contact_sheet(added or after, path)


def _visible(sample: Sample) -> tuple[object, ...]:
    """What of a sample can be seen in its picture."""
    return (sample.image, sample.labels, sample.mask, sample.ids)


def _write_lines(lines: Sequence[dict[str, str]], path: Path) -> None:
    write_text("".join(json.dumps(one, sort_keys=True) + "\n" for one in lines), path)


def _sweep(folder: Path, used: set[Path]) -> None:
    """Remove files of former runs that nothing uses any more, and folders that leaves empty."""
    if not folder.is_dir():
        return
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file() and path not in used:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
