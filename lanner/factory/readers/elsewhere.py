r"""Images that labels name as they were called on another machine, found here.

`C:\data\img\a.jpg` and `/home/x/img/a.jpg` are the file below the source's folder whose path
ends like them, by as many folders as possible, where there is only one such file.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lanner.factory.readers.parts import images_below

_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True)
class Found:
    """Where an image lies: `path`, or None with the reason. `moved`: not where it is named."""

    path: Path | None
    why: str = ""
    moved: bool = False


def find_images(names: Iterable[str], bases: Sequence[Path], root: Path) -> dict[str, Found]:
    """The images that a label file names.

    A name is looked for as it is written, from each of `bases`. Where it is not there, it may have
    been written elsewhere: a path from the root of a disk or with backslashes is found by its end.
    A relative one must be the whole end of a path here, and of them none may lie where it is
    named, or it is just a file that is gone.

    Args:
        names: as the label file has them.
        bases: folders that they may be relative to, best first.
        root: the source's folder; images are looked for below it and below `bases`.

    Returns:
        By name, in the order given.
    """
    wanted = list(dict.fromkeys(names))
    here = {name: _as_named(name, bases) for name in wanted}
    relative_there = any(path is not None and not _foreign(name) for name, path in here.items())
    lost = [n for n in wanted if here[n] is None and (_foreign(n) or not relative_there)]
    moved = _by_end(lost, _index((root, *bases))) if lost else {}
    taken = Counter(one.path for one in moved.values())
    there = {path for path in here.values() if path is not None}
    out = {}
    for name in wanted:
        path = here[name]
        found = Found(path) if path is not None else moved.get(name, Found(None, "is not there"))
        if found.moved and (taken[found.path] > 1 or found.path in there):
            found = Found(None, "is not there, and the image called like it is another one's")
        out[name] = found
    return out


def parts_of(name: str) -> tuple[str, ...]:
    """The parts of a path written on any machine, without root, drive, `.` and `..`."""
    plain = _DRIVE.sub("", name, count=1) if _DRIVE.match(name) else name
    return tuple(one for one in re.split(r"[\\/]+", plain) if one not in ("", ".", ".."))


def is_absolute(name: str) -> bool:
    """Whether a path begins at the root of a disk, of any machine."""
    return name.startswith(("/", "\\")) or bool(_DRIVE.match(name))


def _foreign(name: str) -> bool:
    return is_absolute(name) or "\\" in name


def _as_named(name: str, bases: Sequence[Path]) -> Path | None:
    for base in bases:
        path = base / name
        try:
            if path.is_file():
                return Path(os.path.normpath(path))
        except (OSError, ValueError):
            # Too long for a name, or with a zero byte: it is not there.
            continue
    return None


def _index(folders: Sequence[Path]) -> Mapping[str, list[Path]]:
    """Images by their own name, capitals made small."""
    found: dict[str, list[Path]] = {}
    met: set[Path] = set()
    for folder in dict.fromkeys(folders):
        if folder.is_dir() and not any(folder.is_relative_to(one) for one in met):
            met.add(folder)
            for path in images_below(folder):
                known = found.setdefault(path.name.casefold(), [])
                if path not in known:
                    known.append(path)
    return found


def _by_end(names: Sequence[str], index: Mapping[str, list[Path]]) -> dict[str, Found]:
    out = {}
    for name in names:
        parts = parts_of(name)
        alike = index.get(parts[-1].casefold(), []) if parts else []
        shared = {path: _shared(parts, path.parts) for path in alike}
        most = max(shared.values(), default=0)
        best = [path for path in alike if shared[path] == most]
        exact = [path for path in best if path.name == parts[-1]]
        best = exact if len(best) > 1 and len(exact) == 1 else best
        if not alike or (not _foreign(name) and most < len(parts)):
            out[name] = Found(None, "is not there")
        elif len(best) > 1:
            out[name] = Found(None, f"is not there, and {len(best)} images are called like it")
        else:
            out[name] = Found(best[0], moved=True)
    return out


def _shared(a: Sequence[str], b: Sequence[str]) -> int:
    """How many parts two paths have in common at their ends."""
    count = 0
    for one, other in zip(reversed(a), reversed(b), strict=False):
        if one.casefold() != other.casefold():
            break
        count += 1
    return count


__all__ = ["Found", "find_images", "is_absolute", "parts_of"]
