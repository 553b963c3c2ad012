"""Small rasters that are huge once decoded."""

from __future__ import annotations

import struct
import zlib
from functools import cache
from pathlib import Path

Tags = dict[int, tuple[int, int]]
"""Tag to its type (3 short, 4 long) and value."""


@cache
def zeros(size: int) -> bytes:
    """Deflated zeros, without ever holding them."""
    packer = zlib.compressobj(9)
    chunk = bytes(1 << 20)
    parts = [packer.compress(chunk) for _ in range(size >> 20)]
    return b"".join([*parts, packer.compress(bytes(size % (1 << 20))), packer.flush()])


def image(width: int, height: int, bits: int, tile: tuple[int, int], kind: int = 0) -> Tags:
    """Tags of one gray, deflated image; `kind` 1 is an overview, 4 a mask."""
    longs = {256: width, 257: height, 322: tile[0], 323: tile[1], 254: kind}
    shorts = {258: bits, 259: 8, 262: 4 if kind & 4 else 1, 277: 1, 284: 1}
    return {k: (4, v) for k, v in longs.items()} | {k: (3, v) for k, v in shorts.items()}


def tiff(path: Path, images: list[tuple[Tags, list[bytes]]]) -> Path:
    """A TIFF of tiled images, byte by byte: no library writes such tiles."""
    out = bytearray(b"II*\0" + bytes(4))
    link = 4
    for tags, blocks in images:
        places, sizes = [], []
        for block in blocks:
            places.append(len(out))
            sizes.append(len(block))
            out += block
        rows: dict[int, tuple[int, int, int]] = {k: (t, 1, v) for k, (t, v) in tags.items()}
        for tag, numbers in ((324, places), (325, sizes)):
            value = numbers[0] if len(numbers) == 1 else len(out)
            if len(numbers) > 1:
                out += struct.pack(f"<{len(numbers)}I", *numbers)
            rows[tag] = (4, len(numbers), value)
        out += bytes(len(out) % 2)
        out[link : link + 4] = struct.pack("<I", len(out))
        out += struct.pack("<H", len(rows))
        for tag, (kind, count, value) in sorted(rows.items()):
            out += struct.pack("<HHII", tag, kind, count, value)
        link = len(out)
        out += bytes(4)
    path.write_bytes(out)
    return path


def one_tile(path: Path) -> Path:
    side = 1 << 15
    return tiff(path, [(image(side, side, 8, (side, side)), [zeros(side * side)])])
