"""The command line. Heavy libraries are imported inside the commands, so that help is quick."""

from __future__ import annotations

from typing import Annotated

import typer

from lanner import __version__
from lanner.cli.batch import batch, report
from lanner.cli.bench.command import bench
from lanner.cli.demo import demo
from lanner.cli.detect import detect
from lanner.cli.detectors import detectors
from lanner.cli.diff import diff
from lanner.cli.doctor import doctor
from lanner.cli.errors import errors
from lanner.cli.factory import factory
from lanner.cli.models import models
from lanner.cli.plan import plan
from lanner.cli.render import render, sample
from lanner.cli.replay import replay
from lanner.cli.serve import serve
from lanner.cli.token import token
from lanner.cli.version import version

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(detect)
app.add_typer(batch, name="batch")
app.command()(plan)
app.command()(report)
app.command()(replay)
app.command()(diff)


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


for command in (detectors, demo, serve, doctor, bench, render, sample, errors, version):
    app.command()(command)
app.add_typer(factory, name="factory")
app.add_typer(models, name="models")
app.add_typer(token, name="token")
