"""Who measures the points of a search: this process, several, or the workers of an executor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from lanner.archives.executors import Needs, Pool, in_order, opener
from lanner.core.config import DetectorConfig
from lanner.core.errors import ConfigError, LannerError
from lanner.core.job import Cancel
from lanner.core.machine import cores
from lanner.factory.process_map import fresh
from lanner.factory.steps.search.points import Bench, Measure, Measured, measure
from lanner.factory.steps.search.space import Point
from lanner.factory.steps.search.workers import by_image, by_point

PROCESSES = "processes"
"""The backend that is no executor: processes of this machine."""


@contextmanager
def measuring(bench: Bench, workers: int, backend: str) -> Iterator[Measure]:
    """A function that measures points, several at once, giving them back in order.

    Args:
        bench: what they are measured on; every process loads it once.
        workers: processes; 0 for one a core, 1 for none besides this one.
        backend: processes of this machine, or the name of an executor, such as `ray`, whose
            workers see the same files.

    Raises:
        ConfigError: an executor is asked for that is not there or does not answer, or its workers
            miss the files.
    """
    count = workers or cores()
    if backend != PROCESSES:
        with opener(backend, {"workers": workers} if workers else {})(Needs()) as pool:
            yield partial(_by_pool, pool, bench, backend)
    elif count == 1:
        yield lambda points: [measure(bench, point) for point in points]
    else:
        context = fresh(by_point.__module__, "lanner.factory.steps.evaluate.figures")
        roads = DetectorConfig.model_validate_json(bench.detector).output == "raster"
        with (by_image if roads else by_point)(bench, count, context) as measured:
            yield measured


def _by_pool(pool: Pool, bench: Bench, backend: str, points: Sequence[Point]) -> list[Measured]:
    """Points measured by a pool's workers, in order."""
    measured = []
    for answer in in_order(pool, [partial(_measured, bench, one) for one in points], Cancel()):
        if answer.lost or isinstance(answer.error, LannerError):
            raise ConfigError(
                "search.backend",
                backend,
                "workers died, time and again" if answer.lost else f"a worker says: {answer.error}",
                "let all machines of the cluster see the same files under the same paths",
            ) from answer.error
        if answer.error is not None:
            raise answer.error
        measured.append(answer.value)
    return measured


def _measured(bench: Bench, point: Point, _: Cancel) -> Measured:
    return measure(bench, point)
