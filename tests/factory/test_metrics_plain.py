"""Measures against the plainest reading of their definitions, one object and one way at a time."""

from __future__ import annotations

from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
import shapely

from lanner.factory.metrics.graphs import Points, noded, places, spread
from lanner.factory.metrics.precision import AREAS, COCO_IOU, Truth, pool
from lanner.factory.metrics.roads import apls, topo

ALL = (0.0, np.inf)


def area(box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def overlap(mine, real, crowd) -> float:
    wide = min(mine[2], real[2]) - max(mine[0], real[0])
    high = min(mine[3], real[3]) - max(mine[1], real[1])
    if wide <= 0 or high <= 0:
        return 0.0
    return wide * high / (area(mine) + (0 if crowd else area(real) - wide * high))


def coco_image(found, truth: Truth, least: float, low: float, high: float):
    """(score, hit) of what counts in one image, and how many objects do; as `evaluateImg` does."""
    both = zip(truth.boxes, truth.ignored, strict=True)
    skip = np.array([crowd or not low <= area(box) < high for box, crowd in both], bool)
    order = np.argsort(skip, kind="stable")
    taken, rows = set(), []
    for k in np.argsort(-found[1], kind="stable"):
        best, which = least, -1
        for j in order:
            if j in taken and not truth.ignored[j]:
                continue
            if which >= 0 and not skip[which] and skip[j]:
                break
            value = overlap(found[0][k], truth.boxes[j], truth.ignored[j])
            if value >= best and (value > best or which < 0):
                best, which = value, j
        taken.add(which)
        outside = not low <= area(found[0][k]) < high
        if not (outside if which < 0 else skip[which]):
            rows.append((found[1][k], which >= 0))
    return rows, np.count_nonzero(~skip)


def coco(found, truth, low: float, high: float) -> float:
    """As COCO's `accumulate` and `summarize` have it."""
    values = []
    for least in COCO_IOU:
        images = [coco_image(f, t, least, low, high) for f, t in zip(found, truth, strict=True)]
        objects = sum(count for _, count in images)
        if not objects:
            return float("nan")
        rows = sorted((row for rows, _ in images for row in rows), key=lambda row: -row[0])
        hit = np.cumsum([right for _, right in rows])
        precision = hit / np.arange(1, len(rows) + 1)
        at_least = [
            max(precision[hit / objects >= recall - 1e-12], default=0.0)
            for recall in np.linspace(0, 1, 101)
        ]
        values.append(np.mean(at_least))
    return float(np.mean(values))


@pytest.mark.parametrize("seed", range(6))
def test_average_precision_is_cocos(seed):
    rng = np.random.default_rng(seed)
    found, truth = [], []
    for _ in range(3):
        corner = rng.uniform(0, 120, (6, 2))
        real = np.hstack([corner, corner + rng.uniform(10, 60, (6, 2))])
        near = real[rng.integers(0, 6, 8)] + rng.normal(0, 4, (8, 4))
        found.append((near, np.round(rng.random(8), 1)))
        truth.append(Truth(real, rng.random(6) < 0.25))
    once = np.ones((1, 3))
    for name, (low, high) in {"all": ALL, **AREAS}.items():
        limits = None if name == "all" else (low, high)
        mine = float(pool(found, truth, COCO_IOU, limits).statistic()(once)[0])
        assert mine == pytest.approx(coco(found, truth, low, high), nan_ok=True)


def network(rng) -> np.ndarray:
    """Bent roads between six places, that cross."""
    nodes = rng.uniform(0, 300, (6, 2))
    pairs = [(a, b) for a, b in rng.integers(0, 6, (9, 2)).tolist() if a != b]
    middle = [(nodes[a] + nodes[b]) / 2 + rng.normal(0, 15, 2) for a, b in pairs]
    bent = zip(pairs, middle, strict=True)
    return noded(np.array([shapely.LineString([nodes[a], m, nodes[b]]) for (a, b), m in bent]))


def graph(lines, points) -> nx.Graph:
    """Ends of lines and points (key: line, distance along it), neighbours joined."""
    result = nx.Graph()
    for number, line in enumerate(lines):
        stops = [(0.0, tuple(np.round(line.coords[0], 6)))]
        stops.append((line.length, tuple(np.round(line.coords[-1], 6))))
        stops += [(at, key) for key, (own, at) in points.items() if own == number]
        stops.sort(key=lambda stop: stop[0])
        for (a, one), (b, two) in pairwise(stops):
            if not result.has_edge(one, two) or result[one][two]["weight"] > b - a:
                result.add_edge(one, two, weight=b - a)
    return result


def beside(lines, xy, reach: float) -> dict[int, tuple[int, float]]:
    """The nearest place on the lines of each point that has one within reach."""
    result = {}
    for k, point in enumerate(shapely.points(xy)):
        far = shapely.distance(lines, point)
        near = int(far.argmin())
        if far[near] <= reach:
            result[k] = (near, float(shapely.line_locate_point(lines[near], point)))
    return result


def on(points: Points) -> dict[int, tuple[int, float]]:
    return {k: (int(points.line[k]), float(points.at[k])) for k in range(len(points))}


def similarity(one, two) -> float:
    """APLS one way: control points at most 50 apart, ends included, each place once."""
    points: dict[tuple[float, float], tuple[int, float]] = {}
    for number, line in enumerate(one):
        for at in np.linspace(0, line.length, max(int(np.ceil(line.length / 50)), 1) + 1):
            x, y = line.interpolate(at).coords[0]
            points.setdefault((round(x, 6), round(y, 6)), (number, float(at)))
    mine = dict(enumerate(points.values()))
    theirs = beside(two, np.array(list(points)), 4.0)
    ways = dict(nx.all_pairs_dijkstra_path_length(graph(one, mine)))
    others = dict(nx.all_pairs_dijkstra_path_length(graph(two, theirs)))
    costs = []
    for a in mine:
        for b in range(a):
            if b in ways[a]:
                other = others[a].get(b) if a in theirs and b in theirs else None
                costs.append(1.0 if other is None else min(abs(ways[a][b] - other) / ways[a][b], 1))
    return 1 - float(np.mean(costs))


@pytest.mark.parametrize("seed", range(4))
def test_apls_and_topo_are_those_of_networkx(seed):
    rng = np.random.default_rng(seed)
    truth = network(rng)
    kept = truth[rng.random(len(truth)) < 0.8]
    found = shapely.transform(kept, lambda xy: xy + np.array([1.5, -1.0]))
    there, back = similarity(truth, found), similarity(found, truth)
    assert apls(found, truth) == pytest.approx(2 * there * back / (there + back), abs=1e-6)
    starts, holes, marbles = spread(truth, 100), spread(truth, 5), spread(found, 5)
    hole_xy, marble_xy = places(truth, holes), places(found, marbles)
    named = {("start", k): at for k, at in on(starts).items()}
    real = graph(truth, {**named, **{("hole", k): at for k, at in on(holes).items()}})
    near = {("start", k): at for k, at in beside(found, places(truth, starts), 8.0).items()}
    mine = graph(found, {**near, **{("marble", k): at for k, at in on(marbles).items()}})
    counts = np.zeros(3, int)
    for key in named:
        walked = nx.single_source_dijkstra_path_length(real, key, 300)
        sunk = [k for kind, k in walked if kind == "hole"]
        walked = nx.single_source_dijkstra_path_length(mine, key, 300) if key in near else {}
        dropped = [k for kind, k in walked if kind == "marble"]
        pairs = nx.Graph()
        for hole in sunk:
            for marble in dropped:
                if np.hypot(*(hole_xy[hole] - marble_xy[marble])) <= 8:
                    pairs.add_edge(("hole", hole), ("marble", marble))
        counts += (len(nx.max_weight_matching(pairs, True)), len(dropped), len(sunk))
    found_counts = topo(found, truth)
    assert (found_counts.matched, found_counts.marbles, found_counts.holes) == tuple(counts)
