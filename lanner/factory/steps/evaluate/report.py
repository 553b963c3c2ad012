"""The report of evaluate: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lanner.core.config import DetectorConfig
from lanner.core.files import replacing
from lanner.factory.config import Evaluate
from lanner.factory.files import WORKDIR
from lanner.factory.images import write_png
from lanner.factory.steps.evaluate.chapter import Chapter
from lanner.factory.steps.evaluate.worst import worst

TEMPLATE = "report.html"
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
    """Write the report and, beside it, its pictures as PNG; returns the pictures."""
    from jinja2 import Environment, PackageLoader, select_autoescape

    environment = Environment(
        loader=PackageLoader("lanner.factory.steps.evaluate", "."),
        autoescape=select_autoescape(),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pictures, told = [], []
    for chapter in chapters:
        curves = path.with_name(f"curves-{chapter.split}.png")
        _write(curves, draw_curves(chapter.figures["curves"]))
        pictures.append(curves)
        cases, sheet = None, worst(chapter, settings)
        if sheet is not None:
            cases = path.with_name(f"worst-{chapter.split}.png")
            write_png(sheet, cases)
            pictures.append(cases)
        told.append(
            {
                "split": chapter.split,
                "figures": _table(chapter.figures["figures"]),
                "slices": _slices(chapter.figures["slices"]),
                "counts": chapter.figures["counts"],
                "timing": chapter.timing,
                "left_out": dict(chapter.raw.facts["left_out"]),
                "taxonomy": chapter.figures["curves"].get("taxonomy", []),
                "curves": _embedded(curves),
                "worst": None if cases is None else _embedded(cases),
            }
        )
    text = environment.get_template(TEMPLATE).render(
        factory=factory,
        detector=config.name,
        raster=config.output == "raster",
        settings=settings,
        chapters=told,
    )
    with replacing(path, WORKDIR) as beside:
        beside.write_text(text, encoding="utf-8")
    return tuple(pictures)


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


def _embedded(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _table(figures: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """(name, in words, value, interval), in the order of `WORDS`."""
    order = [*(name for name in WORDS if name in figures), *sorted(figures.keys() - WORDS.keys())]
    return [
        (
            name,
            WORDS.get(name, ""),
            _number(figures[name]["value"], name),
            _interval(figures[name], name),
        )
        for name in order
    ]


def _slices(slices: Mapping[str, Any]) -> list[dict[str, Any]]:
    told = []
    for by, groups in slices.items():
        if not groups:  # sizes of roads
            continue
        names = list(dict.fromkeys(name for one in groups.values() for name in one))
        rows = [
            (group, [f"{_number(one[n]['value'], n)} {_interval(one[n], n)}" for n in names])
            for group, one in groups.items()
        ]
        told.append({"by": by, "names": names, "rows": rows})
    return told


def _number(value: float | None, name: str) -> str:
    if value is None or np.isnan(value):
        return "-"
    return f"{value:.0f}" if name in WHOLE else f"{value:.3f}"


def _interval(figure: Mapping[str, float | None], name: str) -> str:
    low, high = figure.get("low"), figure.get("high")
    if low is None or high is None:
        return ""
    return f"{_number(low, name)} to {_number(high, name)}"
