"""Measures against cases worked out by hand, and against networkx."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.matching import match, overlaps
from lanner.factory.metrics.bootstrap import draws, estimate, f1, paired, ratio
from lanner.factory.metrics.graphs import Points, distances, noded, places, snapped, spread
from lanner.factory.metrics.precision import (
    AREAS,
    COCO_IOU,
    Truth,
    best_f1,
    curve,
    mean_statistic,
    per_image,
    pool,
)
from lanner.factory.metrics.reliability import reliability
from lanner.factory.metrics.roads import apls, topo
from lanner.factory.metrics.types import deepest, levels, rank_types

HALF = np.array([0.5])


def boxes(*rows):
    return np.array(rows, np.float64).reshape(-1, 4)


def truth(*rows, ignored=()):
    flags = np.zeros(len(rows), bool)
    flags[list(ignored)] = True
    return Truth(boxes(*rows), flags)


def square(x, y=0, side=10):
    return (x, y, x + side, y + side)


ONE = (boxes(square(0), square(200), square(50)), np.array([0.9, 0.8, 0.7]))
REAL = truth(square(0), square(50))


def value(statistic, images=1):
    return float(statistic(np.ones((1, images)))[0])


def test_average_precision_by_hand():
    one = pool([ONE], [REAL], HALF)
    # Precision is 1 up to recall 0.5 (51 of the 101 recalls), then 2 of 3.
    assert value(one.statistic()) == pytest.approx((51 + 50 * 2 / 3) / 101)
    scores, precision, recall = curve(one)
    assert scores.tolist() == [0.9, 0.8, 0.7]
    np.testing.assert_allclose(precision, [1, 1 / 2, 2 / 3])
    np.testing.assert_allclose(recall, [0.5, 0.5, 1])
    assert best_f1(one) == (pytest.approx(0.8), 0.7)
    assert [part.tolist() for part in per_image(one)] == [[2], [3], [2]]


def test_coco_mean_over_overlaps_by_hand():
    # Shifted by 2 of 10 pixels the overlap is 8 / 12: right at 0.50, 0.55, 0.60 and 0.65 alone.
    one = pool([(boxes(square(2)), np.array([0.9]))], [truth(square(0))], COCO_IOU)
    assert value(one.statistic()) == pytest.approx(0.4)
    # Ten to a hair is enough: an overlap of exactly the threshold counts.
    exact = pool([(boxes((0, 0, 10, 5)), np.array([0.9]))], [truth(square(0))], HALF)
    assert value(exact.statistic()) == 1


def test_sizes_leave_other_objects_out():
    real = truth(square(0), square(100, side=40))
    found = (boxes(square(0), square(100, side=40), square(300)), np.array([0.9, 0.8, 0.95]))
    small = pool([found], [real], HALF, AREAS["small"])
    medium = pool([found], [real], HALF, AREAS["medium"])
    # Of the small ones: a false one before the right one; of the medium ones the right one alone.
    assert value(small.statistic()) == pytest.approx(0.5)
    assert value(medium.statistic()) == 1
    assert np.isnan(value(pool([found], [real], HALF, AREAS["large"]).statistic()))


def test_ignored_regions_count_neither_way():
    real = truth(square(0), (100, 0, 200, 100), ignored=[1])
    found = boxes(square(0), square(120), square(150), square(95), square(400))
    matches = match(
        found, np.array([0.9, 0.8, 0.7, 0.6, 0.5]), real.boxes, HALF, None, real.ignored
    )
    # One that lies half in the region is ignored too; a region takes any number.
    assert matches.ignored[0].tolist() == [False, True, True, True, False]
    assert matches.hit[0].tolist() == [True, False, False, False, False]
    one = pool([(found, np.array([0.9, 0.8, 0.7, 0.6, 0.5]))], [real], HALF)
    assert [part.tolist() for part in per_image(one)] == [[1], [2], [1]]


def test_the_better_score_takes_the_object_and_the_next_takes_another():
    found = boxes((0, 0, 10, 10), (1, 0, 11, 10))
    real = boxes((1, 0, 11, 10), (0, 0, 10, 10))
    matches = match(found, np.array([0.5, 0.9]), real, HALF)
    assert matches.truth[0].tolist() == [1, 0]
    matches = match(found, np.array([0.5, 0.9]), real[:1], HALF)
    assert matches.truth[0].tolist() == [-1, 0]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_an_image_counted_twice_is_two_images(seed):
    rng = np.random.default_rng(seed)
    found, real = [], []
    for _ in range(3):
        corner = rng.integers(0, 30, (6, 2)) * 1.0
        rows = np.concatenate([corner, corner + rng.integers(4, 12, (6, 2))], axis=1)
        found.append((rows[:4], rng.random(4)))
        real.append(Truth(rows[3:] + rng.integers(-1, 2, (3, 4)), rng.random(3) < 0.2))
    weights = np.array([[2.0, 0.0, 1.0]])
    one = pool(found, real, COCO_IOU)
    twice = pool([found[0], found[0], found[2]], [real[0], real[0], real[2]], COCO_IOU)
    np.testing.assert_allclose(one.statistic()(weights)[0], value(twice.statistic(), 3))
    right, claims, objects = per_image(one)
    other = per_image(twice)
    assert (weights @ right)[0] == other[0].sum()
    assert value(f1(*other), 3) == pytest.approx(float(f1(right, claims, objects)(weights)[0]))


def test_mean_over_classes_leaves_out_those_without_objects():
    some, none = pool([ONE], [REAL], HALF), pool([ONE], [truth()], HALF)
    assert value(mean_statistic([some, none])) == pytest.approx(value(some.statistic()))


def test_overlap_with_a_region_is_by_the_detections_own_area():
    iou = overlaps(boxes(square(0)), boxes((5, 0, 100, 100), square(5)), np.array([True, False]))
    np.testing.assert_allclose(iou, [[0.5, 1 / 3]])


def test_intervals_hold_the_value_and_pairs_are_narrower():
    rng = np.random.default_rng(3)
    right = rng.integers(0, 10, 60).astype(float)
    found = right + rng.integers(0, 4, 60)
    better = np.minimum(right + (rng.random(60) < 0.3), found)
    weights = draws(60, 400)
    assert weights.shape == (400, 60)
    assert (weights.sum(axis=1) == 60).all()
    one, two = ratio(right, found), ratio(better, found)
    interval = estimate(one, 60, weights)
    assert interval["low"] < interval["value"] < interval["high"]
    assert interval["value"] == pytest.approx(right.sum() / found.sum(), abs=1e-6)
    gap = paired(one, two, weights)
    assert 0 < gap["low"] < gap["value"] < gap["high"]
    assert gap["above"] == 1
    assert gap["high"] - gap["low"] < interval["high"] - interval["low"]
    assert paired(one, one, weights)["value"] == 0


def test_what_cannot_be_said_is_none():
    assert estimate(ratio(np.zeros(2), np.zeros(2)), 2, draws(2, 5)) == {
        "value": None,
        "low": None,
        "high": None,
    }


def test_a_single_image_has_no_interval():
    """Every draw is that image again: an interval of no width would say that all is known."""
    assert estimate(ratio(np.array([3.0]), np.array([4.0])), 1, draws(1, 50)) == {"value": 0.75}


def test_calibration_error_by_hand():
    scores = np.array([0.95, 0.95, 0.15, 0.15])
    right = np.array([1.0, 0.0, 0.0, 0.0])
    bins = reliability(scores, right, np.array([0, 0, 1, 1]), 2)
    assert value(bins.error(), 2) == pytest.approx((0.45 * 2 + 0.15 * 2) / 4)
    assert float(bins.error()(np.array([[0.0, 1.0]]))[0]) == pytest.approx(0.15)
    assert bins.diagram() == [
        {"said": 0.15, "right": 0.0, "share": 0.5},
        {"said": 0.95, "right": 0.5, "share": 0.5},
    ]


def lines(*rows):
    return np.array([shapely.LineString(row) for row in rows], object)


GRID = lines(*(((0, y), (400, y)) for y in (0, 200, 400)), *(((x, 0), (x, 400)) for x in (0, 400)))


def test_lines_are_cut_where_they_meet():
    cross = noded(lines([(0, 0), (10, 10)], [(0, 10), (10, 0)]))
    assert sorted(shapely.length(cross).round(6)) == [round(50**0.5, 6)] * 4


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_ways_are_those_of_networkx(seed):
    rng = np.random.default_rng(seed)
    nodes = rng.integers(0, 50, (7, 2)) * 1.0
    pairs = {tuple(sorted(p)) for p in rng.integers(0, 7, (9, 2)).tolist() if p[0] != p[1]}
    pairs = [p for p in sorted(pairs) if (nodes[p[0]] != nodes[p[1]]).any()]
    net = lines(*((nodes[a], nodes[b]) for a, b in pairs))
    graph = nx.Graph()
    for line in net:
        ends = [tuple(map(float, xy)) for xy in line.coords]
        graph.add_edge(*ends, weight=line.length)
    starts = Points(np.arange(len(net)), np.zeros(len(net)))
    ends = Points(np.arange(len(net)), shapely.length(net))
    ways = distances(net, starts, ends)
    for i, one in enumerate(net):
        reach = nx.single_source_dijkstra_path_length(graph, tuple(map(float, one.coords[0])))
        for j, two in enumerate(net):
            expected = reach.get(tuple(map(float, two.coords[-1])), np.inf)
            assert ways[i, j] == pytest.approx(expected, abs=1e-5)


def test_points_along_lines_and_back():
    net = lines([(0, 0), (100, 0)], [(0, 50), (30, 50)])
    points = spread(net, 10)
    assert len(points) == 13
    xy = places(net, points)
    again, near = snapped(net, xy + np.array([0, 3]), 4)
    assert near.all()
    assert again.line.tolist() == points.line.tolist()
    np.testing.assert_allclose(again.at, points.at)
    assert not snapped(net, xy + np.array([0, 5]), 4)[1].any()


def test_apls_of_the_same_network_is_one_and_of_nothing_zero():
    grid = noded(GRID)
    assert apls(grid, grid) == pytest.approx(1)
    assert apls(grid[:0], grid) == 0
    assert apls(grid, grid[:0]) == 0
    assert np.isnan(apls(grid[:0], grid[:0]))


def test_apls_by_hand():
    # One road of 100 m with control points at 0, 50 and 100; half of it was found, with control
    # points at 0 and 50. Of the three true ways one is there; found ways are all true.
    whole, half = lines([(0, 0), (100, 0)]), lines([(0, 0), (50, 0)])
    there, back = 1 / 3, 1.0
    assert apls(half, whole) == pytest.approx(2 * there * back / (there + back))
    assert apls(whole, half) == pytest.approx(apls(half, whole))


def test_apls_sees_a_gap_that_pixels_do_not():
    whole = lines([(0, 0), (400, 0)])
    broken = lines([(0, 0), (198, 0)], [(202, 0), (400, 0)])
    assert apls(broken, whole) < 0.75
    shifted = lines([(0, 3), (400, 3)])
    assert apls(shifted, whole) == pytest.approx(1)
    assert apls(lines([(0, 5), (400, 5)]), whole) == 0
    # In half-metre pixels five of them are near enough.
    assert apls(lines([(0, 5), (400, 5)]), whole, metre=2.0) == pytest.approx(1)


def test_topo_counts_holes_and_marbles():
    grid = noded(GRID)
    assert topo(grid, grid).f1 == 1
    whole, half = lines([(0, 0), (200, 0)]), lines([(0, 0), (100, 0)])
    counts = topo(half, whole)
    # From the start at 50 all 20 marbles are reached, from that at 150 none; both see 40 holes.
    assert (counts.matched, counts.marbles, counts.holes) == (20, 20, 80)
    assert counts.precision == 1
    assert counts.recall == 0.25
    assert topo(whole, whole[:0]).precision == 0
    assert topo(whole[:0], whole).recall == 0


def test_topo_punishes_a_road_that_is_not_there():
    whole = lines([(0, 0), (200, 0)])
    more = noded(np.concatenate([whole, lines([(100, 0), (100, 200)])]))
    counts = topo(more, whole)
    assert counts.recall == 1
    # Twice as many marbles; the three nearest to the junction find no free hole.
    assert counts.precision == pytest.approx(0.5, abs=0.02)


def test_types_and_the_level_that_is_sure():
    path = ["aircraft", "airliner", "narrow"]
    ranks = rank_types(
        [["A320", "B738"], ["C172"], ["B738", "A320"]],
        [path, ["aircraft", "light"], ["aircraft", "airliner"]],
        ["A320", "C172", "A320"],
        [[*path, "A-320"], ["aircraft", "airliner"], [*path, "A-320"]],
    )
    assert ranks.rank.tolist() == [0, 0, 1]
    assert [one["precision"] for one in levels(ranks)] == [1, pytest.approx(2 / 3, abs=1e-6), 1]
    assert [one["given"] for one in levels(ranks)] == [1, 1, pytest.approx(1 / 3, abs=1e-6)]
    assert deepest(ranks, 0.95) == 0
    assert deepest(ranks, 0.6) == 2
