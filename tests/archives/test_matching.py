"""Which objects of two results are one, whatever the order of rows and of the results."""

from collections import Counter

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from lanner.archives.matching import CONFIDENCE, Objects, match, overlaps


def objects(rows):
    """Objects of (shape, label, type, decision, confidence)."""
    shapes = np.empty(len(rows), object)
    shapes[:] = [row[0] for row in rows]
    columns = [tuple(row[k] for row in rows) for k in (1, 2, 3)]
    return Objects(shapes, *columns, np.array([row[4] for row in rows], float))


def box(x, y, w=10.0, h=10.0):
    return shapely.box(x, y, x + w, y + h)


def thing(shape, label="a", kind=None, decision="accept", confidence=0.8):
    return shape, label, kind, decision, confidence


places = st.integers(0, 12).map(lambda n: n * 2.5)
polygons = st.builds(box, places, places, st.sampled_from([5.0, 10.0]), st.sampled_from([5.0, 10]))
lines = st.builds(
    lambda x, y, w: shapely.LineString([(x, y), (x + w, y + w)]), places, places, places
)
odd = st.sampled_from(
    [
        None,
        shapely.Polygon(),
        shapely.Point(3, 3),
        shapely.LineString([(1, 1), (1, 1)]),
        shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)]),
    ]
)
rows = st.lists(
    st.tuples(
        st.one_of(polygons, lines, odd),
        st.sampled_from(["a", "b"]),
        st.sampled_from([None, "x"]),
        st.sampled_from(["accept", "review"]),
        st.sampled_from([0.5, 0.54, 0.9, float("nan")]),
    ),
    max_size=8,
)


def content(objects_, number):
    return (
        shapely.to_wkb(objects_.shapes[number]),
        objects_.labels[number],
        objects_.types[number],
        objects_.decisions[number],
        repr(float(objects_.confidence[number])),
    )


def outcome(first, second, swapped=False):
    """What a match comes to, by what objects are and not by their numbers."""
    found = match(second, first) if swapped else match(first, second)
    one, two = (
        (found.only_second, found.only_first)
        if swapped
        else (
            found.only_first,
            found.only_second,
        )
    )
    pairs = Counter(
        (
            content(first, pair.second if swapped else pair.first),
            content(second, pair.first if swapped else pair.second),
            pair.kinds,
            pair.overlap,
            pair.moved_m,
        )
        for pair in found.pairs
    )
    return (
        pairs,
        Counter(content(first, k) for k in one),
        Counter(content(second, k) for k in two),
    )


@given(rows, rows)
@settings(deadline=None)
def test_it_is_the_same_from_the_other_side(a, b):
    first, second = objects(a), objects(b)
    assert outcome(first, second) == outcome(first, second, swapped=True)


@given(rows, rows, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_rows_changes_nothing(a, b, chance):
    before = outcome(objects(a), objects(b))
    chance.shuffle(a)
    chance.shuffle(b)
    assert outcome(objects(a), objects(b)) == before


@given(rows, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_what_is_the_same_has_no_change(a, chance):
    first = objects(a)
    chance.shuffle(a)
    found = match(first, objects(a))
    assert len(found.pairs) == len(a)
    assert not found.only_first and not found.only_second
    assert all(pair.kinds == () for pair in found.pairs)


@given(rows, rows)
@settings(deadline=None)
def test_every_object_is_told_once(a, b):
    found = match(objects(a), objects(b))
    one = [pair.first for pair in found.pairs] + list(found.only_first)
    two = [pair.second for pair in found.pairs] + list(found.only_second)
    assert sorted(one) == list(range(len(a)))
    assert sorted(two) == list(range(len(b)))


def kinds(before, after):
    (pair,) = match(objects([before]), objects([after])).pairs
    return pair.kinds


def test_what_became_of_an_object():
    here = thing(box(0, 0))
    assert kinds(here, thing(box(0.2, 0))) == ()
    assert kinds(here, thing(box(3, 0))) == ("moved",)
    assert kinds(here, thing(box(0, 0, 15))) == ("reshaped",)
    assert kinds(here, thing(box(0, 0), label="b")) == ("relabelled",)
    assert kinds(here, thing(box(0, 0), kind="B738")) == ("relabelled",)
    assert kinds(here, thing(box(0, 0), decision="review")) == ("decision",)
    assert kinds(here, thing(box(0, 0), confidence=0.8 + CONFIDENCE)) == ()
    assert kinds(here, thing(box(0, 0), confidence=0.74)) == ("confidence",)
    assert kinds(here, thing(box(0, 0), confidence=float("nan"))) == ("confidence",)
    both = thing(box(3, 0), "b", None, "review", 0.3)
    assert kinds(here, both) == ("moved", "relabelled", "decision", "confidence")


def test_neighbours_are_matched_with_what_overlaps_most():
    found = match(
        objects([thing(box(0, 0)), thing(box(4, 0))]), objects([thing(box(3, 0)), thing(box(7, 0))])
    )
    # Best first: the second with the first; what is left overlaps too little.
    assert [(pair.first, pair.second) for pair in found.pairs] == [(1, 0)]
    assert (found.only_first, found.only_second) == ((0,), (1,))


def test_of_equal_overlaps_the_label_decides():
    twins = [thing(box(0, 0), "b"), thing(box(0, 0), "a")]
    found = match(objects([thing(box(0, 0), "a", decision="review")]), objects(twins))
    assert [(pair.second, pair.kinds) for pair in found.pairs] == [(1, ("decision",))]


def test_lines_are_one_where_they_run_along_one_another():
    def line(*xy):
        return thing(shapely.LineString(xy), "road")

    road = line((0, 0), (100, 0))
    assert kinds(road, line((0, 3), (100, 3))) == ()
    assert kinds(road, line((100, 2), (0, 2))) == ()
    assert kinds(road, line((0, 0), (60, 0))) == ("reshaped",)
    found = match(objects([road]), objects([line((50, -50), (50, 50)), line((0, 20), (100, 20))]))
    assert not found.pairs
    assert found.only_second == (0, 1)


@given(st.lists(st.tuples(polygons, polygons), min_size=1, max_size=6))
def test_overlaps_are_shares(pairs):
    a, b = (np.array(side, object) for side in zip(*pairs, strict=True))
    found = overlaps(a, b, 5.0)
    assert ((found >= 0) & (found <= 1)).all()
    np.testing.assert_allclose(found, overlaps(b, a, 5.0))
    np.testing.assert_allclose(overlaps(a, a, 5.0), 1.0)
