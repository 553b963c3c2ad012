"""Lists of scenes: one path or address a line."""

from __future__ import annotations

import os

from lanner.archives.scenes import SceneRef, SkippedScene
from lanner.archives.sources.endings import stem
from lanner.archives.sources.entries import Entries, Search
from lanner.archives.sources.places import refusal, resolved
from lanner.archives.sources.reading import read, text_of
from lanner.archives.sources.unread import UnreadError
from tiling.names import display_name, is_remote

_ONE = "give a raster's path, or an http(s):// or s3:// address"


def listed_scenes(source: str, search: Search) -> Entries:
    """The scenes of a list at a path or an address.

    Lines that begin with `#`, and empty ones, say nothing; quotes around a line are taken off.
    A path is relative to the list's folder.

    Raises:
        UnreadError: it cannot be read, is no text or lists nothing.
    """
    answer = read(source, search.cancel)
    lines = [line.strip() for line in text_of(answer).splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise UnreadError(source, "lists nothing", f"{_ONE}, one a line")
    for line in lines:
        search.cancel.check()
        if len(line) > 1 and line[0] == line[-1] and line[0] in "\"'":
            yield _scene(line[1:-1], answer.address)
        else:
            yield _scene(line, answer.address)


def _scene(line: str, base: str) -> SceneRef | SkippedScene:
    uri = resolved(line, base)
    if uri is None:
        problem = refusal(line) or "is no address"
        return SkippedScene(display_name(line), problem, _ONE)
    if not is_remote(uri) and not os.path.isfile(uri):
        problem = "is a folder" if os.path.isdir(uri) else "does not exist"
        return SkippedScene(uri, problem, "correct the line, or remove it from the list")
    return SceneRef(uri, stem(uri))
