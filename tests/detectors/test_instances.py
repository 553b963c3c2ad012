"""Instances out of probabilities: how many, how exact, where they part."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.instances import instances
from lanner.core.config import Instances

SIDE = 128
Y, X = np.mgrid[:SIDE, :SIDE] + 0.5
USUAL = Instances()


def discs(*shapes, touching=False):
    """Probabilities of discs (x, y, radius): soft edge, boundary ring, centre heat."""
    obj, edge, heat = (np.zeros((SIDE, SIDE)) for _ in range(3))
    for x, y, r in shapes:
        far = np.hypot(X - x, Y - y)
        obj = np.maximum(obj, 1 / (1 + np.exp(2 * (far - r))))
        edge = np.maximum(edge, np.exp(-((far - r) ** 2)))
        heat = np.maximum(heat, np.exp(-(far**2) / (2 * (0.2 * r) ** 2)))
    return np.stack([obj, edge, heat]).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(st.floats(30, 90), st.floats(30, 90), st.floats(5, 25))
def test_outline_to_a_tenth_of_a_pixel(x, y, r):
    found = instances(discs((x, y, r)), 0.5, Instances(simplify=0))
    assert len(found) == 1
    polygon = shapely.Polygon(found.outlines[0])
    assert polygon.is_valid
    assert polygon.area == pytest.approx(np.pi * r * r, rel=0.02)
    np.testing.assert_allclose(found.boxes[0], [x - r, y - r, x + r, y + r], atol=0.1)
    centre = polygon.centroid
    assert np.hypot(centre.x - x, centre.y - y) < 0.1


def test_touching_objects_part_at_their_border():
    found = instances(discs((40, 64, 15), (69, 64, 15)), 0.5, USUAL)
    assert len(found) == 2
    one, two = (shapely.Polygon(ring) for ring in found.outlines)
    assert one.intersection(two).area < 0.5
    assert sorted(round(p.centroid.x) for p in (one, two)) == [40, 69]


def test_without_a_centre_a_part_is_one_weaker_object():
    probability = discs((64, 64, 12))
    blind = probability.copy()
    blind[2] = 0
    one, other = instances(probability, 0.5, USUAL), instances(blind, 0.5, USUAL)
    np.testing.assert_array_equal(one.boxes, other.boxes)
    assert other.scores[0] == pytest.approx(one.scores[0] / 2, rel=0.05)


def test_two_tops_of_one_hill_are_one_seed():
    probability = discs((64, 64, 20))
    probability[2] = 0
    probability[2, 64, 62] = probability[2, 64, 65] = 0.9
    assert len(instances(probability, 0.5, USUAL)) == 1
    probability[2, 64, 50] = 0.9
    assert len(instances(probability, 0.5, USUAL)) == 2


def test_at_the_tiles_edge_the_outline_stays_inside():
    found = instances(discs((2, 64, 15)), 0.5, USUAL)
    assert len(found) == 1
    assert 0 <= found.boxes[0, 0] < 0.5
    assert shapely.Polygon(found.outlines[0]).is_valid


def test_specks_and_empty_tiles_give_nothing():
    assert len(instances(np.zeros((3, 64, 64), np.float32), 0.5, USUAL)) == 0
    assert len(instances(discs((64, 64, 2)), 0.5, USUAL)) == 0
    assert len(instances(discs((64, 64, 2)), 0.5, Instances(min_area=4))) == 1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_noise_gives_valid_disjoint_polygons(seed):
    rng = np.random.default_rng(seed)
    noise = rng.random((3, 64, 64)).astype(np.float32)
    found = instances(noise, 0.4, Instances(min_area=6, simplify=0))
    shapes = [shapely.Polygon(ring) for ring in found.outlines]
    assert all(s.is_valid and s.area > 0 for s in shapes)
    assert ((found.scores > 0) & (found.scores <= 1)).all()
    again = instances(noise, 0.4, Instances(min_area=6, simplify=0))
    np.testing.assert_array_equal(found.boxes, again.boxes)
