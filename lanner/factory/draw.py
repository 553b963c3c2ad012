"""Pictures of samples: contact sheets with boxes, outlines and masks drawn over the image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lanner.factory.images import read_mask, read_rgb, write_png
from lanner.factory.samples import IDS_UNKNOWN, MASK_UNKNOWN, Box, Label, Sample

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]

SURE: Colour = (64, 255, 96)
DOUBTED: Colour = (255, 196, 0)
IGNORED: Colour = (160, 160, 160)
WRONG: Colour = (255, 64, 64)
CAPTION = 18
"""Height in pixels of the line of text below a picture."""

_UNKNOWN: Colour = (120, 80, 160)
_CLASSES: tuple[Colour, ...] = (
    (0, 160, 255), (255, 128, 0), (64, 220, 64), (230, 60, 230), (240, 230, 0), (0, 220, 200)
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One picture of a sheet and the words below it; `rgb` (h, w, 3) uint8."""

    rgb: Pixels
    caption: str = ""


@dataclass(frozen=True)
class Mark:
    """A box to draw, x0 y0 x1 y1 in the image's pixels."""

    box: Box
    colour: Colour = SURE
    text: str = ""


@dataclass(frozen=True)
class DrawOptions:
    """What of a sample is drawn; `window` is the part of the image that is shown, in pixels."""

    boxes: bool = True
    masks: bool = True
    window: Box | None = None
    marks: tuple[Mark, ...] = field(default=())


def picture(sample: Sample, side: int, options: DrawOptions | None = None) -> Pixels:
    """A sample with its labels and masks, the longest side `side` pixels.

    Args:
        sample: its image (and masks, where it has them) are read.
        side: longest side of the picture in pixels.
        options: what is drawn; labels and masks of the whole image where None.

    Returns:
        (h, w, 3) uint8.

    Raises:
        DatasetError: the image or a mask does not decode.
    """
    chosen = options or DrawOptions()
    rgb = read_rgb(sample.image)
    x0, y0, x1, y1 = _inside(chosen.window, rgb.shape[1], rgb.shape[0])
    part = rgb[y0:y1, x0:x1]
    if chosen.masks:
        if sample.mask is not None:
            part = _over_classes(part, read_mask(sample.mask)[y0:y1, x0:x1])
        if sample.ids is not None:
            part = _over_ids(part, read_mask(sample.ids)[y0:y1, x0:x1])
    scale = side / max(part.shape[:2])
    canvas = _resized(part, scale)
    marks = (tuple(_mark(label) for label in sample.labels) if chosen.boxes else ()) + chosen.marks
    for mark in marks:
        _draw(canvas, mark, (x0, y0), scale)
    if chosen.boxes:
        for label in sample.labels:
            _outline(canvas, label, (x0, y0), scale)
    return canvas


def around(box: Box, margin: float = 1.0, least: float = 24.0) -> Box:
    """A square window about a box, `margin` of its longest side left free on each side."""
    x0, y0, x1, y1 = box
    half = max(x1 - x0, y1 - y0, least) * (0.5 + margin)
    cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
    return (cx - half, cy - half, cx + half, cy + half)


def sheet(cells: Sequence[Cell], columns: int = 6, side: int = 200) -> Pixels:
    """Pictures in rows, each with its caption.

    Args:
        cells: pictures; larger ones are shrunk to `side`.
        columns: pictures a row.
        side: side in pixels of the square that each gets.

    Returns:
        (h, w, 3) uint8; one empty square where there are no cells.
    """
    columns = max(1, min(columns, len(cells)))
    rows = max(1, -(-len(cells) // columns))
    pad = 4
    step_x, step_y = side + pad, side + CAPTION + pad
    out = np.full((rows * step_y + pad, columns * step_x + pad, 3), 24, np.uint8)
    for k, cell in enumerate(cells):
        top, left = pad + (k // columns) * step_y, pad + (k % columns) * step_x
        rgb = _resized(cell.rgb, min(1.0, side / max(cell.rgb.shape[:2])))
        h, w = rgb.shape[:2]
        y, x = top + (side - h) // 2, left + (side - w) // 2
        out[y : y + h, x : x + w] = rgb
        _write(out, cell.caption, (left, top + side + 13), side)
    return out


def contact_sheet(
    samples: Iterable[Sample], path: Path, columns: int = 6, side: int = 200, most: int = 24
) -> Path:
    """Write a PNG of samples with their labels and masks.

    Args:
        samples: of many, `most` spread evenly over them are shown.
        path: of the PNG.
        columns: pictures a row.
        side: side of each in pixels.
        most: pictures at most.

    Returns:
        `path`.
    """
    cells = [Cell(picture(one, side), one.id) for one in spread(tuple(samples), most)]
    write_png(sheet(cells, columns, side), path)
    return path


def before_after(pairs: Iterable[tuple[Sample, Sample]], path: Path, side: int = 260) -> Path:
    """Write a PNG of samples before and after a change, side by side; returns `path`."""
    cells = []
    for old, new in pairs:
        cells += [Cell(picture(old, side), f"{old.id} before")]
        cells += [Cell(picture(new, side), f"{new.id} after")]
    write_png(sheet(cells, 4, side), path)
    return path


def spread(samples: Sequence[Sample], most: int) -> list[Sample]:
    """At most `most` of the samples, evenly spread, in order."""
    if len(samples) <= most:
        return list(samples)
    return [samples[k] for k in np.linspace(0, len(samples) - 1, most).round().astype(int)]


def _mark(label: Label) -> Mark:
    colour = IGNORED if label.weight == 0 else DOUBTED if label.weight < 1 else SURE
    return Mark(label.box, colour)


def _inside(window: Box | None, width: int, height: int) -> tuple[int, int, int, int]:
    if window is None:
        return (0, 0, width, height)
    x0, y0 = (max(0, min(int(v), s - 1)) for v, s in zip(window[:2], (width, height), strict=True))
    x1 = max(x0 + 1, min(int(np.ceil(window[2])), width))
    y1 = max(y0 + 1, min(int(np.ceil(window[3])), height))
    return (x0, y0, x1, y1)


def _resized(rgb: Pixels, scale: float) -> Pixels:
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    if size == (rgb.shape[1], rgb.shape[0]):
        return rgb.copy()
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(rgb), size, interpolation=how), np.uint8)


def _draw(rgb: Pixels, mark: Mark, origin: tuple[int, int], scale: float) -> None:
    x0, y0, x1, y1 = mark.box
    first = (round((x0 - origin[0]) * scale), round((y0 - origin[1]) * scale))
    last = (round((x1 - origin[0]) * scale) - 1, round((y1 - origin[1]) * scale) - 1)
    cv2.rectangle(rgb, first, last, mark.colour, 1)
    if mark.text:
        _write(rgb, mark.text, (max(0, first[0]), max(9, first[1] - 2)), rgb.shape[1], mark.colour)


def _outline(rgb: Pixels, label: Label, origin: tuple[int, int], scale: float) -> None:
    for points, closed in ((label.polygon, True), (label.line, False)):
        if points is not None:
            moved = (np.array(points) - origin) * scale
            corners = moved.round().astype(np.int32).reshape(-1, 1, 2)
            cv2.polylines(rgb, [corners], closed, _mark(label).colour, 1)


def _over_classes(rgb: Pixels, mask: NDArray[np.generic]) -> Pixels:
    out = rgb
    for value in np.unique(mask):
        if value:
            unknown = int(value) == MASK_UNKNOWN
            colour = _UNKNOWN if unknown else _CLASSES[(int(value) - 1) % len(_CLASSES)]
            out = _tinted(out, np.asarray(mask == value), colour, 0.45)
    return out


def _over_ids(rgb: Pixels, ids: NDArray[np.generic]) -> Pixels:
    wide = ids.astype(np.int64)
    out = _tinted(rgb, wide == IDS_UNKNOWN, _UNKNOWN, 0.45)
    known = np.where(wide == IDS_UNKNOWN, 0, wide)
    for k, colour in enumerate(_CLASSES):
        out = _tinted(out, (known > 0) & (known % len(_CLASSES) == k), colour, 0.4)
    return out


def _tinted(rgb: Pixels, where: NDArray[np.bool_], colour: Colour, share: float) -> Pixels:
    if not where.any():
        return rgb
    out = rgb.copy()
    out[where] = (rgb[where] * (1 - share) + np.array(colour) * share).astype(np.uint8)
    return out


def _write(
    rgb: Pixels, text: str, at: tuple[int, int], room: int, colour: Colour = (230, 230, 230)
) -> None:
    """One line of text, cut at the front to what fits: the end of a name tells more."""
    fits = max(4, int(room / 6.2))
    plain = text.encode("ascii", "replace").decode()
    caption = plain if len(plain) <= fits else ".." + plain[-(fits - 2) :]
    cv2.putText(rgb, caption, at, cv2.FONT_HERSHEY_SIMPLEX, 0.34, colour, 1, cv2.LINE_AA)
