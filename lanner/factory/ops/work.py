"""What an operation of process is handed: a folder for its files, chance, and a record to keep."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from detectors.card import sha256_file
from lanner.core.errors import ConfigError, DatasetError
from lanner.core.job import Progress
from lanner.factory.files import keep
from lanner.factory.project import Project
from lanner.factory.readers import class_order
from lanner.factory.samples import Label, Sample

Samples = tuple[Sample, ...]

FILES = "files"
"""Folder below that of process: a folder an operation, files named by what they were made from."""


class Work:
    """One operation at work.

    Args:
        project: configuration, folders, progress, cancel.
        op: name of the operation.
        number: its place in the list, from 0: the same operation may be there twice.
    """

    def __init__(self, project: Project, op: str, number: int) -> None:
        self.project, self.op, self.number = project, op, number
        self.folder = project.step_dir("process") / FILES / op
        self.notes: list[tuple[str, str]] = []
        self.used: set[Path] = set()

    def rng(self, name: str) -> np.random.Generator:
        """A generator of its own for a sample id (or any name): order and number do not matter."""
        text = f"{self.project.config.seed}/{self.op}/{self.number}/{name}"
        digest = hashlib.sha256(text.encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:16], "big"))

    def note(self, sample: str, text: str) -> None:
        """Record what was done to a sample: it goes into its history and into changes.jsonl."""
        self.notes.append((sample, text))

    def file(self, suffix: str, make: Callable[[Path], None], *parts: object) -> Path:
        """A file that follows from `parts`; made where it is not there yet.

        Args:
            suffix: ending, such as ".png".
            make: writes the file at the path it is given.
            parts: everything that the content follows from: plain data, and paths, which stand
                for the content of the files they name.

        Raises:
            OutputError: from `make`.
        """
        path = self.named(suffix, *parts)
        if not path.exists():
            keep(make, path)
        return path

    def named(self, suffix: str, *parts: object) -> Path:
        """Where the file that follows from `parts` is, or will be; see `file`."""
        facts = [file_sha256(one) if isinstance(one, Path) else one for one in parts]
        text = json.dumps([self.op, facts], sort_keys=True, default=str)
        path = self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}{suffix}"
        self.used.add(path)
        return path

    def each(self, samples: Sequence[Sample]) -> Iterator[Sample]:
        """The samples in order, telling of progress and looking for cancel before each."""
        for k, sample in enumerate(samples):
            self.step(k, len(samples))
            yield sample
        self.project.tell(Progress(self.op, len(samples), len(samples)))

    def step(self, done: int, total: int) -> None:
        """Tell of progress and stop where the caller asked for it."""
        self.project.cancel.check()
        self.project.tell(Progress(self.op, done, total))

    def require_sources(self, names: Sequence[str], samples: Samples, key: str) -> None:
        """Make sure that sources named in the parameters are there.

        Raises:
            ConfigError: no sample is of such a source.
        """
        known = sorted({one.source for one in samples})
        for name in names:
            if name not in known:
                raise ConfigError(
                    f"process.{self.op}.{key}",
                    name,
                    "is no source of these samples",
                    f"choose among {', '.join(known)}",
                )

    def class_value(self, label: str) -> int:
        """The number of a class in masks: its place in the sources' classes, from 1.

        Raises:
            ConfigError: no source has that class.
        """
        order = class_order(self.project.config) or self.project.detector().classes
        if label not in order:
            raise ConfigError(
                f"process.{self.op}.label",
                label,
                "is no class of the sources",
                f"choose among {', '.join(order)}",
            )
        return order.index(label) + 1


def of_sources(samples: Samples, sources: Sequence[str]) -> Samples:
    """Those of some sources; all where none is named."""
    return tuple(one for one in samples if not sources or one.source in sources)


def replaced(samples: Samples, changed: dict[str, Sample]) -> Samples:
    """The samples, in order, with some of them exchanged by id."""
    return tuple(changed.get(one.id, one) for one in samples)


def origin_of(sample: Sample) -> str:
    """Checksum of the image that a sample was first made from: its own where it is as it was read.

    Raises:
        DatasetError: the image cannot be read.
    """
    return sample.origin or file_sha256(sample.image)


def label_facts(labels: Sequence[Label]) -> list[Any]:
    """Labels as plain data for `Work.file`: their geometry, in order."""
    return [[one.label, one.box, one.polygon, one.line, one.weight] for one in labels]


def file_sha256(path: Path) -> str:
    """Checksum of a file's content; read again only when it changes.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        return sha256_file(path)
    except OSError as error:
        raise DatasetError(
            "image", path, f"cannot be read ({error.strerror})", "put it back"
        ) from error
