"""One engine a device: all networks of every scene under way there run in the same few threads.

A network is quickest when it never waits: so scenes take turns tile by tile rather than one after
the other, and a batch that one scene leaves half empty is filled by the next. Single objects of a
closer look take their turns with tiles, so that several scenes never use more cores than there are.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field, replace
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from detectors.results import encode
from lanner.core.machine import thread_each

if TYPE_CHECKING:
    from detectors.results import TileResult
    from tiling.grid import Grid
    from tiling.reader import TileImage

T = TypeVar("T")
R = TypeVar("R")

WORKER_PX = 768
"""Side of a tile that one worker is for; larger ones take several, for their memory."""

LINGER_S = 10.0
"""How long threads stay that nobody uses."""

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
    def share(self) -> int:
        """Cores that one part has, where the device is the cores."""

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
    """A tile of some scene: `get` gives it, `answer` is for its result as the ledger keeps it.

    Where `spreads`, nothing of its scene comes after it: it takes all workers if nobody else does.
    """

    predictor: Predictor
    side: int
    slots: int
    grid: Grid
    get: Callable[[], TileImage]
    spreads: bool = False
    answer: Future[bytes] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)

    @property
    def batch(self) -> int:
        """Tiles that are best run at once."""
        return max(1, self.predictor.batch)

    def goes_with(self, other: Task) -> bool:
        """Whether both fit into one batch."""
        return (
            isinstance(other, TileTask)
            and self.predictor is other.predictor
            and self.side == other.side
        )


@dataclass(frozen=True)
class CallTask:
    """Anything else that networks do: one core is enough to call `work`."""

    work: Callable[[], Any]
    answer: Future[Any] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)
    slots: int = 1
    batch: int = 1
    spreads: bool = False

    def goes_with(self, other: Task) -> bool:
        """It runs by itself."""
        return self is other


Task = TileTask | CallTask


class Engine:
    """The threads that run networks on one device.

    They run while someone has the engine open, and take tiles first come first served: who keeps
    no more than a few tiles waiting leaves room for the others.

    Args:
        workers: tiles at once.
        share: cores of each; one is enough for what is not a tile.
    """

    def __init__(self, workers: int, share: int = 1) -> None:
        self.workers = workers
        self._share = share
        self._free = workers * share
        self._waiting: list[Task] = []
        self._threads: list[threading.Thread] = []
        self._users = 0
        self._unused_since = 0.0
        self._changed = threading.Condition()

    @contextmanager
    def opened(self) -> Iterator[Engine]:
        """Threads run until the last block ends, and for a while after that: the next scene need
        not start others, in which GDAL and PROJ would begin anew.
        """
        with self._changed:
            self._users += 1
            while len(self._threads) < self.workers * self._share:
                name = f"lanner-worker-{len(self._threads)}"
                thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
        try:
            yield self
        finally:
            with self._changed:
                self._users -= 1
                self._unused_since = time.monotonic()
                self._changed.notify_all()

    def submit(
        self,
        predictor: Predictor,
        side: int,
        grid: Grid,
        get: Callable[[], TileImage],
        spreads: bool = False,
    ) -> Future[bytes]:
        """What `predictor` will say of a tile; cancel it when it is no longer wanted.

        Args:
            predictor: of this device.
            side: of the tile in pixels.
            grid: of its plan.
            get: gives the tile; called by the thread that runs the networks.
            spreads: whether it takes all workers where they are free and nothing else waits.
        """
        slots = self.slots(predictor, side)
        return self._put(TileTask(predictor, side, slots, grid, get, spreads))

    def call_each(self, work: Callable[[T], R], things: Sequence[T]) -> Generator[R, None, None]:
        """What `work` makes of each thing, in order, one core each.

        What has not begun when the generator is closed is not done. A few are asked for at a time,
        so that a scene of many objects does not keep others waiting until its last one.
        """
        ahead = deque[Future[R]]()
        try:
            for thing in things:
                if len(ahead) == 2 * self.workers * self._share:
                    yield ahead.popleft().result()
                ahead.append(self._put(CallTask(partial(work, thing))))
            while ahead:
                yield ahead.popleft().result()
        finally:
            for answer in ahead:
                answer.cancel()
            wait(ahead)

    def _put(self, task: Task) -> Future[Any]:
        with self._changed:
            self._waiting.append(task)
            self._changed.notify_all()
        return task.answer

    def slots(self, predictor: Predictor, side: int) -> int:
        """Workers that a tile of this side takes."""
        return min(self.workers, ceil(side**2 / WORKER_PX**2)) if predictor.shares_cores else 1

    def _work(self) -> None:
        while chosen := self._next():
            tasks, slots, cores = chosen
            _answer(tasks, slots)
            with self._changed:
                self._free += cores
                self._changed.notify_all()

    def _next(self) -> tuple[list[Task], int, int] | None:
        """The next batch, once it is full or no more comes, the workers and the cores that it
        takes; nothing when the thread may end.
        """
        with self._changed:
            while True:
                if not self._waiting:
                    left = self._unused_since + LINGER_S - time.monotonic()
                    if self._users == 0 and left <= 0:
                        self._threads.remove(threading.current_thread())
                        return None
                    self._changed.wait(None if self._users else left)
                    continue
                first = self._waiting[0]
                spreads = first.spreads and len(self._waiting) == 1
                slots = self.workers if spreads else first.slots
                cores = 1 if isinstance(first, CallTask) else slots * self._share
                if cores > self._free:
                    self._changed.wait()
                    continue
                chosen = [one for one in self._waiting if first.goes_with(one)][: first.batch]
                left = max(one.since for one in chosen) + PATIENCE_S - time.monotonic()
                if len(chosen) < first.batch and left > 0:
                    self._changed.wait(left)
                    continue
                self._free -= cores
                taken = set(map(id, chosen))
                self._waiting = [one for one in self._waiting if id(one) not in taken]
                return chosen, slots, cores


def _answer(tasks: Sequence[Task], slots: int) -> None:
    """Run the networks; what fails is an error to those who asked."""
    asked = [one for one in tasks if one.answer.set_running_or_notify_cancel()]
    _answer_tiles([one for one in asked if isinstance(one, TileTask)], slots)
    for one in asked:
        if isinstance(one, CallTask):
            try:
                one.answer.set_result(one.work())
            except BaseException as error:  # whatever it is: who asked must not wait for ever
                one.answer.set_exception(error)


def _answer_tiles(tasks: Sequence[TileTask], slots: int) -> None:
    read: list[tuple[TileTask, TileImage]] = []
    for one in tasks:
        try:
            read.append((one, one.get()))
        except BaseException as error:
            one.answer.set_exception(error)
    if not read:
        return
    predictor = read[0][0].predictor
    try:
        images, grids = [image for _, image in read], [one.grid for one, _ in read]
        results = predictor.run(images, grids, slots)
        payloads = [
            encode(replace(result, unread=tuple(astuple(one) for one in image.unread)))
            for image, result in zip(images, results, strict=True)
        ]
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
        share = predictor.share if predictor.shares_cores else 1
        return _ENGINES.setdefault(predictor.device, Engine(predictor.workers, share))


def on_engine(
    predictor: Predictor, work: Callable[[T], R], things: Sequence[T]
) -> Generator[R, None, None]:
    """What `work`, which runs networks of `predictor`, makes of each thing, in order.

    Where networks run on the cores, they take turns with tiles of other scenes; a device of its
    own is fed by several threads.
    """
    if not predictor.shares_cores:
        yield from thread_each(work, things)
        return
    with engine_of(predictor).opened() as engine:
        yield from engine.call_each(work, things)
