"""Chips of towns say exactly where their streets are, and that a car park is none."""

from dataclasses import replace

import numpy as np
import pytest
import shapely

from lanner.factory.ops.render import HIDDEN, Params, towns
from lanner.factory.samples import MASK_UNKNOWN
from lanner.synth import town_blocks, town_street
from lanner.synth.sketch import Sketch
from lanner.synth.town_chips import draw_town, render_town_chip
from lanner.synth.town_look import random_look, random_sun
from lanner.synth.town_net import MARGIN, Plan, Street
from lanner.synth.town_plan import random_plan
from lanner.synth.town_things import apart, boxes, fill, inside, rings


def test_equal_seeds_give_equal_chips_and_others_do_not():
    first, again, other = (
        render_town_chip(np.random.default_rng((3, s)), 160, 0.8) for s in (1, 1, 2)
    )
    assert (first.rgb == again.rgb).all()
    assert (first.mask == again.mask).all()
    assert [r.kind for r in first.roads] == [r.kind for r in again.roads]
    assert (first.rgb != other.rgb).any()


@pytest.mark.parametrize("seed", range(24))
def test_chips_have_their_size_and_lines_lie_on_their_mask(seed):
    chip = render_town_chip(np.random.default_rng((4, seed)), 192, 0.9)
    assert (chip.rgb.shape, chip.rgb.dtype) == ((192, 192, 3), np.uint8)
    assert (chip.mask.shape, chip.mask.dtype) == ((192, 192), np.bool_)
    assert not (chip.centreline & ~chip.mask).any()
    bands = [
        shapely.LineString(r.line).buffer(r.width / 0.9 / 2, cap_style="flat")
        for r in chip.roads
        if r.kind != "track"
    ]
    frame = shapely.box(0, 0, 192, 192)
    whole = shapely.union_all(bands).intersection(frame)
    # Rounded kerbs and turning circles come on top; nothing of a band is left out.
    assert chip.mask.sum() >= whole.area - 0.6 * whole.length - 4
    grown = shapely.union_all([b.buffer(16 / 0.9) for b in bands])
    y, x = np.nonzero(chip.mask)
    assert shapely.contains_xy(grown, x + 0.5, y + 0.5).all()


def test_the_mask_covers_what_is_painted_as_street():
    """One straight street without anything else: its pixels differ from the ground's."""
    rng = np.random.default_rng(5)
    sketch = Sketch(random_sun(rng))
    look = random_look(rng, sketch, 0.5)
    look = replace(look, road=(250.0, 10.0, 250.0), kerb=(60.0, 90.0, 40.0))
    street = Street(np.array([[-50.0, 22.0], [110.0, 71.0]]), "residential", 8.0, 2)
    plan = Plan([street], [], None)
    level = town_street.surface(plan, 0)
    town_street.verges(sketch, look, level)
    fill(sketch, level, look.road)
    picture = sketch.done().render((0, 0), (120, 120), (2.0, 2.0))
    painted = (picture[..., 0] > 150) & (picture[..., 1] < 60)
    y, x = np.mgrid[:120, :120] + 0.5
    mask = shapely.contains_xy(town_street.surface(plan, alleys=False), x / 2, y / 2)
    assert painted.sum() > 1000
    assert (painted != mask).sum() < 0.05 * mask.sum()


def test_a_car_park_is_background(monkeypatch):
    """A town of nothing but trade: cars stand outside the mask by the hundred."""
    monkeypatch.setattr(
        town_blocks,
        "random_mix",
        lambda *_: town_blocks.Mix((0, 0, 1, 0, 0, 0, 0, 0), 15, 10, 5, 0.9, 1, 0),
    )
    for seed in range(4):
        rng = np.random.default_rng((6, seed))
        sketch = Sketch(random_sun(rng))
        look = random_look(rng, sketch, 0.5)
        plan = random_plan(rng, 200.0)
        streets = draw_town(sketch, rng, look, plan, 200.0)
        extent = shapely.box(0, 0, 200, 200)
        bands = shapely.union_all(
            [shapely.LineString(s.line).buffer(s.width / 2 + 13.5) for s in plan.streets]
        )
        assert streets.intersection(extent).difference(bands).area < 1.0
        assert streets.intersection(extent).area < 0.75 * extent.area


def test_the_operation_marks_streets_as_wide_as_labels_draw_them():
    params = Params(kind="towns", size=160, least_m=7.0)
    drawing = towns(np.random.default_rng((8, 0)), 1.0, params, 2)
    assert (drawing.rgb.shape, drawing.mask.shape) == ((160, 160, 3), (160, 160))
    assert set(np.unique(drawing.mask)) <= {0, 2, MASK_UNKNOWN}
    assert drawing.facts["objects"]
    for one in drawing.facts["objects"]:
        for x, y in one["line"]:
            column, row = min(int(x), 159), min(int(y), 159)
            assert drawing.mask[row, column] == 2


def test_back_alleys_are_neither_street_nor_ground():
    count = 0
    for seed in range(60):
        chip = render_town_chip(np.random.default_rng((9, seed)), 128, 1.0)
        drawing = towns(np.random.default_rng((9, seed)), 1.0, Params(kind="towns", size=128), 1)
        assert "track" not in {one["kind"] for one in drawing.facts["objects"]}
        for alley in (road for road in chip.roads if road.width < HIDDEN):
            inside = ((alley.line >= 1) & (alley.line < 127)).all(axis=1)
            column, row = np.floor(alley.line[inside]).astype(int).T
            values = drawing.mask[row, column]
            assert not (values == 0).any()
            count += int((values == MASK_UNKNOWN).sum())
    assert count > 20


def test_plans_differ_and_freeways_have_two_carriageways():
    kinds = set()
    for seed in range(40):
        plan = random_plan(np.random.default_rng((10, seed)), 300.0)
        kinds |= {s.kind for s in plan.streets}
        low, high = -MARGIN - 1e-6, 300 + MARGIN + 1e-6
        for street in plan.streets:
            assert street.line.min() >= low
            assert street.line.max() <= high
        mains = [s for s in plan.streets if s.kind == "motorway" and s.lanes > 1]
        assert (plan.corridor is None) == (not mains)
    assert kinds == {"motorway", "primary", "residential", "track"}


def test_bodies_are_kept_apart_and_inside():
    at = np.array([[5.0, 5.0], [6.0, 5.0], [15.0, 5.0], [24.0, 5.0]])
    bodies = boxes(at, np.full(4, 6.0), np.full(4, 4.0), np.tile([1.0, 0.0], (4, 1)))
    assert apart(bodies).tolist() == [True, False, True, True]
    assert inside(shapely.box(0, 0, 20, 10), bodies).tolist() == [True, True, True, False]


def test_a_ring_with_a_hole_leaves_the_hole_unpainted():
    donut = shapely.Point(10, 10).buffer(8).difference(shapely.Point(10, 10).buffer(4))
    sketch = Sketch(random_sun(np.random.default_rng(0)))
    for ring in rings(donut):
        sketch.raised(ring, (255.0, 0.0, 0.0))
    red = sketch.done().render((0, 0), (20, 20), (1.0, 1.0))[..., 0] > 200
    assert not red[10, 10]
    assert red[10, 4]
    assert red.sum() == pytest.approx(donut.area, rel=0.1)
