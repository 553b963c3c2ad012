"""What a step is made from besides its configuration, and what it leaves for the next one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lanner.core.errors import ConfigError, LannerError
from lanner.factory.files import files_below
from lanner.factory.project import SAMPLES, Project
from lanner.factory.releases import IMAGENET, RELEASE

RECORD = "step.json"
"""In the folder of each step: what it was made from and what it said, once it is done."""


def inputs(project: Project, step: str) -> Any:
    """Plain data that changes when files change which a step reads from outside the work folder.

    Files of sources count by name, size and time of change: a folder may hold terabytes. Single
    files that are named count by content. Which parameters name files their models say
    (`process.paths`); a detector named as `model` is none: what it said is taken as it was when the
    step ran, or a release, which changes the detector's file, would put every step before it out
    of date.
    """
    if step == "explore":
        folders = [project.data / one.root for one in project.config.sources]
        labels = [one.labels for one in project.config.sources if one.labels is not None]
        folders += [project.path.parent / one for one in labels]
        return [str(project.data.resolve()), [_listing(one, project.folder) for one in folders]]
    if step == "process":
        return list(_operations(project))
    if step == "train":
        return list(_weights(project))
    if step in ("evaluate", "search", "release"):
        # A chain that reads no file keeps the key that it had.
        return _chain_files(project) or None
    return None


def _chain_files(project: Project) -> list[list[str]]:
    """Name and checksum of the files that the detector's chain reads, such as a catalogue."""
    from postprocess.chain import Chain
    from postprocess.chain_files import find_files

    try:
        names = Chain.from_specs(project.detector().chain).files
        return [[name, one.sha256] for name, one in find_files(names, {}).items()]
    except LannerError:
        return []  # of a file or a step that is not there the step itself tells


def left(project: Project, step: str) -> str:
    """Checksum of what a step left that a later one reads.

    Of the dataset it is the version, which follows from content alone: the same images elsewhere
    are no reason to train again.
    """
    folder, digest = project.step_dir(step), hashlib.sha256()
    if step == "dataset":
        return _version(folder)
    for path in sorted(files_of(folder, step)):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(_predicted(path) if path.name == "predict.json" else path.read_bytes())
    # Images keep their names when they change: what was seen of them goes from step to step.
    if step == "explore":
        digest.update(json.dumps(inputs(project, step)).encode())
    if step == "process":
        digest.update(recorded_left(project, "explore").encode())
    # Where nothing is trained the weights say nothing of what they are to be measured on.
    if step == "train":
        digest.update(recorded_left(project, "dataset").encode())
    return digest.hexdigest()


def recorded_left(project: Project, step: str) -> str:
    """What `left` was when a step was last run, from its record; "" where it was not."""
    record = recorded(project, step)
    return "" if record is None else str(record.get("left", ""))


def recorded(project: Project, step: str) -> dict[str, Any] | None:
    """The record of a step's last run; None where it was not run, or not to its end."""
    try:
        path = project.step_dir(step) / RECORD
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record


def files_of(folder: Path, step: str) -> Iterator[Path]:
    """The files of a step's folder that later steps read."""
    patterns = {
        "explore": (SAMPLES, "findings.json", "agreement.json"),
        "process": (SAMPLES,),
        "dataset": (SAMPLES, "manifest.json"),
        "train": ("*.safetensors",),
        "evaluate": ("calibration.json", "figures.json", "raw/*/predict.json"),
    }
    for pattern in patterns.get(step, ()):
        yield from folder.glob(pattern)


def _version(folder: Path) -> str:
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        return str(manifest["version"])
    except (OSError, ValueError, KeyError):
        return ""


def _predicted(path: Path) -> bytes:
    """Of `predict.json` what it was made from, not the seconds that it took."""
    facts = json.loads(path.read_text(encoding="utf-8"))
    return json.dumps([facts.get("key"), facts.get("weights")], sort_keys=True).encode()


def _listing(folder: Path, but: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of change of every file below a folder, sorted.

    Args:
        folder: to look in; a missing one has no files, its reader says so.
        but: a folder that is not looked into: the factory's own.
    """
    found = []
    own = but.resolve()
    for path in files_below(folder, lambda one: one.name.startswith(".") or one.resolve() == own):
        try:
            stat = path.stat()
        except OSError:
            # It went while we looked, or is a link to nothing.
            continue
        found.append((path.relative_to(folder).as_posix(), stat.st_size, stat.st_mtime_ns))
    return sorted(found)


def _operations(project: Project) -> Iterator[Any]:
    """What the parameters of operations name; those of unknown ones name nothing, as explore says.

    Raises:
        DatasetError: such a file cannot be read.
    """
    from lanner.factory.ops.paths import named_paths
    from lanner.factory.ops.registry import op

    for spec in project.config.process:
        try:
            params = op(spec.op).checked(spec.params, spec.op)
        except ConfigError:
            continue
        for base, text in named_paths(params):
            yield from _named(project, base, text)


def _weights(project: Project) -> Iterator[Any]:
    """The files that members begin with.

    Raises:
        DatasetError: such a file cannot be read.
    """
    trained = project.config.train.trained
    for one in trained.values():
        for text, but in ((one.start, ()), (one.encoder_from, trained)):
            if text and text not in (RELEASE, IMAGENET) and text not in but:
                yield from _named(project, "factory", text)


def _named(project: Project, base: str, text: str) -> Iterator[Any]:
    """A file or folder by its name, with what says whether it changed; nothing where it is gone."""
    from lanner.factory.ops.work import file_sha256

    path = (project.data if base == "data" else project.path.parent) / text
    if path.is_file():
        yield [text, file_sha256(path)]
    elif path.is_dir():
        yield [text, _listing(path, project.folder)]
