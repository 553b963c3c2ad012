"""Shapes around poles and along the antimeridian: valid, and of the area that they have."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Transformer

from postprocess.rfc7946 import to_lonlat
from tiling.place import Place

POLAR = [(3413, 1), (3995, 1), (3031, -1)]


def polar(epsg):
    return Place(Affine(1, 0, -200, 0, -1, 200), CRS.from_epsg(epsg), (1.0, 1.0))


def outline(centre, radii, turn):
    """A ring around (x, y) with corners so far from it."""
    angle = np.linspace(0, 2 * np.pi, len(radii), endpoint=False) + turn
    way = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return shapely.Polygon(np.asarray(centre) + np.asarray(radii)[:, None] * way)


def metres2(shape, epsg):
    """Area on the plane of a polar CRS; sides are straight in longitude and latitude."""
    to_plane = Transformer.from_crs("OGC:CRS84", epsg, always_xy=True)
    fine = shapely.segmentize(shape, 0.5)
    parts = shapely.get_parts(fine)
    return sum(
        (1 if i == 0 else -1)
        * abs(shapely.Polygon(np.stack(to_plane.transform(*np.array(ring.coords).T), 1)).area)
        for part in parts
        for i, ring in enumerate([part.exterior, *part.interiors])
    )


@pytest.mark.parametrize(("epsg", "sign"), POLAR)
@settings(max_examples=20, deadline=None)
@given(
    # A square of that radius reaches 49 to its sides: the pole lies inside, wherever it is.
    x=st.floats(-34, 34),
    y=st.floats(-34, 34),
    radii=st.lists(st.floats(70, 120), min_size=4, max_size=40),
    turn=st.floats(0, 7),
)
def test_a_ring_around_a_pole_is_one_valid_polygon(epsg, sign, x, y, radii, turn):
    shape = outline((200 + x, 200 + y), radii, turn)
    found = to_lonlat(np.array([shape], object), polar(epsg))[0]
    assert shapely.is_valid(found), shapely.is_valid_reason(found)
    assert found.geom_type == "Polygon"
    west, south, east, north = found.bounds
    assert (west, east) == (-180, 180)
    assert (north if sign > 0 else south) == 90 * sign
    # Nothing at the pole but the two corners of the world.
    at_pole = shapely.get_coordinates(found)[shapely.get_coordinates(found)[:, 1] == 90 * sign]
    assert set(at_pole[:, 0].tolist()) == {-180.0, 180.0}


@pytest.mark.parametrize(("epsg", "sign"), POLAR)
@pytest.mark.parametrize("hole_at", [(175, 203), (230, 203), (203, 175), (203, 230), (180, 180)])
def test_a_round_ring_around_a_pole_keeps_its_area_and_its_hole(epsg, sign, hole_at):
    round_ = shapely.Point(205, 203).buffer(60, quad_segs=90)
    hole = shapely.Point(*hole_at).buffer(10, quad_segs=30)
    place = polar(epsg)
    whole, holed = to_lonlat(np.array([round_, round_.difference(hole)], object), place)
    assert shapely.is_valid(whole) and shapely.is_valid(holed)
    assert metres2(whole, epsg) == pytest.approx(round_.area, rel=2e-3)
    middle = shapely.points(*place.to_lonlat([hole_at])[0])
    assert shapely.covers(whole, middle) and not shapely.covers(holed, middle)
    left = round_.area - hole.area
    assert metres2(holed, epsg) == pytest.approx(left, rel=2e-3)


@pytest.mark.parametrize("east", [180.0, -180.0])
def test_a_line_on_the_antimeridian_is_on_one_side_of_it(east):
    # One meridian has two longitudes, and projections mix them in their last bit.
    place = Place(Affine(-2 * east, 0, east, 0, 1, 10), CRS.from_epsg(4326), (1.0, 1.0))
    line = shapely.LineString([(0, 0), (1, 1)])
    assert place.to_lonlat([(0, 0), (1, 1)]).tolist() == [[east, 10], [-east, 11]]
    found = to_lonlat(np.array([line], object), place)[0]
    points = shapely.get_coordinates(found)
    assert found.geom_type == "LineString" and len(set(points[:, 0].tolist())) == 1
    assert abs(points[0, 0]) == 180 and points[:, 1].tolist() == [10, 11]
