"""`lanner replay`: a run again from its record, and whether the same comes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from lanner.cli.progress import cancel_on_signal, progress_on
from lanner.cli.reporting import AsJson, Debug, reporting
from lanner.core.errors import FLAGS, TABLE, LannerError
from lanner.core.job import Cancel

if TYPE_CHECKING:
    from lanner.archives.replay import Replay, ReplayedRun

DIFFERENT = 8
"""Exit code where something else came out than is recorded."""


def replay(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            show_default=False,
            help="Folder that `lanner detect --run` or `lanner batch` left.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            show_default=False,
            help="Keep what comes out in this new folder, as a run; of a batch one each scene.",
        ),
    ] = None,
    scene: Annotated[
        list[str] | None,
        typer.Option(
            "--scene",
            metavar="NAME|SCENE",
            show_default=False,
            help="Of a batch: only this scene; give it again for more. Of a run: where its scene "
            "lies now.",
        ),
    ] = None,
    anyway: Annotated[
        bool,
        typer.Option(
            "--anyway",
            help="Run it although scene, weights, configuration or number format differ.",
        ),
    ] = False,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            metavar="NAME",
            show_default="what it was run on",
            help="auto, cpu, cuda or cuda:N.",
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Do a run again from its record, and say whether the same features come out, to the byte.

    Refused where the scene, the weights, the configuration or the number format are not those
    recorded; with --anyway it is run with what is here. Exit code 8 says that something else came
    out.

    **Examples**

        lanner replay county.run

        lanner replay county.run --scene /new/place/county.tif --anyway

        lanner replay found/ --scene airport --scene harbour
    """
    with reporting(debug, "run it again; it begins anew"):
        from lanner.archives.replay import replay as run_again

        console, cancel = Console(stderr=True), Cancel()
        with (
            cancel_on_signal(cancel, console),
            progress_on(console, quiet=quiet or as_json) as show,
        ):
            done = run_again(
                run,
                out=out,
                scenes=scene or (),
                anyway=anyway,
                device=device,
                on_progress=show,
                cancel=cancel,
            )
        if as_json:
            typer.echo(json.dumps({**done.facts(), "out": out and str(out)}, indent=2))
        else:
            _show(Console(), done, out)
        if done.failed:
            first = done.failed[0].error
            assert first is not None
            text = f"error: {len(done.failed)} of {len(done.runs)} could not be replayed"
            typer.echo(text, err=True)
            raise typer.Exit(_exit_code(first.kind))
        if not done.identical:
            raise typer.Exit(DIFFERENT)


def _exit_code(kind: str) -> int:
    return {one.__name__: status.exit for one, status in TABLE.items()}.get(kind, 1)


def _show(console: Console, done: Replay, out: Path | None) -> None:
    from lanner.cli.differences import show_causes, show_changes, show_counts

    for one in done.runs:
        console.print(_verdict(one), markup=False, highlight=False, soft_wrap=True)
        show_causes(console, one.causes, "recorded", "now")
        if one.compared is not None:
            show_counts(console, one.compared.counts, one.compared.sizes, "recorded", "now")
            show_changes(console, one.compared.changes, "recorded", "now")
            if not one.compared.changes:
                console.print(
                    "Every object is where it was and as it was judged; the bytes differ. Features "
                    "also hold the scene's name, the release and the checksums of weights and "
                    "configuration.",
                    soft_wrap=True,
                )
        if one.identical is False and not one.causes:
            console.print(
                "All that is recorded is the same: what differs is outside of Lanner's record.",
                soft_wrap=True,
            )
    if len(done.runs) > 1:
        same = sum(one.identical is True for one in done.runs)
        counts = f"{same} identical, {len(done.different)} different, {len(done.failed)} not run"
        console.print(counts, highlight=False)
    if not done.runs:
        console.print("There is no scene that is done.")
    if out is not None:
        console.print(f"written {out}", markup=False, highlight=False, soft_wrap=True)


def _verdict(one: ReplayedRun) -> str:
    name = f"{one.scene} ({one.detector})"
    if one.error is not None:
        error = one.error
        known = LannerError(error.argument, error.value, error.problem, error.remedy)
        return f"not run: {name}: {known.spelled(FLAGS)}"
    before, now = one.features
    if one.identical:
        return f"identical: {name}, {now} features"
    return f"different: {name}, {before} features recorded, {now} now"
