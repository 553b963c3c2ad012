"""The polygon painter covers what geometry says it covers."""

import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lanner.synth import raster
from lanner.synth.sketch import Sketch, Sun, rectangle, ribbon
from lanner.synth.texture import Material

coordinate = st.floats(-20, 120, allow_nan=False)
triangles = st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=3)


def coverage(ring, shape=(100, 100), origin=(0, 0)):
    mask = np.zeros(shape, np.float32)
    raster.cover(
        mask,
        np.array(ring, np.float64),
        np.array([0, len(ring)]),
        np.array([0]),
        np.ones(1, np.float32),
        np.array([*origin, 1.0, 1.0]),
    )
    return mask


@settings(max_examples=200, deadline=None)
@given(triangles)
def test_coverage_is_the_area_within_the_canvas(points):
    polygon = shapely.Polygon(points)
    inside = polygon.intersection(shapely.box(0, 0, 100, 100))
    # Four sub-rows a pixel: an edge is off by at most an eighth of a row, all along its width.
    x0, _, x1, _ = inside.bounds if inside.area else (0, 0, 0, 0)
    error = 0.25 * (x1 - x0) + 0.3
    assert coverage(points).sum() == pytest.approx(inside.area, abs=error)


@settings(max_examples=100, deadline=None)
@given(triangles, st.integers(-40, 40), st.integers(-40, 40))
def test_a_pixel_does_not_depend_on_the_canvas_it_is_on(points, dx, dy):
    whole = coverage(points, (200, 200), (-50, -50))
    part = coverage(points, (60, 70), (dx, dy))
    np.testing.assert_allclose(part, whole[50 + dy : 110 + dy, 50 + dx : 120 + dx], atol=1e-5)


def test_coverage_of_a_rectangle_is_exact():
    mask = coverage([(10.25, 20.5), (30.75, 20.5), (30.75, 40.25), (10.25, 40.25)])
    assert mask[30, 20] == 1.0
    assert mask[30, 10] == pytest.approx(0.75)
    assert mask[30, 30] == pytest.approx(0.75)
    assert mask[20, 20] == pytest.approx(0.5)
    assert mask[40, 20] == pytest.approx(0.25)
    assert mask.sum() == pytest.approx(20.5 * 19.75, rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(triangles)
def test_mask_holds_the_pixels_whose_middle_is_well_inside(points):
    polygon = shapely.Polygon(points)
    assume(polygon.area > 1e-3)
    mask = raster.polygon_mask(np.array(points), (100, 100)).astype(bool)
    x, y = np.meshgrid(np.arange(100) + 0.5, np.arange(100) + 0.5)
    assert mask[shapely.contains_xy(polygon.buffer(-0.72), x, y)].all()
    assert not mask[~shapely.contains_xy(polygon.buffer(0.72), x, y)].any()


def test_ribbon_has_the_width_it_is_given():
    t = np.linspace(0, 1.2, 40)
    line = np.stack([200 * np.sin(t), 200 * np.cos(t)], 1)
    area = shapely.Polygon(ribbon(line, 7.0)).area
    assert area == pytest.approx(7.0 * shapely.LineString(line).length, rel=2e-3)


def test_picture_is_the_same_however_it_is_cut():
    sketch = Sketch(Sun(0.6, -0.8, 0.7))
    rough = sketch.material(Material(0.08, 0.1, 0.03, 0.05, 5.0, 0.4, 6.0, 0.1, 0.02, 0.5))
    sketch.ground(rectangle((60, 50), 90, 60, 0.3), (150, 140, 120), rough)
    ring = rectangle((55, 52), 20, 12, 0.9)
    sketch.prism(ring, 8)
    sketch.raised(ring, (190, 60, 50))
    picture = sketch.done()
    whole = picture.render((0, 0), (240, 260), (2.0, 2.0))
    for x, y, w, h in [(0, 0, 100, 80), (31, 57, 130, 101), (200, 190, 60, 50)]:
        part = picture.render((x, y), (h, w), (2.0, 2.0))
        assert np.abs(part.astype(int) - whole[y : y + h, x : x + w]).max() <= 1
    assert len(np.unique(whole[..., 0])) > 60
