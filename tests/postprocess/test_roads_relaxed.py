"""Relaxed precision and recall against values worked out by hand."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from postprocess.roads.relaxed import Relaxed, relaxed_lines, relaxed_masks


def line(*xy: tuple[float, float]) -> NDArray[np.object_]:
    return np.array([shapely.LineString(xy)], dtype=object)


NONE = np.empty(0, dtype=object)


def test_masks_by_hand() -> None:
    truth, found = np.zeros((20, 50), np.bool_), np.zeros((20, 50), np.bool_)
    truth[10, :40] = True
    found[13, 20:] = True
    got = relaxed_masks(found, truth, 3)
    # Three down is near enough for columns up to 39; further right it is too far.
    assert (got.found_right, got.found, got.truth_right, got.truth) == (20, 30, 20, 40)
    assert got.precision == pytest.approx(2 / 3)
    assert got.recall == pytest.approx(1 / 2)
    assert got.f1 == pytest.approx(4 / 7)
    assert relaxed_masks(found, truth, 2.9).f1 == 0


def test_lines_by_hand() -> None:
    got = relaxed_lines(line((0, 5), (100, 5)), line((50, 7), (150, 7)), 2)
    assert got.precision == pytest.approx(0.5, abs=0.01)
    assert got.recall == pytest.approx(0.5, abs=0.01)
    assert relaxed_lines(line((0, 5), (100, 5)), line((0, 7), (100, 7)), 1.9).f1 == 0


def test_only_valid_pixels_count() -> None:
    valid = np.zeros((20, 100), np.bool_)
    valid[:, :50] = True
    got = relaxed_lines(line((0, 5), (100, 5)), line((0, 5), (50, 5)), 1, valid)
    assert (got.precision, got.recall) == (1, 1)
    mask = np.zeros((20, 100), np.bool_)
    mask[5] = True
    assert relaxed_masks(mask, mask & valid, 1, valid) == Relaxed(50, 50, 50, 50)


def test_nothing_found_or_nothing_to_find() -> None:
    nothing = relaxed_lines(NONE, NONE, 3)
    assert isnan(nothing.f1)
    assert isnan(nothing.precision)
    some = line((0, 0), (9, 0))
    assert relaxed_lines(NONE, some, 3).f1 == 0
    assert relaxed_lines(some, NONE, 3).f1 == 0
    empty, full = np.zeros((4, 4), np.bool_), np.ones((4, 4), np.bool_)
    assert relaxed_masks(empty, full, 1).recall == 0
    assert isnan(relaxed_masks(empty, full, 1).precision)


def test_counts_add_up_over_images() -> None:
    total = Relaxed(1, 2, 3, 4) + Relaxed(9, 10, 1, 6)
    assert (total.precision, total.recall) == (10 / 12, 4 / 10)


MASKS = arrays(np.bool_, (12, 13))


@settings(max_examples=80, deadline=None)
@given(MASKS, MASKS, st.floats(0, 6))
def test_masks_equal_brute_force(
    found: NDArray[np.bool_], truth: NDArray[np.bool_], buffer: float
) -> None:
    got = relaxed_masks(found, truth, buffer)
    a, b = np.argwhere(found), np.argwhere(truth)
    near = np.hypot(*(a[:, None] - b[None]).transpose(2, 0, 1)) <= buffer
    assert got.found_right == np.count_nonzero(near.any(axis=1))
    assert got.truth_right == np.count_nonzero(near.any(axis=0))
    turned = relaxed_masks(truth, found, buffer)
    assert (turned.found_right, turned.truth_right) == (got.truth_right, got.found_right)
