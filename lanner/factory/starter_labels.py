"""Labels that are there already when a factory is begun: their classes, and where splits lie."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lanner.core.errors import DatasetError
from lanner.factory.files import files_below
from lanner.factory.readers.geo import ENDINGS, MORE
from lanner.factory.readers.parts import images_below, text_of
from lanner.factory.readers.vectors import values_of
from lanner.factory.readers.voc import classes_of
from lanner.factory.readers.yolo_data import NAMES, DataFile, read_data_file
from lanner.factory.starter_classes import Theirs

_MOST = 2000
"""Label files that are looked into: a class that is in none of them is told by explore."""
_VALUES = 40
"""A column of more values than this tells no classes."""
_SPLITS = {"train": "train", "valid": "valid", "val": "valid", "test": "test"}
"""What splits are called, theirs to ours."""


@dataclass(frozen=True)
class Labels:
    """What is there: classes, splits (ours to theirs), and the one file that is for all images."""

    theirs: Theirs
    splits: Mapping[str, str] = field(default_factory=dict)
    file: str = ""


def find_labels(form: str, root: Path) -> Labels | None:
    """Look at the labels below a folder.

    Args:
        form: their format.
        root: the source's folder.

    Returns:
        None where there are none yet, or they are of a format whose files say no classes.
    """
    found = {"coco": _coco, "yolo": _yolo, "voc": _voc, "dota": _dota, "geo": _geo}.get(form)
    return None if found is None or not root.is_dir() else found(root)


def _coco(root: Path) -> Labels | None:
    names: dict[str, None] = {}
    used: dict[str, None] = {}
    files = []
    for path in _files(root, ".json"):
        data = _json(path)
        if data is None:
            continue
        files.append(path)
        known = {json.dumps(one.get("id")): str(one.get("name")) for one in data["categories"]}
        names |= dict.fromkeys(known.values())
        notes = {json.dumps(one.get("category_id")) for one in data["annotations"]}
        used |= {name: None for number, name in known.items() if notes & {number, f'"{number}"'}}
    if not files:
        return None
    paths = [path.relative_to(root).as_posix() for path in files]
    theirs = Theirs(tuple(names), tuple(used), where=_where(paths))
    if len(files) == 1:
        return Labels(theirs, file=paths[0])
    splits: dict[str, str] = {}
    for path, name in zip(files, paths, strict=True):
        words = [*path.relative_to(root).parent.parts, path.stem]
        ours = {mine for word, mine in _SPLITS.items() if any(word in w.lower() for w in words)}
        # "valid" holds "val" too; a file of two splits is of none.
        if len(ours) == 1:
            splits.setdefault(ours.pop(), name)
    return Labels(theirs, splits)


def _json(path: Path) -> dict[str, Any] | None:
    """A COCO file; None where it is none."""
    try:
        data = json.loads(text_of(path))
    except (ValueError, DatasetError):
        return None
    keys = ("images", "annotations", "categories")
    lists = isinstance(data, dict) and all(isinstance(data.get(key), list) for key in keys)
    whole = lists and all(isinstance(one, dict) for key in keys for one in data[key])
    return data if whole else None


def _yolo(root: Path) -> Labels | None:
    data = _data_file(root)
    used: Counter[int] = Counter()
    for path in _some(_files(root, ".txt")):
        if path.name not in NAMES:
            used.update(_numbers(path))
    if data is None and not used:
        return None
    numbers = sorted(used)
    splits = _keys(data) or _folders(root)
    if data is None:
        words = tuple(map(str, numbers))
        return Labels(Theirs(words, words, numbered=True, where="the labels"), splits)
    names = [data.names[k] for k in sorted(data.names)]
    classes = tuple(dict.fromkeys(data.names[k] for k in numbers if k in data.names))
    theirs = Theirs(tuple(dict.fromkeys(names)), classes, where=data.path.name)
    return Labels(theirs, splits)


def _data_file(root: Path) -> DataFile | None:
    for path in (folder / name for folder in (root, root / "labels") for name in NAMES):
        if path.is_file():
            return read_data_file(path)
    return None


def _keys(data: DataFile | None) -> dict[str, str]:
    """Splits that a data file says, ours to its keys."""
    keys = () if data is None else data.splits
    return {_SPLITS[key]: key for key in keys if key in _SPLITS}


def _numbers(path: Path) -> Iterator[int]:
    """Class numbers of a label file; of a list of images there are none."""
    for line in text_of(path).splitlines():
        words = line.split()
        if len(words) >= 5:
            try:
                value = float(words[0])
            except ValueError:
                continue
            if value.is_integer():
                yield int(value)


def _voc(root: Path) -> Labels | None:
    files = _files(root, ".xml")
    used = {name: None for path in _some(files) for name in classes_of(path)}
    return _by_use(root, used) if used else None


def _dota(root: Path) -> Labels | None:
    used: dict[str, None] = {}
    files = _files(root, ".txt")
    for path in _some(files):
        lines = (line.split() for line in text_of(path).splitlines())
        used |= dict.fromkeys(words[8] for words in lines if len(words) in (9, 10))
    return _by_use(root, used) if used else None


def _by_use(root: Path, used: Mapping[str, None]) -> Labels:
    names = tuple(sorted(used))
    return Labels(Theirs(names, names, where="the labels"), _folders(root))


def _geo(root: Path) -> Labels | None:
    """Columns of vector files that hold few values."""
    columns: dict[str, dict[str, None]] = {}
    files = []
    for path in _some([path for ending in (*ENDINGS, *MORE) for path in _files(root, ending)]):
        try:
            found = values_of(path)
        except DatasetError:
            # No labels, or told when they are read as such.
            continue
        files.append(path.relative_to(root).as_posix())
        for name, values in found.items():
            words = filter(None, map(_word, values))
            columns.setdefault(name, {}).update(dict.fromkeys(words))
    if not files:
        return None
    few = {name: tuple(sorted(found)) for name, found in columns.items() if len(found) <= _VALUES}
    by_column = {name: values for name, values in few.items() if values}
    images = {path.relative_to(root).with_suffix("") for path in images_below(root)}
    one = files[0] if len(files) == 1 and Path(files[0]).with_suffix("") not in images else ""
    return Labels(Theirs(where=_where(sorted(files)), columns=by_column), file=one)


def _word(value: object) -> str:
    """As the reader calls a class."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def _folders(root: Path) -> dict[str, str]:
    """Splits by the names of folders, ours to theirs."""
    found: dict[str, str] = {}
    for theirs, ours in _SPLITS.items():
        if (root / theirs).is_dir() or (root / "images" / theirs).is_dir():
            found.setdefault(ours, theirs)
    return found


def _files(root: Path, ending: str) -> list[Path]:
    return sorted(path for path in files_below(root) if path.suffix.lower() == ending)


def _some(files: Sequence[Path]) -> Sequence[Path]:
    """So many of the files, evenly spread."""
    return files[:: -(-len(files) // _MOST)] if files else files


def _where(names: Sequence[str]) -> str:
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")


__all__ = ["Labels", "find_labels"]
