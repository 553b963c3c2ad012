"""From a tile's own pixels to the grid: clipping, what the window cut, what lies on nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.fusion import Fused
from detectors.results import TileResult, tile_result
from detectors.views import Floats, Ints
from tiling.grid import Box, Grid

NEAR_EDGE = 3.0
"""A box that ends this near to its window's edge, in pixels, may go on beyond it."""

LEFT, TOP, RIGHT, BOTTOM = 1, 2, 4, 8


def place(
    fused: Fused, window: Box, valid: NDArray[np.bool_], grid: Grid, capped: int = 0
) -> TileResult:
    """The candidates of one tile in grid pixels.

    Boxes are clipped to the scene; those whose centre lies off it or on an invalid pixel go.

    Args:
        fused: in tile pixels.
        window: of the tile.
        valid: (tile, tile) of the window.
        grid: its grid.
        capped: members that hit their safety cap.
    """
    origin = np.array([window.x0, window.y0], np.float64)
    end = grid.from_scene(np.array([grid.scene_width, grid.scene_height], np.float64))
    boxes = np.clip(fused.boxes + np.tile(origin, 2), 0, np.tile(end, 2))
    wide = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=-1)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 - origin
    col, row = np.floor(centre).astype(np.int64).T
    inside = wide & (col >= 0) & (row >= 0) & (col < valid.shape[1]) & (row < valid.shape[0])
    rows = np.flatnonzero(inside)
    rows = rows[valid[row[rows], col[rows]]]
    kept, boxes = fused.take(rows), boxes[rows]
    outlines = [None if ring is None else ring + origin for ring in kept.outlines]
    return tile_result(
        boxes, kept.scores, kept.labels, kept.votes, outlines, cuts(boxes, window, grid), capped
    )


def cuts(boxes: Floats, window: Box, grid: Grid) -> Ints:
    """(n,) bits of the window's sides that (n, 4) boxes touch; the grid's border cuts nothing."""
    sides = (
        (LEFT, boxes[:, 0] <= window.x0 + NEAR_EDGE, window.x0 > 0),
        (TOP, boxes[:, 1] <= window.y0 + NEAR_EDGE, window.y0 > 0),
        (RIGHT, boxes[:, 2] >= window.x1 - NEAR_EDGE, window.x1 < grid.width),
        (BOTTOM, boxes[:, 3] >= window.y1 - NEAR_EDGE, window.y1 < grid.height),
    )
    result = np.zeros(len(boxes), np.int64)
    for bit, touches, inside in sides:
        result |= bit * (touches & inside).astype(np.int64)
    return result
