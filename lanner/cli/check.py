"""`lanner detectors --check`: are releases whole, and do they say what they said?"""

from __future__ import annotations

import json
from pathlib import Path

import typer
from rich.console import Console

from lanner.cli.progress import cancel_on_signal, progress_on
from lanner.core.errors import WeightsError


def check(detector: str | None, data: Path | None, as_json: bool) -> None:
    """Check one release, or all; print how each stands, then raise the first thing wrong.

    Raises:
        WeightsError: files are not what the card says.
        GateError: a golden output differs beyond the tolerance.
        LannerError: whatever a detector raises.
    """
    from detectors.catalog import entries
    from lanner.core.home import home
    from lanner.core.job import Cancel
    from lanner.factory.steps.release.check import check_detector
    from lanner.inference.registry import find

    console, cancel = Console(stderr=True), Cancel()
    done, damaged = [], []
    with cancel_on_signal(cancel, console), progress_on(console, quiet=as_json) as show:
        for entry in entries(home()) if detector is None else (find(detector),):
            try:
                done.append(check_detector(entry, data, cancel, show))
            except WeightsError as error:
                damaged.append(error)
    if as_json:
        typer.echo(json.dumps([one.facts() for one in done], indent=2))
    else:
        for line in (line for one in done for line in one.lines):
            typer.echo(line)
    # One line an error is what a program reads; of several the others are said here.
    for other in damaged[1:]:
        typer.echo(f"error: {other}", err=True)
    if damaged:
        raise damaged[0]
    for one in done:
        one.refuse()
