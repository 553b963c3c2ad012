"""What a reader tells of a source: what was left out, and what was read otherwise than written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

TypeRanks = Literal["skipped", "unreadable_labels", "adjusted"]
"""What became of something: left out; an image left out since labels of it cannot be read; read
otherwise than it is written. They are kinds of findings of explore."""

_NAMED = 8
"""Names shown of what is told together."""
_PROBLEMS = 3
"""Labels shown of those of one image that cannot be read."""


@dataclass(frozen=True)
class Skip:
    """Something that was left out or not read as it is written, and the reason."""

    what: str
    why: str
    kind: TypeRanks = "skipped"


class Telling:
    """Collects what is told, in order.

    Attributes:
        skipped: so far.
    """

    def __init__(self) -> None:
        self.skipped: list[Skip] = []
        self._notes: dict[tuple[str, str], list[str]] = {}

    def skip(self, what: str, why: str) -> None:
        """Record what is left out."""
        self.skipped.append(Skip(what, why))

    def skip_many(
        self, what: str, names: Iterable[object], why: str, kind: TypeRanks = "skipped"
    ) -> None:
        """Record several things of one kind and one reason together; none where none."""
        found = [str(name) for name in names]
        if found:
            some = ", ".join(found[:_NAMED]) + (" ..." if len(found) > _NAMED else "")
            self.skipped.append(Skip(f"{what}: {len(found)} ({some})", why, kind))

    def note(self, what: str, name: object, why: str) -> None:
        """Record that something was read otherwise than it is written; those alike together."""
        self._notes.setdefault((what, why), []).append(str(name))

    def left_out(self, image: str, file: str, problems: Sequence[str]) -> None:
        """Record that an image is left out for labels that cannot be read.

        Args:
            image: its name.
            file: name of the file of its labels.
            problems: one a label, such as "line 4 is malformed (...)".
        """
        more = len(problems) - _PROBLEMS
        text = "; ".join(problems[:_PROBLEMS]) + (f"; and {more} more" if more > 0 else "")
        self.skipped.append(Skip(file, f"{text}, so {image} is left out", "unreadable_labels"))

    def tell_notes(self) -> None:
        """Put the notes, those alike together, to what is told."""
        for (what, why), names in self._notes.items():
            self.skip_many(what, names, why, "adjusted")
        self._notes.clear()

    def first(self) -> str:
        """The first thing that was left out, for messages that say that something is not there."""
        left = [one for one in self.skipped if one.kind != "adjusted"]
        if not left:
            return ""
        more = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
        return f"; left out: {left[0].what}: {left[0].why}{more}"


__all__ = ["Skip", "Telling", "TypeRanks"]
