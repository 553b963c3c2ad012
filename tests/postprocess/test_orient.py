"""Axis, nose and size of aircraft whose every measure is known, drawn at every angle."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from shapely import affinity

from postprocess.aircraft import orient, outline, plausible
from postprocess.aircraft.boxsize import from_boxes
from postprocess.aircraft.silhouette import symmetry_axes
from tests.fixtures_aircraft import (
    KINDS,
    context,
    contour,
    flight,
    frame,
    measured,
    off,
    silhouette,
    stairs,
    turned,
)


@pytest.mark.parametrize("finer", [2.0, 2.5, 4.0])
@pytest.mark.parametrize("kind", ["airliner", "fighter"])
def test_what_was_seen_in_finer_pixels_is_measured_by_those(kind, finer):
    """On a coarse grid an outline of a closer look says what it says on a grid as fine."""
    shape = contour(turned(silhouette(kind), 0.2, 37.0, (200.3, 200.6)))
    near = measured([shape], context(0.2)).iloc[0]
    coarse = frame([affinity.scale(shape, 1 / finer, 1 / finer, origin=(0, 0))])
    coarse["seen_px"] = 1 / finer
    where = context(0.2 * finer, own=0.2)
    found = orient.run(outline.run(coarse, where, outline.Params()), where, orient.Params())
    for name in orient.MEASURES:
        assert found[name][0] == pytest.approx(near[name], rel=1e-4, nan_ok=True), name
    one, two = shapely.area([found.geometry[0], near.geometry]) * [finer**2, 1]
    assert one == pytest.approx(two, rel=2e-3)  # of equally near vertices either may go


def test_an_enlarged_picture_errs_by_the_pixels_of_the_scene():
    shape = contour(turned(silhouette("airliner"), 0.5, 37.0, (200.3, 200.6)))
    plain, enlarged = frame([shape]), frame([shape])
    enlarged["seen_px"] = 0.25
    where = context(0.5)
    one, two = (
        orient.run(outline.run(some, where, outline.Params()), where, orient.Params()).iloc[0]
        for some in (plain, enlarged)
    )
    assert one["length_sd_m"] == two["length_sd_m"] and one["length_m"] == two["length_m"]


@pytest.mark.parametrize("draw", [stairs, contour])
@pytest.mark.parametrize("gsd", [0.5, 1.0, 1.25])
@pytest.mark.parametrize("kind", ["airliner", "transport", "business", "fighter"])
def test_size_and_heading_at_every_angle(kind, gsd, draw):
    found, headings = flight(kind, gsd, draw)
    length, span = KINDS[kind][:2]
    assert (found["outline_source"] == "mask").all()
    error = off(found, headings)
    assert (np.minimum(error, 180 - error) <= 5).mean() >= 0.95
    assert (error < 90).mean() >= 0.85
    # A pixel is that part of a small aircraft: the bound widens where 6 % is under 1.6 pixels,
    # and a thin tail comes off the contour now and then.
    for name, true in (("length", length), ("wingspan", span)):
        relative = np.abs(found[f"{name}_m"] / true - 1)
        share = 0.9 if length >= 18 * gsd else 0.85
        assert (relative <= max(0.06, 1.6 * gsd / true)).mean() >= share, name
        misses = (found[f"{name}_m"] - true) / found[f"{name}_sd_m"]
        # Honest errors: one sigma holds at least its 68 %, and is no excuse for anything.
        assert (np.abs(misses) <= 1).mean() >= 0.68, name
        assert found[f"{name}_sd_m"].median() < max(0.12 * true, 1.6 * gsd)


@pytest.mark.parametrize("draw", [stairs, contour])
def test_a_light_aircraft_at_half_a_metre(draw):
    found, headings = flight("light", 0.5, draw)
    error = off(found, headings)
    assert (np.minimum(error, 180 - error) <= 5).mean() >= 0.95
    assert (error < 90).mean() >= 0.85


def test_doubt_grows_where_little_is_seen():
    sharp, _ = flight("light", 0.5, contour)
    blurred, headings = flight("light", 1.25, contour)
    assert blurred["heading_confidence"].median() < sharp["heading_confidence"].median() - 0.1
    assert blurred["length_sd_m"].median() > 2 * sharp["length_sd_m"].median()
    right = (off(blurred, headings) < 90).mean()
    assert abs(blurred["heading_confidence"].mean() - right) < 0.25


def test_the_wing_is_described():
    swept, _ = flight("airliner", 0.5, contour)
    straight, _ = flight("transport", 0.5, contour)
    assert abs(swept["sweep_deg"].median() - 30) < 6
    assert abs(straight["sweep_deg"].median() - 2) < 6
    assert straight["wing_at"].median() < swept["wing_at"].median() < 0.7


@pytest.mark.parametrize("kind", ["airliner", "transport", "business", "fighter"])
def test_the_filled_share_is_that_of_the_plan(kind):
    length, span = KINDS[kind][:2]
    true = silhouette(kind).area / (length * span)
    found, _ = flight(kind, 0.5, contour)
    error = found["fill"] - true
    assert error.abs().median() < 0.03
    assert (error.abs() <= 2 * found["fill_sd"]).mean() > 0.9


def test_what_the_sides_do_not_share_is_doubt():
    plain = turned(silhouette("airliner"), 0.5, 20, (200, 200))
    tip = shapely.box(-3, 14, 8, 20)  # a shadow behind one wing, in metres about the aircraft
    shadowed = turned(shapely.union(silhouette("airliner"), tip), 0.5, 20, (200, 200))
    found = measured([contour(plain), contour(shadowed)], context(0.5))
    assert found["symmetry"].iloc[1] < found["symmetry"].iloc[0] - 0.03
    for name in ("length_sd_m", "wingspan_sd_m"):
        assert found[name].iloc[1] > found[name].iloc[0] * 1.05


@pytest.mark.parametrize("gsd", [0.5, 1.0])
def test_engine_pods_are_counted(gsd):
    assert (flight("airliner", gsd, contour)[0]["nacelles"] == 1).mean() > 0.9
    assert (flight("transport", gsd, contour)[0]["nacelles"] == 0).mean() > 0.9
    assert flight("light", gsd, contour)[0]["nacelles"].isna().all()


def test_metres_and_north_are_those_of_the_ground():
    """EPSG:3857 at 60 degrees north: its metres are twice the ground's, and north is up."""
    gsd, stretch = 0.5, 2.0
    affine = Affine(gsd * stretch, 0, 0, 0, -gsd * stretch, 8399737.9)
    shape = turned(silhouette("airliner"), gsd, 70, (200, 200))
    found = measured([shape], context(gsd, affine, 3857)).iloc[0]
    assert found["length_m"] == pytest.approx(40, rel=0.02)
    assert found["wingspan_m"] == pytest.approx(36, rel=0.02)
    assert found["heading_deg"] == pytest.approx(70, abs=1)
    # UTM far from its meridian: up is not north.
    affine = Affine(gsd, 0, 8e5, 0, -gsd, 6.6e6)
    tilted = context(gsd, affine, 32633)
    found = measured([shape], tilted).iloc[0]
    north = tilted.azimuth_deg(np.array([[200.0, 200]]), np.array([[200.0, 100]]))[0]
    assert abs(north) > 2 or abs(north - 360) > 2
    assert found["heading_deg"] == pytest.approx((70 + north) % 360, abs=1)


def test_a_box_alone_gives_wide_honest_sizes():
    rng = np.random.default_rng(1)
    for kind in ("airliner", "transport", "business", "fighter"):
        length, span = KINDS[kind][:2]
        shapes = [turned(silhouette(kind), 1.0, h, (200, 200)) for h in rng.uniform(0, 360, 100)]
        found = measured(shapes, context(1.0), with_outlines=False)
        assert (found["outline_source"] == "box").all()
        assert found["heading_deg"].isna().all() and found["sweep_deg"].isna().all()
        for name, true in (("length", length), ("wingspan", span)):
            misses = (found[f"{name}_m"] - true) / found[f"{name}_sd_m"]
            assert (np.abs(misses) <= 2).mean() >= 0.9
            assert (found[f"{name}_sd_m"] > 0.08 * true).all()


def test_box_sizes_of_exact_crosses():
    turn = np.radians(np.arange(2.0, 90, 4))
    for length, span in ((40.0, 40.0), (30.0, 36.0)):
        width = np.maximum(length * np.cos(turn), span * np.sin(turn))
        height = np.maximum(length * np.sin(turn), span * np.cos(turn))
        sizes = from_boxes(width, height)
        assert (np.abs(sizes.length - length) <= 2 * sizes.length_sd).all()
        assert (np.abs(sizes.span - span) <= 2 * sizes.span_sd).all()
    assert len(from_boxes(np.empty(0), np.empty(0)).length) == 0


def test_the_axis_turns_with_the_shape_and_ignores_size_and_place():
    base = silhouette("airliner")
    headings = np.arange(0, 180, 11.0)
    shapes = np.array([turned(base, 0.7, h, (50, 900)) for h in headings], object)
    axes = symmetry_axes(shapes)
    error = np.abs((np.degrees(axes.angle) + 90 - headings + 90) % 180 - 90)
    assert error.max() < 0.6
    assert axes.symmetry.min() > 0.9 and (axes.rival < axes.symmetry).all()


def test_order_and_number_of_objects_do_not_matter():
    rng = np.random.default_rng(3)
    shapes = [
        contour(turned(silhouette(kind), 1.0, rng.uniform(0, 360), (200, 200)))
        for kind in list(KINDS) * 3
    ]
    whole = measured(shapes, context(1.0))
    alone = [measured([shape], context(1.0)).iloc[0] for shape in shapes[:5]]
    for row, one in enumerate(alone):
        for name in orient.MEASURES:
            assert whole[name].iloc[row] == pytest.approx(one[name], rel=1e-9, nan_ok=True)


# --- outline ------------------------------------------------------------------------------------


def test_a_good_outline_is_smoothed_and_a_bad_one_gives_way_to_the_box():
    plane = turned(silhouette("airliner"), 1.0, 33, (200, 200))
    jagged = stairs(plane)
    speck = shapely.box(180, 180, 183, 183)
    frame_ = frame([jagged, jagged, jagged, jagged])
    bow = shapely.Polygon([(180, 180), (220, 220), (220, 180), (180, 220)])
    frame_["outline"] = gpd.GeoSeries([jagged, speck, None, bow])
    found = outline.run(frame_, context(1.0), outline.Params())
    assert list(found["outline_source"][:3]) == ["mask", "box", "box"]
    assert found.geometry.is_valid.all()
    smooth, raw = found.geometry.iloc[0], found["outline"].iloc[0]
    assert len(smooth.exterior.coords) < len(jagged.exterior.coords)
    assert smooth.length < 0.9 * jagged.length
    iou = smooth.intersection(plane).area / smooth.union(plane).area
    assert iou > 0.8
    assert raw.equals(jagged)
    assert found["outline"].iloc[1] is None
    assert found.geometry.iloc[1].equals(shapely.box(*jagged.bounds))
    assert found["box"].iloc[0] == list(jagged.bounds)


def test_holes_are_filled_and_touching_rims_are_mended():
    ring = shapely.Point(200, 200).buffer(20).difference(shapely.Point(200, 200).buffer(5))
    pinch = shapely.Polygon(
        [
            (300, 300),
            (320, 300),
            (320, 310),
            (330, 310),
            (330, 330),
            (320, 330),
            (320, 310),
            (300, 310),
        ]
    )
    assert not pinch.is_valid
    shapes = np.array([ring, pinch], object)
    found = outline.run(frame(shapes), context(1.0), outline.Params())
    assert (found["outline_source"] == "mask").all()
    assert all(len(shape.interiors) == 0 for shape in found["outline"])
    assert found["outline"].is_valid.all()
    assert found["outline"].area.iloc[1] == pytest.approx(pinch.area, rel=0.05)


# --- plausible ----------------------------------------------------------------------------------


def test_what_cannot_be_an_aircraft_goes_with_its_reason():
    shapes = [
        contour(turned(silhouette("airliner"), 1.0, 20, (200, 200))),
        contour(
            turned(
                affinity.scale(silhouette("airliner"), 3.2, 3.2, origin=(0, 0)), 1, 5, (200, 200)
            )
        ),
        shapely.box(100, 100, 141, 139),
        shapely.box(100, 100, 190, 104),
        contour(turned(silhouette("light"), 1.0, 50, (200, 200))),
    ]
    found = measured(shapes, context(1.0))
    found = plausible.run(found, context(1.0), plausible.Params())
    reasons = found["rejected"].tolist()
    assert reasons[0] is None and reasons[4] is None
    assert reasons[1].startswith("length 12") and reasons[1].endswith("is not within 4 to 90")
    assert reasons[2].startswith("filled share 1.00")
    assert "not within" in reasons[3]


def test_margins_follow_the_error():
    shape = [
        turned(affinity.scale(silhouette("airliner"), 2.3, 2.3, origin=(0, 0)), 1, 5, (200, 200))
    ]
    wide = measured(shape, context(1.0), with_outlines=False)
    assert wide["length_m"].iloc[0] > 75
    limit = plausible.Params(length_m=(4, 80), wingspan_m=(3, 80))
    assert plausible.run(wide, context(1.0), limit)["rejected"].iloc[0] is None
    sharp = measured(shape, context(1.0))
    assert plausible.run(sharp, context(1.0), limit)["rejected"].iloc[0].startswith("length 92")
    with pytest.raises(ValueError, match="length_m must rise"):
        plausible.Params(length_m=(90, 4))


def test_no_objects_pass_every_step():
    nothing = frame([])
    assert len(plausible.run(measured([], context(1.0)), context(1.0), plausible.Params())) == 0
    assert len(nothing) == 0
