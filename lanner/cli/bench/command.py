"""`lanner bench`: how fast a detector is on this machine."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lanner.cli.progress import progress_on
from lanner.cli.reporting import Debug, reporting
from lanner.core.errors import ConfigError, OutputError
from lanner.core.folders import check_folder, check_name


def bench(
    scene: Annotated[
        str | None,
        typer.Argument(metavar="[SCENE]", show_default="a rendered one", help="A scene to run on."),
    ] = None,
    detector: Annotated[
        str,
        typer.Option("--detector", "-d", metavar="NAME|FILE.yaml", help="As of `lanner detect`."),
    ] = "aircraft",
    members: Annotated[
        str | None,
        typer.Option(
            "--members", metavar="A,B", show_default="all", help="Only these networks of it."
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            "--size",
            metavar="PIXELS",
            min=64,
            show_default="4096, with --scaling 8192",
            help="Side of the rendered scene; with --scaling of the largest.",
        ),
    ] = None,
    threads: Annotated[
        str | None,
        typer.Option(
            "--threads",
            metavar="1,2,4",
            show_default="torch's choice",
            help="Threads that the networks compute with, one number after another.",
        ),
    ] = None,
    repeat: Annotated[
        int, typer.Option("--repeat", metavar="N", min=1, help="Measurements of each setting.")
    ] = 5,
    scaling: Annotated[
        bool,
        typer.Option("--scaling", help="Scenes of 1024 pixels, doubled up to --size (32768)."),
    ] = False,
    tile: Annotated[
        int | None,
        typer.Option("--tile", metavar="PIXELS", min=64, show_default=False, help="As of detect."),
    ] = None,
    gsd: Annotated[
        float | None,
        typer.Option(
            "--gsd", metavar="METRES", min=0.001, show_default=False, help="As of detect."
        ),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    out: Annotated[
        Path | None,
        typer.Option(
            "--json", metavar="FILE", show_default=False, help="Write every figure here as well."
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress and no tables.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Measure how fast a detector is on this machine, and where the time goes.

    Each measurement is a process of its own; figures are medians of the repeats.

    **seconds**: from opening the scene to the text of the last feature. Imports and loading
    networks come before and are shown by themselves. Below it stand the least and the most of
    the repeats.

    **Mpx/s**: millions of the scene's pixels a second; **grid Mpx/s**: of the detector's own
    pixels, which are coarser or finer than the scene's.

    **bare s**: the same networks on the same tiles, held in memory, with nothing else to do: no
    run can be faster with these networks. **ratio** is seconds over bare s: 1.10 means that
    reading, fusing, the chain and writing cost a tenth. Reading has threads of its own; where
    --threads leaves cores free they hide its cost.

    **ms/tile**: seconds over tiles. **peak MB**: the most memory that was resident; **model MB**:
    what libraries and networks take of it before the run.

    **Bars** are what Lanner wants to hold: held, not held, or why these figures cannot tell.
    Run on a machine that does nothing else.

    **Examples**

    The box network of aircraft alone, as the bar asks:

        lanner bench -d aircraft --members retinanet --size 8192

    Do time a tile and memory stay as they are when scenes grow? Small tiles make many:

        lanner bench --scaling --size 32768 --tile 384 --members retinanet --repeat 1
    """
    with reporting(debug):
        if out is not None:
            check_name("--json", out)
            check_folder("--json", out.parent)
            if out.is_dir():
                raise OutputError("--json", out, "is a folder", "name a file in it")
            if out.exists() and not os.access(out, os.W_OK):
                raise OutputError("--json", out, "exists and is read-only", "choose another name")
        numbers = _numbers(threads)
        from lanner.cli.bench.job import Job
        from lanner.cli.bench.run import Ask, run
        from lanner.cli.bench.show import tables

        names = None if members is None else tuple(n.strip() for n in members.split(",") if n)
        job = Job(scene or "", detector, names, device, tile, gsd)
        with progress_on(Console(stderr=True), quiet=quiet) as show:
            report = run(Ask(job, size, numbers, repeat, scaling), show)
        if not quiet:
            console = Console()
            for table in tables(report):
                console.print(table)
        if out is not None:
            _put(out, json.dumps(report.facts(), indent=2) + "\n")


def _put(out: Path, text: str) -> None:
    """Write the figures.

    Raises:
        OutputError: they cannot be written.
    """
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(
            "--json", out, f"cannot be written ({error.strerror})", "choose another name"
        ) from error


def _numbers(threads: str | None) -> tuple[int | None, ...]:
    """The numbers in `1,2,4`; one None where nothing was said.

    Raises:
        ConfigError: anything else, or a number below 1.
    """
    if threads is None:
        return (None,)
    words = threads.split(",")
    if not all(word.strip().isdecimal() and int(word) > 0 for word in words):
        raise ConfigError(
            "--threads", threads, "are not numbers of 1 or more", "write them as in 1,2,4"
        )
    return tuple(dict.fromkeys(int(word) for word in words))
