"""What a server serves: it is handed the pipeline, and imports none of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lanner.core.errors import Argument, ServerError, UnknownDetectorError
from lanner.core.job import DetectFn, DetectionPlan, DetectRequest, PlanFn
from lanner.core.offers import DescribeRelease, ListDetectors, Offered

PropertiesFn = Callable[[str], Mapping[str, Any]]
"""The JSON Schema of the properties of a detector's features, by its name."""


def _no_plan(_: DetectRequest) -> DetectionPlan:
    raise ServerError("server", "plans", "are not made here", "submit the detection")


AdmitFn = Callable[[DetectRequest], None]
"""Looks at what is submitted before a job is made of it; raises `LannerError` where it cannot be
run. It answers at once: a scene that would have to be fetched is not looked at."""


def _admit_all(_: DetectRequest) -> None:
    """Whatever cannot be run is a job that fails."""


def _no_properties(_: str) -> Mapping[str, Any]:
    return {}


def no_releases(detector: str) -> Offered:
    """Where detectors have no releases to choose from.

    Raises:
        UnknownDetectorError: always.
    """
    raise UnknownDetectorError(
        Argument("detector"), detector, "is not on offer here", "name a detector by its name alone"
    )


@dataclass(frozen=True)
class Work:
    """What is done for clients.

    Attributes:
        detect: runs one detection; looks at its `Cancel` often.
        list_detectors: what is on offer.
        plan: says what one detection would take.
        properties: describes features.
        admit: refuses at once what could only fail later.
        release: what is on offer under `NAME@RELEASE`.
    """

    detect: DetectFn
    list_detectors: ListDetectors
    plan: PlanFn = _no_plan
    properties: PropertiesFn = _no_properties
    admit: AdmitFn = _admit_all
    release: DescribeRelease = no_releases
