"""Thinning and tracing give the same lines whatever the blocks."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from postprocess.frame import empty
from postprocess.roads import clean, skeletonise, threshold, trace
from postprocess.roads.chains import ragged, string
from postprocess.roads.pixels import HALO, block_paths, join
from postprocess.roads.raster import blocks
from postprocess.roads.thinning import thin
from tests.fixtures_roads import TOWN, painted, road_context

EIGHT = np.ones((3, 3))


def blobs(seed: int, size: int = 90, sigma: float = 2.5) -> NDArray[np.bool_]:
    noise = np.random.default_rng(seed).normal(0, 1, (size, size))
    return ndimage.gaussian_filter(noise, sigma) > 0.02


def traced(skeleton: NDArray[np.bool_], size: int) -> list[list[int]]:
    height, width = skeleton.shape
    padded = np.pad(skeleton, HALO + size)
    parts = []
    for block in blocks(width, height, size, HALO):
        w = block.window
        off = HALO + size
        parts.append(
            block_paths(padded[w.y0 + off : w.y1 + off, w.x0 + off : w.x1 + off], block, width)
        )
    parts = [part for part in parts if len(part.pixels)]
    if not parts:
        return []
    joined = join(parts)
    pixels, owner = joined.lines(0, len(joined.size))
    assert np.array_equal(np.bincount(owner), joined.size)
    return sorted(line.tolist() for line in np.split(pixels, np.cumsum(joined.size)[:-1]))


@pytest.mark.parametrize("seed", range(6))
def test_thinning_keeps_pieces_and_holes(seed: int) -> None:
    mask = blobs(seed)
    thinned, still = thin(mask, 200)
    assert still
    assert not (thinned & ~mask).any()
    assert ndimage.label(thinned, EIGHT)[1] == ndimage.label(mask, EIGHT)[1]
    outside = (np.pad(~m, 1, constant_values=True) for m in (thinned, mask))
    holes = [ndimage.label(ground)[1] for ground in outside]
    assert holes[0] == holes[1]
    assert np.array_equal(thin(thinned, 5)[0], thinned)


def test_straight_roads_thin_to_their_middle_without_spurs() -> None:
    for width in (3, 7, 15, 31):
        mask = np.zeros((120, 200), np.bool_)
        mask[60 - width // 2 : 61 + width // 2, 10:190] = True
        thinned, _ = thin(mask, 40)
        middle = thinned[:, 30:170]
        assert middle.sum(axis=0).max() == 1
        assert np.abs(np.nonzero(middle)[0] - 60).max() <= 1


@settings(max_examples=40, deadline=None)
@given(arrays(np.bool_, (19, 21), elements=st.booleans()), st.integers(1, 4))
def test_a_halo_of_two_pixels_an_iteration_is_enough(
    mask: NDArray[np.bool_], iterations: int
) -> None:
    whole, _ = thin(mask, iterations)
    halo = 2 * iterations
    padded = np.pad(mask, halo)
    core = thin(padded[4 : 12 + 2 * halo, 5 : 14 + 2 * halo], iterations)[0]
    assert np.array_equal(core[halo:-halo, halo:-halo], whole[4:12, 5:14])


@settings(max_examples=80, deadline=None)
@given(arrays(np.bool_, st.tuples(st.integers(2, 17), st.integers(2, 17))))
def test_any_pixels_give_the_same_lines_for_any_blocks(pixels: NDArray[np.bool_]) -> None:
    whole = traced(pixels, 64)
    for size in (3, 5, 8):
        assert traced(pixels, size) == whole


@settings(max_examples=80, deadline=None)
@given(arrays(np.bool_, st.tuples(st.integers(2, 17), st.integers(2, 17))))
def test_lines_pass_every_joint_once_and_end_only_at_nodes(pixels: NDArray[np.bool_]) -> None:
    lines = traced(pixels, 6)
    width = pixels.shape[1]
    steps = [tuple(sorted(pair)) for line in lines for pair in pairwise(line)]
    assert len(steps) == len(set(steps))
    degree: dict[int, int] = {}
    for pair in steps:
        for pixel in pair:
            assert pixels.ravel()[pixel]
            degree[pixel] = degree.get(pixel, 0) + 1
    for line in lines:
        assert all(degree[pixel] == 2 for pixel in line[1:-1])
        if line[0] != line[-1]:
            assert degree[line[0]] != 2
            assert degree[line[-1]] != 2
    # Every pixel with a neighbour is on a line: joints leave out no connection.
    touching = pixels & (ndimage.convolve(pixels.astype(int), EIGHT, mode="constant") > 1)
    assert {int(p) for p in np.flatnonzero(touching)} == set(degree)
    labels, number = ndimage.label(pixels, EIGHT)
    assert all(labels[divmod(a, width)] == labels[divmod(b, width)] for a, b in steps)
    alone = np.count_nonzero(pixels & ~touching)
    graph = (
        shapely.line_merge(
            shapely.union_all(
                [shapely.LineString([divmod(p, width) for p in pair]) for pair in steps]
            )
        )
        if steps
        else shapely.MultiLineString()
    )
    clusters = shapely.get_parts(shapely.union_all(shapely.buffer(graph, 0.1)))
    assert len(clusters[~shapely.is_empty(clusters)]) + alone == number


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=14))
def test_strings_walk_every_edge_once_from_end_to_end(edges: list[tuple[int, int]]) -> None:
    tail, head = np.array(edges).T
    through = np.bincount(np.array(edges).ravel(), minlength=8) == 2
    chains = string(tail, head, through)
    assert sorted(chains.edge) == list(range(len(edges)))
    for a, b in zip(chains.start[:-1], chains.start[1:], strict=True):
        walk = [
            edges[e][::-1] if back else edges[e]
            for e, back in zip(chains.edge[a:b], chains.reverse[a:b], strict=True)
        ]
        assert all(one[1] == other[0] for one, other in pairwise(walk))
        assert all(through[one[1]] for one in walk[:-1])
        closed = walk[0][0] == walk[-1][1]
        assert closed or not (through[walk[0][0]] or through[walk[-1][1]])


def test_ragged_runs() -> None:
    runs = ragged(np.array([3, 10, 7]), np.array([2, 3, 0]), np.array([False, True, False]))
    assert runs.tolist() == [3, 4, 12, 11, 10]


@pytest.mark.parametrize("iterations", [2, 24])
def test_skeleton_needs_no_luck_with_wide_places(tmp_path: Path, iterations: int) -> None:
    mask = painted(TOWN, size=700)
    mask[420:520, 250:330] = 255
    expected, _ = thin(mask > 0, 500)
    context = road_context(tmp_path, mask)
    threshold.run(empty(), context, threshold.Params(smooth_m=0))
    clean.run(empty(), context, clean.Params(close_m=0, hole_m2=0, max_width_m=400))
    params = skeletonise.Params(block=256, iterations=iterations)
    skeletonise.run(empty(), context, params)
    with rasterio.open(context.raster("skeletonise")) as dataset:
        assert np.array_equal(dataset.read(1) > 0, expected)
        assert dataset.crs is not None


def test_a_ring_and_a_cross_become_a_loop_and_four_arms(tmp_path: Path) -> None:
    y, x = np.mgrid[:300, :300]
    ring = np.abs(np.hypot(x - 100, y - 100) - 50) < 3
    cross = ((np.abs(x - 230) < 3) | (np.abs(y - 230) < 3)) & (x > 180) & (y > 180)
    context = road_context(tmp_path, ((ring | cross) * 255).astype(np.uint8))
    frame = empty()
    for step in (threshold, clean, skeletonise, trace):
        frame = step.run(frame, context, step.Params())
    loops = frame[frame.from_node == frame.to_node]
    assert len(loops) == 1
    assert loops.geometry.iloc[0].is_ring
    assert len(frame) == 5
    nodes = np.bincount(frame[["from_node", "to_node"]].to_numpy().ravel())
    assert sorted(nodes) == [1, 1, 1, 1, 2, 4]
