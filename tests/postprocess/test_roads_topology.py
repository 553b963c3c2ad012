"""Networks as values: nodes, joins, splits, repairs and the audit."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely import LineString

from postprocess.roads import junctions
from postprocess.roads.ground import onto_valid
from postprocess.roads.network import (
    Network,
    dissolve,
    from_frame,
    in_order,
    network,
    road_frame,
    to_frame,
)
from postprocess.roads.nodes import crossings, place_nodes
from postprocess.roads.repair import (
    contract,
    drop_doubles,
    drop_small_loops,
    move_nodes,
    small_pieces,
    snap_tips,
)
from postprocess.roads.sample import on_valid
from postprocess.roads.topology import audit, meetings, node_crossings, split
from tests.fixtures_roads import arm, circle, painted, road_context


def network_of(*lines: LineString | list[tuple[float, float]]) -> Network:
    held = np.empty(len(lines), dtype=object)
    held[:] = [LineString(line) for line in lines]
    return network(held)


def shapes(found: Network) -> set[str]:
    return {line.normalize().wkt for line in found.lines}


STREETS = st.lists(
    st.lists(
        st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=2, max_size=4, unique=True
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=150, deadline=None)
@given(STREETS)
def test_noding_makes_any_lines_sound_but_for_loops(streets: list[list[tuple[int, int]]]) -> None:
    found = network_of(*streets)
    for _ in range(4):
        found, _ = drop_doubles(node_crossings(found), 0.0)
    complaints = [text for text in audit(found) if "loop" not in text]
    assert complaints == []
    whole = shapely.union_all(found.lines)
    true = shapely.segmentize(network_of(*streets).lines, 0.1)
    assert shapely.distance(shapely.points(shapely.get_coordinates(true)), whole).max() < 0.01


@settings(max_examples=100, deadline=None)
@given(STREETS)
def test_joining_through_nodes_keeps_all_lines_and_no_node_of_two(
    streets: list[list[tuple[int, int]]],
) -> None:
    found = dissolve(node_crossings(network_of(*streets)))
    before = shapely.union_all(node_crossings(network_of(*streets)).lines)
    assert shapely.length(shapely.union_all(found.lines)) == pytest.approx(before.length)
    loops = found.ends[:, 0] == found.ends[:, 1]
    for node in np.flatnonzero(found.degree == 2):
        assert loops[(found.ends == node).any(axis=1)].all()


def test_order_and_numbers_do_not_depend_on_how_lines_came() -> None:
    lines = [[(0, 0), (5, 5)], [(5, 5), (9, 0)], [(5, 5), (5, 9)], [(9, 0), (0, 0)]]
    one = in_order(network_of(*lines))
    other = in_order(network_of(*(line[::-1] for line in lines[::-1])))
    assert [line.wkt for line in one.lines] == [line.wkt for line in other.lines]
    assert one.nodes.tolist() == [[0, 0], [9, 0], [5, 5], [5, 9]]
    assert (one.ends[:, 0] <= one.ends[:, 1]).all()


@settings(max_examples=100, deadline=None)
@given(STREETS, st.booleans())
def test_order_is_that_of_ends_and_second_points(
    streets: list[list[tuple[int, int]]], noded: bool
) -> None:
    found = node_crossings(network_of(*streets)) if noded else network_of(*streets)
    for line, corners in zip(found.lines, found.corners.tolist(), strict=True):
        points = list(line.coords)
        assert [tuple(p) for p in corners] == [points[0], points[1], points[-2], points[-1]]
    drawn = []
    for line in found.lines:
        points = [(y, x) for x, y in line.coords]
        drawn.append(points[::-1] if points[-1] < points[0] else points)
    wanted = sorted(drawn, key=lambda p: (p[0], p[-1], p[1]))
    got = [[(y, x) for x, y in line.coords] for line in in_order(found).lines]
    assert [(p[0], p[-1], p[1]) for p in got] == [(p[0], p[-1], p[1]) for p in wanted]
    assert sorted(got) == sorted(drawn)


@settings(max_examples=100, deadline=None)
@given(STREETS)
def test_a_line_that_is_joined_to_none_is_not_drawn_again(
    streets: list[list[tuple[int, int]]],
) -> None:
    found = node_crossings(network_of(*streets))
    once = dissolve(found)
    twice = dissolve(once)
    assert [line.wkt for line in twice.lines] == [line.wkt for line in once.lines]
    assert {id(line) for line in twice.lines} == {id(line) for line in once.lines}
    ends = once.points[[once.start[:-1], once.start[1:] - 1]]
    assert np.array_equal(ends, once.corners[:, [0, 3]].transpose(1, 0, 2))


def test_joined_lines_take_after_their_longest_part() -> None:
    parts = network_of([(0, 0), (1, 0)], [(1, 0), (9, 0)], [(9, 0), (11, 0)])
    notes = np.array(["a", None, "b"], dtype=object)
    whole = dissolve(Network(parts.lines, parts.row, notes))
    assert len(whole) == 1
    assert whole.row.tolist() == [1]
    assert whole.note[0] == "a; b"


def test_frames_keep_rows_and_say_why_lines_went() -> None:
    found = network_of([(0, 0), (9, 0)], [(9, 0), (9, 9)])
    frame = road_frame(found.lines)
    frame["score"] = [0.2, 0.7]
    gone = Network(found.lines[:1], found.row[:1], np.array(["too short"], dtype=object))
    out = to_frame(frame, found.take(np.array([1])), gone)
    assert out.score.tolist() == [0.7, 0.2]
    assert list(out.rejected) == [None, "too short"]
    assert out.from_node.tolist() == [0, -1]


def test_split_puts_the_place_in_exactly_and_leaves_ends_alone() -> None:
    found = network_of([(0, 0), (10, 0), (10, 10)])
    places = np.array([(3.3, 0.0), (10, 0), (0, 0), (3.3, 0.0), (10, 10)])
    parts = split(found, np.zeros(5, np.int64), places)
    true = network_of([(0, 0), (3.3, 0)], [(3.3, 0), (10, 0)], [(10, 0), (10, 10)])
    assert shapes(parts) == shapes(true)
    assert parts.row.tolist() == [0, 0, 0]


def test_meetings_at_shared_nodes_are_none() -> None:
    sound = network_of([(0, 0), (5, 0)], [(5, 0), (5, 5)], [(5, 0), (9, 0)])
    assert len(meetings(sound)[0]) == 0
    crossing = network_of([(0, 0), (8, 8)], [(0, 8), (8, 0)])
    assert meetings(crossing)[2].tolist() == [[4, 4]]
    along = network_of([(0, 0), (8, 0)], [(2, 0), (6, 0)])
    assert sorted(meetings(along)[2].tolist()) == [[2, 0], [6, 0]]


@pytest.mark.parametrize(
    ("lines", "word"),
    [
        ([[(0, 0), (8, 8)], [(0, 8), (8, 0)]], "outside a node"),
        ([[(0, 0), (8, 8), (8, 0), (0, 8)]], "crosses itself"),
        ([[(0, 0), (8, 8)], [(8, 8), (0, 0)]], "there twice"),
        ([[(0, 0), (4, 4), (4, 0), (0, 0)], [(0, 0), (-5, 0)]], "loop at a junction"),
        ([[(0, 0), (0, 0)]], "no length"),
    ],
)
def test_audit_sees(lines: list[list[tuple[float, float]]], word: str) -> None:
    assert word in " ".join(audit(network_of(*lines)))


def test_audit_lets_a_ring_alone() -> None:
    assert audit(network_of(circle(50, 50, 20), [(0, 0), (5, 0)])) == []


def test_tips_near_a_line_are_joined_to_it() -> None:
    found = snap_tips(network_of([(0, 0), (20, 0)], [(8, 2), (8, 30)]), 3)
    assert shapes(found) == shapes(
        network_of([(0, 0), (8, 0)], [(8, 0), (20, 0)], [(8, 0), (8, 30)])
    )
    assert len(snap_tips(network_of([(0, 0), (20, 0)], [(8, 4), (8, 30)]), 3)) == 2


def test_junctions_near_each_other_become_one() -> None:
    lines = network_of(
        [(0, 0), (20, 0)],
        [(20, 0), (24, 0)],
        [(24, 0), (40, 0)],
        [(20, 0), (20, 20)],
        [(24, 0), (24, -20)],
    )
    found = contract(lines, np.full(len(lines.nodes), 6.0))
    assert len(found) == 4
    assert [22.0, 0.0] in found.nodes.tolist()
    assert sorted(found.degree) == [1, 1, 1, 1, 4]
    assert len(contract(lines, np.full(len(lines.nodes), 3.0))) == 5


def test_a_ladder_does_not_collapse() -> None:
    rungs = [[(5 * i, 0), (5 * i, 40)] for i in range(12)]
    rails = [[(5 * i, 0), (5 * i + 5, 0)] for i in range(11)]
    found = network_of(*rungs, *rails, [(-30, 0), (0, 0)], [(55, 0), (85, 0)])
    left = contract(found, np.full(len(found.nodes), 6.0))
    assert np.count_nonzero(left.degree >= 3) >= 4


def test_oblique_crossing_is_told_from_staggered_side_roads() -> None:
    half = network_of(
        [(0, 0), (12, 0)],
        *(LineString([(0, 0), (-40, 40 * s)]) for s in (0.45, -0.45)),
        *(LineString([(12, 0), (52, 40 * s)]) for s in (0.45, -0.45)),
    )
    most = np.full(len(half.nodes), 20.0)
    assert crossings(half, most, 25).tolist() == [True] + 4 * [False]
    staggered = network_of(
        [(0, 0), (12, 0)],
        [(0, 0), (-40, 0)],
        [(0, 0), (0, 40)],
        [(12, 0), (52, 0)],
        [(12, 0), (12, -40)],
    )
    assert not crossings(staggered, most, 25).any()


def test_moved_nodes_take_their_lines_along() -> None:
    found = network_of(
        [(0, 0), (9, 0), (9.5, 0.5), (10, 1)], [(10, 1), (20, 0)], [(10, 1), (10, 30)]
    )
    goal = found.nodes.copy()
    goal[found.degree == 3] = (10, 0)
    moved = move_nodes(found, goal)
    assert shapes(moved) == shapes(
        network_of([(0, 0), (10, 0)], [(10, 0), (20, 0)], [(10, 0), (10, 30)])
    )


def test_a_bent_junction_is_straightened(tmp_path: Path) -> None:
    context = road_context(tmp_path, np.full((200, 200), 255, np.uint8))
    bent = network_of(
        [(10, 100), (95, 100), (100, 102.5)],
        [(100, 102.5), (105, 100), (190, 100)],
        [(100, 102.5), (100, 190)],
    )
    found = place_nodes(bent, np.full(len(bent.nodes), 7.0), context)
    node = found.nodes[found.degree == 3][0]
    assert np.hypot(*(node - [100, 100])) < 0.3


def test_small_loops_go_and_large_ones_get_a_second_node() -> None:
    loop = circle(50, 50, 20)
    stem = LineString([loop.coords[0], (120, 50)])
    kept, gone = drop_small_loops(network_of(loop, stem), 200)
    assert len(kept) == len(gone) == 1
    kept, gone = drop_small_loops(network_of(loop, stem), 40)
    assert (len(kept), len(gone)) == (3, 0)
    assert audit(kept) == []


def test_doubles_go_but_not_two_sides_of_a_square() -> None:
    lines = network_of([(0, 0), (40, 0)], [(0, 0), (20, 2), (40, 0)], [(0, 0), (20, 20), (40, 0)])
    kept, gone = drop_doubles(lines, 5)
    assert [line.length for line in gone.lines] == [lines.lines[1].length]
    assert len(kept) == 2


def test_pieces_are_measured_whole() -> None:
    found = network_of(
        [(0, 0), (10, 0)], [(10, 0), (20, 0)], [(10, 0), (10, 10)], [(50, 0), (60, 0)]
    )
    assert small_pieces(found, np.full(4, 25.0)).tolist() == [False, False, False, True]


def tangled(rng: np.random.Generator) -> gpd.GeoDataFrame:
    lines = [
        arm(*rng.uniform(40, 360, 2), rng.uniform(0, 7), 0, rng.uniform(5, 200)) for _ in range(30)
    ]
    lines += [circle(*rng.uniform(60, 340, 2), rng.uniform(4, 40)) for _ in range(6)]
    held: NDArray[np.object_] = np.array(lines, dtype=object)
    return road_frame(held)


def test_lines_bend_around_invalid_corners_and_end_at_invalid_strips(tmp_path: Path) -> None:
    valid = np.ones((100, 100), np.bool_)
    valid[50:, 20:30] = False
    valid[:, 60:63] = False
    context = road_context(tmp_path, np.zeros(valid.shape, np.uint8), valid=valid)
    grazing, crossing, clear = [(5, 50.7), (50, 50.7)], [(40, 20), (90, 20)], [(5, 5), (50, 9)]
    found = onto_valid(network_of(grazing, crossing, clear), context)
    points = shapely.get_coordinates(shapely.segmentize(found.lines, 0.5))
    assert on_valid(context, points).all()
    assert LineString(clear).wkt in {line.wkt for line in found.lines}
    near = [line for line in found.lines if line.distance(shapely.Point(5, 50.7)) == 0]
    assert len(near) == 1
    assert near[0].coords[-1] == (50, 50.7)
    assert near[0].hausdorff_distance(LineString(grazing)) < 2
    pieces = shapely.union_all(found.lines).intersection(shapely.box(40, 19, 90, 21))
    assert len(shapely.get_parts(pieces.buffer(0.1))) == 2
    assert pieces.length == pytest.approx(47, abs=2)


def test_noding_copes_with_lines_that_run_almost_alike() -> None:
    rng = np.random.default_rng(4)
    wobble = [np.stack([np.arange(40.0), rng.normal(0, 1e-9, 40)], axis=1) for _ in range(4)]
    found, _ = drop_doubles(node_crossings(network_of(*wobble)), 0.0)
    assert [text for text in audit(found) if "loop" not in text] == []
    assert found.points[:, 0].max() == 39


@pytest.mark.parametrize("seed", range(8))
def test_any_tangle_comes_out_sound(tmp_path: Path, seed: int) -> None:
    frame = tangled(np.random.default_rng(seed))
    lines = np.asarray(frame.geometry.array, dtype=object)
    context = road_context(tmp_path, painted(lines, 5, 400))
    (context.workdir / "clean.tif").write_bytes(context.raster("probability").read_bytes())
    out = junctions.run(frame, context, junctions.Params())
    kept = out[out.rejected.isna()]
    assert len(kept) > 20
    assert audit(from_frame(kept)) == []
    again = junctions.run(
        frame.sample(frac=1, random_state=seed).reset_index(drop=True), context, junctions.Params()
    )
    again = again[again.rejected.isna()]
    assert shapely.equals_exact(again.geometry.array, kept.geometry.array).all()
