"""Several scenes at once on this machine's device, by threads of one process.

Networks are loaded once. The device's engine takes tiles of all scenes in turn, so that its cores
are filled by one scene's tiles while another one is opened, chained or written.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import Empty, SimpleQueue

from pydantic import Field

from lanner.archives.executors import Answer, Needs, Work
from lanner.core.config import Strict
from lanner.core.job import Cancel
from lanner.core.machine import workers

MOST = 4
"""Scenes at once by default: more only take memory, since the engine's cores are full."""


class Params(Strict):
    """`workers` scenes at once; 0: one more than there are cores, four at most."""

    workers: int = Field(0, ge=0, le=64)


class LocalPool:
    """Threads of this process."""

    cuts = False
    notes: tuple[str, ...] = ()

    def __init__(self, threads: int, executor: ThreadPoolExecutor, stop: Cancel) -> None:
        self._threads, self._executor, self._stop = threads, executor, stop
        self._answers: SimpleQueue[Answer] = SimpleQueue()

    def room(self) -> int:
        """One piece of work a thread."""
        return self._threads

    def submit(self, number: int, work: Work) -> None:
        """Have a thread do it."""
        self._executor.submit(self._answer, number, work)

    def _answer(self, number: int, work: Work) -> None:
        try:
            self._answers.put(Answer(number, work(self._stop)))
        except BaseException as error:  # whatever it is: the caller waits for it
            self._answers.put(Answer(number, error=error))

    def wait(self, cancel: Cancel) -> Answer:
        """The next answer; the caller's wish to stop is noticed within a moment."""
        while True:
            cancel.check()
            try:
                return self._answers.get(timeout=0.2)
            except Empty:
                continue


@contextmanager
def run(params: Params, needs: Needs) -> Iterator[LocalPool]:
    """Threads until the block ends; what they have in hand is cancelled then."""
    stop, threads = Cancel(), params.workers or min(workers() + 1, MOST)
    with ThreadPoolExecutor(threads, "lanner-scene") as executor:
        try:
            yield LocalPool(threads, executor, stop)
        finally:
            stop.set()
            executor.shutdown(wait=True, cancel_futures=True)
