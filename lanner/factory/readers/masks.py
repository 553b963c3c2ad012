"""Images with masks of classes, pixel by pixel."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from lanner.core.errors import ConfigError, DatasetError
from lanner.factory.images import missing as holes
from lanner.factory.images import read_mask, read_rgb, write_png
from lanner.factory.orientation import upright
from lanner.factory.readers.frames import misfit
from lanner.factory.readers.reading import Reading, class_order
from lanner.factory.samples import MASK_UNKNOWN

OPTIONS = frozenset({"images", "masks", "missing", "binary", "no_file", "exif"})
"""`images`, `masks`: folder names. `missing: white` or `missing: black`: large areas of pure white
or black are no image. `binary`: whatever is not 0 is the first class, as always in masks of 1 bit.
`no_file`: images without a mask are `unlabelled` (and recorded), `negative`, or with `leave` not
taken in (and recorded). `exif`: whether masks of images that EXIF turns are of the `shown` or of
the `stored` pixels; else their size says it."""

WHITE, BLACK, BLANK_PX, BORDER_PX = 250, 8, 2000, 9
"""Brighter than the first in all bands is white, darker than the second is black; that many
connected pixels of it are no image, and half the border's pixels around them are blends of the
two."""

Mask = NDArray[np.uint8]


class MaskReading(Reading):
    """A source of masks while it is read.

    Attributes:
        values: those that its masks hold, of all splits.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.values: set[int] = set()

    def require_objects(self) -> None:
        """As of any source; first, masks of 0 and 255 alone are told what 255 means.

        Raises:
            DatasetError: they are such masks, or a class is empty.
        """
        classes = list(self.source.classes)
        has_unknown = self.source.role == "labelled" and classes and MASK_UNKNOWN in self.values
        if has_unknown and self.values <= {0, MASK_UNKNOWN}:
            raise DatasetError(
                f"sources.{self.source.name}.options",
                self.source.options,
                f"all masks hold 0 and {MASK_UNKNOWN} alone, and {MASK_UNKNOWN} means unknown",
                f"where it is to mean {classes[0]}, give options: {{binary: true}}",
            )
        super().require_objects()


READING = MaskReading


def read(reading: MaskReading, split: str | None, name: str) -> None:
    """Read masks, and write them as the factory has them below the folder of the step explore.

    A mask's value k means the k-th name of `classes`, then of `drop`; 255 is unknown. What is
    written has the classes' numbers of `class_order`. Where an image holds no data its mask is
    unknown.

    Raises:
        DatasetError: a value without a class.
    """
    missing = reading.option("missing", "")
    if missing not in ("", "white", "black"):
        raise ConfigError(
            "options.missing", missing, "is not known", "give white or black, or nothing"
        )
    _, pairs = reading.pairs(name, "images", "masks", ".png", option="masks")
    for path, file in pairs:
        image = reading.open_image(path)
        if image is None:
            continue
        if file is None:
            reading.unmatched(image, split)
            continue
        try:
            raw, bits = read_mask(file), _one_bit(file)
        except DatasetError as error:
            reading.skip(image.name, f"its mask {error.problem}")
            continue
        size = (raw.shape[1], raw.shape[0])
        # An image that EXIF turns may have a mask of its stored pixels.
        turned = None if image.turned is None else image.turned.stating(size)
        if size != ((image.width, image.height) if turned is None else turned.size):
            reading.skip(image.name, misfit((image.width, image.height), size, turned))
            continue
        if turned is not None:
            raw = upright(raw, turned.turn) if turned.frame == "stored" else raw
            reading.note("images", image.name, turned.remark())
        if bits or reading.option("binary", False):
            raw = (raw > 0).astype(np.uint8)
        mask = _classes(reading, raw, reading.name_of(file))
        if missing:
            mask[~image_pixels(read_rgb(image.path), missing)] = MASK_UNKNOWN
        empty = holes(image.path)
        if empty is not None:
            mask[empty] = MASK_UNKNOWN
            reading.note(
                "images", image.name, "hold no data in places: their mask is unknown there"
            )
        sample = reading.add(split, image)
        target = reading.project.step_dir("explore") / "masks" / f"{sample.id}.png"
        write_png(mask, target)
        reading.samples[-1] = sample.but(mask=target.resolve())


def image_pixels(rgb: NDArray[np.uint8], blank: str = "white") -> NDArray[np.bool_]:
    """Where there is image, (h, w): large areas of pure white are none, bright roofs are.

    With `blank` given as "black" it is large areas of black that are none.
    """
    empty = (rgb > WHITE).all(axis=2) if blank == "white" else (rgb < BLACK).all(axis=2)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(np.asarray(empty, np.uint8))
    large = np.flatnonzero(stats[:count, cv2.CC_STAT_AREA] > BLANK_PX)
    absent = np.isin(parts, large[large > 0]).astype(np.uint8)
    near = cv2.dilate(absent, np.ones((BORDER_PX, BORDER_PX), np.uint8))
    return np.asarray(near == 0, np.bool_)


def _classes(reading: MaskReading, raw: NDArray[np.uint8] | NDArray[np.uint16], name: str) -> Mask:
    """A source's values as ours, (h, w) uint8."""
    theirs = [*reading.source.classes, *reading.source.drop]
    order = class_order(reading.project.config)
    out = np.zeros(raw.shape, np.uint8)
    values = np.unique(raw).tolist()
    reading.values.update(values)
    for value in values:
        if value == 0:
            continue
        if value == MASK_UNKNOWN:
            out[raw == value] = MASK_UNKNOWN
            continue
        if value > len(theirs):
            raise DatasetError(
                f"sources.{reading.source.name}.classes",
                name,
                f"holds the value {value}, and there are {len(theirs)} classes",
                "name a class for each value from 1 on, or give options: {binary: true}",
            )
        ours = reading.ours(theirs[value - 1])
        if ours is not None:
            out[raw == value] = order.index(ours) + 1
    return out


def _one_bit(path: object) -> bool:
    with Pillow.open(str(path)) as image:
        return image.mode == "1"
