"""The folder that a run keeps its tiles, rasters and snapshots in.

What lies there under the name of one of ours is written over, so a folder is let in only where
it is new, empty or left by another run.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lanner.core.errors import Argument, OutputError
from lanner.core.folders import check_folder, check_name
from lanner.inference.manifest import FILE

LEDGER = "tiles.sqlite"
"""Name of the file of finished tiles."""
LOOKS = "closer_look.sqlite"
"""Name of the file of objects that were looked at again."""
_RUN = Argument("run_dir")
_LEDGER_FILES = {
    name + ending for name in (LEDGER, LOOKS) for ending in ("", "-journal", "-wal", "-shm")
}


def check_run_dir(folder: Path, scene: str) -> None:
    """Refuse a run folder that cannot be made, or that holds files which no run has left.

    Args:
        folder: the one asked for; it need not exist.
        scene: path or URL of the scene.

    Raises:
        OutputError: its name is no Unicode, it is a file, its nearest existing parent is not
            writable, the scene lies in it, or it has other files than those of a run.
    """
    check_name(_RUN, folder)
    nearest = folder.absolute()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    check_folder(_RUN, nearest)
    if not folder.exists():
        return
    if _holds(folder, scene):
        raise OutputError(
            _RUN, folder, "holds the scene itself", "name a new folder for the run alone"
        )
    if not _left_by_a_run(folder):
        raise OutputError(
            _RUN,
            folder,
            f"holds files and no {FILE} of a run, so they are not written over",
            "name a new folder for the run alone",
        )


@contextmanager
def run_folder(asked: Path | None) -> Iterator[Path]:
    """The folder to keep things in: the one asked for, made if need be, or one for this run.

    Raises:
        OutputError: it cannot be made.
    """
    if asked is None:
        with _temporary() as own:
            yield Path(own)
        return
    try:
        asked.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            _RUN,
            asked,
            f"cannot be made ({error.strerror})",
            "choose a folder that may be written to",
        ) from error
    yield asked


def _temporary() -> tempfile.TemporaryDirectory[str]:
    """A folder that goes when it is left.

    Raises:
        OutputError: there is no place for one.
    """
    try:
        return tempfile.TemporaryDirectory(prefix="lanner-")
    except OSError as error:
        raise OutputError(
            "TMPDIR",
            error.filename or "",
            f"no folder for temporary files can be made ({error.strerror})",
            "free some space there or set TMPDIR to another folder",
        ) from error


def _holds(folder: Path, scene: str) -> bool:
    """Whether the scene's file, or a link that it is named by, lies in the folder."""
    if not os.path.exists(scene):  # a URL, or a mistake that is told when the scene is opened
        return False
    path, inside = Path(scene).absolute(), folder.resolve()
    return inside in (path.parent.resolve(), *path.resolve().parents)


def _left_by_a_run(folder: Path) -> bool:
    """Whether all in it may be written over: it is empty, or a run has been there.

    A run may have been killed before it wrote its manifest, and leaves hidden files then.
    """
    try:
        names = {name for name in os.listdir(folder) if not name.startswith(".")}
        if names <= _LEDGER_FILES:
            return True
        facts = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    # Others call a file so as well: a dataset of the factory does.
    return isinstance(facts, dict) and {"lanner", "key"} <= facts.keys()
