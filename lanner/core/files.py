"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lanner.core.errors import OutputError

SQLITE_ENDINGS = ("-journal", "-wal", "-shm")
"""What SQLite adds to the name of a database for files of its own beside it."""

_LONGEST_SUFFIX = 16


@contextmanager
def replacing(path: Path, argument: str = "output") -> Iterator[Path]:
    """A hidden path beside `path` to write to; it takes the place of `path` on success.

    The suffix is kept, since some drivers choose a format by it, and so are the permissions of a
    file that is replaced. A link is replaced too: give what it leads to, see `followed`.
    `argument` is what named the folder, for messages.

    Raises:
        OutputError: the folder is missing, not writable, or the disk is full. Nothing
            half-written is left.
    """
    with temporary(path, argument) as beside:
        yield beside
        replace(beside, path)


@contextmanager
def temporary(path: Path, argument: str = "output") -> Iterator[Path]:
    """A hidden path beside `path` to write to, which is removed when the block is left.

    Raises:
        OutputError: the folder is missing, or the block raised an `OSError`.
    """
    if not path.parent.is_dir():
        raise OutputError(
            argument, path, "its folder does not exist", f"create {str(path.parent)!r} first"
        )
    beside = hidden(path)
    try:
        yield beside
    except OSError as error:
        raise OutputError(
            argument,
            path,
            f"cannot be written ({error.strerror or error})",
            "free some space or choose another folder",
        ) from error
    finally:
        with suppress(OSError):  # why the block failed is worth more
            for rest in ("", *SQLITE_ENDINGS):  # SQLite's own, after a full disk
                beside.with_name(beside.name + rest).unlink(missing_ok=True)


def hidden(path: Path) -> Path:
    """A hidden path beside `path`, with its suffix, that nobody else uses.

    Its name is short whatever the name of `path` is, which may be as long as the disk takes.
    """
    suffix = path.suffix if len(os.fsencode(path.suffix)) <= _LONGEST_SUFFIX else ""
    return path.with_name(f".{os.getpid()}-{os.urandom(4).hex()}{suffix}")


def replace(source: Path, path: Path) -> None:
    """Put a finished file in the place of another, with the permissions of that one.

    A file that only its content can be changed of is written over: one that is mounted by itself,
    as into a container, or somebody else's in a folder such as /tmp.

    Raises:
        OSError: it cannot be put there.
    """
    with suppress(OSError):  # there is none, or a file system without permissions
        shutil.copymode(path, source)
    try:
        os.replace(source, path)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.EPERM) or not path.is_file():
            raise
        shutil.copyfile(source, path)


def followed(path: Path) -> Path:
    """What a link leads to, to its end, whether or not that is there; other paths as they are."""
    return Path(os.path.realpath(path)) if os.path.islink(path) else path


def is_stream(path: Path) -> bool:
    """Whether what is written there goes on to somebody else: a pipe, a terminal, /dev/null."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)
