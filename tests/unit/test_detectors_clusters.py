"""Clusters of boxes: the compiled loop says what plain numpy says, to the bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.clusters import clusters
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


def boxes_of(rng, n, crowd, whole):
    """Boxes in `crowd` heaps; whole numbers make ties and boxes without an area."""
    centre = rng.uniform(0, 300, (crowd, 2))[rng.integers(crowd, size=n)] + rng.normal(0, 6, (n, 2))
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
    assert found.dtype == np.int64


@pytest.mark.parametrize("least", [0.0, 0.5])
def test_what_has_no_area_or_counts_for_nothing_joins_nothing_wrong(least):
    boxes = np.array([[0, 0, 10, 10], [5, 5, 5, 9], [0, 0, 10, 9], [np.inf] * 4], np.float64)
    found = clusters(boxes, np.array([0.0, 0.0, 0.0, 0.0]), np.zeros(4, np.int64), least)
    assert found.tolist() == [0, 1, 0, 2]
