"""What of a raster can still be read where some of its blocks are damaged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil

import numpy as np

from lanner.core.errors import SceneError
from tiling.grid import Box, Grid
from tiling.names import is_remote
from tiling.raw import Mask, Pixels, Source

Corners = tuple[int, int, int, int]

MOST = 0.1
"""Share of a scene's pixels that may be unreadable. Beyond it the file is broken as a whole, cut
off perhaps, and what is left of it would be taken for more than it is."""


def read_through(source: Source, box: Box) -> tuple[Pixels, Mask, tuple[Box, ...]]:
    """Pixels of a box as `Source.read` gives them; blocks that cannot be read are invalid.

    Only files of this machine are read so: a remote server that fails may answer the next time.

    Returns:
        (bands, h, w) of the file's type, (h, w) valid, and the whole blocks that are unreadable.

    Raises:
        SceneError: a remote scene cannot be read there.
    """
    try:
        return *source.read(box), ()
    except SceneError:
        if is_remote(source.uri):
            raise
    parts: list[tuple[Box, tuple[Pixels, Mask]]] = []
    unread = []
    for block in _blocks(source, box):
        part = common(block, box)
        try:
            parts.append((part, source.read(part)))
        except SceneError:
            unread.append(block)
    valid = np.zeros((box.height, box.width), np.bool_)
    pixels = np.zeros((len(source.indices), box.height, box.width), source.dtype)
    for part, (values, known) in parts:
        rows = slice(part.y0 - box.y0, part.y1 - box.y0)
        cols = slice(part.x0 - box.x0, part.x1 - box.x0)
        pixels[:, rows, cols], valid[rows, cols] = values, known
    return pixels, valid, tuple(unread)


def is_broken(unread: Sequence[Corners], grid: Grid) -> bool:
    """Whether more than `MOST` of a grid's scene is unreadable: blocks as x0 y0 x1 y1."""
    return _share(unread, grid) > MOST


def unread_note(unread: Sequence[Corners], grid: Grid) -> tuple[str, ...]:
    """What the user should be told of unreadable blocks: a sentence, or none."""
    if not unread:
        return ()
    share = _share(unread, grid)
    return (
        f"{blocks_text(len(unread))} ({share:.2%} of the scene) cannot be read: nothing was "
        "looked for there. Fetch the file again, and run it once more.",
    )


def blocks_text(count: int) -> str:
    """`1 block`, `2 blocks`."""
    return f"{count} block" if count == 1 else f"{count} blocks"


def in_scene(box: Box, across: float, down: float) -> Box:
    """A box of an overview in pixels of the scene, which has so many times as many of them."""
    return Box(int(box.x0 * across), int(box.y0 * down), ceil(box.x1 * across), ceil(box.y1 * down))


def area(box: Box) -> int:
    """Its pixels."""
    return box.width * box.height


def common(one: Box, other: Box) -> Box:
    """What two boxes that overlap have in common."""
    return Box(
        max(one.x0, other.x0),
        max(one.y0, other.y0),
        min(one.x1, other.x1),
        min(one.y1, other.y1),
    )


def _share(unread: Sequence[Corners], grid: Grid) -> float:
    pixels = sum(area(Box(*one)) for one in unread)
    return pixels / (grid.scene_width * grid.scene_height)


def _blocks(source: Source, box: Box) -> Iterator[Box]:
    """Whole blocks of a raster that a box touches."""
    dataset = source.dataset
    rows, cols = dataset.block_shapes[0]
    for row in range(box.y0 // rows, -(-box.y1 // rows)):
        for col in range(box.x0 // cols, -(-box.x1 // cols)):
            yield Box(
                col * cols,
                row * rows,
                min((col + 1) * cols, dataset.width),
                min((row + 1) * rows, dataset.height),
            )
