"""The page: what the records come to, filled into a template, with its style and script inside."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lanner.archives import words
from lanner.archives.figures import (
    acquired,
    decisions_of,
    error_kinds,
    labels,
    notes,
    scenes_of,
    slowest,
    totals,
    troubled,
)
from lanner.archives.records import BatchRecord
from lanner.archives.report import charts
from lanner.archives.report.worldmap import world_map
from lanner.core.files import replacing
from tiling.names import display_name

REPORT = "report.html"
_TEMPLATE, _STYLE, _SCRIPT = "report.html", "report.css", "report.js"
_SLOWEST, _STAGES = 10, 6
_PNG = b"\x89PNG\r\n\x1a\n"
_SIZE = slice(16, 24)
"""Where a PNG says its width and height."""


@dataclass(frozen=True)
class Chip:
    """A picture of one detection for the contact sheet."""

    scene: str
    label: str
    confidence: float
    decision: str
    png: bytes


def write_report(
    records: Sequence[BatchRecord],
    out: Path,
    *,
    title: str,
    chips: Sequence[Chip],
    started: str | None,
    ended: str | None,
    scores: Mapping[str, Sequence[int]] | None = None,
) -> Path:
    """Write the report of a batch; the same facts give the same bytes.

    The page asks for nothing from outside and needs no script. Outputs are linked as they lie
    below the folder of the page.

    Args:
        records: of the batch, in any order.
        out: the page, or the folder that `report.html` is written to.
        title: heading of the page.
        chips: pictures of detections, in the order in which they are shown.
        started: when the batch began, ISO 8601.
        ended: when it was done.
        scores: by detector, how many features have a confidence in each of equal bins of 0 to 1.

    Returns:
        The page.

    Raises:
        OutputError: it cannot be written.
    """
    path = out / REPORT if out.is_dir() else out
    page = _page(_facts(records, chips, scores or {}), title, started, ended)
    with replacing(path) as beside:
        # The name of a file may hold bytes that are no Unicode.
        beside.write_bytes(page.encode("utf-8", "replace"))
    return path


def _page(facts: Mapping[str, Any], title: str, started: str | None, ended: str | None) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(str(__package__), "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.globals.update(
        {name: getattr(words, name) for name in ("duration", "expected", "interval", "number")}
        | {"plural": words.plural, "when": words.when, "acquired": acquired}
        | {"address": quote, "display_name": display_name, "picture": _picture}
    )
    here = files(str(__package__))
    script = here.joinpath(_SCRIPT).read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(_TEMPLATE).render(
        title=title,
        started=started,
        ended=ended,
        lasted=words.lasted(started, ended),
        style=here.joinpath(_STYLE).read_text("utf-8"),
        script=script,
        script_digest=f"sha256-{digest}",
        **facts,
    )


def _facts(
    records: Sequence[BatchRecord], chips: Sequence[Chip], scores: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """All that the template shows of the records."""
    from lanner.archives.stac.footprints import footprints

    rows = sorted(records, key=lambda one: (one.scene.name, one.detector))
    detectors = sorted({one.detector for one in rows})
    scenes = scenes_of(rows)
    shapes = footprints(rows)
    decisions = decisions_of(rows)
    stages, slow = slowest(rows, _SLOWEST, _STAGES)
    return {
        "whole": totals(rows),
        "scenes": scenes,
        "detectors": [
            (name, totals([one for one in rows if one.detector == name])) for name in detectors
        ],
        "decisions": decisions,
        "labels": labels(rows, decisions),
        "map": world_map(scenes, shapes),
        "placeless": sum(one.name not in shapes for one in scenes),
        "days": charts.over_time(scenes),
        "undated": sum(one.state == "done" and not words.begin(one.acquired) for one in scenes),
        "histograms": charts.histograms(scores),
        "chips": chips,
        "troubled": troubled(rows),
        "kinds": error_kinds(rows),
        "stages": stages,
        "slow": slow,
        "notes": notes(rows),
        "records": rows,
        "anchors": {one.name: f"scene-{k}" for k, one in enumerate(scenes)},
    }


def _picture(png: bytes) -> dict[str, str | int]:
    """Source of a picture inside the page, and its size, which keeps its room before it is read."""
    found: dict[str, str | int] = {"src": f"data:image/png;base64,{base64.b64encode(png).decode()}"}
    if png.startswith(_PNG) and len(png) >= _SIZE.stop:
        width, height = png[_SIZE][:4], png[_SIZE][4:]
        found |= {"width": int.from_bytes(width, "big"), "height": int.from_bytes(height, "big")}
    return found
