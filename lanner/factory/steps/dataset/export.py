"""The dataset for others: COCO and YOLO, as our own readers read them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from lanner.core.errors import OutputError
from lanner.factory.samples import Label, Sample

_SAME = 1e-6
"""Pixels by which a box and the bounds of its outline may differ."""

_YOLO_SPLITS = {"valid": "val"}


def export_coco(samples: Sequence[Sample], classes: Sequence[str], version: str, to: Path) -> int:
    """Write `{split}.json` files; images are referenced by their path relative to the file.

    Objects of weight 0 are crowds. Samples without labels to learn from, or whose labels are
    masks or lines alone, are left out.

    Args:
        samples: with splits.
        classes: in the order of their numbers, from 1.
        version: of the dataset, for the file's head.
        to: folder; what an earlier export left there is replaced.

    Returns:
        How many samples were left out.

    Raises:
        OutputError: it cannot be written.
    """
    fit = [one for one in samples if _boxed(one)]
    with _Replaced(to) as folder:
        for split in sorted({str(one.split) for one in fit}):
            data = _coco([one for one in fit if one.split == split], classes, to)
            head = {"info": {"description": f"{split}, dataset {version}", "version": version}}
            text = json.dumps({**head, **data}, indent=1, sort_keys=True) + "\n"
            (folder / f"{split}.json").write_text(text, encoding="utf-8")
    return len(samples) - len(fit)


def export_yolo(samples: Sequence[Sample], classes: Sequence[str], to: Path) -> int:
    """Write `images/{split}`, `labels/{split}` and `data.yaml`; images are links, else copies.

    A file holds outlines where every object has one with the bounds of its box, else boxes:
    readers of this format do not take both together. Objects of weight 0 are left out, since
    the format cannot say that something is to be ignored.

    Args:
        samples: with splits.
        classes: in the order of their numbers, from 0.
        to: folder; what an earlier export left there is replaced.

    Returns:
        How many samples were left out: those that `export_coco` leaves out.

    Raises:
        OutputError: it cannot be written.
    """
    fit = [one for one in samples if _boxed(one)]
    splits = sorted({str(one.split) for one in fit})
    with _Replaced(to) as folder:
        for one in fit:
            image = folder / "images" / str(one.split) / f"{one.id}{one.image.suffix}"
            label = folder / "labels" / str(one.split) / f"{one.id}.txt"
            image.parent.mkdir(parents=True, exist_ok=True)
            label.parent.mkdir(parents=True, exist_ok=True)
            _link(one.image, image)
            label.write_text("".join(_yolo_lines(one, classes)), encoding="utf-8")
        head: dict[str, Any] = {"path": "."}
        head |= {_YOLO_SPLITS.get(name, name): f"images/{name}" for name in splits}
        text = yaml.safe_dump({**head, "names": dict(enumerate(classes))}, sort_keys=False)
        (folder / "data.yaml").write_text(text, encoding="utf-8")
    return len(samples) - len(fit)


class _Replaced:
    """A folder that is written beside and takes its place when whole."""

    def __init__(self, to: Path) -> None:
        self._to, self._beside = to, to.with_name(f"{to.name}.part")

    def __enter__(self) -> Path:
        if self._beside.exists():
            shutil.rmtree(self._beside)
        self._beside.mkdir(parents=True)
        return self._beside

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise OutputError(
                "export", self._to, f"cannot be written ({error})", "make room or drop the export"
            ) from error
        if error is None:
            if self._to.exists():
                shutil.rmtree(self._to)
            self._beside.replace(self._to)


def _boxed(sample: Sample) -> bool:
    """Whether boxes say all there is to learn from a sample."""
    if sample.role == "unlabelled":
        return False
    lines = any(label.line is not None for label in sample.labels)
    return not lines and (sample.mask is None or bool(sample.labels))


def _coco(samples: Iterable[Sample], classes: Sequence[str], folder: Path) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    for number, one in enumerate(samples, 1):
        images.append(
            {
                "id": number,
                "file_name": _way(one.image, folder),
                "width": one.width,
                "height": one.height,
            }
        )
        for label in one.labels:
            note = _note(label, classes)
            notes.append({"id": len(notes) + 1, "image_id": number, **note})
    kinds = [{"id": number, "name": name} for number, name in enumerate(classes, 1)]
    return {"images": images, "annotations": notes, "categories": kinds}


def _way(image: Path, folder: Path) -> str:
    """The way from a folder to an image, where `..` of a folder behind a link is another."""
    return Path(os.path.relpath(image.parent.resolve() / image.name, folder.resolve())).as_posix()


def _note(label: Label, classes: Sequence[str]) -> dict[str, Any]:
    x0, y0, x1, y1 = label.box
    flat = [] if label.polygon is None else [value for point in label.polygon for value in point]
    return {
        "category_id": classes.index(label.label) + 1,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0) if label.polygon is None else _area(label),
        "iscrowd": int(label.weight == 0),
        "segmentation": [flat] if len(flat) >= 6 else [],
    }


def _area(label: Label) -> float:
    """Of the outline, in square pixels (the shoelace formula)."""
    points = label.polygon or ()
    turned = zip(points, points[1:] + points[:1], strict=True)
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in turned)) / 2


def _yolo_lines(sample: Sample, classes: Sequence[str]) -> list[str]:
    kept = [label for label in sample.labels if label.weight > 0]
    outlines = all(_bounded(label) for label in kept)
    lines = []
    for label in kept:
        if outlines and label.polygon is not None:
            values = [value for x, y in label.polygon for value in (x, y)]
        else:
            x0, y0, x1, y1 = label.box
            values = [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0]
        size = (sample.width, sample.height)
        numbers = (repr(float(value / size[k % 2])) for k, value in enumerate(values))
        lines.append(f"{classes.index(label.label)} {' '.join(numbers)}\n")
    return lines


def _bounded(label: Label) -> bool:
    """Whether a label has an outline whose bounds are its box."""
    if label.polygon is None or len(label.polygon) < 3:
        return False
    xs, ys = [x for x, _ in label.polygon], [y for _, y in label.polygon]
    found = (min(xs), min(ys), max(xs), max(ys))
    return all(abs(a - b) <= _SAME for a, b in zip(found, label.box, strict=True))


def _link(image: Path, to: Path) -> None:
    """A link to an image, or a copy where the file system has no links."""
    try:
        to.symlink_to(image)
    except OSError:
        shutil.copyfile(image, to)
