"""Points measured by a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lanner.core.errors import ConfigError, LannerError
from lanner.factory.steps.search.points import Bench, Measure, Measured, measure
from lanner.factory.steps.search.space import Point


@contextmanager
def by_ray(bench: Bench, workers: int) -> Iterator[Measure]:
    """Points measured by Ray; what was started for it is shut down afterwards."""
    # Nothing about the user goes out; workers that are started here inherit it.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise ConfigError(
            "search.backend",
            "ray",
            "Ray is not installed",
            "install it (pip install ray), or say backend: processes",
        ) from error
    ours = not ray.is_initialized()
    if ours:
        _join(ray, workers)
    remote = ray.remote(measure)

    def measured(points: Sequence[Point]) -> list[Measured]:
        try:
            return list(ray.get([remote.remote(bench, point) for point in points]))
        except ray.exceptions.RayTaskError as error:
            if not isinstance(error.cause, LannerError):
                raise
            raise ConfigError(
                "search.backend",
                "ray",
                f"a worker says: {error.cause}",
                "let all machines of the cluster see the same files under the same paths",
            ) from error

    try:
        yield measured
    finally:
        if ours:
            ray.shutdown()


def _join(ray: Any, workers: int) -> None:
    """Join the cluster that RAY_ADDRESS names or that runs here, else start one of `workers`."""
    try:
        ray.init(address="auto", log_to_driver=False)
    except ConnectionError as error:
        address = os.environ.get("RAY_ADDRESS")
        if address:
            raise ConfigError(
                "RAY_ADDRESS", address, "no Ray cluster answers", "start it, or unset RAY_ADDRESS"
            ) from error
        # Left to itself Ray takes every core of the machine, also those that we may not use.
        ray.init(address="local", num_cpus=workers, include_dashboard=False, log_to_driver=False)
