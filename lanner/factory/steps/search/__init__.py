"""Step search: operating points on the raw predictions that step evaluate kept."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import time
from pathlib import Path
from typing import Any

from lanner.core.config import DetectorConfig
from lanner.core.errors import DatasetError
from lanner.core.job import Progress
from lanner.factory.files import write_text
from lanner.factory.project import Outcome, Project
from lanner.factory.snapshot import recorded_left
from lanner.factory.steps.evaluate import store
from lanner.factory.steps.evaluate.raw import load_raw
from lanner.factory.steps.search.backends import measuring
from lanner.factory.steps.search.draw import draw_front, draw_importance, importances
from lanner.factory.steps.search.edit import edited
from lanner.factory.steps.search.points import bench_of
from lanner.factory.steps.search.report import write_report
from lanner.factory.steps.search.space import Axis, at_point, parse_space, size_of, value_at
from lanner.factory.steps.search.study import (
    Kept,
    Objective,
    Searched,
    parse_objectives,
    search_points,
)

KEPT = "points.jsonl"
"""Measured points, so that a search that was stopped goes on."""


def run(project: Project) -> Outcome:
    """Try operating points and choose one.

    Leaves `report.html`, `points.csv`, `pareto.png`, `importance.png`, `space.json` and
    `best.yaml`, the detector with the chosen point, or as it is where no point finds anything.
    Nothing of the detector itself is changed.

    Raises:
        ConfigError: the space or an objective names nothing, with the nearest that there is, or
            the detector's file cannot take a value.
        DatasetError: no raw predictions of `search.split`.
    """
    settings, folder = project.config.search, project.step_dir("search")
    # As it is now: whoever changes the file meanwhile changes another detector.
    detector, yaml_text = project.detector(), project.detector_path.read_text(encoding="utf-8")
    text = project.path.read_text(encoding="utf-8")
    axes = parse_space(settings.space, detector, text)
    objectives = parse_objectives(settings.objectives)
    held = project.config.evaluate.calibrate_on
    raw, other = raw_folder(project, settings.split), raw_folder(project, held)
    _check_ranges(axes, detector, raw)
    for axis in axes:
        edited(yaml_text, {axis.path: axis.ends[0]})
    now = {axis.path: value_at(detector, axis.path) for axis in axes}
    bench = bench_of(raw, detector, project.config.evaluate, other)
    facts = [recorded_left(project, "evaluate"), bench.detector, bench.settings, settings.split]
    if held != settings.split:
        # Points of earlier versions were calibrated on the images that they were measured on.
        facts.append(held)
    started = time.monotonic()

    def tell(done: int) -> None:
        project.tell(Progress("search", done, settings.points))
        project.cancel.check()

    tell(0)
    with measuring(bench, settings.workers, settings.backend) as measure:
        present = measure([now])[0]
        found = search_points(
            axes,
            objectives,
            measure,
            points=settings.points,
            seed=settings.seed,
            now=now,
            kept=Kept(folder / KEPT, hashlib.sha256("\n".join(facts).encode()).hexdigest()),
            tell=tell,
        )
    seconds = time.monotonic() - started
    for one in {raw, other}:
        # A search over `override_above` leaves a raster an image and point.
        load_raw(one).forget_variants(detector)
    best = None if found.best is None else found.points[found.best]
    weight = importances(found.study, objectives)
    write_text(_table(found, axes, objectives), folder / "points.csv")
    space = size_of(axes)
    write_text(json.dumps(space, indent=1) + "\n", folder / "space.json")
    point = now if best is None else best.point
    changes = {path: value for path, value in point.items() if value != now[path]}
    write_text(edited(yaml_text, changes), folder / "best.yaml")
    front, bars, page = (folder / name for name in ("pareto.png", "importance.png", "report.html"))
    draw_front(found, objectives, present, front)
    draw_importance(weight, objectives, bars)
    summary = {
        "points": len(found.points),
        "without figures": sum(bool(one.error) for one in found.points),
        "configurations in the space": space["configurations"],
        "now": {one.text: present.figures.get(one.figure) for one in objectives},
        "best": _nothing(found, objectives)
        if best is None
        else {one.text: best.figures[one.figure] for one in objectives},
        "changed": changes,
        "front": len(found.front),
        **_speed(raw, seconds),
    }
    write_report(project, found, axes, objectives, present, summary, page)
    return Outcome(summary, (page, front, bars, folder / "best.yaml", folder / "points.csv"))


def _nothing(found: Searched, objectives: tuple[Objective, ...]) -> str:
    """What is said where no point can be chosen."""
    named = [one.figure for one in objectives]
    silent = [n for n in named if all(one.figures.get(n) is None for one in found.points)]
    return (
        f"none of {len(found.points)} points has a value of {', '.join(silent or named)}, mostly "
        "because nothing is found at any of them; best.yaml is the detector as it is. Train longer "
        "or on more labels, or let the space reach lower thresholds"
    )


def raw_folder(project: Project, split: str) -> Path:
    """The raw predictions of a split that step evaluate kept.

    Raises:
        DatasetError: there are none, or it evaluates that split no more: what lies there may be
            of other weights.
    """
    folder, settings = project.step_dir("evaluate") / "raw" / split, project.config.evaluate
    if split not in (*settings.splits, settings.calibrate_on):
        raise DatasetError(
            "search.split",
            split,
            "is not among what step evaluate predicts",
            f"add it to evaluate.splits, then: lanner factory evaluate {project.asked}",
        )
    if not (folder / store.FACTS).exists():
        raise DatasetError("predictions", folder, "are not there", store.AGAIN)
    return folder


def _check_ranges(axes: tuple[Axis, ...], detector: DetectorConfig, raw: Path) -> None:
    """Refuse a range that stored predictions do not reach, before anything is measured.

    Raises:
        ConfigError: as said.
    """
    from lanner.factory.steps.evaluate.fusing import check_variant

    kept = load_raw(raw).config
    for axis in axes:
        for value in axis.probes:
            check_variant(at_point(detector, {axis.path: value}), kept)


def _speed(raw: Path, seconds: float) -> dict[str, Any]:
    """Seconds of the search, and how many full predictions of the set that is."""
    facts = json.loads((raw / store.FACTS).read_text(encoding="utf-8"))
    whole = float(facts["seconds"]["whole"])
    return {
        "seconds": round(seconds, 3),
        "seconds of one full prediction": round(whole, 3),
        "search / prediction": round(seconds / whole, 4) if whole > 0 else None,
    }


def _table(found: Searched, axes: tuple[Axis, ...], objectives: tuple[Objective, ...]) -> str:
    """`points.csv`: a row a point, objectives first, then every other figure."""
    names = [one.figure for one in objectives]
    others = sorted({name for one in found.points for name in one.figures} - set(names))
    stream = io.StringIO()
    out = csv.writer(stream, lineterminator="\n")
    out.writerow(["point", "front", "best", *names, *(a.path for a in axes), *others, "error"])
    for i, one in enumerate(found.points):
        figures = [one.figures.get(name, "") for name in names]
        rest = [one.figures.get(name, "") for name in others]
        values = [one.point[axis.path] for axis in axes]
        marks = [int(i in found.front), int(i == found.best)]
        out.writerow([i, *marks, *figures, *values, *rest, one.error])
    return stream.getvalue()


__all__ = ["KEPT", "raw_folder", "run"]
