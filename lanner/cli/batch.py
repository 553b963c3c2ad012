"""`lanner batch`: an archive of scenes; `lanner batch status` says where one stands."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from lanner.cli import archive_options as asked
from lanner.cli.plan import show_plan
from lanner.cli.progress import cancel_on_signal, progress_on
from lanner.cli.remote import SCENES_AT_ONCE, Server, Token, scenes_on_server
from lanner.cli.reporting import INCOMPLETE, AsJson, Debug, reporting
from lanner.core.job import Cancel

if TYPE_CHECKING:
    from lanner.archives.records import BatchRecord
    from lanner.archives.work import RunScene

SHOWN = 20
"""Failed scenes that a table shows."""


class _RunUnlessNamed(TyperGroup):
    """`lanner batch SOURCE` runs; `lanner batch status DIR` is another command."""

    unnamed = "run"
    """The command that is meant where none is named."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is named, else `run`."""
        if args and args[0] not in self.commands:
            args = [self.unnamed, *args]
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Options before any source are those of `run`."""
        if args and args[0].startswith("-") and args[0] not in ("-h", "--help"):
            args = [self.unnamed, *args]
        return super().parse_args(ctx, args)


batch = typer.Typer(
    cls=_RunUnlessNamed,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Run detectors over an archive of scenes: `lanner batch SOURCE… -d NAME -o DIR`.",
)


@batch.command("run")
def run(
    sources: asked.Sources,
    detector: asked.Detectors,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            show_default=False,
            help="Folder of the batch: a new one, or an earlier run's, to go on with it.",
        ),
    ],
    form: asked.Formats = None,
    bbox: asked.Box = None,
    area: asked.Area = None,
    since: asked.Since = None,
    until: asked.Until = None,
    cloud: asked.Cloud = None,
    asset: asked.Assets = None,
    band: asked.Bands = None,
    on: Annotated[
        str,
        typer.Option(
            "--on",
            metavar="EXECUTOR",
            help="local (several scenes at once on this machine), serial, ray (a cluster; "
            "ray://HOST:10001 names one).",
        ),
    ] = "local",
    workers: Annotated[
        int,
        typer.Option(
            "--workers",
            metavar="N",
            min=0,
            show_default="as suits",
            help="Scenes at once (local, --server), or processes (ray).",
        ),
    ] = 0,
    worker_cores: Annotated[
        int,
        typer.Option(
            "--worker-cores",
            metavar="N",
            min=0,
            show_default="1",
            help="Cores of each worker of a cluster.",
        ),
    ] = 0,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try scenes again that failed.")
    ] = False,
    candidates: Annotated[
        bool, typer.Option("--candidates", help="Write what is not worth a look, too.")
    ] = False,
    device: asked.Device = "auto",
    tile: asked.Tile = None,
    gsd: asked.Gsd = None,
    crs: asked.Crs = None,
    server: Server = None,
    token: Token = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No plan, progress and tables.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="A line of JSON for each scene as it ends, then one.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Run detectors over an archive. The same command goes on where it was stopped.

    A scene that fails is recorded with its error and keeps no other from being run; then the exit
    code is 9. Scenes, weights or configurations that have changed are done again, nothing else.

    **Examples**

        lanner batch archive/ -d aircraft -o found

        lanner batch 'archive/*.tif' -d aircraft -d roads -o found --format gpkg --format parquet

        lanner batch archive/ -d aircraft -o found --server gpu.example.org:50051

        lanner batch status found
    """
    again = f"run the same command again to go on with {out}"
    if server is not None:
        again += f"; {server} goes on with the scenes it has"
    with reporting(debug, again):
        from lanner.archives import api

        console, cancel = Console(stderr=True), Cancel()
        silent = quiet or as_json
        chosen = asked.scene_filter(bbox, area, since, until, cloud, asset, band)
        with (
            cancel_on_signal(cancel, console),
            progress_on(console, quiet=silent) as show,
            _runner(
                server,
                token,
                detector,
                candidates=candidates,
                crs=crs,
                on=on != "local" and on,
            ) as run_scene,
        ):
            result = api.batch(
                sources,
                detector,
                out,
                formats=form or ("gpkg",),
                chosen=chosen,
                on=on,
                workers=workers or (0 if server is None else SCENES_AT_ONCE),
                worker_cores=worker_cores,
                retry_failed=retry_failed,
                device=device,
                tile=tile,
                gsd=gsd,
                crs=crs,
                candidates=candidates,
                on_plan=None if silent else lambda plan: show_plan(console, plan),
                on_progress=show,
                on_record=_print_record if as_json else None,
                run_scene=run_scene,
                cancel=cancel,
            )
        if as_json:
            files = [str(path) for path in result.files]
            facts = {"once": dict(result.features), "written": files, "notes": list(result.notes)}
            _print({**_totals(result.records), **facts})
        elif not quiet:
            _show(Console(), result.records, result.features)
            for path in result.files:
                Console().print(f"written {path}", markup=False, highlight=False, soft_wrap=True)
            for note in result.notes:
                Console().print(note, markup=False, highlight=False, soft_wrap=True)
        if result.failed:
            count = len(result.failed)
            told = f"error: {count} of {len(result.records)} could not be run; "
            typer.echo(f"{told}lanner batch status {out} says why", err=True)
            raise typer.Exit(INCOMPLETE)
        if result.partial:
            told = f"error: {len(result.partial)} of {len(result.records)} could be read in part; "
            typer.echo(f"{told}the report in {out} says which", err=True)
            raise typer.Exit(INCOMPLETE)


@contextmanager
def _runner(
    server: str | None, token: str | None, detectors: list[str], **local: object
) -> Iterator[RunScene]:
    """What runs a scene: this machine, or a server that does nothing of what is `local`."""
    if server is None:
        from lanner.archives.work import run_job

        yield run_job
        return
    with scenes_on_server(server, token, detectors, **local) as run_scene:
        yield run_scene


@batch.command("status")
def status(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a batch.")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say where a batch stands: scenes done, failed and to be done, with errors and remedies."""
    with reporting(debug):
        from lanner.archives.ledger import ARCHIVE, FILE, BatchLedger
        from lanner.archives.lock import in_use

        with BatchLedger(folder / FILE, None) as ledger:
            records, once = ledger.records(), ledger.fact(ARCHIVE)
        if not in_use(folder):
            # Its process was killed: nothing runs, and the same command does it again.
            records = [
                replace(one, state="waiting") if one.state == "running" else one for one in records
            ]
        if as_json:
            every = [_facts(record) for record in records]
            facts = {**_totals(records), "once": once, "scenes": every}
            typer.echo(json.dumps(facts, indent=2))
        else:
            _show(Console(), records, once)


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a batch.")],
    debug: Debug = False,
) -> None:
    """Write the report of a batch anew: one HTML page, to be opened in any browser."""
    with reporting(debug):
        from lanner.archives.api import report as write

        typer.echo(f"written {write(folder)}")


def _print_record(record: BatchRecord) -> None:
    _print(_facts(record))


def _print(facts: dict[str, Any]) -> None:
    """A line of JSON; a reader who has seen enough does not end the batch."""
    try:
        print(json.dumps(facts), flush=True)
    except BrokenPipeError:
        # What is printed later must not fail either, nor what Python flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _facts(record: BatchRecord) -> dict[str, Any]:
    """A record without what takes pages."""
    outcome = record.outcome
    found = None
    if outcome is not None:
        found = {name: value for name, value in asdict(outcome).items() if name != "summary"}
    return {
        "scene": record.scene.name,
        "uri": record.scene.uri,
        "detector": record.detector,
        "state": record.state,
        "attempts": record.attempts,
        "started": record.started,
        "ended": record.ended,
        "found": found,
        "error": None if record.error is None else asdict(record.error),
    }


def _totals(records: Sequence[BatchRecord]) -> dict[str, Any]:
    """What records come to, as plain JSON data."""
    from lanner.archives.figures import decisions_of, labels, totals

    whole, decisions = totals(records), decisions_of(records)
    return {
        "states": dict(sorted(whole.scenes.items())),
        "features": whole.features,
        "counts": {
            f"{row.label} {decision}": number
            for row in labels(records, decisions)
            for decision, number in zip(decisions, row.decisions, strict=True)
        },
        "expected": round(whole.expected, 1),
        "expected_sd": round(whole.expected_sd, 1),
    }


def _show(
    console: Console,
    records: Sequence[BatchRecord],
    once: Mapping[str, int] | None,
) -> None:
    from rich.table import Table
    from rich.text import Text

    from lanner.archives.words import expected

    totals = _totals(records)
    table = Table("batch", "")
    table.columns[1].justify = "right"
    for state, number in totals["states"].items():
        table.add_row(Text(f"scenes {state}"), str(number))
    table.add_section()
    for name, number in totals["counts"].items():
        table.add_row(Text(name), str(number))
    if totals["features"]:
        table.add_row("right of these (90 %)", expected(totals["expected"], totals["expected_sd"]))
    for name, number in (once or {}).items():
        table.add_row(Text(f"{name}: each object once"), str(number))
    console.print(table)
    failed = [record for record in records if record.error is not None]
    for record in failed[:SHOWN]:
        assert record.error is not None
        console.print(
            Text(f"{record.scene.name} ({record.detector}): {record.error.sentence}"),
            soft_wrap=True,
        )
    if len(failed) > SHOWN:
        console.print(f"and {len(failed) - SHOWN} more; status --json lists them all")
