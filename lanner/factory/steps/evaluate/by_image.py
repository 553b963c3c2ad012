"""How each image came out, the worst first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lanner.factory.config import Evaluate
from lanner.factory.pages import number
from lanner.factory.steps.evaluate.objects import judged

if TYPE_CHECKING:
    from lanner.factory.steps.evaluate.chapter import Chapter


@dataclass(frozen=True)
class Row:
    """One image: its number in the predictions, and cells under the names."""

    number: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Images:
    """All images of a split, the worst first."""

    names: tuple[str, ...]
    rows: tuple[Row, ...]


def images_of(chapter: Chapter, settings: Evaluate) -> Images:
    """Objects by what was missed or false in each image; roads by F1, in images that have one."""
    if chapter.raw.config.output == "raster":
        return _roads(chapter)
    return _objects(chapter, settings.iou)


def _objects(chapter: Chapter, iou: float) -> Images:
    found, samples = chapter.measured.found, chapter.raw.samples
    counts: list[Counter[str]] = [Counter() for _ in samples]
    for one in judged(found, samples, chapter.raw.config.classes, iou):
        counts[one.image][one.outcome] += 1
    order = sorted(
        range(len(samples)),
        key=lambda k: (-counts[k]["missed"] - counts[k]["false"], samples[k].id),
    )
    rows = []
    for k in order:
        hit, missed, false = (counts[k][name] for name in ("hit", "missed", "false"))
        both = 2 * hit + missed + false
        f1 = number(2 * hit / both if both else None)
        rows.append(Row(k, (*map(str, (hit + missed, hit + false, hit, missed, false)), f1)))
    return Images(("objects", "found", "right", "missed", "false", "F1"), tuple(rows))


def _roads(chapter: Chapter) -> Images:
    measured = chapter.measured
    alone = np.eye(measured.images)
    table = [measured.statistics[name](alone) for name in ("f1", "precision", "recall")]
    order = np.argsort(table[0], kind="stable").tolist()
    rows = [
        Row(
            k,
            (str(len(measured.found[k].labels)), *(number(float(column[k])) for column in table)),
        )
        for k in order
    ]
    return Images(("lines", "F1", "precision", "recall"), tuple(rows))


__all__ = ["Images", "Row", "images_of"]
