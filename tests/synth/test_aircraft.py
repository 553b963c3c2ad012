"""Drawn aircraft have their true size, and chips say exactly where they are."""

import time

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lanner.synth.airframe import build, true_airframe
from lanner.synth.catalogue import BY_ICAO, TYPES
from lanner.synth.chips import render_aircraft_chip, render_closeup
from lanner.synth.imagined import imagined
from lanner.synth.parked import Pose, visible_outline
from lanner.synth.road_chips import render_road_chip


def test_catalogue_has_distinct_types_and_the_tanker():
    assert len(BY_ICAO) == len(TYPES) >= 25
    assert (BY_ICAO["K35R"].length, BY_ICAO["K35R"].span) == (41.53, 39.88)
    assert {t.role for t in TYPES} == {
        "airliner",
        "business",
        "turboprop",
        "fighter",
        "military",
        "light",
    }


@pytest.mark.parametrize("kind", TYPES, ids=lambda t: t.icao)
def test_outline_is_one_symmetric_piece_of_true_size(kind):
    outline = shapely.Polygon(true_airframe(kind).outline)
    assert outline.is_valid
    x0, y0, x1, y1 = outline.bounds
    assert (x1 - x0, y1 - y0) == pytest.approx((kind.length, kind.span), abs=1e-6)
    assert (x0 + x1, y0 + y1) == pytest.approx((0, 0), abs=1e-6)
    mirrored = shapely.transform(outline, lambda p: p * [1, -1])
    assert outline.symmetric_difference(mirrored).area < 0.01 * outline.area
    # An aircraft is neither a stick nor a kite.
    assert 0.12 < outline.area / (kind.length * kind.span) < 0.5
    # Nothing solid was dropped in joining the parts.
    frame = true_airframe(kind)
    for ring in (*frame.nacelles, *(s.ring for s in (*frame.wings, *frame.tails))):
        assert shapely.Polygon(ring).buffer(0).difference(outline.buffer(1e-6)).area < 1e-3


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(TYPES), st.floats(0, 6.3), st.floats(0.9, 1.12), st.floats(-3, 3))
def test_variants_turn_without_changing_size(kind, angle, chord, sweep):
    frame = build(kind, (chord, 1.0, sweep))
    pose = Pose(100.0, -50.0, angle)
    ring = visible_outline(frame, pose)
    nose = np.array([np.cos(angle), np.sin(angle)])
    along = (ring - [100, -50]) @ nose
    across = (ring - [100, -50]) @ pose.starboard
    assert np.ptp(along) == pytest.approx(kind.length, abs=1e-6)
    assert np.ptp(across) == pytest.approx(kind.span, abs=1e-6)


def test_leaning_view_only_adds_to_the_outline():
    frame = true_airframe(BY_ICAO["B738"])
    upright = shapely.Polygon(visible_outline(frame, Pose(0, 0, 0.0)))
    aslant = shapely.Polygon(visible_outline(frame, Pose(0, 0, 0.0, (0.0, 0.35))))
    assert upright.difference(aslant.buffer(1e-6)).area < 1e-6
    assert aslant.area > upright.area + 1


@pytest.mark.parametrize("seed", range(24))
def test_chip_truth_is_exact(seed):
    rng = np.random.default_rng((5, seed))
    size, gsd = 224, float(rng.uniform(0.3, 1.0))
    chip = render_aircraft_chip(rng, size, gsd)
    assert chip.rgb.shape == (size, size, 3)
    assert chip.rgb.dtype == np.uint8
    assert 1 <= len(chip.instances) <= 8
    count = np.zeros((size, size), int)
    for one in chip.instances:
        x0, y0, x1, y1 = one.box
        count[y0:y1, x0:x1] += one.mask
        assert one.icao in BY_ICAO
        polygon = shapely.Polygon(one.polygon)
        cut = polygon.intersection(shapely.box(0, 0, size, size))
        assert one.mask.sum() == pytest.approx(cut.area, abs=2 + 0.25 * cut.length)
        assert polygon.buffer(1).contains(shapely.Point(one.centre))
        nose = np.radians(one.heading_deg)
        reach = (one.polygon - one.centre) @ [np.sin(nose), -np.cos(nose)]
        assert reach.max() * gsd == pytest.approx(one.length_m / 2, rel=0.01)
    assert count.max() == 1, "aircraft overlap"
    np.testing.assert_array_equal(chip.mask, count == 1)
    assert chip.boundary.any()
    assert (chip.boundary & chip.mask).any()
    assert (chip.boundary & ~chip.mask).any()


def test_equal_seeds_give_equal_chips_and_others_do_not():
    a, b, c = (render_aircraft_chip(np.random.default_rng(s), 160, 0.5) for s in (3, 3, 4))
    np.testing.assert_array_equal(a.rgb, b.rgb)
    np.testing.assert_array_equal(a.mask, b.mask)
    assert (a.rgb != c.rgb).mean() > 0.5


def test_aircraft_can_be_seen_in_most_chips():
    contrast = []
    for seed in range(20):
        chip = render_aircraft_chip(np.random.default_rng((9, seed)), 192, 0.5)
        grey = chip.rgb.astype(float).mean(-1)
        spread = grey[~chip.mask].std()
        contrast.append(abs(grey[chip.mask] - np.median(grey[~chip.mask])).mean() / spread)
    assert np.median(contrast) > 0.8


def test_deep_shadows_change_only_what_they_fall_on_and_a_low_sun_makes_them_longer():
    def dark(elevation, depth):
        chips = [
            render_aircraft_chip(np.random.default_rng((5, s)), 192, 0.5, elevation, depth)
            for s in range(6)
        ]
        plain = [
            render_aircraft_chip(np.random.default_rng((5, s)), 192, 0.5, elevation, (0.0, 0.0))
            for s in range(6)
        ]
        pairs = [
            (a.rgb.astype(int).sum(-1), b.rgb.astype(int).sum(-1), a.mask)
            for a, b in zip(chips, plain, strict=True)
        ]
        for a, b, mask in pairs:
            # The aircraft itself stands above shadows; its rim may be blurred.
            inside = ndimage.binary_erosion(mask, iterations=3)
            assert np.mean(a[inside] == b[inside]) > 0.95
        return np.mean([b - a for a, b, _ in pairs])

    high, low = (55.0, 55.0), (25.0, 25.0)
    assert dark(high, (1.4, 1.4)) > 1.2 * dark(high, (1.0, 1.0))
    assert dark(low, (1.0, 1.0)) > 1.3 * dark(high, (1.0, 1.0))


def test_chips_come_fast():
    render_aircraft_chip(np.random.default_rng(0), 320, 0.5)
    begun = time.process_time()
    for seed in range(15):
        render_aircraft_chip(np.random.default_rng(seed), 320, 0.5)
    # Forty a second on an idle core; a quarter of it on whatever runs this test.
    assert 15 / (time.process_time() - begun) > 10


@pytest.mark.parametrize("seed", range(8))
def test_road_chip_mask_has_the_true_width(seed):
    chip = render_road_chip(np.random.default_rng((2, seed)), 256, 0.5)
    assert chip.rgb.shape == (256, 256, 3)
    lines = [
        shapely.LineString(r.line).buffer(r.width / 0.5 / 2, cap_style="flat") for r in chip.roads
    ]
    cut = shapely.union_all(lines).intersection(shapely.box(0, 0, 256, 256))
    assert chip.mask.sum() == pytest.approx(cut.area, abs=4 + 0.1 * cut.length)
    assert not (chip.centreline & ~chip.mask).any()
    assert chip.centreline.any() == chip.mask.any()


def test_road_chips_mostly_hold_roads_of_several_classes():
    chips = [render_road_chip(np.random.default_rng((1, s)), 256, 0.6) for s in range(16)]
    assert sum(c.mask.any() for c in chips) >= 10
    assert len({r.kind for c in chips for r in c.roads}) >= 3


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(TYPES), st.integers(0, 2**32 - 1))
def test_imagined_kinds_could_be_built(kind, seed):
    variant = imagined(np.random.default_rng(seed), kind)
    assert variant.role == kind.role and variant.icao == kind.icao
    outline = shapely.Polygon(build(variant).outline)
    assert outline.is_valid
    x0, y0, x1, y1 = outline.bounds
    assert (x1 - x0, y1 - y0) == pytest.approx((variant.length, variant.span), abs=1e-6)
    assert 0.3 < variant.span / variant.length < 2.1
    assert 0.1 < outline.area / (variant.length * variant.span) < 0.7
    mirrored = shapely.transform(outline, lambda p: p * [1, -1])
    assert outline.symmetric_difference(mirrored).area < 0.01 * outline.area


@pytest.mark.parametrize("seed", range(12))
def test_a_closeup_shows_one_kind_as_large_as_asked(seed):
    chip, gsd = render_closeup(np.random.default_rng((9, seed)), 256, (60, 120))
    again, same = render_closeup(np.random.default_rng((9, seed)), 256, (60, 120))
    assert gsd == same and (chip.rgb == again.rgb).all()
    assert chip.rgb.shape == (256, 256, 3)
    for one in chip.instances:
        across = max(one.length_m, one.wingspan_m) / gsd
        assert 60 - 1e-6 <= across <= 120 + 1e-6
        far = np.hypot(*(one.polygon - one.centre).T).max()
        assert 0.45 * across < far < 0.9 * across
    assert len({(one.length_m, one.wingspan_m) for one in chip.instances}) <= 1
