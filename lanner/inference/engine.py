"""One engine a device: tiles of every scene under way there are looked at by the same few threads.

A network is quickest when it never waits: so scenes take turns tile by tile rather than one after
the other, and a batch that one scene leaves half empty is filled by the next.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Protocol

from detectors.results import encode

if TYPE_CHECKING:
    from detectors.results import TileResult
    from tiling.grid import Grid
    from tiling.reader import TileImage

WORKER_PX = 768
"""Side of a tile that one worker is for; larger ones take several, for their memory."""

PATIENCE_S = 0.02
"""How long a batch that is not full waits for one more tile."""


class Predictor(Protocol):
    """What looks at tiles: an ensemble, or something that knows the truth."""

    @property
    def names(self) -> tuple[str, ...]:
        """Members, in the order of the columns of `TileResult.votes`."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the probability raster's channels; none for objects."""

    @property
    def batch(self) -> int:
        """Tiles that are best handed over at once."""

    @property
    def workers(self) -> int:
        """Parts that the device divides into: threads that may call `run` at once."""

    @property
    def shares_cores(self) -> bool:
        """Whether it looks with the cores that tiles are read with."""

    @property
    def device(self) -> str:
        """Where it looks; predictor of one device share its engine."""

    @property
    def identity(self) -> str:
        """What results depend on besides configuration and weights."""

    def run(
        self, images: Sequence[TileImage], grids: Sequence[Grid], slots: int | None = None
    ) -> list[TileResult]:
        """One result a tile, in the order given, tiles of one size.

        `slots` is how many workers' share of the cores it may compute with; None: all.
        """


@dataclass(frozen=True)
class TileTask:
    """A tile of some scene: `get` gives it, `answer` is for its result as the ledger keeps it."""

    predictor: Predictor
    side: int
    slots: int
    grid: Grid
    get: Callable[[], TileImage]
    answer: Future[bytes] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)

    def goes_with(self, other: TileTask) -> bool:
        """Whether both fit into one batch."""
        return self.predictor is other.predictor and self.side == other.side


class Engine:
    """The threads that look on one device.

    They run while someone has the engine open, and take tiles first come first served: who keeps
    no more than a few tiles waiting leaves room for the others.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._free = workers
        self._waiting: list[TileTask] = []
        self._threads: list[threading.Thread] = []
        self._users = 0
        self._changed = threading.Condition()

    @contextmanager
    def opened(self) -> Iterator[Engine]:
        """Lanes run until the last block ends."""
        with self._changed:
            self._users += 1
            while len(self._threads) < self.workers:
                name = f"lanner-worker-{len(self._threads)}"
                thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
        try:
            yield self
        finally:
            ended: list[threading.Thread] = []
            with self._changed:
                self._users -= 1
                if self._users == 0:
                    ended, self._threads = self._threads, []
                    self._changed.notify_all()
            for thread in ended:
                thread.join()

    def submit(
        self, predictor: Predictor, side: int, grid: Grid, get: Callable[[], TileImage]
    ) -> Future[bytes]:
        """What `predictor` will say of a tile; cancel it when it is no longer wanted.

        Args:
            predictor: of this device.
            side: of the tile in pixels.
            grid: of its plan.
            get: gives the tile; called by the thread that looks.
        """
        task = TileTask(predictor, side, self.slots(predictor, side), grid, get)
        with self._changed:
            self._waiting.append(task)
            self._changed.notify_all()
        return task.answer

    def slots(self, predictor: Predictor, side: int) -> int:
        """Workers that a tile of this side takes."""
        return min(self.workers, ceil(side**2 / WORKER_PX**2)) if predictor.shares_cores else 1

    def _work(self) -> None:
        while tasks := self._next():
            _answer(tasks)
            with self._changed:
                self._free += tasks[0].slots
                self._changed.notify_all()

    def _next(self) -> list[TileTask]:
        """The next batch, once it is full or no more comes; nothing when the worker may end."""
        with self._changed:
            while True:
                if self._ended():
                    return []
                if not self._waiting or self._waiting[0].slots > self._free:
                    self._changed.wait()
                    continue
                first = self._waiting[0]
                batch = max(1, first.predictor.batch)
                chosen = [one for one in self._waiting if one.goes_with(first)][:batch]
                left = max(one.since for one in chosen) + PATIENCE_S - time.monotonic()
                if len(chosen) < batch and left > 0:
                    self._changed.wait(left)
                    continue
                self._free -= first.slots
                taken = set(map(id, chosen))
                self._waiting = [one for one in self._waiting if id(one) not in taken]
                return chosen

    def _ended(self) -> bool:
        return threading.current_thread() not in self._threads


def _answer(tasks: list[TileTask]) -> None:
    """Read and look; what fails is told to those who asked."""
    read: list[tuple[TileTask, TileImage]] = []
    for one in tasks:
        if one.answer.set_running_or_notify_cancel():
            try:
                read.append((one, one.get()))
            except BaseException as error:  # whatever it is: who asked must not wait for ever
                one.answer.set_exception(error)
    if not read:
        return
    predictor = read[0][0].predictor
    try:
        images, grids = [image for _, image in read], [one.grid for one, _ in read]
        results = predictor.run(images, grids, tasks[0].slots)
        payloads = [encode(result) for result in results]
    except BaseException as error:
        for one, _ in read:
            one.answer.set_exception(error)
        return
    for (one, _), payload in zip(read, payloads, strict=True):
        one.answer.set_result(payload)


_ENGINES: dict[str, Engine] = {}
_MAKING = threading.Lock()


def engine_of(predictor: Predictor) -> Engine:
    """The engine of the device that these predictor look on."""
    with _MAKING:
        return _ENGINES.setdefault(predictor.device, Engine(predictor.workers))
