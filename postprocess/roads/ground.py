"""Lines kept on valid pixels: where nothing was seen there is no road to report."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from postprocess.context import Context
from postprocess.roads.network import Network, Xy
from postprocess.roads.raster import at_points, read_valid
from postprocess.roads.sample import along, astray, on_valid

SPACING = 0.5
"""Pixels between the points that are looked at."""

REACH = 4
"""A line strays at most this many pixels before it is cut and not bent."""


def onto_valid(found: Network, context: Context) -> Network:
    """Lines bent around invalid pixels, or cut where these are wider than a bend can be.

    A point off the valid pixels goes to the centre of the nearest valid one; without one within
    `REACH` pixels, or where a line only crosses over, it ends there. Lines that never stray are
    left as they are.
    """
    # Nodes drawn together leave lines without length, which cannot be walked along.
    found = found.take(found.length > 0) if len(found) else found
    for bend in (True, True, True, False):  # what joins two moved points may stray again
        if not len(found):
            return found
        stray = astray(context, found.lines, SPACING)
        if not stray.any():
            return found
        points, owner = along(found.lines[stray], SPACING)
        good = on_valid(context, points)
        there = good.copy()
        if bend:
            # From centre to centre of touching pixels a line cuts no other pixel's corner.
            move = ~good | _beside(~good, owner)
            points[move], there[move] = _nearest(context, points[move])
        found = _redrawn(found, stray, points, np.flatnonzero(stray)[owner], there)
    return found


def _beside(bad: NDArray[np.bool_], owner: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) points next to a bad one on their line, but for ends, which other lines share."""
    beside = np.zeros_like(bad)
    inner = (owner[1:-1] == owner[:-2]) & (owner[1:-1] == owner[2:])
    beside[1:-1] = inner & (bad[:-2] | bad[2:])
    return beside


def _nearest(context: Context, points: Xy) -> tuple[Xy, NDArray[np.bool_]]:
    """(n, 2) centres of the nearest valid pixels, and (n,) whether there is one."""
    span = np.arange(-REACH, REACH + 1)
    steps = np.stack(np.meshgrid(span, span), axis=2).reshape(-1, 2)
    far = np.hypot(*steps.T)
    steps = steps[np.lexsort((steps[:, 0], steps[:, 1], far))]
    steps = steps[: np.count_nonzero(far <= REACH)]
    out, known = points.copy(), np.zeros(len(points), np.bool_)
    for dataset, block, part in at_points(context, "probability", points, 2 * REACH):
        valid = read_valid(dataset, block.window)
        pixel = np.floor(points[part]).astype(np.int64)[:, None] + steps
        col, row = pixel[..., 0] - block.window.x0, pixel[..., 1] - block.window.y0
        inside = (col >= 0) & (row >= 0) & (col < valid.shape[1]) & (row < valid.shape[0])
        good = inside & valid[np.where(inside, row, 0), np.where(inside, col, 0)]
        first = good.argmax(axis=1)
        known[part] = good.any(axis=1)
        out[part] = pixel[np.arange(len(part)), first] + 0.5
    return out, known


def _redrawn(
    found: Network,
    stray: NDArray[np.bool_],
    points: Xy,
    owner: NDArray[np.int64],
    there: NDArray[np.bool_],
) -> Network:
    """The network with its stray lines drawn anew through the points that are there."""
    run = np.cumsum(np.concatenate([[0], (np.diff(owner) != 0) | (there[1:] != there[:-1])]))
    points, owner, run = points[there], owner[there], run[there]
    fresh = np.ones(len(points), np.bool_)
    fresh[1:] = (np.diff(points, axis=0) != 0).any(axis=1) | (np.diff(run) != 0)
    points, owner, run = points[fresh], owner[fresh], run[fresh]
    _, first, number, count = np.unique(
        run, return_index=True, return_inverse=True, return_counts=True
    )
    whole = count >= 2  # a point by itself is no line
    keep = whole[number]
    renumbered = (np.cumsum(whole) - 1)[number[keep]]
    lines = shapely.linestrings(points[keep], indices=renumbered)
    parent = owner[first[whole]]
    rest = found.take(~stray)
    return Network(
        np.concatenate([rest.lines, lines]),
        np.concatenate([rest.row, found.row[parent]]),
        np.concatenate([rest.note, found.note[parent]]),
    )
