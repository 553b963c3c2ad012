"""Whether a folder can take what is to be written, and under which names."""

from __future__ import annotations

import errno
import os
import shlex
from pathlib import Path

from lanner.core.errors import OutputError
from lanner.core.files import followed, hidden

SQLITE_PATH = 504
"""Bytes of a path that SQLite opens: 512 with the ending of its journal."""


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
    """Refuse a path that no file can have, or that may not be looked at.

    Its bytes must be UTF-8, since GDAL and SQLite open no other.

    Raises:
        OutputError: as said.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise OutputError(
            argument, path, "is no valid Unicode, in which names are given", "choose another name"
        ) from error
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise OutputError(
                argument,
                path,
                "is a longer name than the disk takes (often 255 bytes, and 4096 with its folders)",
                "choose a shorter one",
            ) from error
        raise OutputError(
            argument, path, f"cannot be reached ({error.strerror})", "choose another folder"
        ) from error


def check_sqlite(argument: str, path: Path) -> None:
    """Refuse a database whose path, or that of what is written beside it, is too long for SQLite.

    Raises:
        OutputError: as said.
    """
    real = followed(path).absolute()
    longest = max(len(os.fsencode(one)) for one in (real, hidden(real)))
    if longest > SQLITE_PATH:
        raise OutputError(
            argument,
            path,
            f"is a path of {len(os.fsencode(real))} bytes, too long for SQLite",
            "choose a folder that is not so deep, or another format",
        )
