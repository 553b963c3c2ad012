"""The program: `lanner`, or `python -m lanner`."""

from __future__ import annotations

import gc
import io
import sys
from typing import TextIO

GC_THRESHOLD = 50_000
"""Objects after which Python looks for cycles, instead of 700. Libraries make a million that stay:
looking at them again and again takes a second of the five that importing them takes."""


def main() -> None:
    """Entry point of the program."""
    gc.set_threshold(GC_THRESHOLD)
    _print_anything()
    try:
        from lanner.cli.app import app
    except KeyboardInterrupt:
        # Reading the libraries takes a moment, in which nothing else would answer a Ctrl-C.
        print("error: stopped by the caller", file=sys.stderr)
        sys.exit(130)
    try:
        app(prog_name="lanner")
    except OSError as error:
        if not _is_shut(sys.stdout):
            raise
        from lanner.core.errors import TABLE, OutputError

        print(f"error: standard output cannot be written ({error.strerror})", file=sys.stderr)
        sys.stdout = io.StringIO()  # or Python would try again when it ends
        sys.exit(TABLE[OutputError].exit)


def _print_anything() -> None:
    """Where a terminal has no sign for a letter of a name, print its number: no work ends there."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _is_shut(stream: TextIO | None) -> bool:
    """Whether what is printed gets nowhere, as on a full disk."""
    try:
        print(file=stream, flush=True)
    except OSError:
        return True
    return False


if __name__ == "__main__":
    main()
