"""Many texts in little memory: those of a scene's features say mostly the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice
from typing import overload
from zlib import compress, decompress

PART = 500
"""Texts that are packed, and unpacked, at once."""


@dataclass(frozen=True)
class Texts(Sequence[str]):
    """Texts without line breaks, held compressed.

    To go through them in order costs little, each look at a single one unpacks `PART` of them.
    """

    parts: tuple[bytes, ...]
    size: int

    @classmethod
    def of(cls, texts: Iterable[str]) -> Texts:
        """Hold these; no more than `PART` of them are asked for before they are packed."""
        left, parts, size = iter(texts), [], 0
        while some := list(islice(left, PART)):
            parts.append(compress("\n".join(some).encode("utf-8"), 1))
            size += len(some)
        return cls(tuple(parts), size)

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(map(_unpacked, self.parts))

    @overload
    def __getitem__(self, which: int) -> str: ...
    @overload
    def __getitem__(self, which: slice) -> tuple[str, ...]: ...
    def __getitem__(self, which: int | slice) -> str | tuple[str, ...]:
        unpacked = lru_cache(1)(_unpacked)  # neighbours lie in one part
        if isinstance(which, slice):
            places = range(self.size)[which]
            return tuple(unpacked(self.parts[place // PART])[place % PART] for place in places)
        place = range(self.size)[which]
        return unpacked(self.parts[place // PART])[place % PART]


def _unpacked(part: bytes) -> list[str]:
    return decompress(part).decode("utf-8").split("\n")
