"""What compiled code says of lines and widths is what geometry and brute force say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from shapely import LineString

from postprocess.roads.apart import plainly_apart
from postprocess.roads.network import network
from postprocess.roads.sample import half_widths
from postprocess.roads.topology import meetings, repeated
from tests.fixtures_roads import road_context


def found(*lines):
    return network(np.array([LineString(line) for line in lines], dtype=object))


def apart(one, other):
    both = found(one, other)
    result = plainly_apart(both.points, both.start, np.array([0]), np.array([1]))
    return bool(result[0])


@pytest.mark.parametrize(
    "other",
    [
        [(10, 0), (20, 0)],  # straight on
        [(10, 0), (10, 9), (3, 9)],
        [(10, 0), (0, 1)],  # back at a sharp angle
        [(0, 0), (5, 8), (10, 0)],  # between the same two nodes
        [(0, 0.001), (10, 0.001)],  # beside it
        [(0, 3), (5, 1), (10, 3)],
    ],
)
def test_lines_that_share_ends_alone_are_apart(other):
    line = [(0, 0), (10, 0)]
    assert apart(line, other)
    assert apart(other, line)
    assert len(meetings(found(line, other))[0]) == 0


@pytest.mark.parametrize(
    "other",
    [
        [(5, -5), (5, 5)],  # a crossing
        [(5, 0), (5, 5)],  # a T
        [(10, 0), (5, 0)],  # back along it
        [(0, 0), (5, 0), (5, 5)],  # out along it
        [(10, 0), (10, 5), (5, -5)],  # shares an end, and crosses
        [(3, 3), (5, 0), (7, 3)],  # a vertex on it
        [(0, 0), (10, 0)],
        [(10, 0), (0, 0)],
        [(5, 5), (10, 0), (15, 5)],  # its end is an inner vertex of the other
    ],
)
def test_lines_that_meet_elsewhere_are_looked_at(other):
    line = [(0, 0), (10, 0)]
    assert not apart(line, other)
    assert not apart(other, line)
    assert len(meetings(found(line, other))[0]) > 0


def test_random_lines_agree_with_exact_geometry():
    rng = np.random.default_rng(4)
    # Few nodes, so that many lines share one or run along each other.
    nodes = rng.integers(0, 8, (12, 2)).astype(float)
    lines = []
    while len(lines) < 120:
        middle = rng.uniform(0, 8, (rng.integers(0, 4), 2)).round(1)
        ends = nodes[rng.choice(12, 2, replace=False)]
        lines.append(np.concatenate([ends[:1], middle, ends[1:]]))
    every = found(*(line for line in lines if shapely.is_simple(LineString(line))))
    one, other = np.triu_indices(len(every), 1)
    clear = plainly_apart(every.points, every.start, one, other)
    assert 0.05 < clear.mean() < 0.95
    common = shapely.intersection(every.lines[one[clear]], every.lines[other[clear]])
    assert (shapely.length(common) == 0).all()
    places, pair = shapely.get_coordinates(common, return_index=True)
    for line in (one[clear][pair], other[clear][pair]):
        tips = every.nodes[every.ends[line]]
        assert (tips == places[:, None]).all(axis=2).any(axis=1).all()


def test_a_line_is_repeated_whichever_way_it_runs():
    line, curve = [(0, 0), (10, 0)], [(0, 0), (5, 1), (10, 0)]
    assert repeated(found(line, curve, line[::-1], curve, [(0, 0), (9, 0)])).tolist() == [
        False,
        False,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("fill", [0.1, 0.6, 0.97, 1.0])
def test_half_widths_are_those_of_brute_force(tmp_path: Path, fill):
    rng = np.random.default_rng(int(fill * 100))
    mask = rng.random((70, 90)) < fill
    context = road_context(tmp_path, (mask * 255).astype(np.uint8))
    work = {**context.rasters, "clean": context.rasters["probability"]}
    context = type(context)(**{**vars(context), "rasters": work})
    # Corners, pixel centres and borders are where distances tie.
    some = np.stack([rng.uniform(0, 90, 300), rng.uniform(0, 70, 300)], axis=1)
    points = np.concatenate([some, np.floor(some), np.floor(some) + 0.5])
    off = np.argwhere(~mask)[:, ::-1] + 0.5
    reach = 7.5
    far = np.full(len(points), reach + 0.5)
    if len(off):
        far = np.minimum(far, np.sqrt(((points[:, None] - off) ** 2).sum(axis=2)).min(axis=1))
    on = mask[points[:, 1].astype(int), points[:, 0].astype(int)]
    wanted = np.where(on, np.clip(far - 0.5, 0, None), 0)
    assert half_widths(context, points, reach).tolist() == wanted.tolist()
    assert wanted.max() > 0
