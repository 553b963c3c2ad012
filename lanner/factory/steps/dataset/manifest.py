"""What a dataset consists of, by content: the same images, labels and splits, the same version."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from lanner.core.errors import DatasetError
from lanner.factory.config import FactoryConfig
from lanner.factory.files import write_text
from lanner.factory.images import read_mask
from lanner.factory.project import SAMPLES, Project
from lanner.factory.readers import class_order
from lanner.factory.samples import MASK_UNKNOWN, Sample, read_samples

MANIFEST = "manifest.json"
TRAIN = "train"

_FACTS = ("role", "gsd", "place", "weight", "width", "height")
"""What of a sample is hashed with its labels; paths and history are not part of the content."""


class Hashes:
    """Checksums of files, kept in a file by path, size and time of change between runs.

    Use it as a context manager around the first look at many files: leaving it, it writes the
    file, even when the work was cut off.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._kept: dict[str, dict[str, Any]] = {}
        self._used: dict[str, dict[str, Any]] = {}
        if path is not None and path.exists():
            try:
                self._kept = json.loads(path.read_text(encoding="utf-8"))
            except ValueError:
                # A cache that was cut off is no loss: its files are hashed again.
                self._kept = {}

    def __enter__(self) -> Hashes:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._path is None:
            return
        write_text(json.dumps(self._used, sort_keys=True), self._path)

    def of(self, path: Path) -> str:
        """SHA-256 of a file's bytes, hexadecimal.

        Raises:
            DatasetError: it cannot be read.
        """
        return str(self._entry(path)["sha256"])

    def values(self, path: Path) -> tuple[int, ...]:
        """Values that a mask holds, in order.

        Raises:
            DatasetError: it cannot be read.
        """
        entry = self._entry(path)
        if "values" not in entry:
            entry["values"] = np.unique(read_mask(path)).tolist()
        return tuple(entry["values"])

    def _entry(self, path: Path) -> dict[str, Any]:
        name = str(path)
        try:
            stat = path.stat()
            stamp = [stat.st_size, stat.st_mtime_ns]
            found = self._used.get(name) or self._kept.get(name)
            if found is None or found["stamp"] != stamp:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                found = {"stamp": stamp, "sha256": digest}
        except OSError as error:
            raise DatasetError(
                "samples", path, f"cannot be read ({error.strerror})", "run the steps before again"
            ) from error
        self._used[name] = found
        return found


def make_manifest(
    config: FactoryConfig, samples: Sequence[Sample], hashes: Hashes
) -> dict[str, Any]:
    """The manifest as plain data.

    Args:
        config: for the name, the order of classes and the split settings.
        samples: frozen, each with its split.
        hashes: of their files.

    Returns:
        `name`, `version`, `split` (settings), `classes` (in the order of their numbers),
        `images` {split: {source: n}}, `counts` {split: {class: {source: n}}} (objects, and masks
        in which the class is seen where there are no objects of it), and `items` {id: checksums
        of image, mask, ids and labels, and the split}.
    """
    known = class_order(config)
    used = {label.label for one in samples for label in one.labels}
    classes = (*known, *sorted(used - set(known)))
    items = {one.id: item(one, hashes) for one in samples}
    split = _settings(config)
    hashed = {"classes": classes, "items": items, "split": split}
    images: dict[str, Counter[str]] = {}
    counts: dict[str, dict[str, Counter[str]]] = {}
    for one in samples:
        images.setdefault(str(one.split), Counter())[one.source] += 1
        here = counts.setdefault(str(one.split), {name: Counter() for name in classes})
        for name, number in _objects(one, classes, hashes).items():
            here[name][one.source] += number
    return {
        "name": config.factory,
        "version": digest(hashed)[:12],
        "split": split,
        "classes": list(classes),
        "images": {name: dict(by) for name, by in images.items()},
        "counts": {name: {c: dict(by) for c, by in of.items()} for name, of in counts.items()},
        "items": items,
    }


def item(sample: Sample, hashes: Hashes) -> dict[str, str | None]:
    """Checksums of what a sample consists of, and its split."""
    facts = dataclasses.asdict(sample)
    content = {"labels": facts["labels"], **{name: facts[name] for name in _FACTS}}
    return {
        "image": hashes.of(sample.image),
        "mask": None if sample.mask is None else hashes.of(sample.mask),
        "ids": None if sample.ids is None else hashes.of(sample.ids),
        "labels": digest(content),
        "split": sample.split,
    }


def digest(data: object) -> str:
    """SHA-256 of plain data, whatever the order of keys."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _settings(config: FactoryConfig) -> dict[str, Any]:
    """What decides the splits; settings without effect do not change the version."""
    spec = config.dataset.split
    out: dict[str, Any] = {"by": spec.by}
    if spec.by != "source":
        out["fractions"] = dict(spec.fractions)
    if spec.by == "block":
        out |= {"block_m": spec.block_m, "near_m": config.explore.near_m}
    return out


def least_objects(manifest: Mapping[str, Any], least: int) -> None:
    """Make sure that there is enough to learn from.

    Raises:
        DatasetError: train has no image, or fewer than `least` objects of a class; never where
            `least` is 0.
    """
    if least == 0:
        return
    if TRAIN not in manifest["images"]:
        raise DatasetError(
            "dataset.split",
            ", ".join(sorted(manifest["images"])),
            "no sample is in train",
            "give a source splits, or smaller blocks (dataset.split.block_m); "
            "to measure a released detector alone, give dataset.least 0",
        )
    for name, by in manifest["counts"][TRAIN].items():
        found = sum(by.values())
        if found < least:
            raise DatasetError(
                "dataset.least",
                least,
                f"train has {found} objects of class {name}",
                "label more, split otherwise, or lower dataset.least",
            )


def read_manifest(project: Project) -> dict[str, Any]:
    """The manifest that the step dataset left.

    Raises:
        DatasetError: the step was not run, or the file is damaged.
    """
    path = project.need("dataset", MANIFEST)
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DatasetError("dataset", path, "is damaged", "run the step dataset again") from error
    return manifest


def changed(project: Project) -> tuple[str, ...]:
    """Ids of samples whose image, masks or labels are no more those that were frozen.

    Raises:
        DatasetError: the step dataset was not run, or a file is gone.
    """
    items = read_manifest(project)["items"]
    hashes = Hashes()
    found = {one.id: item(one, hashes) for one in read_samples(project.need("dataset", SAMPLES))}
    return tuple(sorted(name for name in {*items, *found} if items.get(name) != found.get(name)))


def _objects(sample: Sample, classes: Sequence[str], hashes: Hashes) -> Counter[str]:
    """Objects of each class that count in training, and classes seen in the mask alone."""
    out = Counter(label.label for label in sample.labels if label.weight > 0)
    if sample.mask is not None:
        for value in hashes.values(sample.mask):
            if 0 < value <= len(classes) and value != MASK_UNKNOWN and not out[classes[value - 1]]:
                out[classes[value - 1]] += 1
    return out
