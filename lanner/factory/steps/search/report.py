"""The report of a search: what was chosen, what it would change, and every point, best first."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lanner.factory.pages import inside, number, write_page
from lanner.factory.project import Project
from lanner.factory.steps.search.points import Measured
from lanner.factory.steps.search.space import Axis
from lanner.factory.steps.search.study import Objective, Searched

LISTED = 100
"""Points listed."""


def write_report(
    project: Project,
    found: Searched,
    axes: Sequence[Axis],
    objectives: Sequence[Objective],
    present: Measured,
    summary: Mapping[str, Any],
    path: Path,
) -> Path:
    """Write the report; it shows `pareto.png` and `importance.png` of its folder.

    Args:
        project: what was searched.
        found: every point.
        axes: the space.
        objectives: what was raised or lowered.
        present: the present point, measured.
        summary: the summary of the step.
        path: of the report.
    """
    best = None if found.best is None else found.points[found.best]
    front, bars = path.with_name("pareto.png"), path.with_name("importance.png")
    chosen = {} if best is None else best.figures
    order = ranked(found, objectives)
    names = ("points.csv", "best.yaml", "space.json")
    return write_page(
        str(__package__),
        path,
        factory=project.config.factory,
        detector=project.detector().name,
        take=shlex.join(["cp", str(path.with_name("best.yaml")), str(project.detector_path)]),
        asked=project.asked,
        split=project.config.search.split,
        points=len(found.points),
        space=_many(summary["configurations in the space"]),
        seconds=summary["seconds"],
        files=[path.with_name(name) for name in names],
        silent=summary["best"] if best is None else "",
        figures=[
            {
                "name": one.figure,
                "lower": one.lower,
                "now": number(present.figures.get(one.figure)),
                "chosen": number(chosen.get(one.figure)),
            }
            for one in objectives
        ],
        values=[] if best is None else _values(axes, present, best),
        changed=bool(summary["changed"]),
        front=inside(front.read_bytes(), "png"),
        front_file=front,
        importance=inside(bars.read_bytes(), "png"),
        importance_file=bars,
        objectives=[one.figure for one in objectives],
        paths=[axis.path for axis in axes],
        rows=[_row(found, k, axes, objectives) for k in order[:LISTED]],
        more=max(0, len(order) - LISTED),
    )


def ranked(found: Searched, objectives: Sequence[Objective]) -> list[int]:
    """Numbers of the points, each point once: the chosen one, the front, the others by the first
    objective, and last those that have no value of every objective.
    """

    def place(k: int) -> tuple[bool, bool, bool, float, int]:
        values = found.values[k]
        first = 0.0 if values is None else values[0]
        upward = -first if objectives[0].lower else first
        return values is None, k != found.best, k not in found.front, -upward, k

    order = sorted(range(len(found.points)), key=place)
    once = {repr(sorted(found.points[k].point.items())): k for k in reversed(order)}
    kept = set(once.values())
    return [k for k in order if k in kept]


def _values(axes: Sequence[Axis], present: Measured, best: Measured) -> list[dict[str, Any]]:
    now, chosen = present.point, best.point
    return [
        {
            "path": axis.path,
            "now": _plain(now[axis.path]),
            "chosen": _plain(chosen[axis.path]),
            "changed": now[axis.path] != chosen[axis.path],
        }
        for axis in axes
    ]


def _row(
    found: Searched, k: int, axes: Sequence[Axis], objectives: Sequence[Objective]
) -> dict[str, Any]:
    one = found.points[k]
    figures = [number(one.figures.get(objective.figure)) for objective in objectives]
    mark = "chosen" if k == found.best else "front" if k in found.front else ""
    values = [_plain(one.point[axis.path]) for axis in axes]
    return {"number": k, "mark": mark, "cells": [*figures, *values], "error": one.error}


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _many(count: int) -> str:
    return f"{count:,}" if count < 10**9 else f"{count:.1e}"


__all__ = ["ranked", "write_report"]
