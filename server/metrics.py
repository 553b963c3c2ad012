"""What a server tells Prometheus: how much waits, how long things take, what is found in what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lanner.core.errors import ServerError
from lanner.core.job import DetectResult

_CALL_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 30, 120)
_WORK_S = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)
_TENTHS = tuple(k / 10 for k in range(1, 11))
_LEVELS = (1, 10, 30, 60, 100, 150, 200, 255, 500, 1000, 3000, 10_000, 30_000, 65_535)
_GSD_M = (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10)

Counts = Callable[[], Mapping[Any, int]]
"""How many jobs are in each state.

Raises:
    ServerError: the database cannot be asked.
"""


class Metrics:
    """All metrics of one server. Threads share it.

    Names and units follow https://prometheus.io/docs/practices/naming/. Confidences and input
    statistics are there so that a drift of scenes can be seen: compare their distribution of this
    week with last week's.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._calls = self._counter("calls", "Calls by method and status", "method", "code")
        self._call_s = self._histogram("call_seconds", "Time of calls", _CALL_S, "method")
        self._wait_s = self._histogram(
            "job_wait_seconds", "Time from a job's request to its first work", _WORK_S, "kind"
        )
        self._jobs = self._counter(
            "jobs_ended",
            "Jobs by how they ended; reason is empty where none failed",
            "state",
            "reason",
        )
        self._stage_s = self._histogram(
            "stage_seconds", "Time of the stages of detections", _WORK_S, "detector", "stage"
        )
        self._tiles = self._counter("tiles", "Tiles of finished detections", "detector")
        self._megapixels = self._counter("megapixels", "Their ground, in pixels", "detector")
        self._features = self._counter(
            "features", "Features found", "detector", "label", "decision"
        )
        self._confidence = self._histogram(
            "feature_confidence", "Confidence of features", _TENTHS, "detector"
        )
        self._gsd = self._histogram(
            "scene_gsd_metres", "Ground sampling of scenes", _GSD_M, "detector"
        )
        self._level = self._histogram(
            "scene_level",
            "Darkest and brightest values that the bands of scenes are stretched from",
            _LEVELS,
            "detector",
            "end",
        )

    def watch_jobs(self, counts: Counts) -> None:
        """Tell how many jobs are in each state, asked for with each scrape."""
        self.registry.register(_Jobs(counts))

    def call(self, method: str, code: str, seconds: float) -> None:
        """A call is over."""
        self._calls.labels(method, code).inc()
        self._call_s.labels(method).observe(seconds)

    def began(self, kind: str, waited_s: float) -> None:
        """A job had its first turn."""
        self._wait_s.labels(kind).observe(waited_s)

    def ended(self, state: str, reason: str = "") -> None:
        """A job ended; `reason` is the class of its error."""
        self._jobs.labels(state, reason).inc()

    def detected(self, detector: str, result: DetectResult) -> None:
        """A detection is done."""
        summary = result.summary
        for stage, seconds in _mapping(summary.get("seconds")).items():
            self._stage_s.labels(detector, stage).observe(seconds)
        self._tiles.labels(detector).inc(_mapping(summary.get("plan")).get("tiles", 0))
        self._megapixels.labels(detector).inc(summary.get("megapixels", 0))
        for label, decisions in _mapping(summary.get("counts")).items():
            for decision, count in _mapping(decisions).items():
                self._features.labels(detector, label, decision).inc(count)
        if result.frame is not None and "confidence" in result.frame:
            for value in result.frame["confidence"].dropna():
                self._confidence.labels(detector).observe(float(value))
        for gsd in _mapping(summary.get("scene")).get("gsd", ())[:1]:
            self._gsd.labels(detector).observe(gsd)
        stretch = _mapping(summary.get("stretch"))
        for end in ("low", "high"):
            for value in stretch.get(end, ()):
                self._level.labels(detector, end).observe(value)

    def page(self) -> Starlette:
        """The application that Prometheus asks."""

        async def metrics(_: Request) -> Response:
            text = await run_in_threadpool(generate_latest, self.registry)
            return Response(text, media_type=CONTENT_TYPE_LATEST)

        return Starlette(routes=[Route("/metrics", metrics)])

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"lanner_{name}", about, labels, registry=self.registry)

    def _histogram(
        self, name: str, about: str, buckets: Sequence[float], *labels: str
    ) -> Histogram:
        return Histogram(f"lanner_{name}", about, labels, buckets=buckets, registry=self.registry)


class _Jobs(Collector):
    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def collect(self) -> Sequence[GaugeMetricFamily]:
        family = GaugeMetricFamily("lanner_jobs", "Jobs by state", labels=["state"])
        try:
            counts = self._counts()
        except ServerError:
            return []
        for state in ("queued", "running", "succeeded", "failed", "cancelled"):
            family.add_metric([state], counts.get(state, 0))
        return [family]


def _mapping(value: Any) -> Mapping[str, Any]:
    """A part of a summary; an empty one where a detector says nothing of it."""
    return value if isinstance(value, Mapping) else {}
