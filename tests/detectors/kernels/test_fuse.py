"""Clusters by the kernel and by the index against comparing with all, and fusion as published."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.kernels.fuse import clusters, kernel, reference, weighted_boxes_fusion


def scene(seed, n, groups, whole=False, crowd=6):
    """Boxes in heaps; whole numbers make ties, boxes without an area and what counts nothing."""
    rng = np.random.default_rng(seed)
    heaps = rng.uniform(0, 300, (crowd, 2))
    centre = heaps[rng.integers(crowd, size=n)] + rng.normal(0, 6, (n, 2))
    half = rng.uniform(0, 25, (n, 2))
    boxes = np.concatenate([centre - half, centre + half], 1).astype(np.float32)
    say = rng.choice([0.0, 0.25, 0.5, 1.0], n) if whole else rng.random(n)
    boxes = boxes.round() if whole else boxes
    return boxes, -np.sort(-say).astype(np.float32), rng.integers(0, groups, n) * 7


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("least", [0.0, 0.3, 0.55])
@pytest.mark.parametrize(("n", "groups"), [(0, 1), (1, 1), (60, 1), (150, 5), (40, 40)])
def test_the_kernel_as_the_reference(n, groups, least, whole, device):
    args = scene(n, n, groups, whole)
    expected = reference.clusters(*args, least)
    got = kernel.clusters(*(torch.from_numpy(a).to(device) for a in args), least)
    assert got.dtype == torch.int64
    np.testing.assert_array_equal(got.cpu().numpy(), expected)


def test_more_clusters_than_the_kernel_looks_at_at_once(device):
    """The best cluster of a box may lie in any block, and of equal ones the first counts."""
    n = kernel.BLOCK + 40
    left = np.arange(n, dtype=np.float32) * 10
    boxes = np.stack([left, left * 0, left + 9, left * 0 + 9], 1)
    # Each of the last overlaps two neighbours alike.
    between = boxes[[3, 250, kernel.BLOCK - 1, n - 2]] + np.float32([5, 0, 5, 0])
    boxes = np.concatenate([boxes, between])
    say, groups = np.ones(len(boxes), np.float32), np.zeros(len(boxes), np.int64)
    got = kernel.clusters(*(torch.from_numpy(a).to(device) for a in (boxes, say, groups)), 0.2)
    assert got[n:].tolist() == [3, 250, kernel.BLOCK - 1, n - 2]
    np.testing.assert_array_equal(got.cpu().numpy(), reference.clusters(boxes, say, groups, 0.2))


def test_tensors_on_a_cpu_go_to_the_index():
    boxes, say, groups = scene(3, 400, 4, crowd=90)
    got = clusters(torch.from_numpy(boxes), torch.from_numpy(say), torch.from_numpy(groups), 0.5)
    np.testing.assert_array_equal(got.numpy(), reference.clusters(boxes, say, groups, 0.5))


def iou(a, b):
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(wide, 0) * max(high, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def published(boxes, scores, labels, weights, least):
    """Solovyev et al., section 3, steps 1 to 6, one class after the other."""
    out = []
    models = [(m, i) for m, some in enumerate(boxes) for i in range(len(some))]
    for kind in sorted({labels[m][i] for m, i in models}):
        rows = [(m, i) for m, i in models if labels[m][i] == kind]
        rows.sort(key=lambda r: -scores[r[0]][r[1]] * weights[r[0]])
        found = []
        for m, i in rows:
            box, say = boxes[m][i], scores[m][i] * weights[m]
            fits = [iou(box, one["box"]) for one in found]
            if fits and max(fits) > least:
                one = found[fits.index(max(fits))]
                one["rows"].append((say, box))
                total = sum(s for s, _ in one["rows"])
                one["box"] = sum(s * b for s, b in one["rows"]) / total
            else:
                found.append({"box": box, "rows": [(say, box)]})
        for one in found:
            many = len(one["rows"])
            score = sum(s for s, _ in one["rows"]) / many
            out.append((score * min(many, len(boxes)) / sum(weights), *one["box"], kind))
    return np.reshape(sorted(out, key=lambda r: -r[0]), (-1, 6))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 3))
def test_the_published_method(seed, models, classes):
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 0.7, (12, 2))
    true = np.concatenate([low, low + rng.uniform(0.1, 0.3, (12, 2))], 1)
    rows_of = [rng.integers(12, size=rng.integers(1, 25)) for _ in range(models)]
    boxes = [(true[rows] + rng.normal(0, 0.01, (len(rows), 4))).clip(0, 1) for rows in rows_of]
    scores = [rng.uniform(0.01, 1, len(rows)) for rows in rows_of]
    labels = [rows % classes for rows in rows_of]
    weights = rng.uniform(0.5, 3, models).tolist()
    fused, score, kind = weighted_boxes_fusion(boxes, scores, labels, weights, 0.55)
    expected = published(boxes, scores, labels, weights, 0.55)
    np.testing.assert_allclose(score, expected[:, 0], rtol=1e-9)
    np.testing.assert_allclose(fused, expected[:, 1:5], rtol=1e-9)
    assert kind.dtype == np.int64
    np.testing.assert_array_equal(kind, expected[:, 5])


def test_what_is_no_box_of_the_unit_square():
    boxes = [[[0.5, 0.5, 0.2, 0.1], [-1, 0.8, 0.3, 7], [0.4, 0.4, 0.4, 0.9], [2, 2, 3, 3]]]
    fused, score, kind = weighted_boxes_fusion(boxes, [[0.9, 0.8, 0.7, 0.6]], [[1, 2, 1, 1]])
    np.testing.assert_allclose(fused, [[0.2, 0.1, 0.5, 0.5], [0, 0.8, 0.3, 1]], rtol=1e-15)
    assert score.tolist() == [0.9, 0.8]
    assert kind.tolist() == [1, 2]


def test_faint_boxes_are_left_out_and_nothing_is_nothing():
    boxes = [[[0, 0, 0.5, 0.5], [0.6, 0.6, 0.8, 0.8]], np.empty((0, 4))]
    scores, labels = [[0.3, 0.1], []], [[0, 0], []]
    assert len(weighted_boxes_fusion(boxes, scores, labels, min_score=0.2)[1]) == 1
    for nothing in (weighted_boxes_fusion(boxes, scores, labels, min_score=0.4), ([], [], [])):
        assert [len(part) for part in nothing] == [0, 0, 0]
    assert [len(part) for part in weighted_boxes_fusion([], [], [])] == [0, 0, 0]
    with pytest.raises(ValueError, match=r"2 boxes have scores \(1,\)"):
        weighted_boxes_fusion(boxes[:1], [[0.3]], [[0, 0]])


def test_what_counts_for_nothing_still_has_a_place():
    boxes = [[[0.1, 0.1, 0.5, 0.5]], [[0.1, 0.1, 0.5, 0.5]]]
    fused, score, _ = weighted_boxes_fusion(boxes, [[0.0], [0.0]], [[0], [0]])
    assert fused.tolist() == [[0.1, 0.1, 0.5, 0.5]] and score.tolist() == [0.0]
