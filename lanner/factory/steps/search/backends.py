"""Who measures the points of a search: this process, several, or a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from lanner.core.config import DetectorConfig
from lanner.core.machine import cores
from lanner.factory.process_map import fresh
from lanner.factory.steps.search.cluster import by_ray
from lanner.factory.steps.search.points import Bench, Measure, measure
from lanner.factory.steps.search.workers import by_image, by_point


@contextmanager
def measuring(
    bench: Bench, workers: int, backend: Literal["processes", "ray"]
) -> Iterator[Measure]:
    """A function that measures points, several at once, giving them back in order.

    Args:
        bench: what they are measured on; every process loads it once.
        workers: processes; 0 for one a core, 1 for none besides this one. A Ray cluster that
            runs already takes as many as it has.
        backend: processes of this machine, or a Ray cluster that sees the same files.

    Raises:
        ConfigError: Ray is asked for and not installed, does not answer, or misses the files.
    """
    count = workers or cores()
    if backend == "ray":
        with by_ray(bench, count) as measured:
            yield measured
    elif count == 1:
        yield lambda points: [measure(bench, point) for point in points]
    else:
        context = fresh(by_point.__module__, "lanner.factory.steps.evaluate.figures")
        roads = DetectorConfig.model_validate_json(bench.detector).output == "raster"
        with (by_image if roads else by_point)(bench, count, context) as measured:
            yield measured
