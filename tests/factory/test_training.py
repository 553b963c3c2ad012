"""What training shows a network and asks of it: views, targets, losses, batches by number."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.training.batches import Batches
from detectors.training.boxes import BoxTask, Truth, box_loss, match
from detectors.training.geometry import cut_boxes, view_matrix, warp, warp_boxes
from detectors.training.instances import (
    InstanceTask,
    centre_loss,
    ids_of,
    instance_loss,
    projection_loss,
    targets,
    unknown_boxes,
    whole_ids,
)
from detectors.training.metrics import BoxMeter, PixelMeter
from detectors.training.pictures import IDS_UNKNOWN, Album
from detectors.training.roads import RoadTask, road_loss, soft_cldice
from detectors.training.views import ColourJitter, Mixing, Pool
from detectors.views import Views
from lanner.factory.metrics.precision import Truth as Objects
from lanner.factory.metrics.precision import pool
from tests.fixtures_training import ROAD, SMALL, picture, pictures

# Views


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    scale=st.floats(0.6, 2.0),
    x=st.integers(0, 40),
    y=st.integers(0, 40),
    w=st.integers(6, 30),
    h=st.integers(6, 30),
    free=st.booleans(),
)
def test_a_marked_rectangle_and_its_box_move_together(seed, scale, x, y, w, h, free):
    image = np.zeros((80, 80), np.uint8)
    image[y : y + h, x : x + w] = 255
    box = np.array([[x, y, x + w, y + h]], np.float32)
    rng = np.random.default_rng(seed)
    matrix = view_matrix(rng, 256, scale, (x + w / 2 + 5, y + h / 2 - 3), free)
    ys, xs = np.nonzero(warp(image, matrix, 256, scale, nearest=True))
    x0, y0, x1, y1 = warp_boxes(box, matrix)[0]
    sides = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
    centre = (xs.mean() + 0.5, ys.mean() + 0.5)
    assert np.allclose(centre, ((x0 + x1) / 2, (y0 + y1) / 2), atol=1.2)
    if not free:
        assert np.allclose(sides, [x0, y0, x1, y1], atol=1.01)
    else:
        # The ellipse in the rectangle never reaches past the rectangle.
        assert sides[0] <= x0 + 1.5
        assert sides[3] >= y1 - 1.5


def test_quarter_turns_are_exact():
    box = np.array([[10, 20, 40, 30]], np.float32)
    for seed in range(8):
        matrix = view_matrix(np.random.default_rng(seed), 64, 1.0, (30.0, 30.0))
        assert set(np.abs(matrix[:, :2]).ravel()) == {0.0, 1.0}
        moved = warp_boxes(box, matrix)[0]
        sides = {float(moved[2] - moved[0]), float(moved[3] - moved[1])}
        assert sides == {30.0, 10.0}


def test_cut_boxes_say_what_is_left():
    boxes = np.array([[-10, 0, 10, 10], [2, 2, 6, 6], [70, 0, 80, 8]], np.float32)
    cut, share = cut_boxes(boxes, 64, 64)
    assert cut.tolist() == [[0, 0, 10, 10], [2, 2, 6, 6], [64, 0, 64, 8]]
    assert share.tolist() == [0.5, 1.0, 0.0]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(0, 3))
def test_masks_and_boxes_of_a_view_agree(seed, k):
    pool = Pool(Album([picture(k)], masks=False), SMALL)
    view = pool.view(np.random.default_rng(seed), 128, 0.5)
    ids = ids_of(view)
    for n, box in enumerate(view.boxes()):
        if box.min() < 1 or box.max() > 127:
            continue
        ys, xs = np.nonzero(ids == n + 1)
        sides = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        # A box that another was drawn over is smaller in the mask.
        assert np.allclose(sides, box, atol=1.6)


def test_sources_are_drawn_by_their_odds_and_never_with_none():
    recipe = dataclasses.replace(SMALL, mix={"one": Mixing(3.0), "off": Mixing(0.0)})
    pool = Pool(Album([*pictures(), picture(9, "off")], masks=False), recipe)
    rng = np.random.default_rng(1)
    drawn = [pool.album.pictures[pool.draw(rng)].source for _ in range(2000)]
    assert set(drawn) == {"one", "two"}
    assert 0.7 < drawn.count("one") / 2000 < 0.8


def test_without_colour_changes_a_view_keeps_its_values():
    pool = Pool(Album(pictures(), masks=False), dataclasses.replace(SMALL, colour=0.0))
    rng = np.random.default_rng(0)
    view = pool.view(rng, 64, 0.5)
    same = pool.colours(rng, view, view.there(), ColourJitter(1.0, 1.0, 1.0))
    assert np.array_equal((same * 255).round(), view.pixels())
    pool = Pool(Album(pictures(), masks=False), SMALL)
    assert not np.allclose(pool.colours(rng, view, view.there(), ColourJitter(1.0, 1.0, 1.0)), same)


def test_a_made_up_sensor_is_as_likely_as_the_recipe_says():
    rng = np.random.default_rng(4)

    def grey(sensor):
        recipe = dataclasses.replace(SMALL, colour=0.01, sensor=sensor)
        pool = Pool(Album(pictures(), masks=False), recipe)
        view = pool.view(rng, 64, 0.5)
        images = (
            pool.colours(rng, view, view.there(), ColourJitter(1.0, 0.0, 0.0)) for _ in range(60)
        )
        return sum(float(np.ptp(one, axis=2).max()) < 1e-3 for one in images)

    # A third of the made-up sensors have one band, a seventh of all plain changes has.
    assert grey(1.0) > grey(0.0) + 5


def test_mosaics_keep_boxes_on_their_objects():
    recipe = dataclasses.replace(SMALL, colour=0.0, mix={"drawn": Mixing(1.0, (1.0, 1.0))})
    task = BoxTask(Album([picture(1)], masks=False), recipe)
    found = 0
    for seed in range(12):
        one = task.mosaic(np.random.default_rng(seed), 128)
        assert len(one.boxes) == len(one.classes) == len(one.weights)
        for x0, y0, x1, y1 in one.boxes.round().astype(int):
            inner = one.rgb[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2]
            assert (inner[..., 2] < 0.5).mean() > 0.5
            found += 1
    assert found > 20


def test_what_counts_nothing_is_ignored_ground():
    weights = np.array([1, 0, 1], np.float32)
    one = dataclasses.replace(picture(1), weights=weights)
    task = BoxTask(Album([one], masks=False), SMALL)
    assert task.objects() == 2
    full = task.piece(np.random.default_rng(3), 192)
    assert len(full.boxes) + len(full.ignored) == 3
    assert len(full.ignored) >= 1


# Instances


def test_instance_targets_by_hand():
    ids = np.zeros((16, 16), np.int32)
    ids[4:8, 4:8] = 1
    ids[4:8, 8:12] = 2
    ids[12:14, 0:3] = -1
    boxes = np.array([[4, 4, 8, 8], [8, 4, 12, 8]], np.float32)
    obj, edge, heat = targets(ids, boxes)
    assert obj[5, 5] == 1 and obj[0, 0] == 0 and obj[12, 1] == 255
    assert edge[5, 7] == 1 and edge[5, 8] == 1 and edge[6, 5] == 0
    assert edge[11, 1] == 255
    peak = np.unravel_index(heat[:, :8].argmax(), (16, 8))
    assert peak in ((5, 5), (5, 6), (6, 5), (6, 6))


def test_boxes_without_masks_are_unknown_inside():
    bare = picture(1, masks=False)
    ids = whole_ids(bare, None)
    x0, y0, x1, y1 = bare.boxes[0].astype(int)
    assert (ids[y0:y1, x0:x1] == -1).all()
    assert ids[0, 0] == 0
    assert len(unknown_boxes(ids, bare.boxes)) == 3
    stored = np.array([[0, 1], [2, IDS_UNKNOWN]], np.uint16)
    assert whole_ids(bare, stored).tolist() == [[0, 1], [2, -1]]


def test_unknown_pixels_teach_nothing():
    logits = torch.zeros(1, 3, 16, 16, requires_grad=True)
    target = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    target[:, :2, :, 8:] = 255
    judged = torch.ones(1, 16, 16, dtype=torch.bool)
    judged[:, 8:] = False
    sum(
        instance_loss(logits, target, judged, [torch.zeros(0, 4, dtype=torch.int64)]).values()
    ).backward()
    grad = logits.grad[0].abs()
    assert (grad[:2, :, 8:] == 0).all() and (grad[:, 8:] == 0).all()
    assert (grad[:, :8, :8] > 0).all()


def test_centre_loss_by_hand():
    heat = torch.tensor([[[1.0, 0.5]]])
    got = centre_loss(torch.zeros(1, 1, 2), heat, torch.ones(1, 1, 2))
    want = (0.25 * math.log(2) + 0.5**4 * 0.25 * math.log(2)) / 10
    assert float(got) == pytest.approx(want, rel=1e-5)


def test_a_mask_that_reaches_its_box_satisfies_the_projection():
    p = torch.zeros(1, 12, 12)
    p[0, 5:7, :] = 1
    p[0, :, 5:7] = 1
    box = [torch.tensor([[0, 0, 12, 12]])]
    assert float(projection_loss(p, box)) == pytest.approx(0)
    p[0, :, 5:7] = 0
    p[0, 5:7, :] = 1
    assert float(projection_loss(p, box)) > 0.8
    assert float(projection_loss(p, [torch.zeros(0, 4, dtype=torch.int64)])) == 0


# Boxes


def truth(boxes, classes=(0,), weights=(1.0,), ignored=()) -> Truth:
    return Truth(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(classes, dtype=torch.int64)[: len(boxes)],
        torch.tensor(weights, dtype=torch.float32)[: len(boxes)],
        torch.tensor(ignored, dtype=torch.float32).reshape(-1, 4),
    )


ANCHORS = torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 60], [0, 0, 10, 4.5]])


def test_box_loss_by_hand():
    logits, offsets = torch.zeros(1, 2, 2), torch.zeros(1, 2, 4)
    cls, box = box_loss(logits, offsets, ANCHORS[:2], [truth([[0, 0, 10, 10]], [1])])
    # One right class of four logits at even odds; the box fits.
    assert float(cls) == pytest.approx((0.25 + 3 * 0.75) * 0.25 * math.log(2), rel=1e-5)
    assert float(box) == pytest.approx(0, abs=1e-6)
    shifted = truth([[0, 0, 10, 8]], [1], [0.5])
    # Intersection over union 0.8 and no room outside both: GIoU loss 0.2, at half weight.
    assert float(box_loss(logits, offsets, ANCHORS[:2], [shifted])[1]) == pytest.approx(0.1)
    ignored = truth([[0, 0, 10, 10]], [1], ignored=[[48, 48, 62, 62]])
    alone = (0.25 + 0.75) * 0.25 * math.log(2)
    assert float(box_loss(logits, offsets, ANCHORS[:2], [ignored])[0]) == pytest.approx(alone)


def test_matching_keeps_every_object_and_leaves_the_doubtful_out():
    target, weight, positive, who = match(ANCHORS, truth([[0, 0, 10, 10]], [1]), 2)
    assert positive.tolist() == [0] and who.tolist() == [0]
    assert target.tolist() == [[0, 1], [0, 0], [0, 0]]
    assert weight.tolist() == [1, 1, 0]
    # Overlaps no anchor by half, and yet has one; two that want one: the nearer has it.
    small = truth([[0, 0, 4, 4], [0, 0, 5, 5]], [0, 0], [1, 1])
    _, _, positive, who = match(ANCHORS[:2], small, 1)
    assert positive.tolist() == [0] and who.tolist() == [1]
    target, weight, positive, _ = match(ANCHORS, truth([]), 2)
    assert not len(positive) and not target.any() and weight.tolist() == [1, 1, 1]


def views_of(boxes, scores, labels):
    return Views.of(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores), np.array(labels))


def test_average_precision_by_hand():
    nothing, both = np.zeros((0, 4), np.float32), np.zeros(2, np.int64)
    truth = np.array([[0, 0, 10, 10], [60, 0, 70, 10]], np.float32)
    found = [[0, 0, 10, 10], [30, 30, 40, 40], [60, 0, 70, 10]]
    meter = BoxMeter()
    meter.image(views_of(found, [0.9, 0.8, 0.7], [0, 0, 0]), truth, both, nothing)
    # Precision 1 up to recall 1/2, 2/3 up to 1: 51 and 50 of the 101 points.
    assert meter.value() == pytest.approx((51 + 50 * 2 / 3) / 101)
    meter.image(views_of([], [], []), truth[:1], np.ones(1, np.int64), nothing)
    # The second class was not found at all.
    assert meter.value() == pytest.approx((51 + 50 * 2 / 3) / 101 / 2)
    meter = BoxMeter()
    ignored = np.array([[28, 28, 44, 44]], np.float32)
    meter.image(views_of(found, [0.9, 0.8, 0.7], [0, 0, 0]), truth, both, ignored)
    assert meter.value() == pytest.approx(1)
    assert BoxMeter().value() == 0


def test_training_and_evaluation_agree_on_average_precision():
    rng = np.random.default_rng(3)
    meter, found, real = BoxMeter(), [], []
    for _ in range(6):
        corner = rng.integers(0, 40, (9, 2))
        rows = np.concatenate([corner, corner + rng.integers(6, 20, (9, 2))], 1)
        near, truth = rows[:7] + rng.integers(-2, 3, (7, 4)), rows[2:]
        scores, area = rng.permutation(70)[:7] / 70, np.arange(7) >= 5
        views = views_of(near, scores, np.zeros(7, int))
        meter.image(views, truth[:5], np.zeros(5, np.int64), truth[5:])
        found.append((near.astype(float), scores))
        real.append(Objects(truth.astype(float), area))
    value = pool(found, real, np.array([0.5])).statistic()(np.ones((1, 6)))[0]
    assert 0.1 < value < 0.9
    assert meter.value() == value


# Roads


def test_road_loss_judges_what_is_known_alone():
    logits = torch.zeros(1, 8, 8, requires_grad=True)
    judged = torch.zeros(1, 8, 8, dtype=torch.bool)
    judged[:, :4] = True
    target = torch.zeros(1, 2, 8, 8)
    target[:, 0, :2] = 1
    terms = road_loss(logits, None, target, judged)
    assert set(terms) == {"bce", "dice", "centreline"}
    assert float(terms["bce"].detach()) == pytest.approx(math.log(2))
    # Half of everything over half of the pixels: 2 x 8 / (16 + 16).
    assert float(terms["dice"].detach()) == pytest.approx(1 - (2 * 8 + 1) / (16 + 16 + 1))
    sum(terms.values()).backward()
    assert (logits.grad[:, 4:] == 0).all() and (logits.grad[:, :4] != 0).all()


def test_cldice_follows_lines_not_width():
    line = torch.zeros(1, 48, 48)
    line[:, 22:25] = 1
    wide, broken, away = line.clone(), line.clone(), line.roll(14, 1)
    wide[:, 20:27] = 1
    broken[:, :, 16:32] = 0
    assert float(soft_cldice(line, line)) < 0.02
    assert float(soft_cldice(wide, line)) < 0.1
    assert 0.1 < float(soft_cldice(broken, line)) < 0.5
    assert float(soft_cldice(away, line)) > 0.9


@pytest.mark.parametrize("blank", [0, 255])
def test_missing_image_is_never_judged_and_shown_white_or_not_at_all(blank):
    one = picture(2)
    mask, rgb = one.mask().copy(), one.rgb().copy()
    mask[:, 50:], rgb[:, 50:] = 255, blank
    torn = dataclasses.replace(one, rgb=lambda: rgb, mask=lambda: mask)
    recipe = dataclasses.replace(SMALL, colour=0.0, mix={"drawn": Mixing(1, (1.0, 1.0))})
    task = RoadTask(Album([torn], masks=True), recipe, ROAD)
    kinds = set()
    for seed in range(24):
        image, valid, target, judged = task.item(np.random.default_rng(seed), 64)
        assert target.shape == (2, 64, 64)
        white = (image == 1).all(2)
        assert not (judged & white).any()
        kinds.add("white" if (white & valid).any() else "hidden" if not valid.all() else "whole")
    assert {"white", "hidden"} <= kinds


def test_pixel_meter_by_hand():
    meter = PixelMeter()
    logits, here = torch.tensor([1.0, 1, -1, 1]), torch.tensor([True, False, True, True])
    meter.pixels(logits, here, torch.tensor([True, True, True, False]))
    assert meter.value() == pytest.approx(2 * 1 / (2 + 2))


@pytest.mark.parametrize("colour", [0.0, 1.3])
def test_a_camera_of_one_band_sees_one_band(colour):
    recipe = dataclasses.replace(SMALL, single_band=True, colour=colour, gentle=0.3, sensor=0.5)
    task = RoadTask(Album(pictures(), masks=True), recipe, ROAD)
    task.pool.read_styles()
    views = [task.batch(np.random.default_rng(k))["images"] for k in range(6)]
    for view in views:
        assert torch.equal(view, view[:, :1].expand_as(view))
        assert view.std() > 0.02
    wide = RoadTask(
        Album(pictures(), masks=True), dataclasses.replace(recipe, single_band=False), ROAD
    )
    wide.pool.read_styles()
    image = wide.batch(np.random.default_rng(0))["images"]
    assert not torch.equal(image, image[:, :1].expand_as(image))


# Batches by number


@pytest.mark.parametrize("kind", ["boxes", "instances", "roads"])
def test_a_batch_depends_on_its_number_alone(kind):
    def task(budget: int):
        album = Album(pictures(), masks=kind == "roads")
        album.fill(budget)
        make = {
            "boxes": lambda: BoxTask(album, SMALL),
            "instances": lambda: InstanceTask(album, SMALL),
            "roads": lambda: RoadTask(album, SMALL, ROAD),
        }[kind]()
        make.pool.read_styles()
        return Batches(make, 5)

    one, other = task(10**9), task(40_000)
    _ = other[3]
    for k in (7, 2):
        a, b = one[k], other[k]
        assert a.keys() == b.keys()
        for name in a:
            pairs = zip(a[name], b[name], strict=True)
            assert all(torch.equal(x, y) for x, y in pairs), name
    assert not torch.equal(one[2]["images"], one[7]["images"])
