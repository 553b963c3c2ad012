"""The worst cases as pictures: what was missed, what is false, what is badly measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from lanner.factory import draw
from lanner.factory.config import Evaluate
from lanner.factory.images import read_rgb
from lanner.factory.steps.evaluate.objects import MatchedDetection, judged

if TYPE_CHECKING:
    from lanner.factory.steps.evaluate.chapter import Chapter

Pixels = NDArray[np.uint8]

SIDE = 200
LEAST, MOST = 1024, 2048
"""Pixels of the longest side of a whole image with everything drawn over it."""
FOUND: draw.Colour = (255, 170, 0)
MARGIN = 1.2


@dataclass(frozen=True)
class Case:
    """One of the worst cases: the number of its image, what it is, and its picture, (h, w, 3)."""

    image: int
    caption: str
    rgb: Pixels


def worst(chapter: Chapter, settings: Evaluate) -> Pixels | None:
    """A sheet of `cases`, (h, w, 3) uint8; None where there are none."""
    return sheet_of(cases(chapter, settings), chapter)


def sheet_of(found: Sequence[Case], chapter: Chapter) -> Pixels | None:
    """Cases on one sheet, (h, w, 3) uint8; None where there are none."""
    ids = [chapter.raw.samples[one.image].id for one in found]
    cells = [
        draw.Cell(one.rgb, f"{one.caption} {_name(sample)}")
        for one, sample in zip(found, ids, strict=True)
    ]
    return draw.sheet(cells, columns=6, side=SIDE) if cells else None


def cases(chapter: Chapter, settings: Evaluate) -> list[Case]:
    """The worst cases.

    Objects: a third each of the largest that were missed, of the surest that are false, and of
    hits that overlap their object least; the truth is green, what was found orange. Roads: the
    images with the lowest F1; found lines green where right and orange where false, missed
    ones red.
    """
    if not settings.worst:
        return []
    if chapter.raw.config.output == "raster":
        return _roads(chapter, settings)
    return _objects(chapter, settings)


def overlay(chapter: Chapter, settings: Evaluate, number: int) -> Pixels:
    """A whole image with truth and findings drawn over it, in the colours of the cases.

    Args:
        chapter: of the image.
        settings: what is right.
        number: of the image in the chapter's predictions.

    Returns:
        (h, w, 3) uint8, the longest side of `LEAST` to `MOST` pixels.
    """
    sample = chapter.raw.samples[number]
    side = min(MOST, max(LEAST, sample.width, sample.height))
    if chapter.raw.config.output == "raster":
        rgb = _lines_over(chapter, settings, number)
        return _resized(rgb, side / max(rgb.shape[:2]))
    one = chapter.measured.found[number]
    marks = tuple(
        draw.Mark((b[0], b[1], b[2], b[3]), FOUND, f"{score:.2f}")
        for b, score in zip(one.boxes.tolist(), one.scores.tolist(), strict=True)
    )
    return draw.picture(sample, side, draw.DrawOptions(masks=False, marks=marks))


def ranked(every: Sequence[MatchedDetection], most: int) -> list[MatchedDetection]:
    """Missed, false and badly measured ones, a third of `most` each."""
    third = max(1, most // 3)
    missed = [one for one in every if one.outcome == "missed"]
    false = [one for one in every if one.outcome == "false"]
    loose = [one for one in every if one.outcome == "hit"]
    missed.sort(key=lambda one: (-_area(one), one.image, one.box))
    false.sort(key=lambda one: (-one.score, one.image, one.box))
    loose.sort(key=lambda one: (one.iou, one.image, one.box))
    return [*missed[:third], *false[:third], *loose[:third]]


def _area(one: MatchedDetection) -> float:
    x0, y0, x1, y1 = one.box
    return (x1 - x0) * (y1 - y0)


def _objects(chapter: Chapter, settings: Evaluate) -> list[Case]:
    found, samples = chapter.measured.found, chapter.raw.samples
    every = judged(found, samples, chapter.raw.config.classes, settings.iou)
    result = []
    for one in ranked(every, settings.worst):
        sample = samples[one.image]
        box = (one.box[0], one.box[1], one.box[2], one.box[3])
        others = tuple(
            draw.Mark((b[0], b[1], b[2], b[3]), FOUND) for b in found[one.image].boxes.tolist()
        )
        options = draw.DrawOptions(masks=False, window=draw.around(box, MARGIN), marks=others)
        caption = {
            "missed": "missed",
            "false": f"false {one.score:.2f}",
            "hit": f"overlap {one.iou:.2f}",
        }[one.outcome]
        result.append(Case(one.image, caption, draw.picture(sample, SIDE, options)))
    return result


def _roads(chapter: Chapter, settings: Evaluate) -> list[Case]:
    f1 = chapter.measured.statistics["f1"](np.eye(chapter.measured.images))
    # Of an image without roads, where none were found, there is no F1; nothing is wrong there.
    order = np.argsort(f1, kind="stable")[: np.count_nonzero(~np.isnan(f1))]
    result = []
    for number in order[: settings.worst].tolist():
        rgb = _lines_over(chapter, settings, number)
        small = _resized(rgb, 2 * SIDE / max(rgb.shape[:2]))
        result.append(Case(number, f"F1 {f1[number]:.2f}", small))
    return result


def _lines_over(chapter: Chapter, settings: Evaluate, number: int) -> Pixels:
    """An image of roads with the lines that are right, false and missed, in its own pixels."""
    from lanner.factory.steps.evaluate.network import true_lines

    sample, one = chapter.raw.samples[number], chapter.measured.found[number]
    rgb = read_rgb(sample.image)
    truth = true_lines(sample, chapter.raw.metres(number))
    mine = np.empty(0, object) if one.lines is None else one.lines
    near_truth = shapely.buffer(shapely.union_all(truth), settings.relax_px)
    near_mine = shapely.buffer(shapely.union_all(mine), settings.relax_px)
    for shape, colour in (
        (shapely.intersection(shapely.union_all(mine), near_truth), draw.SURE),
        (shapely.difference(shapely.union_all(mine), near_truth), FOUND),
        (shapely.difference(shapely.union_all(truth), near_mine), draw.WRONG),
    ):
        _lines(rgb, shape, colour)
    return rgb


def _resized(rgb: Pixels, scale: float) -> Pixels:
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def _name(sample_id: str) -> str:
    """As much of an id as a caption has room for."""
    return sample_id.rpartition("/")[2][:18]


def _lines(rgb: Pixels, shape: shapely.Geometry, colour: draw.Colour) -> None:
    wide = max(1, round(max(rgb.shape[:2]) / 400))
    for part in shapely.get_parts(shape):
        points = np.round(shapely.get_coordinates(part)).astype(np.int32).reshape(-1, 1, 2)
        if len(points) > 1:
            cv2.polylines(rgb, [points], False, colour, wide)
