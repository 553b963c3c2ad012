"""`lanner errors`: the one table of errors."""

from __future__ import annotations

import json

import typer
from rich.console import Console

from lanner.cli.reporting import AsJson
from lanner.cli.tables import error_rows, errors_table


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
