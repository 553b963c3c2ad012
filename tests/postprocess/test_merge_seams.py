"""One object a real object, whatever the tiles: an oracle stands in for the detector."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS

from lanner.core.errors import StepError
from postprocess.aircraft import merge_seams
from postprocess.aircraft.merge_seams import Params
from postprocess.context import Context, DetectorFacts
from postprocess.frame import candidates
from postprocess.snapshots import write_snapshot
from tiling.grid import Grid, TilePlan
from tiling.place import Place

FACTS = DetectorFacts("aircraft", "1", "w", "c")


def context(plan: TilePlan, workdir: Path = Path()) -> Context:
    place = Place(Affine(1, 0, 5e5, 0, -1, 4e6), CRS.from_epsg(32633), (1.0, 1.0))
    return Context("scene", None, place, plan.grid, plan, FACTS, workdir)


def plan_over(size: tuple[int, int], tile: int, halo: int = 96) -> TilePlan:
    return TilePlan(Grid.over(size, (1.0, 1.0), 1.0), tile, halo)


def views(boxes, plan, jitter=0.0, seed=0, min_px=0.0, outlines=None):
    """What a perfect detector sees in each tile: boxes cut to the window, sides told."""
    rng = np.random.default_rng(seed)
    boxes = np.asarray(boxes, float).reshape(-1, 4)
    rows, tiles, cuts, shapes, truth = [], [], [], [], []
    grid = np.array([0, 0, plan.grid.width, plan.grid.height])
    for tile in plan:
        w = tile.window
        window = np.array([max(w.x0, 0), max(w.y0, 0), min(w.x1, grid[2]), min(w.y1, grid[3])])
        low, high = np.maximum(boxes[:, :2], window[:2]), np.minimum(boxes[:, 2:], window[2:])
        for i in np.flatnonzero((high - low > min_px).all(axis=1)):
            b, t = np.array([*low[i], *high[i]]), boxes[i]
            cut = sum(
                bit
                for k, bit in enumerate((1, 2, 4, 8))
                if (t[k] < window[k] if k < 2 else t[k] > window[k]) and window[k] != grid[k]
            )
            wobble = rng.uniform(-jitter, jitter, 4)
            b = np.clip(
                b + np.where([cut & 1, cut & 2, cut & 4, cut & 8], 0, wobble),
                window[[0, 1, 0, 1]],
                window[[2, 3, 2, 3]],
            )
            if b[2] - b[0] < 0.5 or b[3] - b[1] < 0.5:
                continue
            rows.append(b)
            tiles.append(tile.index)
            cuts.append(cut)
            truth.append(i)
            if outlines is not None:
                piece = shapely.clip_by_rect(outlines[i], *window)
                shapes.append(piece if isinstance(piece, shapely.Polygon) else None)
    n = len(rows)
    scores = np.ones(n) if jitter == 0 else np.round(rng.uniform(0.5, 1, n), 2)
    frame = candidates(
        np.array(rows),
        scores=scores,
        votes=[{"retinanet": float(s)} for s in scores],
        tiles=tiles,
        cuts=cuts,
        labels=["aircraft"] * n,
        outlines=shapes or None,
    )
    frame["truth"] = truth
    return frame


def merged(frame, plan, **params):
    return merge_seams.run(frame, context(plan), Params(**params))


def assert_exactly(out, boxes, least=0.999999):
    assert sorted(out["truth"]) == list(range(len(boxes)))
    found = out.sort_values("truth").geometry.values
    wanted = shapely.box(*np.asarray(boxes, float).T)
    ratio = shapely.area(shapely.intersection(found, wanted)) / shapely.area(
        shapely.union(found, wanted)
    )
    assert ratio.min() >= least


def scattered(size, n, rng, side=(8, 90)):
    boxes = []
    while len(boxes) < n:
        w, h = rng.uniform(*side, 2)
        x, y = rng.uniform(0, size - w), rng.uniform(0, size - h)
        box = (x, y, x + w, y + h)
        if all(box[2] < b[0] or box[0] > b[2] or box[3] < b[1] or box[1] > b[3] for b in boxes):
            boxes.append(box)
    return np.array(boxes)


def test_windows_of_any_size_give_the_same_objects():
    boxes = scattered(2600, 600, np.random.default_rng(1))
    for tile in (512, 768, 1024):
        plan = plan_over((2600, 2600), tile)
        frame = views(boxes, plan)
        assert len(frame) > len(boxes)
        assert_exactly(merged(frame, plan), boxes)


@pytest.mark.parametrize("size", [0.1, 0.37, 0.61, 1.0, 1.4, 2.2, 3.0])
def test_each_size_at_each_seam_offset_comes_out_once(size):
    plan = plan_over((2048, 2048), 256, 64)
    side = size * plan.tile
    offsets = np.concatenate([np.arange(0, plan.step, 7.0), np.arange(60, 70, 1.0)])
    for k, offset in enumerate(offsets):
        other = offsets[(k * 5) % len(offsets)]
        x, y = 256 + offset, 256 + other
        box = [[x, y, x + side, y + side * 0.8]]
        assert_exactly(merged(views(box, plan), plan), box)


def test_slivers_of_one_pixel_are_not_objects_of_their_own():
    plan = plan_over((1000, 600), 512)
    edge = plan[1].window.x0  # tile 1 sees from here on
    for sliver in (0.5, 1.0, 2.0):
        box = [[edge + sliver - 40, 100, edge + sliver, 130]]
        frame = views(box, plan)
        assert len(frame) == 2 and (frame["cut"] != 0).any()
        assert_exactly(merged(frame, plan), box)


def test_ten_thousand_touching_objects_are_neither_fused_nor_lost():
    x, y = np.meshgrid(np.arange(100) * 19.0 + 3, np.arange(100) * 23.0 + 5)
    boxes = np.stack([x, y, x + 19, y + 23], axis=-1).reshape(-1, 4)
    plan = plan_over((1906, 2308), 512)
    assert_exactly(merged(views(boxes, plan), plan), boxes)


def test_touching_objects_bigger_than_the_halo():
    x, y = np.meshgrid(np.arange(9) * 210.0, np.arange(9) * 340.0)
    boxes = np.stack([x, y, x + 210, y + 340], axis=-1).reshape(-1, 4)
    plan = plan_over((1890, 3060), 512)
    assert_exactly(merged(views(boxes, plan), plan), boxes)


@pytest.mark.parametrize(("jitter", "twice"), [(1.0, 0), (2.0, 0), (3.0, 1)])
def test_wobbling_views_still_are_one_object(jitter, twice):
    """At 3 px each way two views of a 15 px object may agree by less than half."""
    boxes = scattered(2600, 700, np.random.default_rng(3), side=(14, 80))
    plan = plan_over((2600, 2600), 512)
    out = merged(views(boxes, plan, jitter=jitter, seed=4), plan)
    counts = out["truth"].value_counts()
    assert set(counts.index) == set(range(len(boxes)))
    assert (counts > 1).sum() <= twice


def test_wobbling_touching_objects_keep_their_number():
    x, y = np.meshgrid(np.arange(60) * 28.0 + 3, np.arange(60) * 31.0 + 5)
    boxes = np.stack([x, y, x + 28, y + 31], axis=-1).reshape(-1, 4)
    plan = plan_over((1700, 1900), 512)
    out = merged(views(boxes, plan, jitter=2.0, seed=8), plan)
    counts = out["truth"].value_counts()
    assert set(counts.index) == set(range(len(boxes)))
    assert len(out) <= len(boxes) * 1.002


def cross(cx, cy, size, degrees):
    from shapely import affinity

    bars = shapely.union(shapely.box(-0.5, -0.06, 0.5, 0.06), shapely.box(-0.05, -0.5, 0.13, 0.5))
    return affinity.translate(
        affinity.rotate(affinity.scale(bars, size, size, origin=(0, 0)), degrees, origin=(0, 0)),
        cx,
        cy,
    )


def test_fragments_of_rotated_aircraft_belong_to_their_aircraft():
    """The box of a cut wing is not the cut box: the piece is owned by the whole view."""
    plan = plan_over((2000, 1200), 512)
    rng = np.random.default_rng(0)
    grid = [(80 + 95 * i, 80 + 95 * j) for i in range(20) for j in range(12)]
    shapes = [cross(x, y, 60, rng.uniform(0, 360)) for x, y in grid]
    rows, tiles, cuts, outlines, truth = [], [], [], [], []
    for tile in plan:
        w = tile.window
        for i, shape in enumerate(shapes):
            inside = shapely.intersection(shape, shapely.box(w.x0, w.y0, w.x1, w.y1))
            for piece in getattr(inside, "geoms", [inside]):
                if piece.area < 4:
                    continue
                b = piece.bounds
                sides = zip((1, 2, 4, 8), b, (w.x0, w.y0, w.x1, w.y1), strict=True)
                cut = sum(bit for bit, at, end in sides if abs(at - end) < 1e-9)
                rows.append(b)
                tiles.append(tile.index)
                cuts.append(cut)
                outlines.append(piece)
                truth.append(i)
    n = len(rows)
    for drawn in (outlines, None):
        frame = candidates(
            rows,
            scores=np.ones(n),
            votes=[{"m": 1.0}] * n,
            tiles=tiles,
            cuts=cuts,
            labels=["aircraft"] * n,
            outlines=drawn,
        )
        frame["truth"] = truth
        out = merged(frame, plan)
        assert sorted(out["truth"]) == list(range(len(shapes)))
        assert (out["cut"] == 0).all()


def test_whole_duplicates_left_from_two_tiles_become_one():
    plan = plan_over((1000, 600), 512)
    frame = candidates(
        [[300, 100, 340, 140], [306, 104, 346, 144]],
        scores=[0.7, 0.9],
        votes=[{"a": 0.7}, {"b": 0.9}],
        tiles=[0, 1],
        cuts=[0, 0],
        labels=["aircraft"] * 2,
    )
    loose = merged(frame, plan, iou=0.95, duplicate_iou=0.95)
    assert len(loose) == 2
    tight = merged(frame, plan, iou=0.95, duplicate_iou=0.5)
    assert list(tight["score"]) == [0.9]


def test_votes_are_the_best_of_each_member_and_home_speaks():
    plan = plan_over((1000, 600), 512)
    box = [300.0, 100, 330, 140]  # its centre lies in tile 0's core
    frame = candidates(
        [box, [301.0, 100, 331, 140]],
        scores=[0.6, 0.9],
        votes=[{"r": 0.5, "u": 0.7}, {"r": 0.8}],
        tiles=[0, 1],
        cuts=[0, 0],
        labels=["aircraft"] * 2,
    )
    out = merged(frame, plan)
    assert len(out) == 1
    assert out["votes"].iloc[0] == {"r": 0.8, "u": 0.7}
    assert out.geometry.iloc[0].bounds == tuple(box)
    assert out["note"].iloc[0] == "joined 2 views, took the whole one of tile 0"


def test_two_views_of_one_tile_are_never_joined():
    plan = plan_over((1000, 600), 512)
    frame = candidates(
        [[300, 100, 330, 140], [300, 100, 330, 141], [300, 100, 330, 140]],
        scores=[1, 1, 1],
        votes=[{}] * 3,
        tiles=[0, 0, 1],
        cuts=[0, 0, 0],
        labels=["aircraft"] * 3,
    )
    out = merged(frame, plan, duplicate_iou=1.0)
    assert len(out) == 2


def test_row_order_does_not_matter(tmp_path):
    boxes = scattered(1400, 150, np.random.default_rng(5), side=(10, 260))
    plan = plan_over((1400, 1400), 512)
    frame = views(boxes, plan, jitter=2.0, seed=6)
    frame["score"] = 0.5
    frame = frame.drop(columns="truth")
    texts = set()
    rng = np.random.default_rng(7)
    for _ in range(100):
        shuffled = frame.iloc[rng.permutation(len(frame))].reset_index(drop=True)
        out = merged(shuffled, plan)
        write_snapshot(out, tmp_path / "out.parquet")
        texts.add((tmp_path / "out.parquet").read_bytes())
    assert len(texts) == 1


@settings(max_examples=30, deadline=None)
@given(
    st.integers(2, 5),
    st.integers(1, 3),
    st.lists(st.tuples(*[st.floats(0, 1)] * 4), min_size=1, max_size=6),
)
def test_any_disjoint_boxes_survive(cells, halo_steps, spans):
    """Boxes in separate cells of a lattice: each comes out once, with its own extent."""
    side = 640 / cells
    boxes = []
    for k, (x, y, w, h) in enumerate(spans):
        if k >= cells * cells:
            break
        low = np.array([(k % cells) * side, (k // cells) * side])
        size = np.maximum(np.array([w, h]) * side, 4.0)
        start = low + np.array([x, y]) * (side - size)
        boxes.append([*start, *(start + size)])
    plan = plan_over((640, 640), 256, 32 * halo_steps)
    assert_exactly(merged(views(boxes, plan, min_px=1e-6), plan), boxes, least=0.98)


def test_a_hundred_thousand_candidates_are_quick():
    x, y = np.meshgrid(np.arange(180) * 40.0, np.arange(190) * 40.0)
    boxes = np.stack([x, y, x + 34, y + 36], axis=-1).reshape(-1, 4)
    plan = plan_over((7240, 7640), 512)
    frame = views(boxes, plan)
    assert len(frame) > 100_000
    began = time.process_time()
    out = merged(frame, plan)
    assert time.process_time() - began < 20
    assert len(out) == len(boxes)


def test_says_what_is_missing():
    plan = plan_over((600, 600), 512)
    frame = candidates(
        [[0, 0, 9, 9]], scores=[1], votes=[{}], tiles=[99], cuts=[0], labels=["aircraft"]
    )
    with pytest.raises(StepError, match="tile '99'"):
        merged(frame, plan)
