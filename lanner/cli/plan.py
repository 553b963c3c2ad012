"""`lanner plan`: what a batch would be."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from lanner.cli import archive_options as asked
from lanner.cli.progress import cancel_on_signal, progress_on
from lanner.cli.remote import Server, Token, refuse
from lanner.cli.reporting import AsJson, Debug, reporting
from lanner.core.job import Cancel

if TYPE_CHECKING:
    from lanner.archives.plan import ArchivePlan

SHOWN = 10
"""Scenes with a problem that a table shows; --json has them all."""


def plan(
    sources: asked.Sources,
    detector: asked.Detectors,
    form: asked.Formats = None,
    bbox: asked.Box = None,
    area: asked.Area = None,
    since: asked.Since = None,
    until: asked.Until = None,
    cloud: asked.Cloud = None,
    asset: asked.Assets = None,
    band: asked.Bands = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Machines like this one that share the work.")
    ] = 1,
    device: asked.Device = "auto",
    tile: asked.Tile = None,
    gsd: asked.Gsd = None,
    crs: asked.Crs = None,
    server: Server = None,
    token: Token = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say what a batch would be: scenes, tiles, bytes, time, output, and what is left out and why.

    Nothing is run. The time follows from how fast earlier batches were on this machine, or on the
    server that is asked; scenes that lie here are sent to that.

    **Examples**

        lanner plan archive/ -d aircraft

        lanner plan 'archive/2024-*/*.tif' -d aircraft -d roads --bbox 11,48,12,49 --workers 8

        lanner plan https://example.com/stac/catalog.json -d aircraft --since 2024-05 --cloud 20
    """
    with reporting(debug):
        from lanner.archives import api

        console, cancel = Console(stderr=True), Cancel()
        chosen = asked.scene_filter(bbox, area, since, until, cloud, asset, band)
        if server is not None:
            from lanner.cli.remote_plan import plan_on_server, show_server_plan
            from lanner.client.client import Client

            refuse(server, crs=crs, workers=workers > 1)
            with (
                cancel_on_signal(cancel, console),
                progress_on(console, quiet=quiet) as show,
                Client(server, token=token) as client,
            ):
                theirs = plan_on_server(
                    client,
                    sources,
                    detector,
                    chosen,
                    cancel,
                    show,
                    gsd=gsd,
                    device=device,
                    tile=tile,
                )
            if as_json:
                typer.echo(json.dumps(theirs.facts(), indent=2))
            else:
                show_server_plan(Console(), theirs)
            return
        with cancel_on_signal(cancel, console), progress_on(console, quiet=quiet) as show:
            found = api.plan(
                sources,
                detector,
                formats=form or ("gpkg",),
                chosen=chosen,
                device=device,
                tile=tile,
                gsd=gsd,
                crs=crs,
                on_progress=show,
                cancel=cancel,
            )
        if as_json:
            typer.echo(json.dumps(found.facts(workers), indent=2))
        else:
            show_plan(Console(), found, workers)


def show_plan(console: Console, plan: ArchivePlan, workers: int = 1) -> None:
    """The plan as tables."""
    from rich.table import Table
    from rich.text import Text

    from lanner.archives.words import duration, size

    table = Table("plan", "")
    table.columns[1].justify = "right"
    for name, release in plan.detectors:
        table.add_row("detector", Text(f"{name} {release}"))
    table.add_row("scenes", str(len(plan.scenes)))
    if plan.done or plan.failed_before:
        table.add_row("done already", str(plan.done))
        if plan.failed_before:
            table.add_row("failed before, not tried again", str(plan.failed_before))
        table.add_row("to be run", str(len(plan.to_run)))
    table.add_row("tiles", str(plan.tiles))
    table.add_row("to read", size(plan.bytes))
    time = duration(plan.seconds) + ("" if plan.measured else " (not measured here yet)")
    table.add_row("time on this machine", time)
    if workers > 1:
        table.add_row(f"time on {workers} such machines", duration(plan.seconds_on(workers)))
    table.add_row("output", size(plan.output_bytes))
    for name, count in plan.output.items():
        table.add_row(Text(f"  {name}"), size(count))
    table.add_row("cannot be run", str(len(plan.failed)))
    table.add_row("not wanted", str(len(plan.skipped)))
    console.print(table)
    rows = [(one.ref.uri, one.error.sentence) for one in plan.failed]
    rows += [(one.uri, f"{one.problem}; {one.remedy}") for one in plan.skipped]
    for uri, why in rows[:SHOWN]:
        console.print(Text(f"{uri}: {why}"), soft_wrap=True)
    if len(rows) > SHOWN:
        console.print(f"and {len(rows) - SHOWN} more; --json lists them all")
    for note in plan.notes:
        console.print(Text(note), soft_wrap=True)
