"""Every way of suppression against torchvision's, and against cases that are easy to get wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.kernels.nms import grid, kernel, nms, reference

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
"""The interpreter says aloud what a GPU does in silence."""

IOUS = (0.0, 0.1, 0.25, 0.3, 1 / 3, 0.5, 0.7, 0.9, 1.0)


def on_device(boxes, scores, groups, iou):
    return kernel.nms(boxes.to(DEVICE), scores.to(DEVICE), groups.to(DEVICE), iou).cpu()


WAYS = {"reference": reference.nms, "grid": grid.nms, "kernel": on_device}


@pytest.fixture(params=WAYS)
def way(request):
    return WAYS[request.param]


def by_torchvision(boxes, scores, groups, iou):
    """Class by class, without moving boxes apart, which would round their corners."""
    kept = [
        where[torchvision.ops.nms(boxes[where], scores[where], iou)]
        for where in (torch.nonzero(groups == one)[:, 0] for one in groups.unique())
    ]
    kept = torch.cat(kept).sort().values if kept else torch.empty(0, dtype=torch.int64)
    return kept[torch.sort(scores[kept], descending=True, stable=True).indices]


def crowd(n, objects, classes, seed=0, side=400.0, whole=False):
    """Several boxes an object, as a detector gives them; with `whole`, ties everywhere."""
    rng = np.random.default_rng(seed)
    centre, size = rng.uniform(0, side, (objects, 2)), rng.uniform(8, 80, (objects, 2))
    of = rng.integers(0, objects, n)
    middle = centre[of] + rng.normal(0, 0.1, (n, 2)) * size[of]
    half = size[of] * np.exp(rng.normal(0, 0.15, (n, 2))) / 2
    boxes, scores = np.concatenate([middle - half, middle + half], 1), rng.random(n)
    if whole:
        boxes, scores = np.round(boxes / 8) * 8, np.round(scores, 1)
    groups = rng.integers(0, classes, n)
    return (
        torch.from_numpy(boxes.astype(np.float32)),
        torch.from_numpy(scores.astype(np.float32)),
        torch.from_numpy(groups),
    )


def rows(*boxes):
    return torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)


def falling(n):
    return torch.linspace(1, 0, n) if n else torch.empty(0)


def one_group(n):
    return torch.zeros(n, dtype=torch.int64)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("iou", IOUS)
def test_as_torchvision(way, iou, whole):
    boxes = crowd(110, 15, 3, whole=whole)
    expected = by_torchvision(*boxes, iou)
    assert way(*boxes, iou).tolist() == expected.tolist()
    assert 3 <= len(expected) <= 110


@pytest.mark.parametrize("iou", IOUS)
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("classes", [1, 20])
def test_many_boxes_as_torchvision(iou, whole, classes):
    boxes = crowd(6000, 300, classes, side=1000.0, whole=whole)
    assert torch.equal(nms(*boxes, iou), by_torchvision(*boxes, iou))


@pytest.mark.parametrize("iou", [0.02, 0.3, 0.5, 0.8, 0.99])
def test_sizes_of_all_kinds_at_all_places(iou):
    rng = np.random.default_rng(3)
    size = np.exp(rng.uniform(-8, 8, (1000, 2))) * np.where(rng.random((1000, 1)) > 0.5, 1, 50)
    corner = rng.normal(0, 1, (1000, 2)) * size * rng.choice([0.1, 1, 3000], (1000, 1))
    # Each three times, hardly to clearly apart.
    corner, size = np.tile(corner, (3, 1)), np.tile(size, (3, 1))
    corner += size * rng.normal(0, 1, (3000, 2)) * 10.0 ** rng.uniform(-4, 0, (3000, 1))
    boxes = torch.from_numpy(np.concatenate([corner, corner + size], 1).astype(np.float32))
    every = (boxes, falling(3000), one_group(3000))
    kept = nms(*every, iou)
    assert torch.equal(kept, by_torchvision(*every, iou))
    assert 100 < len(kept) < 2990


def pairs_in_a_corner(rng, small, large, scale):
    """400 small squares, each in a corner of a large one that comes after it; own groups."""
    at, corner = rng.normal(0, 100, (400, 2)) * scale, rng.integers(0, 2, (400, 2))
    inner = np.concatenate([at, at + small * scale], 1)
    low = at - corner * (large - small) * scale
    outer = np.concatenate([low, low + large * scale], 1)
    boxes = np.stack([inner, outer], 1).reshape(-1, 4).astype(np.float32)
    return torch.from_numpy(boxes), falling(800), torch.arange(800) // 2


@pytest.mark.parametrize("iou", [0.02, 0.3, 0.5, 0.8, 0.95])
def test_as_far_apart_as_boxes_that_overlap_can_be(iou):
    every = pairs_in_a_corner(np.random.default_rng(1), iou**0.5 * 1.001, 1.0, 8.0)
    assert nms(*every, iou).tolist() == list(range(0, 800, 2))
    wide = pairs_in_a_corner(np.random.default_rng(1), iou * 1.001, 1.0, 8.0)[0]
    long = wide * torch.tensor([1.0, 0.0, 1.0, 0.0]) + torch.tensor([0.0, 1.0, 0.0, 2.0])
    assert nms(long, *every[1:], iou).tolist() == list(range(0, 800, 2))


def test_boxes_so_small_that_digits_are_lost():
    every = pairs_in_a_corner(np.random.default_rng(2), 3.2, 4.4, 1e-23)
    assert torch.equal(nms(*every, 0.9), by_torchvision(*every, 0.9))
    assert len(nms(*every, 0.9)) < 500  # areas of 1 and 2 are the same float32


def test_nothing_and_one(way):
    empty = way(rows(), falling(0), one_group(0), 0.5)
    assert (empty.shape, empty.dtype) == ((0,), torch.int64)
    assert way(rows((1, 2, 3, 4)), falling(1), one_group(1), 0.5).tolist() == [0]


def test_of_identical_boxes_the_first_best_stays(way):
    boxes = rows((5, 5, 9, 9)).expand(70, 4)
    scores = torch.full((70,), 0.5)
    assert way(boxes, scores, one_group(70), 0.5).tolist() == [0]
    scores[40:50] = 0.75
    assert way(boxes, scores, one_group(70), 0.5).tolist() == [40]
    everything = [*range(40, 50), *range(40), *range(50, 70)]
    assert way(boxes, scores, one_group(70), 1.0).tolist() == everything


def test_every_box_its_own_group(way):
    boxes, groups = rows((5, 5, 9, 9)).expand(40, 4), torch.arange(40) * 2**57 - 2**62
    assert way(boxes, falling(40), groups, 0.1).tolist() == list(range(40))
    assert way(boxes, falling(40), groups // 2**58, 0.1).tolist() == list(range(0, 40, 2))


def test_who_is_sent_away_sends_nobody_away(way):
    boxes = rows((0, 0, 10, 10), (4, 0, 14, 10), (8, 0, 18, 10), (12, 0, 22, 10))
    assert way(boxes, falling(4), one_group(4), 0.4).tolist() == [0, 2]
    assert way(boxes, falling(4).flip(0), one_group(4), 0.4).tolist() == [3, 1]


def test_a_long_chain(way):
    x = torch.arange(200.0)[:, None] * 4
    boxes = torch.cat([x, torch.zeros_like(x), x + 10, torch.full_like(x, 10)], 1)
    assert way(boxes, falling(200), one_group(200), 0.4).tolist() == list(range(0, 200, 2))


def test_boxes_without_area_overlap_nothing(way):
    boxes = rows((1, 1, 1, 1), (1, 1, 1, 1), (0, 1, 9, 1), (0, 0, 9, 9), (0, 0, 9, 9), (5, 0, 5, 9))
    assert way(boxes, falling(6), one_group(6), 0.0).tolist() == [0, 1, 2, 3, 5]


def test_far_away_and_beyond_what_floats_hold(way):
    at = -1e6
    boxes = rows(
        (at, at, at + 100, at + 100),
        (at + 1, at, at + 101, at + 100),
        (3e18, 3e18, 5e18, 5e18),
        (3e18, 3e18, 5e18, 5e18),
        (-3e38, -3e38, 3e38, 3e38),
        (-3e38, -3e38, 3e38, 3e38),
        (0, 0, float("inf"), 1),
        (1e-22, 1e-22, 3e-22, 3e-22),
        (1e-22, 1e-22, 3e-22, 3e-22),
    )
    every = (boxes, falling(9), one_group(9))
    kept = way(*every, 0.5).tolist()
    # Areas that are not finite overlap nothing; areas of a few last bits still do.
    assert kept[:6] == [0, 2, 4, 5, 6, 7]
    assert kept == by_torchvision(*every, 0.5).tolist()


def test_boxes_that_are_no_numbers_stay_and_do_no_harm(way):
    bad = float("nan")
    boxes = rows((0, 0, 9, 9), (bad, 0, 9, 9), (0, 0, 9, 9), (bad, bad, bad, bad))
    assert way(boxes, falling(4), one_group(4), 0.3).tolist() == [0, 1, 3]


def test_exactly_as_much_as_allowed_is_not_too_much(way):
    third, three_tenths = rows((0, 0, 2, 1), (1, 0, 3, 1)), rows((0, 0, 10, 1), (0, 0, 3, 1))
    assert len(way(third, falling(2), one_group(2), 0.5)) == 2
    assert len(way(rows((0, 0, 2, 1), (0, 0, 1, 1)), falling(2), one_group(2), 0.5)) == 2
    # The float32 next to 0.3 is above it.
    assert len(way(three_tenths, falling(2), one_group(2), 0.3)) == 1
    assert len(way(three_tenths, falling(2), one_group(2), float(np.float32(0.3)))) == 2


def test_more_blocks_than_a_sweep_takes_at_once(monkeypatch):
    monkeypatch.setattr(kernel, "MANY", 2)
    boxes = crowd(320, 60, 1)
    assert len(boxes[0]) > kernel.BLOCK * kernel.PER
    assert on_device(*boxes, 0.5).tolist() == by_torchvision(*boxes, 0.5).tolist()


CORNER = st.one_of(
    st.integers(-3, 12).map(float),
    st.floats(-50, 50, width=32),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.sampled_from([0.0, -0.0, 1e-22, 2e-22, 3e-22, 1e19, 2e19, -1e19, 3e38]),
)
SIDE = st.one_of(
    st.integers(0, 9).map(float), st.floats(0, 2.0**100, width=32), st.just(1e-22), st.just(-1.0)
)
BOX = st.tuples(CORNER, CORNER, SIDE, SIDE).map(
    lambda b: (b[0], b[1], float(np.float32(b[0] + b[2])), float(np.float32(b[1] + b[3])))
)
ONE = st.tuples(BOX, st.integers(-2, 2).map(float), st.integers(0, 2))


def given_boxes(many):
    boxes = rows(*(box for box, _, _ in many))
    scores = torch.tensor([score for _, score, _ in many], dtype=torch.float32)
    return boxes, scores, torch.tensor([group for *_, group in many], dtype=torch.int64)


@settings(max_examples=250, deadline=None)
@given(st.lists(ONE, max_size=40), st.one_of(st.sampled_from(IOUS), st.floats(0, 1)))
def test_the_grid_is_the_reference(many, iou):
    every = given_boxes(many)
    expected = reference.nms(*every, iou)
    assert grid.nms(*every, iou).tolist() == expected.tolist()
    assert by_torchvision(*every, iou).tolist() == expected.tolist()


@settings(max_examples=25, deadline=None)
@given(st.lists(ONE, max_size=40), st.sampled_from(IOUS))
def test_the_kernel_is_the_reference(many, iou):
    every = given_boxes(many)
    assert on_device(*every, iou).tolist() == reference.nms(*every, iou).tolist()
