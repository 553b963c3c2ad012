"""`lanner demo`: one scene, every detector, files and pictures to look at."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lanner.cli.detect import detect_and_write
from lanner.cli.reporting import Debug, reporting
from lanner.core.errors import OutputError
from lanner.core.folders import check_folder
from lanner.core.job import DetectRequest

DETECTORS = ("aircraft", "roads")
ENDINGS = (".geojson", ".gpkg")

WIDTH, HEIGHT, GSD, SEED = 2400, 1800, 0.6, 3
"""The rendered scene: an airfield with some forty aircraft on its apron and roads around it."""

VISIBLE = 0.5
"""Share of an object that must be in view for the demo to call it known."""


def demo(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder to write to; made if need be.")
    ] = Path("demo"),
    scene: Annotated[
        Path | None,
        typer.Option(
            "--scene",
            metavar="FILE",
            show_default="a rendered one",
            help="A scene of your own instead.",
        ),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    debug: Debug = False,
) -> None:
    """Render a scene with known aircraft and roads, find them, and draw what was found."""
    with reporting(debug):
        found = run_demo(out, device, scene)
        console = Console()
        console.print(demo_table(found))
        pictures = " and ".join(str(one.files[-1]) for one in found)
        console.print(
            f"Look at {pictures}, or drag a .gpkg into QGIS.",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


@dataclass(frozen=True)
class DemoResult:
    """What one detector found: `known` counts the truth where the scene was rendered."""

    detector: str
    counts: dict[str, int]
    known: int | None
    seconds: float
    files: tuple[Path, ...]


def run_demo(out: Path, device: str, scene: Path | None = None) -> list[DemoResult]:
    """Run every detector on one scene and write features and pictures.

    Args:
        out: folder to write to; made if need be, files of an earlier demo are replaced.
        device: as in `DetectRequest`.
        scene: a scene of one's own; None renders one.

    Raises:
        LannerError: what the detectors raise; `OutputError` where `out` cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            "--out",
            out,
            f"cannot be made ({error.strerror})",
            "name a folder that may be written to",
        ) from error
    check_folder("--out", out)
    known: dict[str, int] = {}
    if scene is None:
        scene, known = _rendered(out)
    return [_run_detector(name, scene, out, device, known.get(name)) for name in DETECTORS]


def _rendered(out: Path) -> tuple[Path, dict[str, int]]:
    """The rendered scene, and how many objects of each detector are in it."""
    from lanner.synth.scene import render
    from lanner.synth.spec import RenderSpec

    path, side = out / "scene.tif", out / "truth.geojson"
    render(path, RenderSpec(WIDTH, HEIGHT, GSD, seed=SEED), truth_path=side)
    objects = [
        one["properties"]
        for one in json.loads(side.read_text("utf-8"))["features"]
        if one["properties"]["visible"] >= VISIBLE
    ]
    roads = sum("road_class" in facts for facts in objects)
    return path, {"aircraft": len(objects) - roads, "roads": roads}


def _run_detector(
    detector: str, scene: Path, out: Path, device: str, known: int | None
) -> DemoResult:
    from postprocess.overlay import draw_overlay

    files = [out / f"{detector}{ending}" for ending in ENDINGS]
    request = DetectRequest(scene=str(scene), detector=detector, device=device)
    result, _ = detect_and_write(request, files)
    picture = draw_overlay(scene, result.features, out / f"{detector}.png")
    counts: dict[str, int] = {}
    rows: dict[str, dict[str, int]] = result.summary["counts"]
    for row in rows.values():
        for decision, n in row.items():
            counts[decision] = counts.get(decision, 0) + n
    seconds = sum(result.summary["seconds"].values())
    return DemoResult(detector, counts, known, seconds, (*files, picture))


def demo_table(results: list[DemoResult]) -> Table:
    """One row a detector."""
    decisions = sorted({decision for one in results for decision in one.counts})
    table = Table("detector", *decisions, "in the scene", "seconds", "files")
    for column in table.columns[1:-1]:
        column.justify = "right"
    table.columns[-1].overflow = "fold"
    for one in results:
        cells: list[Any] = [
            one.detector,
            *(one.counts.get(d, 0) for d in decisions),
            "unknown" if one.known is None else one.known,
            f"{one.seconds:.1f}",
            "\n".join(map(str, one.files)),
        ]
        table.add_row(*(Text(str(cell)) for cell in cells))
    return table
