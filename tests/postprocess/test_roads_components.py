"""Components labelled by block are the components of the whole."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from postprocess.roads.components import Components, components
from postprocess.roads.raster import Block, blocks

MASKS = arrays(np.bool_, st.tuples(st.integers(1, 23), st.integers(1, 23)))


def piece(block: Block, image: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return image[block.core.y0 : block.core.y1, block.core.x0 : block.core.x1]


def labelled(
    mask: NDArray[np.bool_], counted: NDArray[np.bool_], size: int, neighbours: Literal[4, 8]
) -> tuple[Components, tuple[Block, ...]]:
    cores = blocks(mask.shape[1], mask.shape[0], size)
    found = components(
        cores, lambda block: (piece(block, mask), piece(block, mask & counted)), neighbours
    )
    return found, cores


@settings(max_examples=150, deadline=None)
@given(MASKS, st.data(), st.integers(1, 9), st.sampled_from([4, 8]))
def test_counts_and_selection_equal_the_untiled_ones(
    mask: NDArray[np.bool_], data: st.DataObject, size: int, neighbours: Literal[4, 8]
) -> None:
    counted = data.draw(arrays(np.bool_, mask.shape))
    found, cores = labelled(mask, counted, size, neighbours)
    labels, number = ndimage.label(mask, np.ones((3, 3)) if neighbours == 8 else None)
    true = ndimage.sum_labels(mask & counted, labels, np.arange(1, number + 1))
    assert sorted(found.total) == sorted(true)
    least = data.draw(st.integers(1, 6))
    selected = np.zeros_like(mask)
    for block in cores:
        selected[block.core.y0 : block.core.y1, block.core.x0 : block.core.x1] = found.select(
            block, piece(block, mask), found.total >= least
        )
    expected = np.isin(labels, np.flatnonzero(true >= least) + 1) & mask
    assert np.array_equal(selected, expected)


def test_a_snake_through_every_block_is_one() -> None:
    mask = np.zeros((41, 41), np.bool_)
    mask[::2] = True
    mask[1::4, -1] = True
    mask[3::4, 0] = True
    found, _ = labelled(mask, mask, 5, 4)
    assert found.total.tolist() == [np.count_nonzero(mask)]


@pytest.mark.parametrize(("neighbours", "number"), [(4, 2), (8, 1)])
def test_a_diagonal_over_the_corner_of_four_blocks(neighbours: Literal[4, 8], number: int) -> None:
    mask = np.zeros((8, 8), np.bool_)
    mask[3, 4] = mask[4, 3] = True
    assert len(labelled(mask, mask, 4, neighbours)[0].total) == number


def test_nothing_gives_nothing() -> None:
    mask = np.zeros((10, 7), np.bool_)
    found, cores = labelled(mask, mask, 4, 8)
    assert len(found.total) == 0
    assert not found.select(cores[0], piece(cores[0], mask), np.zeros(0, np.bool_)).any()
