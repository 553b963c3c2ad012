"""Several scenes at once on this machine's device, by threads of one process.

Networks are loaded once. The device's engine takes tiles of all scenes in turn, so that its cores
are filled by one scene's tiles while another one is opened, chained or written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue

from pydantic import Field

from lanner.archives.executors import Begun, Ended
from lanner.archives.work import SceneJob, run_job
from lanner.core.config import Strict
from lanner.core.job import Cancel
from lanner.core.machine import workers


class Params(Strict):
    """`scenes` at once; 0: as many as there are cores, four at most."""

    scenes: int = Field(0, ge=0, le=64)


MOST = 4
"""Scenes at once by default: more only take memory, since the engine's cores are full."""


def run(jobs: Sequence[SceneJob], cancel: Cancel, params: Params) -> Iterator[Begun | Ended]:
    """Run jobs, begun in order and ended as they come.

    Raises:
        Cancelled: the caller asked to stop; scenes in hand are left where they are.
        OutputError: a file cannot be written.
    """
    stop = Cancel()
    told: SimpleQueue[Begun | Ended | BaseException] = SimpleQueue()

    def one(job: SceneJob) -> None:
        if stop.is_set():
            return
        told.put(Begun(job))
        try:
            told.put(Ended(job, run_job(job, stop)))
        except BaseException as error:
            told.put(error)

    left = len(jobs)
    with ThreadPoolExecutor(params.scenes or min(workers(), MOST), "lanner-scene") as pool:
        try:
            for job in jobs:
                pool.submit(one, job)
            while left:
                event = _next(told, cancel)
                if isinstance(event, BaseException):
                    raise event
                left -= isinstance(event, Ended)
                yield event
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _next(
    told: SimpleQueue[Begun | Ended | BaseException], cancel: Cancel
) -> Begun | Ended | BaseException:
    """The next event; the caller's wish to stop is seen within a moment."""
    while True:
        cancel.check()
        try:
            return told.get(timeout=0.2)
        except Empty:
            continue
