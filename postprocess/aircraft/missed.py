"""Where an outline ends before its box does: the nose or the tail that was not drawn.

A detector's boxes lose less of an object than outlines do, which stop where paint or a shadow
changes: a fighter's radome, a bomber's tail. Wing tips are left alone: on rendered scenes their
gaps were the box's error as often as the outline's.
"""

from __future__ import annotations

import numpy as np

from postprocess.shapes import Floats

SLACK, SLACK_PX = 0.05, 1.5
"""What a box errs by at each side: a share of the side, and grid pixels at least."""

FACING = 0.35
"""Least cosine between the way out of an end and a side of the box that the end could reach."""

FINE_PX = 0.5
"""Grid pixels that an outline's pixels have at most for its box to find fault with it: seen in
coarser ones it errs as boxes do."""

NORMALS: Floats = np.array([[-1.0, 0.0], [0.0, -1.0], [1.0, 0.0], [0.0, 1.0]])


def missed(ends: Floats, outward: Floats, drawn: Floats, boxes: Floats, pixel: Floats) -> Floats:
    """How much farther each end must go for the outline to fill its box.

    A side of the box that the outline stays away from by more than the box errs is put down to
    the end that is nearest to it.

    Args:
        ends: (k, n, 2) of each of n outlines: nose, tail and wing tips, in the pixels that each
            outline was seen in.
        outward: (k, n, 2) unit vectors from the middle through each end.
        drawn: (n, 4) bounds of the outlines, in the same pixels.
        boxes: (n, 4) what was detected, in grid pixels.
        pixel: (n,) sides of the pixels that the outlines were seen in, grid pixels.

    Returns:
        (k, n) in the pixels that each outline was seen in; 0 where nothing is missing.
    """
    there = boxes / pixel[:, None]
    size = np.tile(there[:, 2:] - there[:, :2], 2)
    gaps = np.concatenate([drawn[:, :2] - there[:, :2], there[:, 2:] - drawn[:, 2:]], axis=1)
    gaps = np.maximum(gaps - np.maximum(SLACK * size, SLACK_PX / pixel[:, None]), 0.0)
    gaps[pixel > FINE_PX] = 0.0
    far, facing = ends @ NORMALS.T, outward @ NORMALS.T  # (k, n, sides)
    able = (far == far.max(axis=0)) & (facing > FACING)
    result: Floats = np.where(able, gaps / np.maximum(facing, FACING), 0.0).max(axis=-1)
    return result
