"""Tiles of normalised grid pixels, read ahead by threads and handed over in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from lanner.core.errors import SceneError
from lanner.core.machine import workers
from tiling.grid import Box, Tile, TilePlan
from tiling.names import is_remote
from tiling.normalise import Stretch
from tiling.sample import GridSampler
from tiling.scene import Scene
from tiling.unread import MOST, area


@dataclass(frozen=True)
class TileImage:
    """What a network is shown of one tile.

    Attributes:
        tile: the tile.
        pixels: (bands, tile, tile) float32 in 0..1, 0 where invalid.
        valid: (tile, tile) bool.
        unread: blocks of the file in scene pixels that could not be read; they are not valid.
    """

    tile: Tile
    pixels: NDArray[np.float32] = field(repr=False, compare=False)
    valid: NDArray[np.bool_] = field(repr=False, compare=False)
    unread: tuple[Box, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether no pixel is valid: there is nothing to detect."""
        return not self.valid.any()


@dataclass(frozen=True)
class TileReader:
    """Reads tiles of a scene by threads, each with its own file handle.

    Blocks of a local file that cannot be read are no data, unless they are more than a tenth of the
    scene (`tiling.unread.MOST`).

    Attributes:
        scene: scene to read.
        plan: its tiles.
        bands: band names, in the order the network wants.
        stretch: the scene's normalisation.
        threads: reading threads; also how far beyond them tiles are read ahead.
    """

    scene: Scene
    plan: TilePlan
    bands: tuple[str, ...]
    stretch: Stretch
    threads: int = field(default_factory=workers)

    def tiles(self, indices: Iterable[int]) -> Generator[TileImage, None, None]:
        """Tile images in the order asked; at most 2 * threads are held in memory.

        Close the iterator (or let it go) to stop early: waiting reads are dropped, running ones
        finish, and every file handle is closed.

        Raises:
            BandError: a band is missing.
            SceneError: a tile cannot be read; the message names the tile.
            IndexError: no such tile.
        """
        # Over a network one handle: what one tile has of its neighbours is fetched once, and GDAL
        # asks for all blocks of a tile at a time.
        handles = _Handles(self, shared=is_remote(self.scene.uri))
        pool = ThreadPoolExecutor(max(1, self.threads), thread_name_prefix="lanner-read")
        ahead: deque[Future[TileImage]] = deque()
        waiting = iter(indices)
        try:
            for index in islice(waiting, 2 * max(1, self.threads)):
                ahead.append(pool.submit(handles.read, self.plan[index]))
            while ahead:
                image = ahead.popleft().result()
                for index in islice(waiting, 1):
                    ahead.append(pool.submit(handles.read, self.plan[index]))
                yield image
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            handles.close()

    @contextmanager
    def opened(self) -> Iterator[Callable[[int], TileImage]]:
        """Reads a tile by its index, for any thread, until the block ends.

        Raises:
            BandError, SceneError, IndexError: as `tiles`, where a tile is read.
        """
        # One handle and one cache: overlaps are decoded once, by all threads. Over a network
        # several handles hide the latency of each other's requests.
        handles = _Handles(self, shared=not is_remote(self.scene.uri))
        try:
            yield lambda index: handles.read(self.plan[index])
        finally:
            handles.close()

    def chunks(
        self, indices: Iterable[int], size: int, ahead: bool = True
    ) -> Generator[list[TileImage], None, None]:
        """Tile images in the order asked, `size` at a time, the last time perhaps fewer.

        Args:
            indices: of the tiles.
            size: tiles at a time.
            ahead: read on while the caller works, as `tiles` does. Where the caller computes on
                the cores that read, say no: a network waits at every layer for its slowest
                thread, so that reading beside it costs more than reading before it.

        Raises:
            BandError, SceneError, IndexError: as `tiles`.
        """
        if ahead:
            with closing(self.tiles(indices)) as images:
                while chunk := list(islice(images, max(1, size))):
                    yield chunk
            return
        waiting = iter(indices)
        with (
            self.opened() as read,
            ThreadPoolExecutor(max(1, self.threads), thread_name_prefix="lanner-read") as pool,
        ):
            while wanted := list(islice(waiting, max(1, size))):
                yield list(pool.map(read, wanted))

    def read(self, index: int) -> TileImage:
        """One tile, read here and now.

        Raises:
            BandError: a band is missing.
            SceneError: the tile cannot be read.
            IndexError: no such tile.
        """
        with self.opened() as read:
            return read(index)


class _Handles:
    """Samplers, opened at the first tile: one a thread, or one that all threads share."""

    def __init__(self, reader: TileReader, shared: bool = False) -> None:
        self._reader = reader
        self._local = threading.local()
        self._lock = threading.Lock()
        self._all: list[GridSampler] = []
        self._shared = shared
        self._unread: set[Box] = set()

    def read(self, tile: Tile) -> TileImage:
        """One tile."""
        sampler, unread = self._sampler(), set[Box]()
        try:
            raw, valid = sampler.read(tile.window, unread)
            if unread and self._too_many(unread):
                sampler.read(tile.window)
        except SceneError as error:
            raise SceneError(
                error.argument, error.value, f"tile {tile.index}: {error.problem}", error.remedy
            ) from error
        pixels = self._reader.stretch.apply(raw, valid)
        boxes = sorted(unread, key=lambda one: (one.y0, one.x0))
        return TileImage(tile, pixels, valid, tuple(boxes))

    def _too_many(self, unread: set[Box]) -> bool:
        """Whether so much cannot be read, by these handles so far, that nothing should be."""
        scene = self._reader.scene
        with self._lock:
            self._unread |= unread
            lost = sum(map(area, self._unread))
        return lost > MOST * scene.width * scene.height

    def close(self) -> None:
        """Close every sampler; call when no thread reads."""
        with self._lock:
            for sampler in self._all:
                sampler.close()
            self._all.clear()

    def _sampler(self) -> GridSampler:
        if self._shared:
            with self._lock:
                return self._all[0] if self._all else self._open(max(1, self._reader.threads))
        sampler: GridSampler | None = getattr(self._local, "sampler", None)
        if sampler is None:
            with self._lock:
                sampler = self._local.sampler = self._open()
        return sampler

    def _open(self, decoders: int = 1) -> GridSampler:
        reader = self._reader
        sampler = GridSampler(
            reader.scene, reader.plan.grid, reader.bands, decoders, reader.stretch.fill
        )
        self._all.append(sampler)
        return sampler
