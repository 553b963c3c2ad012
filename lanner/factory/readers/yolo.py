"""YOLO: a text file an image, class number and normalised box or outline a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from lanner.core.errors import DatasetError
from lanner.factory.readers.parts import (
    bounds,
    neat,
    number,
    ring,
    text_of,
)
from lanner.factory.readers.reading import Image, Reading
from lanner.factory.samples import Label

OPTIONS = frozenset({"images", "labels", "names", "no_file"})
"""`images`, `labels`: folder names. `names`: file of class names, YAML or one a line. `no_file`:
images without a label file are `unlabelled` (and recorded), `negative`, or with `leave` not taken
in (and recorded)."""

_NAMES = ("data.yaml", "dataset.yaml", "classes.txt", "obj.names")
_FAR = 2.0
"""Normalised coordinates beyond this are pixels or a mistake, not an object at the border."""


def read(reading: Reading, split: str | None, name: str) -> None:
    """Read the label files beside a folder of images.

    Classes are called by the names of `data.yaml` or `classes.txt`, else by their numbers.

    Raises:
        DatasetError: folders or names are missing or malformed.
    """
    folders, pairs = reading.pairs(name, "images", "labels", ".txt", but=_NAMES)
    names = _class_names(reading, folders[1])
    for path, file in pairs:
        image = reading.look(path)
        if image is None:
            continue
        if file is None:
            reading.unmatched(image, split)
        else:
            reading.add(split, image, _labels(reading, file, image, names))


def _class_names(reading: Reading, labels: Path) -> dict[int, str] | None:
    """Names by number, None where there is no file of them."""
    given = reading.option("names", "")
    tried = [reading.root / given] if given else []
    tried += [folder / name for folder in (reading.root, labels) for name in _NAMES]
    for path in tried:
        if path.is_file():
            return _parsed(path)
    if given:
        raise DatasetError("options.names", tried[0], "is not there", "give the file of names")
    return None


def _parsed(path: Path) -> dict[int, str]:
    text = text_of(path)
    if path.suffix not in (".yaml", ".yml"):
        return dict(enumerate(line.strip() for line in text.splitlines() if line.strip()))
    try:
        raw = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: what looks like a date
        raise DatasetError("names", path, f"is no YAML ({error})", "mend it") from error
    names: Any = raw.get("names") if isinstance(raw, dict) else None
    if isinstance(names, list):
        return {number: str(name) for number, name in enumerate(names)}
    if isinstance(names, dict) and all(isinstance(key, int) for key in names):
        return {key: str(name) for key, name in names.items()}
    raise DatasetError("names", path, "has no list of names", "give names: [first, second]")


def _labels(
    reading: Reading, path: Path, image: Image, names: dict[int, str] | None
) -> list[Label]:
    out = []
    for row, line in enumerate(text_of(path).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        what = f"{reading.shown(path)} line {row}"
        try:
            label = _shape(words[1:], image)
            index = int(words[0])
        except ValueError as error:
            reading.skip(what, f"is malformed ({error})")
            continue
        if names is not None and index not in names:
            reading.skip(what, f"is of class {index}, which has no name")
            continue
        ours = reading.ours(str(index) if names is None else names[index])
        if ours is not None:
            out.append(Label(ours, *label))
    return out


def _shape(words: list[str], image: Image) -> tuple[Any, Any]:
    """Box and outline (or None) in pixels, of normalised numbers.

    Four numbers are a box, five a box and a score, six or more an outline.
    """
    values = [number(word) for word in words]
    if any(not 1 - _FAR <= value <= _FAR for value in values[:4] + values[5:]):
        raise ValueError("numbers are not normalised to 0..1")
    size = (image.width, image.height)
    if len(values) in (4, 5):
        cx, cy, w, h = (value * size[k % 2] for k, value in enumerate(values[:4]))
        return neat((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)), None
    if len(values) < 6 or len(values) % 2:
        raise ValueError(f"{len(values)} numbers are neither a box nor an outline")
    outline = ring(value * size[k % 2] for k, value in enumerate(values))
    return bounds(outline), outline
