"""COCO: one JSON a split, boxes as x, y, width, height, outlines as polygons."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from lanner.core.errors import DatasetError
from lanner.factory.readers.parts import bounds, neat, number, ring, text_of
from lanner.factory.readers.reading import Reading
from lanner.factory.samples import Box, Label, Ring

OPTIONS = frozenset({"labels", "images"})
"""`labels`: the JSON file where there are no splits. `images`: folder that image names are
relative to, below the root; that of the JSON file where not given."""


def read(reading: Reading, split: str | None, name: str) -> None:
    """Read one JSON file.

    A crowd counts nothing in training (weight 0, flag `crowd`). An outline of several parts,
    run-length codes or fewer than three points is kept as its box alone (flag `parts`).

    Raises:
        DatasetError: missing, no JSON, or not in this format.
    """
    path = reading.root / (name or reading.option("labels", "labels.json"))
    data = _load(path)
    base = path.parent
    if "images" in reading.source.options:
        base = reading.root / reading.option("images", "")
    classes = {_key(one.get("id")): str(one.get("name")) for one in data["categories"]}
    notes: dict[str, list[dict[str, Any]]] = {_key(one.get("id")): [] for one in data["images"]}
    lost = []
    for one in data["annotations"]:
        if _key(one.get("image_id")) in notes:
            notes[_key(one["image_id"])].append(one)
        else:
            lost.append(one.get("id"))
    reading.skip_many(
        f"{reading.shown(path)} annotations", lost, "are of an image it does not list"
    )
    for one in data["images"]:
        found, mine = _sized(one), notes[_key(one.get("id"))]
        image = None
        if found is None:
            reading.skip(f"{reading.shown(path)} image {one.get('id')}", "has no file_name or size")
        else:
            image = reading.look(base / found[0], found[1])
        if image is not None:
            labels = [_label(reading, path, note, classes) for note in mine]
            reading.add(split, image, (label for label in labels if label is not None))
        elif mine:
            reading.skip(f"image {one.get('id')}: {len(mine)} annotations", "go with their image")


def _load(path: Path) -> dict[str, Any]:
    try:
        data: dict[str, Any] = json.loads(text_of(path))
    except ValueError as error:
        raise DatasetError("labels", path, f"is no JSON ({error})", "export it again") from error
    for key in ("images", "annotations", "categories"):
        entries = data.get(key) if isinstance(data, dict) else None
        if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
            raise DatasetError(
                "labels", path, f"has no list of {key}", "give a COCO file of objects"
            )
    repeated = [
        k for k, n in Counter(_key(one.get("id")) for one in data["images"]).items() if n > 1
    ]
    if repeated:
        raise DatasetError("labels", path, f"lists image {repeated[0]} twice", "number images once")
    return data


def _key(number: object) -> str:
    """What an image or class is known by: files have numbers, and some have words."""
    return json.dumps(number, sort_keys=True)


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
    reading: Reading, path: Path, note: dict[str, Any], classes: dict[str, str]
) -> Label | None:
    """One annotation; None, recorded, where it is malformed."""
    what = f"{reading.shown(path)} annotation {note.get('id')}"
    name = classes.get(_key(note.get("category_id")))
    if name is None:
        reading.skip(what, f"is of class {note.get('category_id')!r}, which the file does not list")
        return None
    try:
        polygon, whole = _outline(note.get("segmentation"))
        box = _box(note, polygon)
    except (ValueError, TypeError) as error:
        reading.skip(what, f"is malformed ({error})")
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
