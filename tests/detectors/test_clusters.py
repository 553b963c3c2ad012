"""Clusters of boxes: the index says what comparing with all says, and numpy too, to the bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.kernels.fuse import reference
from detectors.kernels.fuse.grid import FEW, clusters, overlapping
from detectors.views import iou_matrix


def plainly(boxes, say, labels, least):
    n, count = len(boxes), 0
    cluster, mean, weighted = np.empty(n, np.int64), np.empty((n, 4)), np.empty((n, 4))
    total, kind = np.empty(n), np.empty(n, np.int64)
    for i in range(n):
        iou = iou_matrix(boxes[i : i + 1], mean[:count])[0]
        iou[kind[:count] != labels[i]] = 0
        j = int(np.argmax(iou)) if count else 0
        if count and iou[j] > least:
            weighted[j] += say[i] * boxes[i]
            total[j] += say[i]
            mean[j] = weighted[j] / total[j] if total[j] > 0 else mean[j]
        else:
            j, count = count, count + 1
            weighted[j], total[j], kind[j], mean[j] = say[i] * boxes[i], say[i], labels[i], boxes[i]
        cluster[i] = j
    return cluster


def boxes_of(rng, n, crowd, whole, wide=300.0):
    """Boxes in `crowd` heaps; whole numbers make ties and boxes without an area."""
    heaps = rng.uniform(0, wide, (crowd, 2))
    centre = heaps[rng.integers(crowd, size=n)] + rng.normal(0, 6, (n, 2))
    half = rng.uniform(0, 25, (n, 2))
    boxes = np.concatenate([centre - half, centre + half], 1)
    return boxes.round() if whole else boxes


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 120),
    st.integers(1, 8),
    st.booleans(),
    st.sampled_from([0.0, 0.3, 0.5, 0.95]),
)
@settings(max_examples=120, deadline=None)
def test_the_same_as_plain_numpy_to_the_bit(seed, n, crowd, whole, least):
    rng = np.random.default_rng(seed)
    boxes = boxes_of(rng, n, crowd, whole)
    say = rng.choice([0.0, 0.25, 0.5, 1.0], n) if whole else rng.random(n)
    say = -np.sort(-say)
    labels = rng.integers(0, 3, n)
    found = clusters(boxes, say, labels, least)
    np.testing.assert_array_equal(found, plainly(boxes, say, labels, least))
    np.testing.assert_array_equal(found, reference.clusters(boxes, say, labels, least))
    assert found.dtype == np.int64


def odd(rng, boxes, kind):
    """Boxes with some that are of other sizes, the wrong way round, or no numbers."""
    some = rng.integers(len(boxes), size=len(boxes) // 8)
    boxes = boxes.copy()
    if kind == "giants":
        boxes[some] = boxes[some] * 40 - 3000
    elif kind == "dwarfs":
        boxes[some, 2:] = boxes[some, :2] + 10.0 ** rng.uniform(-18, -1, (len(some), 1))
    elif kind == "turned":
        boxes[some] = boxes[some][:, [2, 1, 0, 3]]
    elif kind == "far":
        boxes[some] += 10.0 ** rng.uniform(3, 18, (len(some), 1))
    elif kind == "no numbers":
        boxes[some, rng.integers(4, size=len(some))] = rng.choice([np.nan, np.inf, -np.inf])
    elif kind == "negative":
        boxes *= -0.01
    return boxes


@given(
    st.integers(0, 2**32 - 1),
    st.integers(FEW + 1, 900),
    st.sampled_from([1, 7, 60, 400]),
    st.booleans(),
    st.sampled_from(["", "giants", "dwarfs", "turned", "far", "no numbers", "negative"]),
    st.sampled_from([1e-3, 0.05, 0.3, 0.55, 0.95, 1.0, 1.5, -1.0, float("nan")]),
    st.sampled_from([np.float32, np.float64]),
)
@settings(max_examples=150, deadline=None)
def test_the_index_changes_no_bit(seed, n, crowd, whole, kind, least, dtype):
    rng = np.random.default_rng(seed)
    boxes = odd(rng, boxes_of(rng, n, crowd, whole, 3000.0), kind).astype(dtype)
    say = rng.choice([0.0, 1e-300, 0.25, 0.5, 1.0], n) if whole else rng.random(n)
    say = -np.sort(-say).astype(dtype)
    labels = rng.integers(0, 3, n)
    found = clusters(boxes, say, labels, least)
    np.testing.assert_array_equal(found, reference.clusters(boxes, say, labels, least))


def test_of_equal_overlaps_the_first_cluster_counts_wherever_the_index_has_it():
    """Clusters left and right of a box, and the later one in the cell that is looked at first."""
    at = np.arange(400.0) * 30
    row = np.stack([at, at * 0, at + 10, at * 0 + 10], 1)
    right, left = np.array([[5, 0, 15, 10.0]]), np.array([[-5, 0, 5, 10.0]])
    boxes = np.concatenate([row[1:] + 3000, right, left, row[:1]])
    n = len(boxes)
    found = clusters(boxes, np.ones(n), np.zeros(n, np.int64), 0.3)
    assert found[-3:].tolist() == [n - 3, n - 2, n - 3]


@pytest.mark.parametrize("scale", [1e-15, 1e15])
def test_clusters_too_small_or_far_for_the_index_are_found_too(scale):
    """One box on either side of what the index takes, and the other joins it."""
    at = np.arange(400.0) * 30
    row = np.stack([at, at, at + 10, at + 10], 1) + 500
    pair = np.array([[0.1, 0.1, 1.01, 1.01], [0.1, 0.1, 1.09, 1.09], [0.1, 0.1, 0.99, 0.99]])
    boxes = np.concatenate([row, pair * scale])
    n = len(boxes)
    for order in ([*range(n)], [*range(n - 3), n - 1, n - 2, n - 3]):
        found = clusters(boxes[order], np.ones(n), np.zeros(n, np.int64), 0.3)
        assert found[-3:].tolist() == [n - 3] * 3


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 120),
    st.integers(1, 30),
    st.booleans(),
    st.sampled_from(["", "giants", "turned", "no numbers"]),
)
@settings(max_examples=60, deadline=None)
def test_every_pair_that_overlaps(seed, n, crowd, whole, kind):
    rng = np.random.default_rng(seed)
    boxes = odd(rng, boxes_of(rng, n, crowd, whole), kind)
    with np.errstate(invalid="ignore"):
        expected = np.triu(iou_matrix(boxes, boxes) > 0, 1)
    one, two = overlapping(boxes)
    found = np.zeros((n, n), int)
    np.add.at(found, (one, two), 1)
    assert found.max(initial=0) <= 1 and not np.tril(found).any()
    assert not (expected & (found == 0)).any()
    if kind in {"", "giants"} and not whole:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("least", [0.0, 0.5])
def test_what_has_no_area_or_counts_for_nothing_joins_nothing_wrong(least):
    boxes = np.array([[0, 0, 10, 10], [5, 5, 5, 9], [0, 0, 10, 9], [np.inf] * 4], np.float64)
    found = clusters(boxes, np.array([0.0, 0.0, 0.0, 0.0]), np.zeros(4, np.int64), least)
    assert found.tolist() == [0, 1, 0, 2]
