"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lanner.core.errors import OutputError


@contextmanager
def replacing(path: Path, argument: str = "output") -> Iterator[Path]:
    """A hidden path beside `path` to write to; it takes the place of `path` on success.

    The suffix is kept, since some drivers choose a format by it. `argument` is what named the
    folder, for messages.

    Raises:
        OutputError: the folder is missing, not writable, or the disk is full. Nothing
            half-written is left.
    """
    if not path.parent.is_dir():
        raise OutputError(
            argument, path, "its folder does not exist", f"create {str(path.parent)!r} first"
        )
    beside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield beside
        os.replace(beside, path)
    except OSError as error:
        raise OutputError(
            argument,
            path,
            f"cannot be written ({error.strerror or error})",
            "free some space or choose another folder",
        ) from error
    finally:
        for rest in ("", "-journal", "-wal", "-shm"):  # SQLite's own, after a full disk
            beside.with_name(beside.name + rest).unlink(missing_ok=True)
