"""Pascal VOC: an XML file an image.

Format: Everingham et al., The Pascal Visual Object Classes Challenge, 2010.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

from lanner.core.errors import ConfigError
from lanner.factory.readers.parts import neat, number
from lanner.factory.readers.reading import Reading
from lanner.factory.samples import Label

OPTIONS = frozenset({"images", "labels", "origin", "no_file", "exif"})
"""`images`, `labels`: folder names. `origin`: 1 where pixels are counted from 1 and the last one
is inside, as the format says; 0 for files with coordinates of pixel corners. `no_file`: images
without a label file are `unlabelled` (and recorded), `negative`, or with `leave` not taken in (and
recorded). `exif`: whether boxes of images that EXIF turns are of the `shown` or of the `stored`
pixels; else the stated size says it."""


_DECLARED = re.compile(rb"""(?:\xef\xbb\xbf)?<\?xml[^>]*?\sencoding\s*=\s*["']([\w.-]+)["']""")
_WIDER = {"gb2312": "gb18030", "gbk": "gb18030"}
"""What is called so is mostly written with characters that came later, at the same codes."""


def read(reading: Reading, split: str | None, name: str) -> None:
    """Read the XML files beside a folder of images; difficult and truncated objects get flags.

    An image with an object that cannot be read is left out.
    """
    origin = reading.option("origin", 1)
    if origin not in (0, 1):
        raise ConfigError("options.origin", origin, "is neither 0 nor 1", "give one of them")
    _, pairs = reading.pairs(name, "JPEGImages", "Annotations", ".xml")
    for path, file in pairs:
        if file is None:
            image = reading.open_image(path)
            if image is not None:
                reading.unmatched(image, split)
            continue
        try:
            root = _root(file)
        # An encoding that is wrong, or that nobody knows, is a ValueError or a LookupError.
        except (ET.ParseError, OSError, LookupError, ValueError) as error:
            reading.left_out(reading.name_of(path), reading.name_of(file), [f"is no XML ({error})"])
            continue
        image = reading.open_image(path, _size(root))
        if image is not None:
            problems: list[str] = []
            labels = _labels(reading, root, origin, problems)
            if not reading.unreadable(image, file, problems):
                reading.add(split, image, labels)


def classes_of(file: Path) -> tuple[str, ...]:
    """Classes of the objects of one file; none where it is no XML."""
    try:
        nodes = _root(file).iter("object")
    except (ET.ParseError, OSError, LookupError, ValueError):
        return ()
    names = dict.fromkeys((node.findtext("name") or "").strip() for node in nodes)
    return tuple(name for name in names if name)


def _root(file: Path) -> ET.Element:
    """The XML of a file in any encoding that it says: the parser itself knows none of many bytes.

    Raises:
        OSError, ET.ParseError, LookupError, ValueError: it cannot be read, or is none.
    """
    raw = file.read_bytes()
    declared = _DECLARED.match(raw)
    if declared is None:
        return ET.fromstring(raw)
    name = declared[1].decode().lower()
    return ET.fromstring(raw.decode(_WIDER.get(name, name)))


def _size(root: ET.Element) -> tuple[int, int] | None:
    """The stated width and height; many files say 0 or nothing."""
    try:
        width = int(root.findtext("size/width", "0"))
        height = int(root.findtext("size/height", "0"))
    except ValueError:
        return None
    return (width, height) if width > 0 and height > 0 else None


def _labels(reading: Reading, root: ET.Element, origin: int, problems: list[str]) -> list[Label]:
    """Objects of one file; those that cannot be read go to `problems`."""
    out = []
    for row, node in enumerate(root.iter("object"), 1):
        name = (node.findtext("name") or "").strip()
        if reading.dropped(name):
            continue
        try:
            if not name:
                raise ValueError("no name")
            x0, y0, x1, y1 = (
                number(node.findtext(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")
            )
        except ValueError as error:
            problems.append(f"object {row} is malformed ({error})")
            continue
        ours = reading.ours(name)
        if ours is not None:
            flags = tuple(
                key for key in ("difficult", "truncated") if node.findtext(key, "0").strip() == "1"
            )
            out.append(Label(ours, neat((x0 - origin, y0 - origin, x1, y1)), flags=flags))
    return out
