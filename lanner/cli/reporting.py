"""How every command ends: errors as one line, exit codes from the one table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from lanner.core.errors import FLAGS, Cancelled, LannerError, error_status

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


@contextmanager
def reporting(debug: bool, resume: str = "run it again") -> Iterator[None]:
    """Turn an error of ours into one line on stderr and its exit code.

    Args:
        debug: show the traceback first.
        resume: what to do after a Ctrl-C.
    """
    error: LannerError
    try:
        yield
        return
    except KeyboardInterrupt:
        error = Cancelled()
    except LannerError as raised:
        error = raised
        if debug:
            Console(stderr=True).print_exception()
    told = str(error.spelled(FLAGS))
    text = f"stopped by the caller; {resume}" if isinstance(error, Cancelled) else told
    typer.echo(f"error: {text}", err=True)
    raise typer.Exit(error_status(error).exit)
