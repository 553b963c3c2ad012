"""Rasters of a folder, of a pattern of paths, and single ones."""

from __future__ import annotations

import glob
import os

from lanner.archives.scenes import SceneRef, SkippedScene
from lanner.archives.sources.endings import RASTERS, is_hidden, is_raster, stem
from lanner.archives.sources.entries import Entries, Search
from lanner.archives.sources.unread import UnreadError

_GIVE = f"give one that holds rasters ({', '.join(RASTERS)})"


def one_file(path: str) -> SceneRef:
    """A scene of a path; whether it can be opened is another's to say."""
    return SceneRef(os.path.abspath(path), stem(path))


def folder_scenes(folder: str, search: Search) -> Entries:
    """Every raster below a folder.

    Links to folders are followed, each folder once, so that none leads in a circle. One that may
    not be listed is skipped.

    Raises:
        UnreadError: it holds none.
    """
    found = False
    for one in _below(folder, search, set()):
        found = True
        yield one
    if not found:
        raise UnreadError(folder, "holds no rasters", _GIVE)


def pattern_scenes(pattern: str, search: Search) -> Entries:
    """Every raster that a pattern matches, and those below the folders that it does.

    Raises:
        UnreadError: it matches none.
    """
    found, walked = False, set[tuple[int, int]]()
    try:
        matched = sorted(set(glob.iglob(pattern, recursive=True)))
    except (OSError, ValueError) as error:
        raise UnreadError(pattern, "is no pattern of paths", "correct it") from error
    for path in matched:
        search.cancel.check()
        if os.path.isdir(path):
            for one in _below(path, search, walked):
                found = True
                yield one
        elif is_raster(os.path.basename(path)):
            found = True
            yield one_file(path)
    if not found:
        remedy = f"correct it; rasters are {', '.join(RASTERS)}"
        raise UnreadError(pattern, "matches no rasters", remedy)


def _below(folder: str, search: Search, walked: set[tuple[int, int]]) -> Entries:
    """The rasters below a folder, in the order of their names.

    Args:
        folder: where it begins.
        search: its flag is looked at in every folder.
        walked: device and number of the folders that were walked; added to.
    """
    denied: list[OSError] = []
    for place, folders, names in os.walk(folder, followlinks=True, onerror=denied.append):
        search.cancel.check()
        try:
            here = os.stat(place)
        except OSError as gone:
            denied.append(gone)
            continue
        if (here.st_dev, here.st_ino) in walked:
            folders.clear()
            continue
        walked.add((here.st_dev, here.st_ino))
        folders[:] = sorted(one for one in folders if not is_hidden(one))
        for one in sorted(names):
            if is_raster(one):
                yield one_file(os.path.join(place, one))
    for error in denied:
        yield SkippedScene(
            os.path.abspath(error.filename),
            f"is a folder that cannot be listed ({error.strerror})",
            "let this user read it, or leave it out",
        )
