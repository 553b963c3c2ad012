"""How every command ends: errors as one line, exit codes from the one table."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console

from lanner.core.errors import FLAGS, Cancelled, LannerError, error_status
from lanner.core.renamed import RenamedKeyWarning

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]

INCOMPLETE = 9
"""Exit code of what came to its end although some of it could not be run or read."""


def _show_warning(usual: Callable[..., None]) -> Callable[..., None]:
    """Ours are one plain line; those of libraries stay as they are."""

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, RenamedKeyWarning):
            typer.echo(f"note: {message}", err=True)
        else:
            usual(message, category, *place, **more)

    return show


@contextmanager
def reporting(debug: bool, resume: str = "run it again") -> Iterator[None]:
    """Turn an error of ours into one line on stderr and its exit code.

    Args:
        debug: show the traceback first.
        resume: what to do after a Ctrl-C.
    """
    error: LannerError
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning(warnings.showwarning)
            yield
        return
    except KeyboardInterrupt:
        error = Cancelled()
    except LannerError as raised:
        error = raised
        if debug:
            Console(stderr=True).print_exception()
    message = str(error.spelled(FLAGS))
    text = f"stopped by the caller; {resume}" if isinstance(error, Cancelled) else message
    typer.echo(f"error: {text}", err=True)
    raise typer.Exit(error_status(error).exit)
