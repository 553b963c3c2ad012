"""A border of no data that the file does not declare, found in the sample of a scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]
Mask = NDArray[np.bool_]

CELLS = 20
"""The sample is looked at in as many cells along each axis, at most."""
_MOSTLY = 0.5
"""Share of a cell that the border's value must fill for the border to go on in it."""
_LEAST = 0.005
"""Share of the sample that must be border; less does no harm to the percentiles."""
_INSIDE = 0.001
"""Share of the rest that may have the same value; with more it is a measurement, too."""
_ENOUGH = 0.02
"""Share of the sample that must be something else."""


@dataclass(frozen=True)
class Collar:
    """The border.

    Attributes:
        value: what every band holds there.
        share: of the sample's valid pixels.
        alone: whether the value occurs nowhere else, so that it can be taken for no data.
        where: for each part of the sample (h, w) bool, its pixels of the border.
    """

    value: float
    share: float
    alone: bool
    where: tuple[Mask, ...]


def find_collar(patches: Sequence[tuple[Pixels, Mask]], across: int) -> Collar | None:
    """An undeclared border of the least or greatest value, connected to the scene's edge.

    Only values that software fills with are looked for: 0, the ends of the type, -9999. Of one
    that any other pixel of the sample goes beyond it is none.

    Args:
        patches: the sample: (bands, h, w) and validity (h, w) of each part, row after row of
            parts; a single part is the whole scene.
        across: parts in a row.
    """
    parts = _cells(*patches[0]) if len(patches) == 1 else list(patches)
    columns = len(parts) // CELLS if len(patches) == 1 else across
    bands = [pixels[:, valid] for pixels, valid in parts]
    ends = [(b.min(), b.max()) for b in bands if b.size]
    if not ends:
        return None
    low, high = min(e[0] for e in ends), max(e[1] for e in ends)
    for value in _fills(parts[0][0].dtype):
        if value in (low, high) and low < high:
            found = _collar(parts, columns, value)
            if found is not None:
                held = [_holds(pixels, valid, value) for pixels, valid in patches]
                return _collar_of(found, held, value, whole=len(patches) == 1)
    return None


def _fills(dtype: np.dtype[Any]) -> tuple[float, ...]:
    """What software fills borders with, in a type."""
    if dtype.kind == "u":
        return (0, np.iinfo(dtype).max)
    if dtype.kind == "i":
        ends = np.iinfo(dtype)
        return tuple(v for v in (0, ends.min, ends.max, -9999) if ends.min <= v <= ends.max)
    return (0.0, -9999.0, -32768.0, 65535.0)


def _holds(pixels: Pixels, valid: Mask, value: float) -> Mask:
    """Valid pixels that have the value in every band."""
    return np.asarray((pixels == value).all(axis=0) & valid, np.bool_)


def _cells(pixels: Pixels, valid: Mask) -> list[tuple[Pixels, Mask]]:
    """A whole scene in rows of `CELLS` cells, row after row; some are empty if it is small."""
    return [
        (part, known)
        for row, mask in zip(
            np.array_split(pixels, CELLS, axis=1), np.array_split(valid, CELLS, axis=0), strict=True
        )
        for part, known in zip(
            np.array_split(row, CELLS, axis=2), np.array_split(mask, CELLS, axis=1), strict=True
        )
    ]


@dataclass(frozen=True)
class _Found:
    """What of the cells is border."""

    cells: NDArray[np.bool_]
    share: float
    alone: bool


def _collar(parts: Sequence[tuple[Pixels, Mask]], columns: int, value: float) -> _Found | None:
    shape = (len(parts) // columns, columns)
    held = np.array([_holds(p, v, value).sum() for p, v in parts], np.float64).reshape(shape)
    known = np.array([v.sum() for _, v in parts], np.float64).reshape(shape)
    # What is declared invalid lies between the edge and the border, or is nothing to it.
    passable = held >= _MOSTLY * known
    cells = _connected(passable)
    border = float((held * cells).sum())
    near = _grown(cells)
    share = border / known.sum()
    rest = float(known.sum() - (held * near).sum())
    inside = float((held * ~near).sum())
    if share < _LEAST or rest < _ENOUGH * known.sum():
        return None
    return _Found(near, share, inside <= _INSIDE * rest)


def _connected(passable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Cells that lead to the edge over others of their kind."""
    edge = np.zeros_like(passable)
    edge[[0, -1]] = edge[:, [0, -1]] = True
    found = passable & edge
    while True:
        more = found.copy()
        more[1:] |= found[:-1]
        more[:-1] |= found[1:]
        more[:, 1:] |= found[:, :-1]
        more[:, :-1] |= found[:, 1:]
        more &= passable
        if (more == found).all():
            return found
        found = more


def _grown(cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Cells and their neighbours, where a border ends."""
    padded = np.pad(cells, 1)
    height, width = cells.shape
    views = [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return np.asarray(np.logical_or.reduce(views), np.bool_)


def _collar_of(found: _Found, held: list[Mask], value: float, *, whole: bool) -> Collar:
    """The border in the parts that were looked at."""
    if found.alone:
        where = held
    elif whole:
        rows = np.repeat(np.arange(CELLS), [len(p) for p in np.array_split(held[0], CELLS, 0)])
        cols = np.repeat(np.arange(CELLS), [p.shape[1] for p in np.array_split(held[0], CELLS, 1)])
        where = [held[0] & found.cells[np.ix_(rows, cols)]]
    else:
        where = [part & near for part, near in zip(held, found.cells.ravel(), strict=True)]
    return Collar(float(value), found.share, found.alone, tuple(where))
