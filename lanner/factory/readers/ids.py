"""Numbers and words that things are known by, found by either: 12, 12.0 and "12" are one."""

from __future__ import annotations

import json
from collections.abc import Iterable


class Ids:
    """What entries of a file are known by.

    Args:
        ids: as JSON has them; the same one may be there more than once.

    Attributes:
        otherwise: whether one was found that is written otherwise.
    """

    def __init__(self, ids: Iterable[object]) -> None:
        self._exact: set[str] = set()
        self._alike: dict[str, set[str]] = {}
        self.otherwise = False
        for one in ids:
            name = key(one)
            self._exact.add(name)
            self._alike.setdefault(_plain(one), set()).add(name)

    def find(self, one: object) -> str | None:
        """The `key` of the entry that is meant; None where there is none, or are several."""
        name = key(one)
        if name in self._exact:
            return name
        alike = self._alike.get(_plain(one), set())
        if len(alike) != 1:
            return None
        self.otherwise = True
        return next(iter(alike))


def key(one: object) -> str:
    """What an entry is known by as it is written."""
    return json.dumps(one, sort_keys=True)


def _plain(one: object) -> str:
    """The same for a number and for the text that says it."""
    if isinstance(one, float) and one.is_integer():
        one = int(one)
    if isinstance(one, str):
        text = one.strip()
        whole = text.removesuffix(".0")
        return str(int(whole)) if whole.isascii() and whole.isdecimal() else key(text)
    return key(one)


__all__ = ["Ids", "key"]
