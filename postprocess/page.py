"""A picture with outlines, labels that keep clear of each other, and a legend, by Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import cos, radians, sin

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Floats = NDArray[np.float64]
Rgb = tuple[int, int, int]
Rect = tuple[float, float, float, float]

INK: Rgb = (236, 239, 242)
FAINT: Rgb = (150, 158, 166)
PAPER: Rgb = (24, 28, 33)
_SS = 2
_HEAD, _FOOT = 46, 64


@dataclass(frozen=True)
class Mark:
    """One thing to draw, in picture pixels.

    `paths` are (n, 2) rings (`closed`) or lines; `text` is its label, empty for none; `rank`
    decides who is labelled first (greatest).
    """

    paths: tuple[Floats, ...]
    colour: Rgb
    closed: bool
    dashed: bool = False
    text: str = ""
    rank: float = 0.0
    width: float = 2.0


@dataclass(frozen=True)
class Key:
    """One entry of the legend."""

    text: str
    colour: Rgb
    line: bool = False
    dashed: bool = False


@dataclass(frozen=True)
class Page:
    """Everything around the picture: `metres` a picture pixel, `north` degrees from up."""

    title: str
    note: str
    keys: tuple[Key, ...]
    metres: float
    north: float
    marks: Sequence[Mark] = field(default_factory=tuple)


def compose(rgb: NDArray[np.uint8], page: Page) -> Image.Image:
    """The finished page: title above, marks on the picture, legend and scale below.

    Args:
        rgb: (h, w, 3) picture.
        page: what to draw on and around it.
    """
    h, w = rgb.shape[:2]
    picture = Image.fromarray(rgb).convert("RGBA")
    picture.alpha_composite(_drawn(page.marks, w, h))
    picture.alpha_composite(_labels(page.marks, w, h))
    out = Image.new("RGB", (max(w, 420), h + _HEAD + _FOOT), PAPER)
    out.paste(picture.convert("RGB"), ((out.width - w) // 2, _HEAD))
    draw = ImageDraw.Draw(out)
    font, small = _font(19), _font(14)
    note_width = small.getlength(page.note)
    room = out.width - 32 - (note_width + 24 if note_width < out.width * 0.45 else 0)
    draw.text((16, _HEAD / 2), _fit(page.title, font, room), INK, font, anchor="lm")
    if room < out.width - 32:
        draw.text((out.width - 16, _HEAD / 2), page.note, FAINT, small, anchor="rm")
    right = _north(draw, out.width - 34, h + _HEAD + _FOOT / 2, page.north) - 18
    left = _scale(draw, right, h + _HEAD + _FOOT / 2, page.metres, out.width) - 28
    _legend(draw, page.keys, h + _HEAD, left)
    return out


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # Pillow with FreeType, as in its wheels
    return font


def _fit(text: str, font: ImageFont.FreeTypeFont, room: float) -> str:
    """The text, its end cut to fit into `room` pixels."""
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "...") > room:
        text = text[:-1]
    return text + "..."


def _drawn(marks: Sequence[Mark], w: int, h: int) -> Image.Image:
    """Outlines and lines, each over a dark edge, smoothed by drawing large."""
    layer = Image.new("RGBA", (w * _SS, h * _SS), (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    for halo in (True, False):
        for mark in marks:
            colour = (8, 10, 12, 150) if halo else (*mark.colour, 255)
            wide = round((mark.width + (2.0 if halo else 0.0)) * _SS)
            for path in mark.paths:
                ring = np.concatenate([path, path[:2]]) if mark.closed else path
                for piece in _dash(ring, 9.0, 6.0) if mark.dashed else [ring]:
                    flat = [(float(x), float(y)) for x, y in piece * _SS]
                    draw.line(flat, colour, wide, joint="curve")
    return layer.resize((w, h), Image.Resampling.BOX)


def _dash(path: Floats, dash: float, gap: float) -> list[Floats]:
    """The parts of a polyline that a broken line shows."""
    step = np.hypot(*np.diff(path, axis=0).T)
    reach = np.concatenate([[0.0], np.cumsum(step)])
    pieces = []
    for a in np.arange(0.0, reach[-1], dash + gap):
        inner = reach[(reach > a) & (reach < a + dash)]
        s = np.concatenate([[a], inner, [min(a + dash, reach[-1])]])
        pieces.append(np.stack([np.interp(s, reach, path[:, k]) for k in (0, 1)], 1))
    return pieces


def _labels(marks: Sequence[Mark], w: int, h: int) -> Image.Image:
    """Labels beside their objects where they cover neither another label nor another object."""
    layer = Image.new("RGBA", (w, h), (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    font = _font(13)
    named = sorted((m for m in marks if m.text), key=lambda m: (-m.rank, m.text))
    boxes = np.array([_bounds(m) for m in named]).reshape(-1, 4)
    # An object cut by the border is labelled beside the part that shows.
    boxes = np.clip(boxes, 0.0, np.array([w, h, w, h], np.float64))
    taken: list[Rect] = []
    for own, mark in enumerate(named):
        width, height = font.getlength(mark.text) + 10, 18.0
        for spot in _places(tuple(boxes[own]), width, height):
            inside = spot[0] >= 0 and spot[1] >= 0 and spot[2] <= w and spot[3] <= h
            if not inside or _hits(np.array(taken).reshape(-1, 4), spot):
                continue
            others = np.delete(boxes, own, 0)
            if _hits(others, spot):
                continue
            taken.append(spot)
            draw.rounded_rectangle(spot, 4, (16, 19, 23, 205))
            draw.rectangle((spot[0], spot[1] + 3, spot[0] + 2, spot[3] - 3), (*mark.colour, 255))
            draw.text(
                (spot[0] + 6, (spot[1] + spot[3]) / 2), mark.text, (*INK, 255), font, anchor="lm"
            )
            break
    return layer


def _bounds(mark: Mark) -> Rect:
    points = np.concatenate(mark.paths)
    (x0, y0), (x1, y1) = points.min(0), points.max(0)
    return float(x0), float(y0), float(x1), float(y1)


def _places(box: Sequence[float], width: float, height: float) -> list[Rect]:
    """Where a label may stand, best first: above, below, right, left, then at the corners."""
    x0, y0, x1, y1 = (float(v) for v in box)
    middle, centre = (x0 + x1 - width) / 2, (y0 + y1 - height) / 2
    corners = [
        (middle, y0 - height - 3),
        (middle, y1 + 3),
        (x1 + 4, centre),
        (x0 - width - 4, centre),
        (x1 - width * 0.3, y0 - height),
        (x1 - width * 0.3, y1),
        (x0 - width * 0.7, y0 - height),
        (x0 - width * 0.7, y1),
    ]
    return [(x, y, x + width, y + height) for x, y in corners]


def _hits(boxes: Floats, spot: Rect) -> bool:
    return bool(
        (
            (boxes[:, 0] < spot[2])
            & (boxes[:, 2] > spot[0])
            & (boxes[:, 1] < spot[3])
            & (boxes[:, 3] > spot[1])
        ).any()
    )


def _legend(draw: ImageDraw.ImageDraw, keys: Sequence[Key], top: float, room: float) -> None:
    """Entries in up to two rows; those that find no room are left out from the end."""
    font = _font(14)
    whole = sum(52 + font.getlength(key.text) for key in keys)
    x, y = 16.0, top + (_FOOT / 2 if 16 + whole <= room else 20.0)
    for key in keys:
        width = 34 + font.getlength(key.text) + 18
        if x + width > room and y < top + 30:
            x, y = 16.0, top + 44.0
        if x + width > room:
            return
        if key.line:
            path = np.array([(x, y), (x + 26, y)])
            for piece in _dash(path, 7.0, 4.0) if key.dashed else [path]:
                draw.line([(float(a), float(b)) for a, b in piece], key.colour, 4)
        else:
            draw.rounded_rectangle((x + 4, y - 7, x + 20, y + 7), 3, None, key.colour, 3)
        draw.text((x + 34, y), key.text, INK, font, anchor="lm")
        x += width


def _scale(draw: ImageDraw.ImageDraw, right: float, y: float, metres: float, width: int) -> float:
    """A scale bar of a round length ending at `right`; its left end."""
    longest = min(180.0, width * 0.22) * metres
    power = 10.0 ** np.floor(np.log10(longest))
    length = float(max(k * power for k in (1, 2, 5) if k * power <= longest))
    left = right - length / metres
    for k in range(4):
        a, b = left + (right - left) * k / 4, left + (right - left) * (k + 1) / 4
        draw.rectangle((a, y + 4, b, y + 9), INK if k % 2 == 0 else PAPER, INK)
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    draw.text((right, y - 8), text, INK, _font(14), anchor="rm")
    return left


def _north(draw: ImageDraw.ImageDraw, x: float, y: float, north: float) -> float:
    """An arrow towards north, `north` degrees clockwise from up; its left edge."""
    t = radians(north)
    ahead, side = np.array([sin(t), -cos(t)]), np.array([cos(t), sin(t)])
    centre = np.array([x, y])
    tip, foot = centre + ahead * 24, centre - ahead * 4
    for sign, colour in ((-1, INK), (1, FAINT)):
        wing = centre - ahead * 9 + side * 9 * sign
        draw.polygon([tuple(map(float, p)) for p in (tip, wing, foot)], colour)
    label = centre - ahead * 18
    draw.text((float(label[0]), float(label[1])), "N", INK, _font(14), anchor="mm")
    return x - 26
