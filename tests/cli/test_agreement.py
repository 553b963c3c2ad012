"""How benchmarks say that two detectors see the same: benchmarks/agreement.py."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "agreement.py"


@pytest.fixture(scope="module")
def agreement():
    spec = importlib.util.spec_from_file_location("agreement", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_box_is_found_where_one_overlaps_it_by_nine_tenths(agreement):
    ours = np.array([[0, 0, 10, 10], [100, 0, 110, 10]], float)
    theirs = np.array([[0, 0, 10, 9.1], [100, 0, 110, 8.9], [500, 500, 510, 510]], float)
    assert agreement.share_found(ours, theirs) == 0.5
    assert agreement.share_found(theirs, ours) == pytest.approx(1 / 3)


def test_many_boxes_are_found_whatever_the_order(agreement):
    rng = np.random.default_rng(1)
    corner = rng.uniform(0, 1e5, (1500, 2))
    boxes = np.concatenate([corner, corner + 20], axis=1)
    assert agreement.share_found(boxes, rng.permutation(boxes)) == 1.0
    assert agreement.share_found(boxes, boxes[::2]) == pytest.approx(0.5, abs=0.01)


def test_nothing_is_all_found_and_finds_nothing(agreement):
    none, one = np.empty((0, 4)), np.array([[0, 0, 5, 5.0]])
    assert agreement.share_found(none, one) == 1.0
    assert agreement.share_found(one, none) == 0.0


def test_rasters_are_alike_by_what_reaches_the_level(agreement):
    one, two = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    assert agreement.share_alike(one, two) == 1.0
    one[0], two[:2] = 128, 200
    assert agreement.share_alike(one, two) == 0.5
    two[:] = 127
    assert agreement.share_alike(one, two) == 0.0


@given(
    st.lists(
        st.tuples(st.integers(0, 400), st.integers(0, 400), st.integers(1, 90), st.integers(1, 90)),
        min_size=1,
        max_size=20,
    ),
    st.sampled_from([(64, 32), (96, 64), (100, 80)]),
)
def test_a_box_is_crossed_where_a_border_of_a_tile_comes_near(agreement, rows, sizes):
    tile, step = sizes
    x, y, w, h = np.array(rows, float).T
    boxes = np.stack([x, y, x + w, y + h], axis=1)
    lines = np.concatenate([np.arange(0, 900, step), np.arange(tile, 900, step)])
    near = [
        any(((low - 2 <= lines) & (lines <= high + 2)).any() for low, high in ((a, c), (b, d)))
        for a, b, c, d in boxes
    ]
    assert agreement.crossed(boxes, tile, step).tolist() == near
