"""COCO: one JSON a split, boxes as x, y, width, height, outlines as polygons."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lanner.core.errors import DatasetError
from lanner.factory.readers.elsewhere import find_images
from lanner.factory.readers.ids import Ids, key
from lanner.factory.readers.parts import bounds, neat, number, ring, text_of
from lanner.factory.readers.reading import Reading
from lanner.factory.samples import Box, Label, Ring

OPTIONS = frozenset({"labels", "images", "exif"})
"""`labels`: the JSON file where there are no splits. `images`: folder that image names are
relative to, below the root; that of the JSON file where not given. `exif`: whether boxes of images
that EXIF turns are of the `shown` or of the `stored` pixels; else the stated size says it."""


def read(reading: Reading, split: str | None, name: str) -> None:
    """Read one JSON file.

    A crowd counts nothing in training (weight 0, flag `crowd`). An outline of several parts,
    run-length codes or fewer than three points is kept as its box alone (flag `parts`). An image
    with an annotation that cannot be read is left out. Numbers of images and classes may be texts
    on one side, and names of images those of another machine (`readers.elsewhere`).

    Raises:
        DatasetError: missing, no JSON, not in this format, or without an annotation that is of an
            image it lists.
    """
    path = reading.root / (name or reading.option("labels", "labels.json"))
    data = _load(path)
    base = path.parent
    if "images" in reading.source.options:
        base = reading.root / reading.option("images", "")
    classes = Classes(data["categories"])
    notes = _by_image(reading, path, data)
    sized = [_sized(one) for one in data["images"]]
    named = find_images((one[0] for one in sized if one is not None), (base,), reading.root)
    for one, entry in zip(data["images"], sized, strict=True):
        mine = notes[key(one.get("id"))]
        image = None
        if entry is None:
            reading.skip(
                f"{reading.name_of(path)} image {one.get('id')}", "has no file_name or size"
            )
        else:
            where = reading.found(entry[0], named[entry[0]])
            image = None if where is None else reading.open_image(where, entry[1])
        if image is not None:
            problems: list[str] = []
            labels = [_label(reading, note, classes, problems) for note in mine]
            if not reading.unreadable(image, path, problems):
                reading.add(split, image, (label for label in labels if label is not None))
        elif mine:
            reading.skip(f"image {one.get('id')}: {len(mine)} annotations", "go with their image")
    if classes.ids.otherwise:
        reading.note(
            "files", reading.name_of(path), "write numbers of classes as texts on one side"
        )


class Classes:
    """Names of classes by their number.

    Attributes:
        ids: their numbers.
    """

    def __init__(self, entries: Iterable[dict[str, Any]]) -> None:
        self._names = {key(one.get("id")): str(one.get("name")) for one in entries}
        self.ids = Ids(one.get("id") for one in entries)

    def name(self, number: object) -> str | None:
        """The name of a class; None where the file does not list it."""
        found = self.ids.find(number)
        return None if found is None else self._names[found]


def _by_image(
    reading: Reading, path: Path, data: dict[str, Any]
) -> dict[str, list[dict[str, Any]]]:
    """Annotations by the `key` of their image; those of none are recorded."""
    images = Ids(one.get("id") for one in data["images"])
    notes: dict[str, list[dict[str, Any]]] = {key(one.get("id")): [] for one in data["images"]}
    lost = []
    for one in data["annotations"]:
        where = images.find(one.get("image_id"))
        if where is None:
            lost.append(one)
        else:
            notes[where].append(one)
    if lost and len(lost) == len(data["annotations"]) and data["images"]:
        of, first = key(lost[0].get("image_id")), key(data["images"][0].get("id"))
        raise DatasetError(
            "labels",
            path,
            f"none of its {len(lost)} annotations is of an image it lists: the first is of image "
            f"{of}, and the first image is {first}",
            "write as image_id what images have as id",
        )
    ids = [one.get("id") for one in lost]
    reading.skip_many(
        f"{reading.name_of(path)} annotations", ids, "are of an image it does not list"
    )
    if images.otherwise:
        reading.note("files", reading.name_of(path), "write numbers of images as texts on one side")
    return notes


def _load(path: Path) -> dict[str, Any]:
    try:
        data: dict[str, Any] = json.loads(text_of(path))
    except ValueError as error:
        raise DatasetError("labels", path, f"is no JSON ({error})", "export it again") from error
    for part in ("images", "annotations", "categories"):
        entries = data.get(part) if isinstance(data, dict) else None
        if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
            raise DatasetError(
                "labels", path, f"has no list of {part}", "give a COCO file of objects"
            )
    repeated = [
        k for k, n in Counter(key(one.get("id")) for one in data["images"]).items() if n > 1
    ]
    if repeated:
        raise DatasetError("labels", path, f"lists image {repeated[0]} twice", "number images once")
    return data


def _sized(one: dict[str, Any]) -> tuple[str, tuple[int, int] | None] | None:
    """File name and stated size; the size may be left out."""
    name, width, height = one.get("file_name"), one.get("width"), one.get("height")
    if not isinstance(name, str) or not name:
        return None
    if width is None and height is None:
        return name, None
    try:
        # Tables that had gaps write whole numbers as 640.0.
        size = (number(width), number(height))
    except ValueError:
        return None
    whole = all(value.is_integer() for value in size)
    return (name, (int(size[0]), int(size[1]))) if whole else None


def _label(
    reading: Reading, note: dict[str, Any], classes: Classes, problems: list[str]
) -> Label | None:
    """One annotation; None where it is dropped, or cannot be read, which goes to `problems`."""
    what = f"annotation {note.get('id')}"
    name = classes.name(note.get("category_id"))
    if name is None:
        problems.append(f"{what} is of class {note.get('category_id')!r}, which is not listed")
        return None
    if reading.dropped(name):
        return None
    try:
        polygon, whole = _outline(note.get("segmentation"))
        box = _box(note, polygon)
    except (ValueError, TypeError) as error:
        problems.append(f"{what} is malformed ({error})")
        return None
    ours = reading.ours(name)
    if ours is None:
        return None
    crowd = bool(note.get("iscrowd"))
    flags = ("crowd",) * crowd + ("parts",) * (not whole)
    return Label(ours, box, polygon, weight=0.0 if crowd else 1.0, flags=flags)


def _outline(raw: object) -> tuple[Ring | None, bool]:
    """The ring of a segmentation in one part, and whether nothing of it was left out."""
    if not raw or raw == [[]]:
        return None, True
    if not isinstance(raw, list) or len(raw) > 1 or not isinstance(raw[0], list):
        return None, False
    if len(raw[0]) < 6:
        return None, False
    if len(raw[0]) % 2:
        raise ValueError("an outline has two numbers a point")
    return ring(number(value) for value in raw[0]), True


def _box(note: dict[str, Any], polygon: Ring | None) -> Box:
    raw = note.get("bbox")
    if raw is None and polygon is not None:
        return bounds(polygon)
    if not isinstance(raw, list) or len(raw) != 4:
        raise ValueError(f"bbox {raw!r} is not x, y, width, height")
    x, y, width, height = (number(value) for value in raw)
    return neat((x, y, x + width, y + height))
