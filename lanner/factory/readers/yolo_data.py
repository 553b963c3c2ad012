"""YOLO's data file: names of classes, keypoints, and where the images of each split are.

As ultralytics reads it: `train`, `val` and `test` are folders, lists of images (`.txt`, one path a
line) or several of them, relative to `path`; the label file of an image has its path, with the last
`images` in it made `labels`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lanner.core.errors import DatasetError
from lanner.factory.readers.elsewhere import find_images, is_absolute, parts_of
from lanner.factory.readers.parts import images_below, text_of
from lanner.factory.readers.reading import Reading

NAMES = ("data.yaml", "dataset.yaml", "classes.txt", "obj.names")
"""Files of names, best first."""

KEYS = ("train", "val", "valid", "test", "minival")
"""Of a data file, those that say where images are."""

_SAME = {"valid": "val", "val": "valid"}


@dataclass(frozen=True)
class DataFile:
    """What a data file says.

    `names` are the classes by number; `splits` what it says of each split, `path` not yet put
    before; `keypoints` how many points and numbers a point its lines have.
    """

    path: Path
    names: Mapping[int, str]
    root: str = ""
    splits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    keypoints: tuple[int, int] | None = None

    @property
    def splits_option(self) -> str:
        """The splits that it has, as the source would name them."""
        pairs = (f"{'valid' if key == 'val' else key}: {key}" for key in self.splits)
        return f"splits: {{{', '.join(pairs)}}}"

    def split(self, name: str) -> str | None:
        """The key for a name that a source gives; `valid` and `val` are the same."""
        return next((one for one in (name, _SAME.get(name)) if one in self.splits), None)


def data_file(reading: Reading, *folders: Path) -> DataFile | None:
    """The source's data file or list of names; None where there is none.

    Args:
        reading: `options.names` goes before all.
        folders: where to look, besides the root.

    Raises:
        DatasetError: the named one is not there, or it is malformed.
    """
    given = reading.option("names", "")
    tried = [reading.root / given] if given else []
    tried += [folder / name for folder in (reading.root, *folders) for name in NAMES]
    for path in tried:
        if path.is_file():
            return read_data_file(path)
    if given:
        raise DatasetError("options.names", tried[0], "is not there", "give the file of names")
    return None


def read_data_file(path: Path) -> DataFile:
    """A YAML data file, or a list of names, one a line.

    Raises:
        DatasetError: it is malformed.
    """
    text = text_of(path)
    if path.suffix not in (".yaml", ".yml"):
        lines = (line.strip() for line in text.splitlines())
        return DataFile(path, dict(enumerate(line for line in lines if line)))
    try:
        raw = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: what looks like a date
        raise DatasetError("names", path, f"is no YAML ({error})", "mend it") from error
    raw = raw if isinstance(raw, dict) else {}
    root = raw.get("path")
    splits = {key: _listed(raw.get(key)) for key in KEYS}
    return DataFile(
        path,
        _names(path, raw.get("names")),
        root if isinstance(root, str) else "",
        {key: value for key, value in splits.items() if value},
        _keypoints(path, raw.get("kpt_shape")),
    )


def images_of(reading: Reading, data: DataFile | None, name: str) -> list[Path] | None:
    """Images that a data file, or a list of images, says are of a split.

    Args:
        reading: images that cannot be found are recorded.
        data: with the splits; None where there is none.
        name: what the source calls the split: a key of the data file, or a list of images.

    Returns:
        None where it says nothing of it.

    Raises:
        DatasetError: what it says is not there.
    """
    key = None if data is None else data.split(name)
    if data is None or key is None:
        listed = reading.root / name
        return (
            _of_list(reading, data, listed) if name.endswith(".txt") and listed.is_file() else None
        )
    out: list[Path] = []
    for item in data.splits[key]:
        place = _place(reading, data, item)
        if place is None:
            raise DatasetError(
                f"sources.{reading.source.name}.splits",
                name,
                f"{reading.name_of(data.path)} has {key}: {item}, which is no folder or list here",
                "correct it there, or name a folder below root in splits",
            )
        out += list(images_below(place)) if place.is_dir() else _of_list(reading, data, place)
    return list(dict.fromkeys(out))


def label_path(image: Path, images: str = "images", labels: str = "labels") -> Path:
    """Where the label file of an image lies."""
    parts = list(image.parts[:-1])
    for k in reversed(range(len(parts))):
        if parts[k] == images:
            parts[k] = labels
            break
    return Path(*parts, image.stem + ".txt")


def _names(path: Path, names: Any) -> dict[int, str]:
    if isinstance(names, list):
        return {number: str(name) for number, name in enumerate(names)}
    if isinstance(names, dict) and all(isinstance(key, int) for key in names):
        return {key: str(name) for key, name in names.items()}
    raise DatasetError("names", path, "has no list of names", "give names: [first, second]")


def _keypoints(path: Path, shape: Any) -> tuple[int, int] | None:
    if shape is None:
        return None
    whole = isinstance(shape, list) and len(shape) == 2 and all(type(one) is int for one in shape)
    if not whole or shape[0] < 1 or shape[1] not in (2, 3):
        raise DatasetError(
            "kpt_shape", path, f"is {shape!r}", "give points and numbers a point, as [17, 3]"
        )
    return shape[0], shape[1]


def _listed(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,) if value.strip() else ()
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def _bases(reading: Reading, data: DataFile | None) -> list[Path]:
    """Folders that what a data file says may be relative to, best first."""
    if data is None:
        return [reading.root]
    home = data.path.parent
    tried = (home / data.root.replace("\\", "/"), home, reading.root)
    return [one for one in dict.fromkeys(tried) if one.is_dir()]


def _place(reading: Reading, data: DataFile, item: str) -> Path | None:
    """The folder or list that a data file names; recorded where it was written elsewhere."""
    plain = item.replace("\\", "/")
    # Downloaded sets say ../train/images of a folder beside the data file.
    tries = [plain, re.sub(r"^(\.\./)+", "", plain)]
    for base in _bases(reading, data):
        for one in tries:
            found = (base / one).resolve()
            if _usable(found):
                return found
    # Written on another machine: the longest end of it that is here.
    parts = parts_of(item)
    for k in range(1, len(parts)) if is_absolute(item) else ():
        found = reading.root.joinpath(*parts[k:])
        if _usable(found):
            why = "is not there as it is named: found by the end of its path"
            reading.note(f"{reading.name_of(data.path)} entries", item, why)
            return found
    return None


def _usable(path: Path) -> bool:
    return path.is_dir() or (path.suffix == ".txt" and path.is_file())


def _of_list(reading: Reading, data: DataFile | None, path: Path) -> list[Path]:
    """The images of a list, one path a line."""
    lines = [line.strip() for line in text_of(path).splitlines()]
    bases = [path.parent, *_bases(reading, data)]
    names = [line for line in lines if line and not line.startswith("#")]
    found = find_images(names, bases, reading.root)
    places = (reading.found(name, where) for name, where in found.items())
    return [place for place in places if place is not None]


__all__ = ["NAMES", "DataFile", "data_file", "images_of", "label_path", "read_data_file"]
