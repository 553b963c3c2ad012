"""Files below a folder, wherever links in it lead, and texts written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from lanner.errors import OutputError
from postprocess.files import replacing

WORKDIR = "--workdir"
"""What names the folder that steps write to, for messages."""


def files_below(folder: Path, but: Callable[[Path], bool] = lambda _: False) -> Iterator[Path]:
    """Files of a folder and the folders in it, also of those that lie elsewhere and are linked.

    Images are often kept on another disk. Each folder is looked into once: by its own name where
    it has one here, and never for a link to what the whole lies in.

    Args:
        folder: a missing one has no files.
        but: folders that are not looked into.
    """
    met: set[str] = set()
    whole = Path(os.path.realpath(folder))
    starts = [folder]
    # Links are left for later, so that what they lead to may be met under its own name.
    for start in starts:
        for place, inner, names in os.walk(start):
            here = os.path.realpath(place)
            if here in met:
                inner.clear()
                continue
            met.add(here)
            inner[:] = sorted(one for one in inner if not but(Path(place, one)))
            links = [Path(place, one) for one in inner if os.path.islink(os.path.join(place, one))]
            starts += [one for one in links if not whole.is_relative_to(os.path.realpath(one))]
            yield from (Path(place, one) for one in names)


def make_folder(folder: Path) -> None:
    """A folder of the work folder, and those above it.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            WORKDIR,
            folder,
            f"cannot be made ({error.strerror})",
            "free some space or choose another folder",
        ) from error


def write_text(text: str, path: Path) -> None:
    """Write a text as UTF-8; its folder is made where missing, an older file stays until then.

    Raises:
        OutputError: it cannot be written.
    """
    make_folder(path.parent)
    with replacing(path, WORKDIR) as beside:
        beside.write_text(text, encoding="utf-8")
