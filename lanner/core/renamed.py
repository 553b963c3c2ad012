"""Former names of keys in users' files: read all the same, and told."""

from __future__ import annotations

import warnings
from collections.abc import Mapping


class RenamedKeyWarning(UserWarning):
    """A file uses the former name of a key; it is read all the same."""


def current_name(name: str, renamed: Mapping[str, str]) -> str:
    """The name that a key has today; warns where `name` is a former one.

    Args:
        name: as the file has it.
        renamed: former name to today's.
    """
    today = renamed.get(name, name)
    if today != name:
        warnings.warn(
            f"{name!r} is now called {today!r}; it is still read, rename it in your file",
            RenamedKeyWarning,
            stacklevel=2,
        )
    return today
