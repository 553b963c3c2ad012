"""Measures operating points on stored raw predictions, here or in other processes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lanner.config import DetectorConfig
from lanner.errors import ConfigError, LannerError, StepError
from lanner.factory.config import Evaluate
from lanner.factory.search.space import Point, at_point

if TYPE_CHECKING:
    from detectors.calibration import Calibration
    from lanner.factory.evaluate.raw import RawSet


@dataclass(frozen=True)
class Bench:
    """What points are measured on: small, so that it can be sent to any process.

    `detector` and `settings` are JSON text of the detector and of section evaluate.
    """

    folder: str
    detector: str
    settings: str


@dataclass(frozen=True)
class Measured:
    """One point with its figures by name; `error` says why there are none."""

    point: Point
    figures: dict[str, float]
    error: str = ""


_WHOLE = "merge_seams"

Measure = Callable[[Sequence[Point]], list[Measured]]


def bench_of(folder: Path, detector: DetectorConfig, settings: Evaluate) -> Bench:
    """The bench of a folder of raw predictions."""
    return Bench(
        str(folder), detector.model_dump_json(), json.dumps(settings.model_dump(mode="json"))
    )


def measure(bench: Bench, point: Point) -> Measured:
    """Figures of the detector at one point, calibrated anew for it.

    A combination that the chain refuses is a point without figures.
    """
    from lanner.factory.evaluate.figures import figures_of

    bed = ready(bench)
    try:
        config = at_point(bed.detector, point)
        figures = figures_of(bed.raw, config, bed.calibration(config), bed.settings, True)
    except (ConfigError, StepError) as error:
        return Measured(point, {}, str(error))
    except ValueError as error:  # pydantic: two values that each alone would do
        return Measured(point, {}, " ".join(str(error).split()))
    return Measured(point, plain_figures(figures))


def plain_figures(figures: dict[str, Any]) -> dict[str, float]:
    """Values by name out of what `figures_of` gives; unknown ones are left out."""
    return {
        name: float(one["value"])
        for name, one in figures["figures"].items()
        if one["value"] is not None
    }


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
    count = workers or len(os.sched_getaffinity(0))
    if backend == "ray":
        with _ray(bench, count) as measured:
            yield measured
    elif count == 1:
        yield lambda points: [measure(bench, point) for point in points]
    else:
        # Threads of this process would not survive a plain fork.
        context = get_context("forkserver")
        context.set_forkserver_preload([__name__, "lanner.factory.evaluate.figures"])
        if DetectorConfig.model_validate_json(bench.detector).output == "raster":
            from lanner.factory.search.workers import by_image

            with by_image(bench, count, context) as measured:
                yield measured
            return
        with ProcessPoolExecutor(count, mp_context=context, initializer=one_thread) as pool:
            yield lambda points: list(pool.map(measure, [bench] * len(points), points))


def one_thread() -> None:
    """Keep this process to one thread: its siblings have the other cores."""
    from threadpoolctl import threadpool_limits

    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # of what is loaded later
        os.environ[name] = "1"
    threadpool_limits(1)


@contextmanager
def _ray(bench: Bench, workers: int) -> Iterator[Measure]:
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
    remote = ray.remote(_answer)

    def measured(points: Sequence[Point]) -> list[Measured]:
        answers = ray.get([remote.remote(bench, point) for point in points])
        return [_measured(answer) for answer in answers]

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


def _answer(bench: Bench, point: Point) -> Measured | str:
    """`measure` in a worker of Ray; errors of ours as text, since they cannot be pickled."""
    try:
        return measure(bench, point)
    except LannerError as error:
        return str(error)


def _measured(answer: Measured | str) -> Measured:
    if isinstance(answer, str):
        raise ConfigError(
            "search.backend",
            "ray",
            f"a worker says: {answer}",
            "let all machines of the cluster see the same files under the same paths",
        )
    return answer


class Ready:
    """A bench that is loaded; keeps the calibration of variants that fuse alike."""

    def __init__(self, bench: Bench) -> None:
        from lanner.factory.evaluate.raw import load_raw

        self.detector = DetectorConfig.model_validate_json(bench.detector)
        self.settings = Evaluate.model_validate_json(bench.settings)
        self.raw: RawSet = load_raw(Path(bench.folder), self.settings.chain_until)
        self._calibrations: dict[str, Calibration] = {}

    def calibration(self, config: DetectorConfig) -> Calibration:
        """The curves of a variant, fitted once for all that fuse alike."""
        from lanner.factory.evaluate.raw import fit_calibration

        fusing = {"members": [m.model_dump() for m in config.members], "f": config.fusion}
        key = repr(fusing)
        if key not in self._calibrations:
            lean = _lean(config, self.settings.chain_until)
            self._calibrations[key] = fit_calibration(self.raw, lean, self.settings.iou)
        return self._calibrations[key]


def _lean(config: DetectorConfig, until: str | None) -> DetectorConfig:
    """The same with a chain that ends where objects are whole.

    What follows rejects few of them and would double the cost of a point.
    """
    names = [spec.step for spec in config.chain]
    if _WHOLE not in names or until not in (None, _WHOLE):
        return config
    return config.model_copy(update={"chain": config.chain[: names.index(_WHOLE) + 1]})


@lru_cache(maxsize=1)
def ready(bench: Bench) -> Ready:
    """The bench loaded, once a process.

    Raises:
        DatasetError: its raw predictions are missing or damaged.
    """
    return Ready(bench)


__all__ = [
    "Bench",
    "Measure",
    "Measured",
    "Ready",
    "bench_of",
    "measure",
    "measuring",
    "plain_figures",
    "ready",
]
