"""The report of evaluate: one HTML file that needs nothing else."""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detectors.calibration import FILE
from lanner.core.config import DetectorConfig
from lanner.core.files import replacing
from lanner.factory.config import Evaluate
from lanner.factory.files import WORKDIR
from lanner.factory.images import write_png
from lanner.factory.pages import bar, inside, jpeg, number, span, write_jpeg, write_page
from lanner.factory.steps.evaluate import store
from lanner.factory.steps.evaluate.by_image import images_of
from lanner.factory.steps.evaluate.chapter import Chapter
from lanner.factory.steps.evaluate.worst import cases, overlay, sheet_of

LISTED = 200
"""Images listed."""

FIRST = ("f1", "precision", "recall", "ap50", "accept_precision", "mask_f1", "apls", "types_top1")
"""Figures shown large."""

COLOUR, OTHER = "#2a6f97", "#e07a2f"

WORDS = {
    "map": "mean average precision, IoU 0.50 to 0.95 (COCO)",
    "map_small": "the same, objects below 32 x 32 px",
    "map_medium": "the same, up to 96 x 96 px",
    "map_large": "the same, larger",
    "ap50": "average precision, IoU 0.5",
    "f1": "F1 of everything that is reported",
    "f1_half": "F1 of what is scored 0.5 or more",
    "precision": "precision of everything that is reported",
    "recall": "recall of everything that is reported",
    "best_f1": "best F1 of any threshold",
    "best_f1_at": "that threshold",
    "ece": "calibration error after fusion",
    "accepted": "share accepted",
    "accept_precision": "precision of what is accepted",
    "accept_recall": "share of all objects that is accepted and right",
    "accept_f1": "F1 of what is accepted: the operating point without a person",
    "review": "share left to a person",
    "mask_iou": "mean IoU of outlines",
    "types_top1": "type right at the first guess",
    "types_top5": "type among the first five",
    "types_level": "deepest level of the taxonomy right in 95 %",
    "graph_f1": "relaxed F1 of the lines",
    "graph_precision": "relaxed precision of the lines",
    "graph_recall": "relaxed recall of the lines",
    "mask_f1": "relaxed F1 of the mask",
    "mask_precision": "relaxed precision of the mask",
    "mask_recall": "relaxed recall of the mask",
    "apls": "average path length similarity",
    "topo_f1": "TOPO F1",
    "topo_precision": "TOPO precision",
    "topo_recall": "TOPO recall",
}

WHOLE = frozenset({"images", "objects", "types_level"})
"""Figures that are whole numbers."""


def write_report(
    factory: str,
    chapters: Sequence[Chapter],
    config: DetectorConfig,
    settings: Evaluate,
    path: Path,
) -> tuple[Path, ...]:
    """Write the report and, beside it, its pictures: sheets and curves as PNG, which it shows, and
    in `pictures/SPLIT/` whole images with truth and findings, which it leads to.

    Returns:
        The sheets and curves.
    """
    pictures: list[Path] = []
    chapter_data = [_chapter_data(chapter, settings, path.parent, pictures) for chapter in chapters]
    names = ("figures.json", "objects.csv", "timing.json", FILE)
    files = [path.with_name(name) for name in names]
    write_page(
        str(__package__),
        path,
        factory=factory,
        detector=config.name,
        raster=config.output == "raster",
        settings=settings,
        chapters=chapter_data,
        files=[file for file in files if file.exists()],
    )
    return tuple(pictures)


def _chapter_data(
    chapter: Chapter, settings: Evaluate, folder: Path, paths: list[Path]
) -> dict[str, Any]:
    """What the template is told of one split; adds to `paths` what was drawn."""
    curves = folder / f"curves-{chapter.split}.png"
    _write(curves, draw_curves(chapter.figures["curves"]))
    paths.append(curves)
    found = cases(chapter, settings)
    sheet, sheet_file = sheet_of(found, chapter), folder / f"worst-{chapter.split}.png"
    if sheet is not None:
        write_png(sheet, sheet_file)
        paths.append(sheet_file)
    pictures = folder / "pictures" / chapter.split
    shutil.rmtree(pictures, ignore_errors=True)  # of an earlier run
    images = images_of(chapter, settings)
    order = [one.number for one in images.rows[: settings.worst]]
    drawn = {
        number: write_jpeg(
            overlay(chapter, settings, number),
            pictures / f"{store.stem(chapter.raw.samples[number].id)}.jpg",
        )
        for number in sorted({*order, *(one.image for one in found)})
    }
    samples = chapter.raw.samples
    rows = _rows(chapter.figures["figures"])
    return {
        "split": chapter.split,
        "figures": rows,
        "first": [row for name in FIRST for row in rows if row["name"] == name],
        "slices": _slices(chapter.figures["slices"]),
        "counts": chapter.figures["counts"],
        "timing": chapter.timing,
        "left_out": dict(chapter.raw.facts["left_out"]),
        "taxonomy": chapter.figures["curves"].get("taxonomy", []),
        "curves": inside(curves.read_bytes(), "png"),
        "curves_file": curves,
        "cases": [
            {
                "said": one.caption,
                "name": samples[one.image].id,
                "uri": inside(jpeg(one.rgb)),
                "picture": drawn[one.image],
                "image": samples[one.image].image,
            }
            for one in found
        ],
        "images": {
            "names": images.names,
            "rows": [
                {
                    "name": samples[one.number].id,
                    "image": samples[one.number].image,
                    "picture": drawn.get(one.number),
                    "cells": one.cells,
                }
                for one in images.rows[:LISTED]
            ],
            "more": max(0, len(images.rows) - LISTED),
        },
    }


def draw_curves(curves: Mapping[str, Any]) -> bytes:
    """Precision against recall, and said against right, as PNG; equal numbers, equal bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for name, curve in curves.get("precision_recall", {}).items():
        left.plot(curve["recall"], curve["precision"], label=name, linewidth=1.6)
    left.set(xlim=(0, 1.01), ylim=(0, 1.01), xlabel="recall", ylabel="precision")
    if curves.get("precision_recall"):
        left.legend(frameon=False, fontsize=8)
    bins = curves.get("reliability", [])
    right.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    right.plot([b["said"] for b in bins], [b["right"] for b in bins], "o-", color=COLOUR)
    right.bar(
        [b["said"] for b in bins], [b["share"] for b in bins], width=0.03, color=OTHER, alpha=0.5
    )
    right.set(xlim=(0, 1.01), ylim=(0, 1.01), xlabel="confidence said", ylabel="share right")
    right.set_title("reliability; bars: share of objects", fontsize=9)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _write(path: Path, content: bytes) -> None:
    with replacing(path, WORKDIR) as beside:
        beside.write_bytes(content)


def _rows(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row a figure, in the order of `WORDS`."""
    order = [*(name for name in WORDS if name in figures), *sorted(figures.keys() - WORDS.keys())]
    return [
        {
            "name": name,
            "words": WORDS.get(name, ""),
            "value": number(figures[name]["value"], name in WHOLE),
            "span": span(figures[name], name in WHOLE),
            "bar": bar(figures[name]),
        }
        for name in order
    ]


def _slices(slices: Mapping[str, Any]) -> list[dict[str, Any]]:
    tables = []
    for by, groups in slices.items():
        if not groups:  # sizes of roads
            continue
        names = list(dict.fromkeys(name for one in groups.values() for name in one))
        rows = [
            (
                group,
                [
                    {
                        "value": number(one[name]["value"], name in WHOLE),
                        # What was counted is certain: draws of images say nothing of it.
                        "span": "" if name in WHOLE else span(one[name]),
                    }
                    for name in names
                ],
            )
            for group, one in groups.items()
        ]
        tables.append({"by": by, "names": names, "rows": rows})
    return tables
