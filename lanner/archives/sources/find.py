"""From sources to scenes: each once, under a name of its own, in an order that stays."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Sequence
from dataclasses import replace

from lanner.archives.scenes import FoundScenes, SceneFilter, SceneRef, SkippedScene
from lanner.archives.sources.endings import (
    DOCUMENTS,
    KINDS,
    LISTS,
    RASTERS,
    TABLES,
    ending,
    file_name,
    stem,
)
from lanner.archives.sources.entries import Entries, LeftOut, Search
from lanner.archives.sources.names import clash_note, unique_names
from lanner.archives.sources.places import identity
from lanner.archives.sources.unread import UnreadError
from lanner.archives.sources.unwanted import check_filter
from lanner.core.errors import SceneError
from lanner.core.job import Cancel
from tiling.names import beginning, display_name, is_remote

_OFTEN = 50
"""Entries of a source between two reports."""


def find_scenes(
    sources: Sequence[str],
    chosen: SceneFilter,
    cancel: Cancel,
    tell: Callable[[str, int], None] = lambda source, scenes: None,
) -> FoundScenes:
    """The scenes of folders, patterns, lists, catalogues, buckets and listings.

    The sources' order is kept; within one, scenes are in the order of their names, however they
    were listed. A scene that several sources have is the first one's.

    Args:
        sources: paths, patterns of paths, and http(s):// or s3:// addresses.
        chosen: which scenes are wanted, as far as a catalogue says; the rest is for whoever
            opens them.
        cancel: looked at between folders, pages and documents.
        tell: called on the way with a source, as it may be shown, and its scenes so far.

    Raises:
        ConfigError: `chosen` asks for what no scene could be.
        SceneError: a source is none, cannot be read or holds no scenes.
        ServerError: a server cannot be reached or fails, even when asked again.
        Cancelled: the caller asked to stop.
    """
    check_filter(chosen)
    if not sources:
        raise SceneError("source", "", "there is none", f"give {KINDS}")
    scenes: dict[str, SceneRef] = {}
    skipped: dict[SkippedScene, None] = {}
    notes: dict[str, None] = {}
    search = Search(chosen, cancel)
    for source in sources:
        found = _collect(source, search, tell)
        for scene in found.scenes:
            scenes.setdefault(identity(scene.uri), scene)
        skipped.update(dict.fromkeys(found.skipped))
        notes.update(dict.fromkeys(found.notes))
    named, note = _named(tuple(scenes.values()))
    return FoundScenes(named, tuple(skipped), (*notes, *([note] if note else [])))


def _collect(source: str, search: Search, tell: Callable[[str, int], None]) -> FoundScenes:
    """What one source has, in the order of names."""
    scenes: list[SceneRef] = []
    skipped: list[SkippedScene] = []
    notes: list[str] = []
    left_out: list[str] = []
    name = display_name(source)
    try:
        for number, entry in enumerate(_entries(source, search), 1):
            search.cancel.check()
            if isinstance(entry, SceneRef):
                scenes.append(entry)
            elif isinstance(entry, SkippedScene):
                skipped.append(entry)
            elif isinstance(entry, LeftOut):
                left_out.append(entry.reason)
            else:
                notes.append(entry.text)
            if number % _OFTEN == 0:
                tell(name, len(scenes))
    except UnreadError as error:
        raise error.as_error(source) from error
    tell(name, len(scenes))
    if left_out:
        notes.append(
            f"{name}: {len(left_out)} of {len(scenes) + len(left_out)} scenes are not what was "
            f"asked for: one {min(left_out)}."
        )
    scenes.sort(key=lambda scene: (scene.name, scene.uri))
    skipped.sort(key=lambda one: (one.uri, one.problem))
    return FoundScenes(tuple(scenes), tuple(skipped), tuple(notes))


def _named(scenes: tuple[SceneRef, ...]) -> tuple[tuple[SceneRef, ...], str | None]:
    """Scenes under their final names, and a note where that took digits."""
    before = [scene.name for scene in scenes]
    after = unique_names([(scene.name, scene.uri) for scene in scenes])
    named = tuple(replace(scene, name=name) for scene, name in zip(scenes, after, strict=True))
    return named, clash_note(before, after)


def _entries(source: str, search: Search) -> Entries:
    """What a source has, by its kind. Libraries are loaded where a kind needs them.

    Raises:
        UnreadError: it is of no known kind, or cannot be read.
    """
    if beginning(source) == "s3://":
        return _of_bucket(source, search)
    if is_remote(source):
        return _of_server(source, search)
    if "://" in source or source.lower().startswith("/vsi"):
        raise UnreadError(source, "is no source of a kind that is read", f"give {KINDS}")
    return _of_disk(source, search)


def _of_disk(source: str, search: Search) -> Entries:
    from lanner.archives.sources.files import folder_scenes, one_file, pattern_scenes

    try:
        os.stat(source)
    except (OSError, ValueError) as error:
        if glob.has_magic(source):
            return pattern_scenes(source, search)
        reason = "does not exist"
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            reason = f"cannot be reached ({getattr(error, 'strerror', None) or 'no valid path'})"
        raise UnreadError(source, reason, f"give {KINDS}") from error
    if os.path.isdir(source):
        return folder_scenes(source, search)
    if ending(source) in RASTERS:
        return iter((one_file(source),))
    known = _of_document(source, search)
    if known is None:
        raise UnreadError(source, "is a file of no kind that is read", f"give {KINDS}")
    return known


def _of_bucket(source: str, search: Search) -> Entries:
    if ending(source) in RASTERS:
        return iter((SceneRef(source, stem(source)),))
    known = _of_document(source, search)
    if known is not None:
        return known
    from lanner.archives.sources.s3 import bucket_scenes

    return bucket_scenes(source, search)


def _of_server(source: str, search: Search) -> Entries:
    if ending(source) in RASTERS:
        return iter((SceneRef(source, stem(source)),))
    known = _of_document(source, search)
    if known is not None:
        return known
    from lanner.archives.sources.web import fetch

    answer = fetch(source, search.cancel)
    if answer.kind.startswith("image/"):
        return iter((SceneRef(source, stem(source) or file_name(source)),))
    start = answer.body.lstrip()[:1]
    if start == b"{":
        from lanner.archives.sources.stac_files import stac_scenes

        return stac_scenes(answer, search)
    if start == b"<":
        from lanner.archives.sources.listing import listing_scenes

        return listing_scenes(answer, search)
    raise UnreadError(source, "answers with nothing of a kind that is read", f"give {KINDS}")


def _of_document(source: str, search: Search) -> Entries | None:
    """What a list, a STAC document or a table has, by its ending; None for other endings."""
    kind = ending(source)
    if kind in LISTS:
        from lanner.archives.sources.lists import listed_scenes

        return listed_scenes(source, search)
    if kind in DOCUMENTS:
        from lanner.archives.sources.reading import read
        from lanner.archives.sources.stac_files import stac_scenes

        return stac_scenes(read(source, search.cancel), search)
    if kind in TABLES:
        from lanner.archives.sources.tables import table_scenes

        return table_scenes(source, search)
    return None
