"""`lanner version`."""

from __future__ import annotations

import sys

import typer

from lanner.core.version import __version__


def version() -> None:
    """Print the version of Lanner and of what it stands on."""
    from importlib.metadata import version as installed

    typer.echo(f"lanner {__version__}")
    typer.echo(f"python {sys.version.split()[0]}")
    for name in ("torch", "rasterio", "geopandas", "grpcio"):
        typer.echo(f"{name} {installed(name)}")
