"""One piece of work after the other, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lanner.archives.executors import Answer, Needs, Work
from lanner.core.config import Strict
from lanner.core.job import Cancel


class Params(Strict):
    """None."""


class SerialPool:
    """The caller's own thread, as a pool of one worker."""

    cuts = False
    notes: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._waiting: list[tuple[int, Work]] = []

    def room(self) -> int:
        """One."""
        return 1

    def submit(self, number: int, work: Work) -> None:
        """Keep it until the caller waits."""
        self._waiting.append((number, work))

    def wait(self, cancel: Cancel) -> Answer:
        """Do the oldest; errors other than of the work itself are raised where they happen."""
        number, work = self._waiting.pop(0)
        return Answer(number, work(cancel))


@contextmanager
def run(params: Params, needs: Needs) -> Iterator[SerialPool]:
    """A pool of this thread alone."""
    yield SerialPool()
