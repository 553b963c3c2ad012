"""Connected components of a raster too big to hold: labelled by block, joined across seams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from postprocess.roads.raster import Block, Mask

Neighbours = Literal[4, 8]
ReadMask = Callable[[Block], tuple[Mask, Mask]]
"""From a block to its core's mask and to the pixels of it that count."""


@dataclass(frozen=True)
class Components:
    """Which components of the whole grid the components of each block belong to."""

    neighbours: Neighbours
    first: NDArray[np.int64]
    root: NDArray[np.int32]
    total: NDArray[np.int64]
    """(components,) number of pixels that count in each component of the grid."""

    def select(self, block: Block, mask: Mask, keep: NDArray[np.bool_]) -> Mask:
        """The pixels of a block's mask whose component is True in `keep`."""
        if not mask.any():
            return mask
        labels, found = _label(mask, self.neighbours)
        start = self.first[block.index]
        local = np.zeros(found + 1, np.bool_)
        local[1:] = keep[self.root[start : start + found]]
        return local[labels]


def components(cores: Sequence[Block], read: ReadMask, neighbours: Neighbours) -> Components:
    """Label every block once, in row order, and join what touches across seams.

    Equal to labelling the grid whole (as a partition) for any block size. Only the last row of
    blocks' lower edges are held, besides one number or two for each component of a block.

    Args:
        cores: all blocks of the grid, in row order.
        read: gives a block's mask and the pixels of it to count.
        neighbours: 4 or 8.
    """
    width = max(block.core.x1 for block in cores)
    first = np.zeros(len(cores) + 1, np.int64)
    counts: list[NDArray[np.int64]] = []
    pairs: list[NDArray[np.int64]] = []
    above, below = np.zeros(width, np.int64), np.zeros(width, np.int64)
    top = np.zeros(width, np.int64)
    left: NDArray[np.int64] = np.zeros(0, np.int64)
    for i, block in enumerate(cores):
        mask, counted = read(block)
        labels, found = _label(mask, neighbours)
        first[i + 1] = first[i] + found
        counts.append(np.bincount(labels[counted], minlength=found + 1)[1:])
        across = slice(block.core.x0, block.core.x1)
        top[across] = _numbered(labels[0], first[i])
        below[across] = _numbered(labels[-1], first[i])
        if block.core.x0:
            pairs.append(_touching(left, _numbered(labels[:, 0], first[i]), neighbours))
        left = _numbered(labels[:, -1], first[i])
        if block.core.x1 == width:
            if block.row:
                pairs.append(_touching(above, top, neighbours))
            above, below = below, above
    total = int(first[-1])
    joined = np.concatenate([*pairs, np.empty((0, 2), np.int64)]) - 1
    links = coo_array(
        (np.ones(len(joined), np.bool_), (joined[:, 0], joined[:, 1])), shape=(total, total)
    )
    number, joined_root = connected_components(links, directed=False) if total else (0, first[:0])
    root = np.asarray(joined_root, np.int32)
    local = np.concatenate([*counts, np.empty(0, np.int64)])
    sums = np.bincount(root, weights=local, minlength=number).astype(np.int64)
    return Components(neighbours, first, root, sums)


def _label(mask: Mask, neighbours: Neighbours) -> tuple[NDArray[np.int32], int]:
    if not mask.any():
        return np.zeros(mask.shape, np.int32), 0
    labels, found = ndimage.label(mask, np.ones((3, 3)) if neighbours == 8 else None)
    return labels, int(found)


def _numbered(labels: NDArray[np.int32], first: np.int64) -> NDArray[np.int64]:
    """Labels of a border counted over all blocks, 0 still the background."""
    return np.where(labels > 0, labels + first, 0)


def _touching(
    one: NDArray[np.int64], other: NDArray[np.int64], neighbours: Neighbours
) -> NDArray[np.int64]:
    """Distinct pairs of labels that face each other over a seam."""
    faces = [(one, other)]
    if neighbours == 8:
        faces += [(one[1:], other[:-1]), (one[:-1], other[1:])]
    pairs = np.concatenate([np.stack(face, axis=1) for face in faces])
    pairs = pairs[(pairs > 0).all(axis=1)]
    distinct: NDArray[np.int64] = np.unique(pairs, axis=0)
    return distinct
