"""Finds Lanner's other packages beside this one, whatever the current folder holds.

A script in a folder with a `detectors.py` or `server/` of its own would otherwise give us those.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

PACKAGES = frozenset({"detectors", "postprocess", "server", "tiling"})


class _Beside:
    """A finder of the import system that looks for `PACKAGES` in one folder alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """The package's place; None for any other name."""
        if path is not None or fullname not in PACKAGES:
            return None
        return PathFinder.find_spec(fullname, [str(self._folder)])


def find_beside_this_package() -> None:
    """Have `PACKAGES` found beside `lanner` from now on.

    Raises:
        ImportError: a module of such a name that is not ours was imported before.
    """
    folder = Path(__file__).resolve().parents[1]
    for name in PACKAGES & sys.modules.keys():
        place = getattr(sys.modules[name], "__file__", None)
        if place is None or Path(place).resolve().parents[1] != folder:
            raise ImportError(
                f"a module {name!r} was imported before Lanner, which has a package of that name; "
                f"import Lanner first, or rename {place}"
            )
    sys.meta_path.insert(0, _Beside(folder))
