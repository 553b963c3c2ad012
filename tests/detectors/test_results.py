"""Tile results as bytes, and from the tile's pixels to the grid's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.fusion import Fused
from detectors.results import decode, encode, no_candidates, raster_result, tile_result
from detectors.windows import cuts, place
from tiling.grid import Box, Grid

GRID = Grid.over((1000, 800), (0.5, 0.5), 1.0)  # 500 x 400 grid pixels


def some(seed, count):
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 90_000, (count, 2))
    votes = np.where(rng.random((count, 2)) < 0.3, np.nan, rng.random((count, 2)))
    rings = [
        None if rng.random() < 0.3 else rng.uniform(0, 90_000, (rng.integers(4, 9), 2))
        for _ in range(count)
    ]
    return tile_result(
        np.concatenate([low, low + rng.uniform(1, 200, (count, 2))], 1),
        rng.random(count),
        rng.integers(0, 3, count),
        votes,
        rings,
        rng.integers(0, 16, count),
        int(seed % 3),
    )


def same(one, two):
    for name in ("boxes", "scores", "labels", "votes", "cuts"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert one.capped == two.capped
    assert [r is None for r in one.outlines] == [r is None for r in two.outlines]
    for a, b in zip(one.outlines, two.outlines, strict=True):
        if a is not None:
            np.testing.assert_array_equal(a, b)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 12))
def test_through_bytes_and_back_nothing_changes(seed, count):
    result = some(seed, count)
    back = decode(encode(result))
    same(result, back)
    assert encode(back) == encode(result)


def test_nothing_and_rasters_too():
    same(no_candidates(2), decode(encode(no_candidates(2))))
    rng = np.random.default_rng(0)
    values, valid = rng.random((2, 32, 32), np.float32), rng.random((32, 32)) < 0.7
    back = decode(encode(raster_result(values, valid)))
    assert np.abs(back.probability / 255 - values).max() <= 0.5 / 255 + 1e-6
    np.testing.assert_array_equal(back.valid, valid)
    assert decode(encode(no_candidates(0))).probability is None


def fused(*boxes):
    n = len(boxes)
    return Fused(
        np.array(boxes, np.float64),
        np.linspace(0.9, 0.5, n),
        np.zeros(n, np.int64),
        np.full((n, 1), 0.9),
        (None,) * n,
    )


def test_boxes_move_to_the_grid_and_stay_on_the_scene():
    window = Box(300, 200, 812, 712)  # hangs over the right and the lower border
    placed = place(
        fused([10, 10, 20, 30], [190, 190, 230, 260]), window, np.ones((512, 512), bool), GRID
    )
    np.testing.assert_array_equal(placed.boxes, [[310, 210, 320, 230], [490, 390, 500, 400]])


def test_a_box_centred_on_nothing_goes():
    valid = np.ones((512, 512), bool)
    valid[:, :100] = False
    placed = place(fused([80, 10, 110, 30], [90, 10, 120, 30]), Box(0, 0, 512, 512), valid, GRID)
    np.testing.assert_array_equal(placed.boxes, [[90, 10, 120, 30]])


@pytest.mark.parametrize(
    ("box", "bits"),
    [
        ([150, 150, 200, 200], 0),
        ([101, 150, 200, 200], 1),
        ([150, 102, 200, 200], 2),
        ([150, 150, 298, 200], 4),
        ([150, 150, 200, 300], 8),
        ([100, 100, 300, 300], 15),
    ],
)
def test_cut_bits_inside_the_grid(box, bits):
    assert cuts(np.array([box], np.float64), Box(100, 100, 300, 300), GRID).tolist() == [bits]


def test_the_grids_border_cuts_nothing():
    whole = Box(-96, -96, 704, 704)
    assert cuts(np.array([[0, 0, 500, 400.0]]), whole, GRID).tolist() == [0]
