"""One process at a time runs the batch of a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lanner.archives.ledger import FILE
from lanner.core.errors import Argument, OutputError

LOCK = ".lock"
"""Held while a batch runs."""

_OUT = Argument("path")


@contextmanager
def held(out: Path) -> Iterator[None]:
    """The folder of a batch, made where it is new, and kept from other processes."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        others = [name for name in os.listdir(out) if not name.startswith(".")]
        handle = os.open(out / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise OutputError(
            _OUT,
            out,
            f"cannot be used ({error.strerror})",
            "choose a folder to write to",
        ) from error
    try:
        if others and not (out / FILE).is_file():
            raise OutputError(
                _OUT,
                out,
                "holds files and no batch",
                "name a new folder for the batch alone",
            )
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(
                _OUT,
                out,
                "is in use by another process",
                "wait until that batch has ended",
            ) from error
        yield
    finally:
        os.close(handle)


def in_use(out: Path) -> bool:
    """Whether a process runs the batch of a folder at this moment."""
    try:
        handle = os.open(out / LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False
