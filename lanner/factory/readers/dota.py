"""DOTA: a text file an image, eight corner coordinates, class and difficulty a line.

Format: Xia et al., DOTA: A Large-scale Dataset for Object Detection in Aerial Images, 2018.
"""

from __future__ import annotations

from pathlib import Path

from lanner.factory.readers.parts import (
    bounds,
    number,
    ring,
    text_of,
)
from lanner.factory.readers.reading import Reading
from lanner.factory.samples import Label

OPTIONS = frozenset({"images", "labels", "no_file", "exif"})
"""`images`, `labels`: folder names. `no_file`: images without a label file are `unlabelled` (and
recorded), `negative`, or with `leave` not taken in (and recorded). `exif`: whether labels of images
that EXIF turns are of the `shown` (the default) or of the `stored` pixels."""


def read(reading: Reading, split: str | None, name: str) -> None:
    """Read the label files beside a folder of images; difficult objects get a flag.

    An image with a line that cannot be read is left out.
    """
    _, pairs = reading.pairs(name, "images", "labelTxt", ".txt")
    for path, file in pairs:
        image = reading.open_image(path)
        if image is None:
            continue
        if file is None:
            reading.unmatched(image, split)
            continue
        problems: list[str] = []
        labels, gsd = _labels(reading, file, problems)
        if not reading.unreadable(image, file, problems):
            reading.add(split, image, labels, gsd=gsd)


def _labels(reading: Reading, path: Path, problems: list[str]) -> tuple[list[Label], float | None]:
    """Objects of one file and the ground sampling that its head states, metres a pixel.

    Lines that cannot be read go to `problems`.
    """
    out, gsd = [], None
    for row, line in enumerate(text_of(path).splitlines(), 1):
        if not line.strip() or line.startswith("imagesource:"):
            continue
        if line.startswith("gsd:"):
            gsd = _gsd(line)
            continue
        words = line.split()
        if len(words) in (9, 10) and reading.dropped(words[8]):
            continue
        try:
            if len(words) not in (9, 10):
                raise ValueError("not eight numbers, a class and a difficulty")
            outline = ring(number(word) for word in words[:8])
        except ValueError as error:
            problems.append(f"line {row} is malformed ({error})")
            continue
        ours = reading.ours(words[8])
        if ours is not None:
            hard = len(words) == 10 and words[9] != "0"
            out.append(Label(ours, bounds(outline), outline, flags=("difficult",) * hard))
    return out, gsd


def _gsd(line: str) -> float | None:
    """Metres a pixel; the files say `null` where nobody knows."""
    try:
        value = number(line.partition(":")[2].strip())
    except ValueError:
        return None
    return value if value > 0 else None
