"""`lanner diff`: what changed from one result to another, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from lanner.cli.reporting import AsJson, Debug, reporting
from lanner.core.errors import OutputError

if TYPE_CHECKING:
    from lanner.archives.differences import Differences

DIFFERENT = 1
"""Exit code of `--exit-code` where something differs."""


def diff(
    first: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            show_default=False,
            help="A run folder, the folder of a batch, or a file of features.",
        ),
    ],
    second: Annotated[
        Path,
        typer.Argument(metavar="RUN", show_default=False, help="The same, to be compared with it."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            show_default=False,
            help="Write the changes as a layer: .gpkg, .geojson, .json, .fgb or .parquet.",
        ),
    ] = None,
    exit_code: Annotated[
        bool,
        typer.Option("--exit-code", help="Exit with 1 where objects or scenes differ."),
    ] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say what changed from one result to another, and why.

    First what they were made from that differs: scene, version, release, weights, configuration,
    ground sampling, tile, number format. Then the objects, matched by place and shape: moved,
    reshaped, relabelled, decided otherwise, of another confidence, or in one of them alone.

    **Examples**

        lanner diff monday.run tuesday.run

        lanner diff found/ found-again/ -o changes.gpkg

        lanner diff before.gpkg after.geojson --exit-code
    """
    with reporting(debug):
        from lanner.archives.differences import diff as differences_of
        from lanner.cli.outputs import check_outputs

        if out is not None:
            for path in (first, second):
                check_outputs([out], "", path)
                if out.suffix.lower() != ".gpkg" and out.resolve() == path.resolve():
                    raise OutputError(
                        "--out", out, "is one of those to be compared", "choose another name"
                    )
        found = differences_of(first, second)
        if out is not None:
            found.to_file(out)
        if as_json:
            facts = {**found.facts(), "written": None if out is None else str(out)}
            typer.echo(json.dumps(facts, indent=2))
        else:
            _show(Console(), found)
            if out is not None:
                typer.echo(f"written {out}")
        if exit_code and found.differ:
            raise typer.Exit(DIFFERENT)


def _show(console: Console, found: Differences) -> None:
    from lanner.cli.differences import show_causes, show_changes, show_counts

    show_causes(console, found.causes, "first", "second")
    show_counts(console, found.counts, found.sizes, "first", "second")
    show_changes(console, found.changes, "first", "second")
    for side, names in (("first", found.only_first), ("second", found.only_second)):
        for name in names:
            console.print(
                f"only in the {side}: {name}", markup=False, highlight=False, soft_wrap=True
            )
    if found.changes and not found.causes:
        console.print("What is recorded of what they were made from is the same.")
    for note in found.notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
