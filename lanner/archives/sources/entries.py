"""What a source gives, one after the other, and what its readers are handed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lanner.archives.scenes import SceneFilter, SceneRef, SkippedScene
from lanner.core.job import Cancel


@dataclass(frozen=True)
class LeftOut:
    """A scene that is not wanted, and why."""

    reason: str


@dataclass(frozen=True)
class Note:
    """A sentence for people."""

    text: str


Entry = SceneRef | SkippedScene | LeftOut | Note
"""One thing that a source gives. A scene's name is still as its source has it."""

Entries = Iterator[Entry]


@dataclass(frozen=True)
class Search:
    """What is looked for, and the flag that ends it."""

    chosen: SceneFilter
    cancel: Cancel
