"""Weighted box fusion against the paper's algorithm in plain loops, and what it promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.fusion import fuse
from detectors.views import Views, iou_matrix, no_views
from lanner.core.config import Fusion

PAPER = Fusion(iou=0.5, cross_member_iou=1.0, missing=1.0, min_score=0.0)


def overlap(a, b):
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h
    return w * h / area


def by_hand(views, weights, least):
    """Solovyev et al., section 3, box by box; a member votes with its best box of a cluster."""
    rows = [
        (score * weights[m], score, m, int(label), tuple(box))
        for m, view in enumerate(views)
        for box, score, label in zip(view.boxes, view.scores, view.labels, strict=True)
    ]
    rows.sort(key=lambda r: (-r[0], r[3], r[4], r[2]))
    clusters = []
    for row in rows:
        best, where = least, None
        for cluster in clusters:
            fit = overlap(cluster["box"], row[4])
            if cluster["label"] == row[3] and fit > best:
                best, where = fit, cluster
        if where is None:
            clusters.append({"label": row[3], "rows": [row], "box": row[4]})
        else:
            where["rows"].append(row)
            total = sum(r[0] for r in where["rows"])
            where["box"] = tuple(
                sum(r[0] * r[4][k] for r in where["rows"]) / total for k in range(4)
            )
    out = []
    for cluster in clusters:
        votes = {}
        for _, score, m, _, _ in cluster["rows"]:
            votes[m] = max(score, votes.get(m, 0))
        mean = sum(weights[m] * v for m, v in votes.items()) / sum(weights[m] for m in votes)
        share = sum(weights[m] for m in votes) / sum(weights)
        out.append((mean * share, cluster["box"], cluster["label"], votes))
    return out


@st.composite
def tiles(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    centres = rng.uniform(20, 180, (draw(st.integers(1, 8)), 2))
    sizes = rng.uniform(8, 40, (len(centres), 2))
    views = []
    for _ in range(draw(st.integers(1, 3))):
        present = rng.random(len(centres)) < 0.8
        twice = np.repeat(np.flatnonzero(present), 1 + (rng.random(present.sum()) < 0.2))
        jitter = rng.normal(0, 2, (len(twice), 4))
        boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], 1)[twice] + jitter
        labels = (twice % 2).astype(np.int64)
        views.append(Views.of(boxes, rng.uniform(0.05, 1, len(twice)), labels))
    weights = rng.uniform(0.5, 2, len(views)).tolist()
    return views, weights


@settings(max_examples=150, deadline=None)
@given(tiles())
def test_same_as_the_papers_loops(tile):
    views, weights = tile
    fused = fuse(views, weights, PAPER)
    expected = sorted(by_hand(views, weights, 0.5), key=lambda e: (-e[0], e[1]))
    assert len(fused) == len(expected)
    np.testing.assert_allclose(fused.scores, [e[0] for e in expected], rtol=1e-9)
    hand = np.reshape([e[1] for e in expected], (-1, 4))
    np.testing.assert_allclose(fused.boxes, hand, rtol=1e-9)
    assert fused.labels.tolist() == [e[2] for e in expected]
    for row, (*_, votes) in zip(fused.votes, expected, strict=True):
        assert {m: v for m, v in enumerate(row.tolist()) if not np.isnan(v)} == pytest.approx(votes)


@settings(max_examples=50, deadline=None)
@given(tiles(), st.randoms(use_true_random=False))
def test_the_order_of_boxes_is_no_matter(tile, random):
    views, weights = tile
    turned = []
    for view in views:
        order = list(range(len(view)))
        random.shuffle(order)
        turned.append(Views.of(view.boxes[order], view.scores[order], view.labels[order]))
    one, two = fuse(views, weights, Fusion()), fuse(turned, weights, Fusion())
    np.testing.assert_array_equal(one.boxes, two.boxes)
    np.testing.assert_array_equal(one.scores, two.scores)


def ring(x0, y0, x1, y1):
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]], np.float64)


def test_a_lone_member_costs_what_the_parameter_says():
    views = Views.of(np.array([[0, 0, 10, 10.0]]), np.array([0.8]))
    for missing, score in ((0.0, 0.8), (0.5, 0.8 * 0.625), (1.0, 0.8 * 0.25)):
        fused = fuse([views, no_views()], [1.0, 3.0], Fusion(missing=missing, min_score=0))
        assert fused.scores.tolist() == pytest.approx([score])
        assert fused.votes[0, 0] == 0.8
        assert np.isnan(fused.votes[0, 1])


def test_an_instance_lends_its_outline_to_the_box_it_fits():
    boxes = np.array([[0, 0, 20, 20], [40, 0, 60, 20.0]])
    rings = [ring(41, 1, 59, 19), ring(1, 1, 19, 19)]
    mask = Views.of(boxes[::-1], np.array([0.7, 0.6]), outlines=rings)
    fused = fuse([Views.of(boxes, np.array([0.9, 0.8])), mask], [1, 1], Fusion())
    assert fused.boxes[:, 0].tolist() == [40.0, 0.0] or fused.boxes[:, 0].tolist() == [0.0, 40.0]
    for box, outline in zip(fused.boxes, fused.outlines, strict=True):
        assert outline is not None
        assert outline[:, 0].min() == box[0] + 1


def test_one_object_seen_by_each_member_differently_is_rejoined():
    box = Views.of(np.array([[0, 0, 40, 40.0]]), np.array([0.9]))
    part = Views.of(np.array([[0, 0, 40, 16.0]]), np.array([0.6]), outlines=[ring(0, 0, 40, 16)])
    apart = fuse([box, part], [1, 1], Fusion(cross_member_iou=1, min_score=0))
    joined = fuse([box, part], [1, 1], Fusion(cross_member_iou=0.3, min_score=0))
    assert (len(apart), len(joined)) == (2, 1)
    assert joined.scores[0] == pytest.approx(0.75)
    assert joined.outlines[0] is not None


def test_two_neighbours_of_one_member_are_never_rejoined():
    close = Views.of(np.array([[0, 0, 40, 40], [0, 20, 40, 60.0]]), np.array([0.9, 0.8]))
    assert iou_matrix(close.boxes, close.boxes)[0, 1] > 0.3
    assert len(fuse([close, no_views()], [1, 1], Fusion(min_score=0))) == 2


def test_nothing_in_nothing_out_and_low_scores_go():
    assert len(fuse([no_views(), no_views()], [1, 1], Fusion())) == 0
    faint = Views.of(np.array([[0, 0, 10, 10.0]]), np.array([0.15]))
    assert len(fuse([faint, no_views()], [1, 1], Fusion(missing=0, min_score=0.1))) == 1
    assert len(fuse([faint, no_views()], [1, 1], Fusion(missing=0.5, min_score=0.12))) == 0
