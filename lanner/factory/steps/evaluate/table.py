"""Every object as a row: found, false, ignored or missed."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shapely

from lanner.core.files import replacing
from lanner.factory.config import Evaluate
from lanner.factory.files import WORKDIR
from lanner.factory.steps.evaluate.objects import judged

if TYPE_CHECKING:
    from lanner.factory.steps.evaluate.chapter import Chapter

COLUMNS = (
    "split",
    "sample",
    "outcome",
    "label",
    "score",
    "decision",
    "iou",
    "x0",
    "y0",
    "x1",
    "y1",
    "true_type",
    "told_type",
    "length_px",
)


def write_table(chapters: Sequence[Chapter], settings: Evaluate, path: Path) -> None:
    """Write a CSV of every object of every split; roads are rows of their lines."""
    with replacing(path, WORKDIR) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n", restval="")
        writer.writeheader()
        for chapter in chapters:
            for row in _rows(chapter, settings):
                writer.writerow({"split": chapter.split, **row})


def _rows(chapter: Chapter, settings: Evaluate) -> Iterator[dict[str, Any]]:
    found, samples = chapter.measured.found, chapter.raw.samples
    if chapter.raw.config.output == "raster":
        for one, sample in zip(found, samples, strict=True):
            lengths = shapely.length(one.lines)
            for k, label in enumerate(one.labels):
                yield {
                    "sample": sample.id,
                    "outcome": "line",
                    "label": label,
                    "score": round(float(one.scores[k]), 6),
                    "decision": one.decisions[k],
                    "length_px": round(float(lengths[k]), 2),
                    **_corners(one.boxes[k].tolist()),
                }
        return
    for item in judged(found, samples, chapter.raw.config.classes, settings.iou):
        frame = found[item.image].frame
        guess = ""
        if frame is not None and item.row >= 0 and "types" in frame.columns:
            guess = frame["types"].iloc[item.row][0]["icao"]
        yield {
            "sample": samples[item.image].id,
            "outcome": item.outcome,
            "label": item.label,
            "score": round(item.score, 6),
            "decision": item.decision,
            "iou": round(item.iou, 4),
            "true_type": "" if item.truth is None else item.truth.kind or "",
            "told_type": guess,
            **_corners(list(item.box)),
        }


def _corners(box: list[float]) -> dict[str, float]:
    return {name: round(v, 2) for name, v in zip(("x0", "y0", "x1", "y1"), box, strict=True)}
