"""Files below a folder, wherever links in it lead, and files written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lanner.core.errors import OutputError
from lanner.core.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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


def make_folder(folder: Path, argument: str = WORKDIR) -> None:
    """A folder and those above it; `argument` is what named it, for messages.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            argument,
            folder,
            f"cannot be made ({error.strerror})",
            "free some space or choose another folder",
        ) from error


def keep(make: Callable[[Path], object], path: Path, argument: str = WORKDIR) -> None:
    """Have a file made beside its place, which it takes when it is whole; its folder is made.

    Raises:
        OutputError: it cannot be written.
    """
    make_folder(path.parent, argument)
    with replacing(path, argument) as beside:
        make(beside)


def write_text(text: str, path: Path, argument: str = WORKDIR) -> None:
    """Write a text as UTF-8, see `keep`.

    Raises:
        OutputError: it cannot be written.
    """
    keep(lambda beside: beside.write_text(text, encoding="utf-8"), path, argument)


def save_figure(figure: Figure, path: Path, dpi: int = 130, argument: str = WORKDIR) -> None:
    """Draw a figure of matplotlib into a PNG, see `keep`: the same bytes for the same figure.

    Raises:
        OutputError: it cannot be written.
    """
    # No software version in the file.
    without = {"Software": None}
    keep(lambda beside: figure.savefig(beside, dpi=dpi, metadata=without), path, argument)
