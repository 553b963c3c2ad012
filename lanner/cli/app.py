"""The command line. Heavy libraries are imported inside the commands, so that help is quick."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lanner import __version__
from lanner.cli.bench.command import bench
from lanner.cli.detect import detect
from lanner.cli.factory import factory
from lanner.cli.render import render, sample
from lanner.cli.reporting import AsJson, Debug, reporting
from lanner.cli.serve import serve
from lanner.cli.tables import detectors_table, error_rows, errors_table

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(detect)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"lanner {__version__}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Find aircraft and roads in satellite GeoTIFFs."""


@app.command()
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


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder to write to; made if need be.")
    ] = Path("demo"),
    scene: Annotated[
        Path | None,
        typer.Option(
            "--scene",
            metavar="FILE",
            show_default="a rendered one",
            help="A scene of your own instead.",
        ),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    debug: Debug = False,
) -> None:
    """Render a scene with known aircraft and roads, find them, and draw what was found."""
    with reporting(debug):
        from lanner.cli.demo import demo_table, run_demo

        shown = run_demo(out, device, scene)
        console = Console()
        console.print(demo_table(shown))
        pictures = " and ".join(str(one.files[-1]) for one in shown)
        console.print(
            f"Look at {pictures}, or drag a .gpkg into QGIS.",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


@app.command()
def errors(as_json: AsJson = False) -> None:
    """Print every error with its exit code, HTTP status and gRPC status."""
    if as_json:
        rows = [
            {"error": name, "exit": row.exit, "http": row.http, "grpc": row.grpc, "meaning": text}
            for name, text, row in error_rows()
        ]
        typer.echo(json.dumps(rows, indent=2))
    else:
        Console().print(errors_table())


@app.command()
def version() -> None:
    """Print the version of Lanner and of what it stands on."""
    from importlib.metadata import version as installed

    typer.echo(f"lanner {__version__}")
    typer.echo(f"python {sys.version.split()[0]}")
    for name in ("torch", "rasterio", "geopandas", "grpcio"):
        typer.echo(f"{name} {installed(name)}")


app.command()(bench)
app.command()(render)
app.command()(sample)
app.command()(serve)
app.add_typer(factory, name="factory")
