"""YOLO: a text file an image, class number and normalised box, outline or keypoints a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lanner.core.errors import DatasetError
from lanner.factory.readers.decoded import Image
from lanner.factory.readers.parts import (
    bounds,
    images_below,
    neat,
    number,
    ring,
    text_of,
)
from lanner.factory.readers.reading import Reading
from lanner.factory.readers.yolo_data import (
    NAMES,
    DataFile,
    data_file,
    images_of,
    label_path,
)
from lanner.factory.readers.yolo_poses import Poses
from lanner.factory.samples import Label

OPTIONS = frozenset({"images", "labels", "names", "no_file", "exif"})
"""`images`, `labels`: folder names. `names`: file of class names, YAML or one a line. `no_file`:
images without a label file are `unlabelled` (and recorded), `negative`, or with `leave` not taken
in (and recorded). `exif`: whether labels of images that EXIF turns are of the `shown` (the
default) or of the `stored` pixels."""

_FAR = 2.0
"""Normalised coordinates beyond this are pixels or a mistake, not an object at the border."""

_Pairs = list[tuple[Path, Path | None]]


def read(reading: Reading, split: str | None, name: str) -> None:
    """Read the label files beside a folder of images.

    A split is a folder, a key of the data file (`train`, `val`, `test`), or a list of images. An
    image with a line that cannot be read is left out; of keypoints the box alone is read.

    Classes are called by the names of `data.yaml` or `classes.txt`, else by their numbers.

    Raises:
        DatasetError: folders or names are missing or malformed.
    """
    data, pairs = _found(reading, name)
    names = None if data is None else data.names
    shape = None if data is None else data.keypoints
    poses = Poses(shape, lambda: _long_lines(file for _, file in pairs))
    for path, file in pairs:
        image = reading.open_image(path)
        if image is None:
            continue
        if file is None:
            reading.unmatched(image, split)
            continue
        problems: list[str] = []
        labels = _labels(reading, file, image, names, poses, problems)
        if not reading.unreadable(image, file, problems):
            reading.add(split, image, labels)


def _found(reading: Reading, name: str) -> tuple[DataFile | None, _Pairs]:
    """The data file, and images of a split with their label files."""
    data = data_file(reading)
    usual = reading.option("images", "images")
    folders = (reading.root / name, reading.root / usual / name)
    if reading.source.labels is None and name and not any(one.is_dir() for one in folders):
        listed = images_of(reading, data, name)
        if listed is not None:
            return data, _listed(reading, name, listed)
        if data is not None and data.splits:
            raise DatasetError(
                f"sources.{reading.source.name}.splits",
                name,
                f"is no folder below {reading.root}, nor does {reading.name_of(data.path)} have it",
                f"give {data.splits_option}",
            )
    if reading.source.labels is None and usual in Path(name).parts and folders[0].is_dir():
        # The folder of images itself, as data files name it.
        labels = label_path(folders[0] / "x", usual, reading.option("labels", "labels")).parent
        if labels.is_dir():
            return data, _listed(reading, name, list(images_below(folders[0])))
    try:
        both, pairs = reading.pairs(name, "images", "labels", ".txt", but=NAMES)
    except DatasetError as error:
        if data is None or not data.splits or name:
            raise
        raise DatasetError(
            error.argument, error.value, error.problem, f"give {data.splits_option}"
        ) from error
    return data_file(reading, both[1]), list(pairs)


def _listed(reading: Reading, name: str, images: Sequence[Path]) -> _Pairs:
    """Listed images with their label files.

    Raises:
        DatasetError: there are label files, and none is of an image.
    """
    usual = reading.option("images", "images"), reading.option("labels", "labels")
    labels = [label_path(path, *usual) for path in images]
    pairs = [
        (path, file if file.is_file() else None) for path, file in zip(images, labels, strict=True)
    ]
    if pairs and all(file is None for _, file in pairs):
        raise DatasetError(
            f"sources.{reading.source.name}.splits",
            name,
            f"none of its {len(pairs)} images has a label file, such as "
            f"{reading.name_of(labels[0])}",
            "put them there, or give options.images and options.labels, the names of the folders",
        )
    return pairs


def _long_lines(files: Iterable[Path | None]) -> Iterator[list[float]]:
    """Numbers after the class of all lines that are numbers."""
    for file in files:
        for line in () if file is None else text_of(file).splitlines():
            try:
                yield [number(word) for word in line.split()[1:]]
            except ValueError:
                # TypeRanks where the line's image is read.
                continue


def _labels(
    reading: Reading,
    path: Path,
    image: Image,
    names: Mapping[int, str] | None,
    poses: Poses,
    problems: list[str],
) -> list[Label]:
    """Objects of one file; lines that cannot be read go to `problems`."""
    out = []
    for row, line in enumerate(text_of(path).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            index = _class(words[0])
            theirs = _theirs(index, names)
            if reading.dropped(theirs):
                continue
            values = [number(word) for word in words[1:]]
            pose = poses.is_pose(values)
            label = _shape(values[:4] if pose else values, image)
        except ValueError as error:
            problems.append(f"line {row} is malformed ({error})")
            continue
        if pose:
            reading.note(
                "label files", reading.name_of(path), "have keypoints: their boxes are read"
            )
        ours = reading.ours(theirs)
        if ours is not None:
            out.append(Label(ours, *label))
    return out


def _class(word: str) -> int:
    """A class number; some tools write it as 0.0."""
    value = number(word)
    if not value.is_integer():
        raise ValueError(f"{word} is no number of a class")
    return int(value)


def _theirs(index: int, names: Mapping[int, str] | None) -> str:
    if names is None:
        return str(index)
    if index not in names:
        raise ValueError(f"class {index} has no name")
    return names[index]


def _shape(values: Sequence[float], image: Image) -> tuple[Any, Any]:
    """Box and outline (or None) in pixels, of normalised numbers.

    Four numbers are a box, five a box and a score, six or more an outline.
    """
    if any(not 1 - _FAR <= value <= _FAR for value in (*values[:4], *values[5:])):
        raise ValueError("numbers are not normalised to 0..1")
    size = image.size
    if len(values) in (4, 5):
        cx, cy, w, h = (value * size[k % 2] for k, value in enumerate(values[:4]))
        return neat((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)), None
    if len(values) < 6 or len(values) % 2:
        raise ValueError(f"{len(values)} numbers are neither a box, an outline nor keypoints")
    outline = ring(value * size[k % 2] for k, value in enumerate(values))
    return bounds(outline), outline
