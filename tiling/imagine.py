"""Which files an Erdas Imagine file (.img, .aux, .rrd) keeps its pixels or overviews in.

The layout is that of GDAL's `frmts/hfa`: a header, then a tree of entries with a name, a type and
data. Three kinds of entry name files, which GDAL opens without a word.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

MAGIC = b"EHFA_HEADER_TAG\0"

_NAMING = frozenset({"ExternalRasterDMS", "RRDNamesList", "DependentFile"})
_NAMING_TYPES = frozenset({"ImgExternalRaster", "Eimg_RRDNamesList", "Eimg_DependentFile"})
_MOST_ENTRIES = 100_000
_MOST_BYTES = 1 << 20
_FILE = struct.Struct("<iIIhI")
_ENTRY = struct.Struct("<6I64s32s")
_STRING = re.compile(rb"[\x20-\x7e\x80-\xff]{3,}")


def named_files(path: Path) -> tuple[str, ...]:
    """Every string that an Imagine file holds where it names files, without a layer's name.

    More than file names comes with them: the kind of resampling, for example.

    Raises:
        OSError: the file cannot be read.
    """
    found: dict[str, None] = {}
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            return ()
        head = _at(file, struct.unpack("<I", file.read(4).ljust(4, b"\0"))[0], _FILE)
        if head is None:
            return ()
        for data in _naming(file, head[2]):
            for text in _STRING.findall(data):
                found[text.decode("utf-8", "surrogateescape").partition("(")[0]] = None
    return tuple(found)


def _naming(file: BinaryIO, root: int) -> Iterator[bytes]:
    """Data of the entries that name files."""
    visited, waiting = set[int](), [root]
    while waiting and len(visited) < _MOST_ENTRIES:
        place = waiting.pop()
        if place == 0 or place in visited:
            continue
        visited.add(place)
        entry = _at(file, place, _ENTRY)
        if entry is None:
            continue
        after, _, _, below, data, size, name, kind = entry
        waiting += [after, below]
        if _text(name) in _NAMING or _text(kind) in _NAMING_TYPES:
            file.seek(data)
            yield file.read(min(size, _MOST_BYTES))


def _at(file: BinaryIO, place: int, layout: struct.Struct) -> tuple[Any, ...] | None:
    """The fields at a place; None beyond the file's end."""
    file.seek(place)
    data = file.read(layout.size)
    return layout.unpack(data) if len(data) == layout.size else None


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("latin-1")
