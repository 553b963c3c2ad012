"""Outlines end at their boxes: what a mask shows beyond is shadow or a neighbour."""

from __future__ import annotations

import numpy as np
import shapely

from postprocess.aircraft.outline import within


def test_an_outline_ends_at_its_box_and_keeps_its_largest_piece():
    inside = shapely.box(2, 2, 8, 8)
    beyond = shapely.union(shapely.box(2, 2, 8, 8), shapely.box(8, 4, 20, 6))
    # Two limbs that only meet outside the box: the larger one is the object.
    forked = shapely.union_all(
        [shapely.box(1, 1, 12, 6), shapely.box(1, 8, 12, 9), shapely.box(11, 1, 12, 9)]
    )
    outlines = np.array([inside, beyond, forked, None], object)
    boxes = np.tile([0.0, 0.0, 10.0, 10.0], (4, 1))
    cut = within(outlines, boxes, 0.5)
    assert shapely.equals(cut[0], inside)
    assert shapely.bounds(cut[1]).tolist() == [2, 2, 10.5, 8]
    assert shapely.bounds(cut[2]).tolist() == [1, 1, 10.5, 6]
    assert cut[3] is None
