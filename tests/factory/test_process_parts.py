"""Process: geometry, masks and composites, each by itself."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lanner.core.errors import DatasetError
from lanner.factory.ops import repair
from lanner.factory.ops.grabcut import weak_masks, without_shadow
from lanner.factory.ops.masks_from_polygons import class_mask, object_ids
from lanner.factory.ops.moves import cut, place_of, scaled, windows
from lanner.factory.ops.paste import Cutout, composite, read_cutouts, registered
from lanner.factory.ops.redraw_lines import redraw_lines
from lanner.factory.ops.resample import scale_mask
from lanner.factory.ops.tile import renumbered
from lanner.factory.ops.unsure_rims import unsure_rims
from lanner.factory.samples import IDS_UNKNOWN, Label, Sample
from tests.fixtures_process import cross, plane, write_cutouts

# ---------------------------------------------------------------- geometry


def length(line) -> float:
    return float(np.hypot(*np.diff(np.array(line), axis=0).T).sum())


@given(st.integers(1, 700), st.integers(1, 700), st.integers(32, 300), st.integers(0, 31))
@settings(max_examples=80, deadline=None)
def test_windows_cover_an_image_and_never_leave_it(width, height, side, overlap):
    found = list(windows(width, height, side, overlap))
    covered = np.zeros((height, width), bool)
    for x0, y0, x1, y1 in found:
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        assert x1 - x0 == min(side, width)
        assert y1 - y0 == min(side, height)
        covered[y0:y1, x0:x1] = True
    assert covered.all()
    starts = sorted({x0 for x0, *_ in found})
    assert all(b - a <= side - overlap for a, b in itertools.pairwise(starts))


@given(
    st.floats(-40, 90), st.floats(-40, 90), st.floats(2, 60), st.floats(2, 60), st.floats(0.05, 1)
)
@settings(max_examples=80, deadline=None)
def test_a_cut_label_stays_in_its_window_and_counts_by_what_is_seen(x, y, w, h, least):
    label = plane(x, y, x + w, y + h, polygon=((x, y), (x + w, y), (x + w, y + h), (x, y + h)))
    [piece] = cut(label, (10, 20, 74, 84), least) or [None]
    inside = max(0.0, min(x + w, 74) - max(x, 10)) * max(0.0, min(y + h, 84) - max(y, 20))
    if piece is None:
        assert inside == pytest.approx(0, abs=1e-6)
        return
    x0, y0, x1, y1 = piece.box
    assert 0 <= x0 <= x1 <= 64
    assert 0 <= y0 <= y1 <= 64
    # Coordinates are kept to a millionth of a pixel.
    assert (x1 - x0) * (y1 - y0) == pytest.approx(inside, abs=2e-4)
    assert ("cut" in piece.flags) == (inside < w * h * (1 - 1e-9))
    if abs(inside / (w * h) - least) > 1e-6:
        assert (piece.weight == 1) == (inside / (w * h) > least)
    if piece.polygon is not None and inside > 1:
        assert (
            piece.polygon[0] in {(x0, y0), (x1, y0), (x1, y1), (x0, y1)}
            or np.isclose(np.array(piece.polygon).min(0), (x0, y0)).all()
        )


def test_a_cut_line_keeps_all_its_pieces():
    line = Label("road", (0, 5, 100, 30), line=((0, 5), (60, 5), (60, 30), (100, 30)))
    [piece] = cut(line, (20, 0, 80, 20), 0.5)
    assert piece.line == ((0, 5), (40, 5), (40, 20))
    assert (piece.box, piece.flags) == ((0, 5, 40, 20), ("cut",))
    assert cut(line, (0, 40, 50, 90), 0.5) == ()
    bend = Label("road", (10, 10, 90, 30), line=((10, 10), (90, 10), (90, 30), (10, 30)))
    pieces = cut(bend, (0, 0, 64, 64), 0.5)
    assert [one.line for one in pieces] == [((10, 10), (64, 10)), ((64, 30), (10, 30))]


def test_a_line_that_meets_itself_is_one_line_as_long_as_it_is_in_sight():
    loop = ((10.0, 10.0), (50.0, 10.0), (50.0, 50.0), (30.0, 50.0), (30.0, 5.0))
    [piece] = cut(Label("road", (10, 5, 50, 50), line=loop), (0, 0, 64, 64), 0.5)
    assert (piece.line, piece.flags) == (loop, ())
    cut_up = cut(Label("road", (10, 5, 50, 50), line=loop), (20, 0, 84, 64), 0.5)
    assert sum(length(one.line) for one in cut_up) == pytest.approx(length(loop) - 10)


def test_a_slanting_outline_has_the_box_of_what_is_seen_of_it():
    corners = ((0.0, 10.0), (10.0, 0.0), (100.0, 90.0), (90.0, 100.0))
    slanting = plane(0, 0, 100, 100, polygon=corners)
    [piece] = cut(slanting, (0, 0, 64, 200), 0.5)
    assert piece.box == (0, 0, 64, 74)
    assert (piece.weight, piece.flags) == (1, ("cut",))
    # A box that is drawn a pixel wider stays so.
    [wider] = cut(plane(-1, -1, 101, 101, polygon=corners), (-9, -9, 64, 200), 0.5)
    assert wider.box == (8, 8, 73, 84)
    # The corner of its box is in this window, and nothing of it.
    assert cut(slanting, (60, 0, 124, 30), 0.01) == ()


def test_an_outline_in_sight_stays_as_it_was_drawn():
    tie = ((10.0, 10.0), (40.0, 30.0), (40.0, 10.0), (10.0, 30.0))
    [piece] = cut(plane(10, 10, 40, 30, polygon=tie), (5, 5, 69, 69), 0.5)
    assert piece.polygon == tuple((x - 5, y - 5) for x, y in tie)
    # What is left of this one are two legs: one of them alone would be half an object.
    legs = ((10.0, 50.0), (10.0, 10.0), (40.0, 10.0), (40.0, 50.0), (30.0, 50.0), (30.0, 20.0),
            (20.0, 20.0), (20.0, 50.0))  # fmt: skip
    [part] = cut(plane(10, 10, 40, 50, polygon=legs), (0, 25, 64, 89), 0.5)
    assert (part.polygon, part.box) == (None, (10, 0, 40, 25))
    assert set(part.flags) == {"cut", "parts"}


@given(st.floats(0.2, 4), st.floats(0.2, 4))
def test_scaling_there_and_back_changes_nothing(sx, sy):
    label = plane(3, 4, 15, 26, polygon=((3, 4), (15, 4), (15, 26)))
    back = scaled(scaled(label, sx, sy), 1 / sx, 1 / sy)
    np.testing.assert_allclose(back.box, label.box)
    np.testing.assert_allclose(back.polygon, label.polygon)


def test_a_tile_lies_where_its_window_is():
    one = Sample("a", "s", None, Path("a.png"), 200, 100, gsd=2.0, place=(24.0, 60.0))
    lon, lat = place_of(one, (0, 0, 100, 50))
    # The window's centre is 50 px west and 25 px north of the image's.
    assert (lat - 60) * 111_195 == pytest.approx(50, rel=1e-3)
    assert (lon - 24) * 111_195 * np.cos(np.radians(60)) == pytest.approx(-100, rel=1e-3)
    assert place_of(one.but(place=None), (0, 0, 100, 50)) is None


def test_a_mask_is_scaled_without_new_values():
    mask = np.array([[0, 7], [65535, 2]], np.uint16)
    big = scale_mask(mask, (6, 4))
    assert big.shape == (4, 6)
    np.testing.assert_array_equal(scale_mask(big, (2, 2)), mask)
    assert set(np.unique(big)) == set(np.unique(mask))


def test_numbers_without_a_label_become_unknown():
    ids = np.array([[0, 1, 2, 3, IDS_UNKNOWN]], np.uint16)
    assert renumbered(ids, {3: 1}).tolist() == [[0, IDS_UNKNOWN, IDS_UNKNOWN, 1, IDS_UNKNOWN]]
    kept = repair.carried(ids, {1: 1, 2: 2, 3: 3}, [(0.0, 0.0, 2.0, 1.0)])
    assert kept.tolist() == [[IDS_UNKNOWN, 1, 2, 3, IDS_UNKNOWN]]


# ---------------------------------------------------------------- masks


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 20), st.integers(1, 20))
@settings(max_examples=40, deadline=None)
def test_an_outline_on_pixel_corners_fills_exactly_its_pixels(x, y, w, h):
    ring = ((x, y), (x + w, y), (x + w, y + h), (x, y + h))
    ids = object_ids([plane(x, y, x + w, y + h, polygon=ring)], 60, 50)
    assert (ids == 1).sum() == w * h
    assert (ids[y : y + h, x : x + w] == 1).all()


def test_small_objects_lie_over_large_ones_and_boxes_are_unknown():
    ring = ((0, 0), (40, 0), (40, 40), (0, 40))
    inner = ((10, 10), (20, 10), (20, 20), (10, 20))
    labels = [plane(10, 10, 20, 20, polygon=inner), plane(0, 0, 40, 40, polygon=ring)]
    ids = object_ids([*labels, plane(30, 30, 50, 50)], 60, 60)
    assert (ids[15, 15], ids[5, 5], ids[35, 35], ids[45, 45], ids[55, 55]) == (1, 2, 2, -1, 0)


def test_a_line_is_as_wide_as_it_should_be():
    line = Label("road", (0, 30, 60, 30), line=((0, 30), (60, 30)))
    track = Label("road", (30, 0, 30, 60), line=((30, 0), (30, 60)), weight=0)
    mask = class_mask([line, track], [3, 3], (60, 60), 8.0, 2.0)
    column = mask[:, 10]
    assert (column == 3).sum() == 8
    assert (column == 255).sum() == 4
    # What is known lies over what is not.
    assert (mask[30, 30], mask[10, 30], mask[5, 5]) == (3, 255, 0)


def test_weak_masks_find_the_object_in_its_box():
    rgb, boxes, masks = cross(at=((30, 40), (70, 100)))
    ids = weak_masks(rgb, np.array(boxes))
    for k, mask in enumerate(masks):
        found = ids == k + 1
        assert (found & mask).sum() / (found | mask).sum() > 0.85
    hopeless = weak_masks(rgb, np.array([[5.0, 90.0, 25.0, 110.0]]))
    assert set(np.unique(hopeless)) == {-1, 0}
    guess = np.where(masks[0], 0.99, 0.01).astype(np.float32)
    guided = weak_masks(rgb, np.array(boxes[:1]), guess) == 1
    assert (guided & masks[0]).sum() / (guided | masks[0]).sum() > 0.9
    assert weak_masks(rgb, np.zeros((0, 4))).max() == 0


def test_shadow_is_left_unknown_and_paint_is_not():
    rgb, boxes, [mask] = cross(shadow=True)
    ids = np.where(mask, 1, 0).astype(np.int32)
    shade = np.roll(mask, 7, 1) & ~mask
    ids[shade] = 1
    out = without_shadow(rgb, ids, np.array(boxes))
    assert (out[shade] == -1).mean() > 0.9
    assert (out[mask] == 1).mean() > 0.9


# ---------------------------------------------------------------- composites


@pytest.fixture
def cutouts(tmp_path):
    return write_cutouts(tmp_path)


def test_a_photograph_is_registered_to_its_cut_out(cutouts):
    paths = sorted((cutouts / "cut").rglob("*.png"))
    found = read_cutouts(paths, cutouts / "whole", cutouts / "cut")
    assert [(one.kind, one.photograph) for one in found] == [
        ("C130", False), ("C130", True), ("KC135", False)
    ]  # fmt: skip
    ys, xs = np.nonzero(found[1].solid > 127)
    # 44 of 60 pixels at 8, at the 160 pixels that photographs are kept in.
    assert np.abs(np.array([ys.min(), xs.min()]) - 8 * 160 / 60).max() <= 4
    rgba = np.dstack([found[0].rgb, found[0].solid])
    other = np.random.default_rng(1).integers(0, 255, (60, 60, 3), np.uint8)
    assert registered(rgba, other) is None
    with pytest.raises(DatasetError, match="no image with alpha"):
        read_cutouts([cutouts / "whole" / "C130" / "1.png"], None, cutouts / "whole")


@given(st.integers(0, 2**32))
@settings(max_examples=12, deadline=None)
def test_a_composite_is_exact_and_repeats(seed):
    rgb, _, [mask] = cross((60, 60), ((8, 8),), 44)
    alpha = np.where(mask, 255, 0).astype(np.uint8)
    shapes = [Cutout(rgb, alpha, alpha, False, "C130")]
    ground = cross(at=())[0]
    picture, again = (
        composite(np.random.default_rng(seed), shapes, ground, 96, 5, (12, 40)) for _ in range(2)
    )
    np.testing.assert_array_equal(picture.rgb, again.rgb)
    assert picture.rgb.shape == (96, 96, 3)
    assert len(picture.boxes) == len(picture.kinds) == picture.ids.max()
    for k, (x0, y0, x1, y1) in enumerate(picture.boxes):
        ys, xs = np.nonzero(picture.ids == k + 1)
        assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == (x0, y0, x1, y1)


def test_rims_are_unknown_and_nothing_else_changes():
    ids = np.zeros((24, 30), np.uint16)
    ids[4:14, 0:10], ids[4:14, 10:20] = 1, 2  # side by side, the first at the image's border
    ids[20, 25] = IDS_UNKNOWN
    out = unsure_rims(ids, 1, 2)
    kept = out != IDS_UNKNOWN
    np.testing.assert_array_equal(out[kept], ids[kept])
    assert out[20, 25] == IDS_UNKNOWN
    # One pixel inside, two outside; corners too.
    assert (out[5:13, 0:9] == 1).all()
    assert (out[5:13, 11:19] == 2).all()
    assert (out[4:14, 9:11] == IDS_UNKNOWN).all()
    assert (out[2:4, 0:22] == IDS_UNKNOWN).all()
    assert (out[:2] == 0).all()
    assert (out[:, 22:25] == 0).all()
    np.testing.assert_array_equal(unsure_rims(ids, 0, 0), ids)


# ---------------------------------------------------------------- lines of one width


@pytest.mark.parametrize("wide", [4, 11, 30])
def test_roads_of_every_width_become_lines_of_one(wide):
    mask = np.zeros((120, 200), np.uint8)
    top = 60 - wide // 2
    mask[top : top + wide] = 1
    out = redraw_lines(mask, 9, 1)
    middle = out[:, 40:160]
    assert ((middle == 1).sum(0) == 9).all()  # also at the surface's rim, which is no border
    assert (out[:, [0, -1]] == 1).any(0).all()  # and to the image's border
    rows = np.flatnonzero((middle == 1).all(1))
    assert abs(rows.mean() - (top + (wide - 1) / 2)) <= 1
    left = (mask > 0) & (out != 1)
    assert (out[left] == 255).all()
    assert (out[: top - 4] == 0).all() or wide < 9


def test_corners_of_a_surface_are_no_roads_and_side_roads_are():
    mask = np.zeros((160, 200), np.uint8)
    mask[60:90] = 1  # 30 wide, with a blunt bulge and a side road
    mask[52:60, 90:110] = 1
    mask[90:150, 40:46] = 1
    out = redraw_lines(mask, 7, 1)
    assert (out[52:56] != 1).all()
    assert (out[100:140, 43] == 1).all()


def test_unknown_ground_stays_unknown_and_classes_stay():
    mask = np.zeros((60, 90), np.uint8)
    mask[20:26, :40], mask[20:26, 40:70], mask[:, 70:] = 1, 2, 255
    out = redraw_lines(mask, 5, 1)
    assert (out[:, 70:] == 255).all()
    assert {1, 2} <= set(np.unique(out[:, :70]).tolist())
    assert (out[:, :30] != 2).all() and (out[:, 50:68] != 1).all()
    empty = np.where(mask == 255, 255, 0).astype(np.uint8)
    np.testing.assert_array_equal(redraw_lines(empty, 5, 1), empty)
