"""Suppression by shape: doubles, fragments and boxes around neighbours go, neighbours stay."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from postprocess.aircraft import suppress
from postprocess.frame import candidates
from postprocess.shapes import iou


def plane(x: float, y: float, size: float = 40.0, angle: float = 0.0) -> shapely.Polygon:
    """A cross of fuselage and wing, which fills a third of its box."""
    half = size / 2
    body = shapely.box(-half / 8, -half, half / 8, half)
    wing = shapely.box(-half, -half / 5, half, half / 8)
    shape = shapely.union(body, wing)
    return shapely.affinity.translate(shapely.affinity.rotate(shape, angle, origin=(0, 0)), x, y)


def frame(*rows):
    """Rows of box or outline, and score; a box has no outline."""
    shapes = [row[0] for row in rows]
    boxes = [shape.bounds for shape in shapes]
    outlines = [None if shape.equals(shapely.box(*shape.bounds)) else shape for shape in shapes]
    n = len(rows)
    return candidates(
        boxes,
        scores=[row[1] for row in rows],
        votes=[{"m": 1.0}] * n,
        tiles=[0] * n,
        cuts=[0] * n,
        labels=["aircraft"] * n,
        outlines=outlines,
    )


def kept(*rows, **params) -> list[int]:
    found = suppress.run(frame(*rows), None, suppress.Params(**params))
    assert len(found) == len(rows), "a step marks, the chain takes out"
    return np.flatnonzero(found["rejected"].isna()).tolist()


def box(shape: shapely.Geometry, grow: float = 0.0) -> shapely.Polygon:
    x0, y0, x1, y1 = shape.bounds
    return shapely.box(x0 - grow, y0 - grow, x1 + grow, y1 + grow)


def test_a_box_around_two_neighbours_goes():
    one, two = plane(0, 0), plane(50, 0)
    around = shapely.box(*shapely.union(one, two).bounds)
    assert kept((one, 0.9), (two, 0.8), (around, 0.3)) == [0, 1]


def test_a_box_around_halves_of_two_neighbours_goes():
    one, two = plane(0, 0), plane(46, 0)
    halves = shapely.box(-2, -20, 48, 20)
    assert kept((one, 0.9), (two, 0.8), (halves, 0.3)) == [0, 1]


def test_a_double_and_a_fragment_go():
    one = plane(0, 0)
    assert kept((one, 0.9), (box(one, 3), 0.2)) == [0]
    assert kept((one, 0.9), (shapely.box(-2, 5, 2, 20), 0.2)) == [0]


def test_neighbours_whose_boxes_overlap_stay():
    one, two = plane(0, 0, angle=45), plane(18, 18, angle=45)
    assert iou(*np.array([[one.bounds], [two.bounds]]))[0] > 0.1
    assert kept((one, 0.9), (two, 0.3)) == [0, 1]


def test_what_is_unsure_explains_nothing():
    one = plane(0, 0)
    assert kept((one, 0.4), (box(one, 3), 0.2)) == [0, 1]
    assert kept((one, 0.4), (box(one, 3), 0.2), explains=0.4) == [0]


def test_the_better_one_stays_whatever_the_order():
    one = plane(0, 0)
    assert kept((box(one, 3), 0.2), (one, 0.9)) == [1]
    # Of equals the first by place.
    assert kept((one, 0.8), (one, 0.8)) == [0]


def test_nothing_is_nothing():
    found = suppress.run(frame(), None, suppress.Params())
    assert len(found) == 0 and "rejected" in found


def test_why_is_told():
    one = plane(0, 0)
    found = suppress.run(frame((one, 0.9), (box(one, 3), 0.2)), None, suppress.Params())
    assert found["rejected"].tolist() == [None, "encloses a better object"]
    assert found["note"][1] == "encloses a better object"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 200), st.floats(0, 200), st.floats(10, 60), st.floats(0, 180),
            st.floats(0.01, 1), st.booleans(),
        ),
        max_size=12,
    ),
    st.randoms(use_true_random=False),
)  # fmt: skip
def test_the_order_of_objects_does_not_matter_and_the_best_stays(rows, random):
    made = []
    for x, y, size, angle, score, drawn in rows:
        shape = plane(x, y, size, angle)
        made.append((shape if drawn else box(shape), score))
    stays = {made[i][0].wkb for i in kept(*made)}
    if made:
        best = max(score for _, score in made)
        assert any(shape.wkb in stays for shape, score in made if score == best)
    random.shuffle(made)
    assert {made[i][0].wkb for i in kept(*made)} == stays


@pytest.mark.parametrize("name", ["inside", "holds", "holds_each"])
def test_a_share_of_nothing_is_no_share(name):
    with pytest.raises(ValueError, match=name):
        suppress.Params(**{name: 0.0})
