"""How cameras hold images: the EXIF orientation, and pixels, sizes and points turned by it.

Viewers, browsers and what people draw labels with (CVAT, Label Studio, labelme) show an image
turned, and OpenCV, ultralytics, Detectron2 and MMDetection read it so. Pillow and torchvision read
the pixels as they are stored, and so do tools built on them alone.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lanner.core.errors import SceneError
from lanner.factory.samples import Label, Ring
from tiling.access import opened

Size = tuple[int, int]
Value = TypeVar("Value", bound=np.generic)

UPRIGHT = 1
"""The orientation of an image that is shown as it is stored."""

TAG = 274
"""Number of the tag, in EXIF and TIFF."""

_KNOWN = range(1, 9)
_SIDEWAYS = (5, 6, 7, 8)
_DECIMALS = 6
_BIG = 43
"""The version that a BigTIFF says in place of 42."""


def orientation(path: Path) -> int:
    """The orientation of an image file, 1 to 8; 1 where it says none or one that does not exist.

    Images with a place on the ground have none: their place is that of the stored pixels. Nothing
    is decoded.
    """
    reader = _READERS.get(path.suffix.lower())
    try:
        found = None if reader is None else reader(path)
    # What does not decode is told where its pixels are read.
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError):
        return UPRIGHT
    if not isinstance(found, int) or found not in _KNOWN or found == UPRIGHT or _placed(path):
        return UPRIGHT
    return found


def upright(array: NDArray[Value], turn: int) -> NDArray[Value]:
    """Stored pixels, (h, w) or (h, w, bands), as they are shown."""
    turned = array.swapaxes(0, 1) if turn in _SIDEWAYS else array
    if turn in (3, 4, 7, 8):
        turned = turned[::-1]
    if turn in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)


def upright_size(size: Size, turn: int) -> Size:
    """Width and height as shown of an image that is stored so."""
    return (size[1], size[0]) if turn in _SIDEWAYS else size


def upright_label(label: Label, turn: int, stored: Size) -> Label:
    """A label in stored pixels as one of the image as it is shown.

    Args:
        label: its coordinates are those of stored pixels.
        turn: the orientation.
        stored: width and height in stored pixels.
    """
    corners = (label.box[:2], label.box[2:])
    (x0, y0), (x1, y1) = _turned(corners, turn, stored)
    return dataclasses.replace(
        label,
        box=(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)),
        polygon=None if label.polygon is None else _turned(label.polygon, turn, stored),
        line=None if label.line is None else _turned(label.line, turn, stored),
    )


def _turned(points: Iterable[tuple[float, float]], turn: int, stored: Size) -> Ring:
    width, height = upright_size(stored, turn)
    out = []
    for point in points:
        x, y = point[::-1] if turn in _SIDEWAYS else point
        right = width - x if turn in (2, 3, 6, 7) else x
        down = height - y if turn in (3, 4, 7, 8) else y
        # What was written with few decimals has few of them again.
        out.append((round(right, _DECIMALS) + 0.0, round(down, _DECIMALS) + 0.0))
    return tuple(out)


def _of_exif(path: Path) -> object:
    with Image.open(path) as image:
        return image.getexif().get(TAG)


def _of_png(path: Path) -> object:
    """From the chunks: Pillow decodes a whole PNG before it says what comes after its pixels."""
    with path.open("rb") as file:
        if file.read(8) != b"\x89PNG\r\n\x1a\n":
            return None
        while len(head := file.read(8)) == 8:
            (length,) = struct.unpack(">I", head[:4])
            if head[4:] == b"eXIf":
                tags = Image.Exif()
                tags.load(file.read(length))
                return tags.get(TAG)
            file.seek(length + 4, 1)
    return None


def _of_tiff(path: Path) -> object:
    """What the first directory of a TIFF or BigTIFF says."""
    with path.open("rb") as file:
        head = file.read(16)
        order = {b"II": "<", b"MM": ">"}.get(head[:2])
        if order is None:
            return None
        big = struct.unpack(order + "H", head[2:4])[0] == _BIG
        start, count, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
        file.seek(struct.unpack_from(order + start, head, 8 if big else 4)[0])
        (entries,) = struct.unpack(order + count, file.read(struct.calcsize(count)))
        for _ in range(entries):
            row = file.read(entry)
            if struct.unpack(order + "H", row[:2])[0] == TAG:
                return struct.unpack_from(order + "H", row, 12 if big else 8)[0]
    return None


def _placed(path: Path) -> bool:
    """Whether a raster says where it lies on the ground, itself or in a file beside it."""
    try:
        with opened(str(path)) as dataset:
            return bool(
                dataset.crs or dataset.gcps[0] or dataset.rpcs or not dataset.transform.is_identity
            )
    except SceneError:
        return False


_READERS: Mapping[str, Callable[[Path], object]] = {
    ".jpg": _of_exif,
    ".jpeg": _of_exif,
    ".webp": _of_exif,
    ".png": _of_png,
    ".tif": _of_tiff,
    ".tiff": _of_tiff,
}


__all__ = ["UPRIGHT", "orientation", "upright", "upright_label", "upright_size"]
