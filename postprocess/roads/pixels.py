"""A skeleton's pixels strung into polylines, by block, then across the seams.

Two pixels are joined when they are neighbours, but diagonal ones only if no third pixel joins
them by sides: so a corner is no triangle. Every joint belongs to one block, the one that holds
its upper (or left) pixel; the polylines are the same for any block size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from postprocess.roads.chains import Chains, laid, string
from postprocess.roads.raster import Block, Mask

Index = NDArray[np.int64]

HALO = 2
"""Pixels around a block that must be known: one for the joint, one for what joins its ends."""

_FORWARD = ((0, 1), (1, 0), (1, 1), (1, -1))


@dataclass(frozen=True)
class Paths:
    """Polylines over pixels: `pixels` holds row * width + column, path i from `start[i]` on.

    `through` (two a path) says of both ends that exactly two joints meet there: a seam cut the
    line, or it is a ring.
    """

    pixels: Index
    start: Index
    through: NDArray[np.bool_]


def block_paths(skeleton: Mask, block: Block, width: int) -> Paths:
    """Polylines of the joints that a block owns.

    Args:
        skeleton: (h + 4, w + 4) bool, the block's core with a halo of `HALO`.
        block: where it lies.
        width: of the grid.
    """
    joined = [_joints(skeleton, step) for step in _FORWARD]
    degree = np.zeros(skeleton.shape, np.uint8)
    for (dy, dx), here in zip(_FORWARD, joined, strict=True):
        degree += here
        degree += np.roll(here, (dy, dx), axis=(0, 1))
    tails, heads = [], []
    local_width = skeleton.shape[1]
    for (dy, dx), here in zip(_FORWARD, joined, strict=True):
        rows, cols = np.nonzero(here[block.inner])
        tail = (rows + HALO) * local_width + cols + HALO
        tails.append(tail)
        heads.append(tail + dy * local_width + dx)
    ends = np.stack([np.concatenate(tails), np.concatenate(heads)], axis=1)
    local, vertex = np.unique(ends, return_inverse=True)
    vertex = vertex.reshape(-1, 2)
    wanted = degree.ravel()[local]
    owned = np.bincount(vertex.ravel(), minlength=len(local))
    paths = _strung(vertex, (wanted == 2) & (owned == 2))
    rows, cols = np.divmod(local, local_width)
    place = (rows + block.window.y0) * width + cols + block.window.x0
    return Paths(place[paths.pixels], paths.start, (wanted == 2)[paths.pixels[_ends(paths.start)]])


@dataclass(frozen=True)
class Joined:
    """All polylines of the grid, still as the pieces that blocks found, and how these join.

    `first` and `last` (k,) are end pixels, `size` (k,) numbers of pixels; `ring` (k,) closed lines
    without a junction.
    """

    pixels: Index
    start: Index
    chains: Chains
    first: Index
    last: Index
    size: Index
    ring: NDArray[np.bool_]

    def lines(self, begin: int, end: int) -> tuple[Index, Index]:
        """Pixels of polylines `begin` to `end`, and the polyline (counted from 0) of each.

        A ring starts at its uppermost, then leftmost pixel.
        """
        places = slice(int(self.chains.start[begin]), int(self.chains.start[end]))
        some = Chains(
            self.chains.edge[places],
            self.chains.reverse[places],
            self.chains.start[begin : end + 1] - self.chains.start[begin],
        )
        take, start = laid(self.start, some)
        pixels = self.pixels[take]
        _canonical(pixels, start, self.ring[begin:end])
        return pixels, np.repeat(np.arange(end - begin), np.diff(start))


def join(parts: list[Paths]) -> Joined:
    """Find how the blocks' polylines go on over the seams. `parts` is emptied on the way."""
    sizes = np.concatenate([np.diff(part.start) for part in parts])
    through_end = np.concatenate([part.through for part in parts])
    start = np.concatenate([[0], np.cumsum(sizes)])
    pixels = np.empty(start[-1], np.int64)
    filled = len(pixels)
    while parts:  # from the back, so that the pieces are never held twice
        piece = parts.pop().pixels
        filled -= len(piece)
        pixels[filled : filled + len(piece)] = piece
    known, number = np.unique(pixels[_ends(start)], return_inverse=True)
    through = np.zeros(len(known), np.bool_)
    through[number.ravel()] = through_end
    vertex = number.reshape(-1, 2)
    chains = string(vertex[:, 0], vertex[:, 1], through)
    opening, closing = chains.start[:-1], chains.start[1:] - 1
    begin = vertex[chains.edge[opening], chains.reverse[opening].astype(np.int64)]
    end = vertex[chains.edge[closing], 1 - chains.reverse[closing].astype(np.int64)]
    size = np.add.reduceat(sizes[chains.edge] - 1, opening) + 1
    ring = (begin == end) & through[begin]
    return Joined(pixels, start, chains, known[begin], known[end], size, ring)


def _joints(skeleton: Mask, step: tuple[int, int]) -> Mask:
    """(same shape) bool: the pixel is joined to the one a step right or down (and sideways)."""
    dy, dx = step
    there = np.roll(skeleton, (-dy, -dx), axis=(0, 1))
    joined = skeleton & there
    if dy and dx:
        joined &= ~np.roll(skeleton, (0, -dx), axis=(0, 1)) & ~np.roll(skeleton, -dy, axis=0)
    # What wrapped around the array's border is no neighbour.
    joined[-1] &= dy == 0
    joined[:, -1 if dx > 0 else 0] &= dx == 0
    return joined


def _ends(start: Index) -> Index:
    """Places of the first and last item of every run, alternating."""
    return np.stack([start[:-1], start[1:] - 1], axis=1).ravel()


def _strung(vertex: Index, through: NDArray[np.bool_]) -> Paths:
    chains = string(vertex[:, 0], vertex[:, 1], through)
    take, start = laid(np.arange(0, 2 * len(vertex) + 1, 2), chains)
    return Paths(vertex.ravel()[take], start, np.empty(0, np.bool_))


def _canonical(pixels: Index, start: Index, ring: NDArray[np.bool_]) -> None:
    """Turn rings to start at their lowest pixel, and closed paths to one direction, in place."""
    closed = pixels[start[:-1]] == pixels[start[1:] - 1]
    for i in np.flatnonzero(closed):
        path = pixels[start[i] : start[i + 1] - 1]
        if ring[i]:
            path = np.roll(path, -int(np.argmin(path)))
        path = np.append(path, path[0])
        pixels[start[i] : start[i + 1]] = path if path[1] < path[-2] else path[::-1]
