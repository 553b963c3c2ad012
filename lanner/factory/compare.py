"""Two detectors on the same images: what differs, by how much, and where."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanner.core.job import Progress
from lanner.factory.evaluated import (
    LEAST_DRAWS,
    EvaluatedDetector,
    differences,
    judged_as,
    open_evaluated,
)
from lanner.factory.files import WORKDIR, save_figure, write_text
from lanner.factory.pages import inside, jpeg, write_page

if TYPE_CHECKING:
    from lanner.factory.draw import Cell
    from lanner.factory.steps.evaluate.objects import MatchedDetection

SIDE = 480
"""Pixels of the longest side of a picture."""


@dataclass(frozen=True)
class Comparison:
    """Rows of `lanner.factory.evaluated.differences`, and what was written."""

    rows: list[dict[str, Any]]
    images: int
    show: tuple[Path, ...]

    def facts(self) -> dict[str, Any]:
        """The same as JSON data."""
        return {
            "images": self.images,
            "figures": self.rows,
            "show": [str(path) for path in self.show],
        }


def compare_runs(
    a: Path,
    b: Path,
    out: Path,
    *,
    split: str = "test",
    draws: int = 500,
    worst: int = 12,
    tell: Callable[[Progress], None] = lambda _: None,
) -> Comparison:
    """Compare two evaluations, or two variants on one evaluation's predictions.

    Both are judged by B's labels and by B's section evaluate.

    Leaves `report.html`, `differences.csv`, `differences.json`, `differences.png` and, for the
    images on which the two disagree most, `disagree.png` (A on the left, B on the right).

    Args:
        a: folder of step evaluate (or of its factory).
        b: the same, or a detector's YAML that reads A's predictions.
        out: folder to write to; made if need be.
        split: which images.
        draws: of the bootstrap.
        worst: pictures of disagreement.
        tell: told of progress.

    Raises:
        DatasetError: not evaluated, or no image in common.
        ConfigError: the YAML needs the networks to run again.
        OutputError: the folder cannot be written.
    """
    tell(Progress("read", 0, 1))
    variant = b.suffix in (".yaml", ".yml")
    left = open_evaluated("A", a, split)
    right = open_evaluated("B", a if variant else b, split, b if variant else None)
    left = judged_as(left, right)
    tell(Progress("compare", 0, 1))
    rows = differences(left, right, draws)
    files = [out / name for name in ("differences.png", "differences.csv", "differences.json")]
    common = set(left.ids) & set(right.ids)
    draw_differences(rows, files[0], "--out")
    write_text(_table(rows), files[1], "--out")
    facts = {"images": len(common), "figures": rows}
    write_text(json.dumps(facts, indent=1) + "\n", files[2], "--out")
    tell(Progress("draw", 0, 1))
    pairs = pairs_apart(left, right, worst)
    cells = [cell for _, *both in pairs for cell in both]
    pictures = out / "disagree.png"
    if cells:
        from lanner.factory.draw import sheet
        from lanner.factory.images import write_png

        files.insert(1, pictures)
        write_png(sheet(cells, 2, SIDE), pictures)
    else:
        pictures.unlink(missing_ok=True)  # of an earlier comparison
    page = write_page(
        str(__package__),
        out / "report.html",
        "--out",
        "compare.html",
        images=len(common),
        split=split,
        draws=max(draws, LEAST_DRAWS),
        a=str(a),
        b=str(b),
        raster=right.config.output == "raster",
        files=files,
        rows=_rounded_rows(rows),
        pairs=_cells_as_data(left, pairs),
    )
    return Comparison(rows, len(common), (page, *files))


def pairs_apart(
    a: EvaluatedDetector, b: EvaluatedDetector, worst: int
) -> list[tuple[str, Cell, Cell]]:
    """The images on which mistakes differ most: name, A's picture and B's.

    Green what is right, red what is false, yellow what was missed. For roads, the lines: blue
    the found ones over the true mask.
    """
    from lanner.factory.draw import Cell

    one, two = _mistakes(a), _mistakes(b)
    apart = {
        name: len(set(one[name].keys()) ^ set(two[name].keys())) for name in one if name in two
    }
    ranked = sorted((name for name in apart if apart[name]), key=lambda n: (-apart[n], n))

    def cell(side: EvaluatedDetector, name: str, count: int) -> Cell:
        return Cell(_picture(side, name), f"{side.name} {name}: {count} mistakes")

    return [
        (name, cell(a, name, len(one[name])), cell(b, name, len(two[name])))
        for name in ranked[:worst]
    ]


def _rounded_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as the report shows them; bars reach from the largest loss to the largest gain."""
    ends = [abs(row[key]) for row in rows for key in ("low", "high") if row[key] is not None]
    most = float(max([*ends, 1e-9]))

    def at(value: float) -> float:
        return 50 + 50 * value / most

    return [
        {
            "figure": row["figure"],
            "a": f"{row['a']:.4f}",
            "b": f"{row['b']:.4f}",
            "difference": f"{row['difference']:+.4f}",
            "verdict": row["verdict"],
            "span": "" if row["low"] is None else f"{row['low']:+.4f} to {row['high']:+.4f}",
            "bar": None
            if row["low"] is None
            else {
                "from": f"{at(row['low']):.1f}%",
                "width": f"{at(row['high']) - at(row['low']):.1f}%",
                "at": f"{at(row['difference']):.1f}%",
            },
        }
        for row in rows
    ]


def _cells_as_data(
    a: EvaluatedDetector, pairs: Sequence[tuple[str, Cell, Cell]]
) -> list[dict[str, Any]]:
    """The pairs as the report shows them."""
    return [
        {
            "name": name,
            "image": a.raw.samples[a.ids.index(name)].image,
            "sides": [{"caption": one.caption, "uri": inside(jpeg(one.rgb))} for one in both],
        }
        for name, *both in pairs
    ]


def draw_differences(rows: Sequence[dict[str, Any]], path: Path, argument: str = WORKDIR) -> None:
    """Each difference with its interval, better ones in blue, worse ones in red.

    Raises:
        OutputError: it cannot be written; `argument` is what named the folder.
    """
    from matplotlib.figure import Figure

    colours = {"better": "#2166ac", "worse": "#b2182b", "same": "#777777"}
    figure = Figure(figsize=(6.4, 1.2 + 0.28 * max(len(rows), 1)), layout="constrained")
    axes = figure.subplots()
    for k, row in enumerate(reversed(rows)):
        colour = colours[row["verdict"]]
        if row["low"] is not None:
            axes.plot([row["low"], row["high"]], [k, k], color=colour, lw=2)
        axes.plot(row["difference"], k, "o", color=colour)
    axes.axvline(0, color="#222222", lw=1)
    axes.set_yticks(range(len(rows)), [row["figure"] for row in reversed(rows)])
    axes.set_xlabel("B - A, with the 95 % interval of paired images")
    save_figure(figure, path, argument=argument)


def _mistakes(side: EvaluatedDetector) -> dict[str, dict[tuple[Any, ...], None]]:
    """By image, what names each mistake: false boxes, missed objects; of roads, every line."""
    if side.config.output == "raster":
        found = side.raw.detect(side.config, side.calibration)
        return {
            name: {tuple(box.round(1).tolist()): None for box in one.boxes}
            for name, one in zip(side.ids, found, strict=True)
        }
    result: dict[str, dict[tuple[Any, ...], None]] = {name: {} for name in side.ids}
    for one in _judged(side):
        if one.outcome in ("false", "missed"):
            where = tuple(round(x) for x in one.box)
            result[side.ids[one.image]][(one.outcome, one.label, *where)] = None
    return result


def _judged(side: EvaluatedDetector, index: Sequence[int] | None = None) -> list[MatchedDetection]:
    from lanner.factory.steps.evaluate.objects import judged

    found = side.raw.detect(side.config, side.calibration, index)
    samples = side.raw.samples if index is None else [side.raw.samples[i] for i in index]
    return judged(found, samples, side.config.classes, side.settings.iou)


def _picture(side: EvaluatedDetector, name: str) -> Any:
    from lanner.factory.draw import DOUBTED, SURE, WRONG, DrawOptions, Mark, picture

    number = side.ids.index(name)
    sample = side.raw.samples[number]
    if side.config.output == "raster":
        return _lines_over(side, number)
    colours = {"hit": SURE, "false": WRONG, "missed": DOUBTED}
    marks = tuple(
        Mark((one.box[0], one.box[1], one.box[2], one.box[3]), colours[one.outcome])
        for one in _judged(side, [number])
        if one.outcome in colours
    )
    return picture(sample, SIDE, DrawOptions(boxes=False, masks=False, marks=marks))


def _lines_over(side: EvaluatedDetector, number: int) -> Any:
    """A sample with its true mask and the lines that were found."""
    import cv2
    import numpy as np
    import shapely

    from lanner.factory.draw import DrawOptions, picture

    sample = side.raw.samples[number]
    rgb = picture(sample, SIDE, DrawOptions(boxes=False))
    scale = SIDE / max(sample.width, sample.height)
    lines = side.raw.detect(side.config, side.calibration, [number])[0].lines
    for line in () if lines is None else lines:
        points = (shapely.get_coordinates(line) * scale).round().astype(np.int32)
        cv2.polylines(rgb, [points.reshape(-1, 1, 2)], False, (0, 96, 255), 2)
    return rgb


def _table(rows: Sequence[dict[str, Any]]) -> str:
    stream = io.StringIO()
    names = ["figure", "a", "b", "difference", "low", "high", "verdict"]
    out = csv.DictWriter(stream, names, lineterminator="\n")
    out.writeheader()
    out.writerows(rows)
    return stream.getvalue()


__all__ = ["Comparison", "compare_runs", "draw_differences", "pairs_apart"]
