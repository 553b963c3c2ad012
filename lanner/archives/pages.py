"""What a batch leaves for people and for other programs: its report and its catalogue."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from detectors.catalog import Entry, check_release
from lanner.archives.chips import contact_sheet
from lanner.archives.options import BatchOptions
from lanner.archives.records import BatchRecord
from lanner.archives.report import write_report
from lanner.archives.stac import write_stac
from lanner.core.config import config_sha256
from lanner.core.job import Progress

STAC = "stac"
"""Folder of the catalogue."""

Tell = Callable[[Progress], None]


def write_pages(
    records: Sequence[BatchRecord],
    detectors: Sequence[Entry],
    options: BatchOptions,
    out: Path,
    tell: Tell,
) -> tuple[Path, ...]:
    """The catalogue and the report of a batch."""
    tell(Progress("catalogue", 0, 1))
    facts = {name: _facts(one) for name, one in zip(options.detectors, detectors, strict=True)}
    # Items of scenes that were taken out must not stay.
    shutil.rmtree(out / STAC, ignore_errors=True)
    catalogue = write_stac(records, out / STAC, detectors=facts)
    tell(Progress("report", 0, 1))
    return catalogue, report_of(records, detectors, options, out)


def report_of(
    records: Sequence[BatchRecord], detectors: Sequence[Entry], options: BatchOptions, out: Path
) -> Path:
    """Write `report.html` of the batch in a folder.

    Raises:
        OutputError: it cannot be written.
    """
    times = [time for one in records for time in (one.started, one.ended) if time is not None]
    scores = {
        name: [sum(some) for some in zip(*rows, strict=True)]
        for name in options.detectors
        if (
            rows := [
                one.outcome.scores
                for one in records
                if one.detector == name and one.outcome is not None
            ]
        )
    }
    return write_report(
        records,
        out,
        title=out.absolute().name,
        chips=contact_sheet(records, detectors, options, out),
        started=min(times, default=None),
        ended=max(times, default=None),
        scores=scores,
    )


def _facts(entry: Entry) -> dict[str, Any]:
    """What the catalogue says of a detector."""
    config = entry.config
    return {
        "release": config.release,
        "description": config.description,
        "classes": list(config.classes),
        "bands": list(config.bands),
        "gsd": config.gsd,
        "members": [member.name for member in config.members],
        "weights_sha256": check_release(entry).sha256,
        "config_sha256": config_sha256(config),
        "licence": check_release(entry).card.licence,
        "output": config.output,
    }
