"""The program: `lanner`, or `python -m lanner`."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the program."""
    try:
        from lanner.cli.app import app
    except KeyboardInterrupt:
        # Reading the libraries takes a moment, in which nothing else would answer a Ctrl-C.
        print("error: stopped by the caller", file=sys.stderr)
        sys.exit(130)
    app(prog_name="lanner")


if __name__ == "__main__":
    main()
