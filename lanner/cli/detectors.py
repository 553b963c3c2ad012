"""`lanner detectors`: what there is, and whether it is whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lanner.cli.reporting import AsJson, Debug, reporting
from lanner.cli.tables import detectors_table


def detectors(
    detector: Annotated[
        str | None,
        typer.Argument(
            metavar="[DETECTOR]", show_default="all", help="With --check: a name or a YAML file."
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare releases with their cards and golden outputs.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            envvar="LANNER_DATA",
            show_default=False,
            help="With --check: where the golden images are; others are not run.",
        ),
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List the released detectors: what they find, at which ground sampling, by which networks.

    With --check every file is compared with the release's card, and where the golden images are
    at hand the detector runs on them: identical, within tolerance (boxes 3 px, confidences 0.05:
    another processor sums otherwise), or differs, which is an error.

        lanner detectors --check aircraft --data images/
    """
    if detector is not None and not check:
        raise typer.BadParameter("a DETECTOR is named to --check it", param_hint="DETECTOR")
    with reporting(debug):
        if check:
            from lanner.cli.check import check as run_check

            run_check(detector, data, as_json)
            return
        from lanner.inference.pipeline import list_detectors

        found = list_detectors()
        if as_json:
            from dataclasses import asdict

            typer.echo(json.dumps([asdict(one) for one in found], indent=2))
        else:
            Console().print(detectors_table(found))
