"""Whether a folder can take what is to be written, and under which names."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from lanner.core.errors import OutputError


def check_folder(argument: str, folder: Path) -> None:
    """Refuse a folder that is missing, is a file or cannot be written to.

    Raises:
        OutputError: with the command that makes the folder, where that would help.
    """
    if not folder.exists():
        raise OutputError(
            argument,
            folder,
            "there is no such folder",
            f"make it: mkdir -p {shlex.quote(str(folder))}",
        )
    if not folder.is_dir():
        raise OutputError(argument, folder, "is a file, not a folder", "name a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(argument, folder, "cannot be written to", "choose another folder")


def check_name(argument: str, path: Path) -> None:
    """Refuse a path whose bytes are no UTF-8: GDAL and SQLite open none.

    Raises:
        OutputError: as said.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise OutputError(
            argument, path, "is no valid Unicode, in which names are given", "choose another name"
        ) from error
