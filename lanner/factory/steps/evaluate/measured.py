"""What a measurement hands over: statistics that can be resampled, and facts that are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lanner.factory.metrics.bootstrap import Floats, Statistic
from lanner.factory.samples import Sample
from lanner.factory.steps.evaluate.raw import Detections

GSD_EDGES = (0.3, 0.5, 0.8, 1.2)
"""Metres a pixel at which slices by ground sampling part."""


@dataclass(frozen=True)
class Measured:
    """One variant on one set.

    `statistics` by name, functions of how often each image counts; `sized` the same of objects
    of one size alone, by size; `values` without an interval; `curves` and `counts` plain data;
    `found` what was detected.
    """

    images: int
    found: Sequence[Detections]
    statistics: Mapping[str, Statistic]
    sized: Mapping[str, Mapping[str, Statistic]] = field(default_factory=dict)
    values: Mapping[str, float | None] = field(default_factory=dict)
    curves: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, int | float] = field(default_factory=dict)


def groups(samples: Sequence[Sample], by: str) -> dict[str, Floats]:
    """(images,) 1 for those of each group, by `gsd` or `source`, in order of the names."""
    names = [sample.source if by == "source" else _sampling(sample) for sample in samples]
    return {name: np.asarray([float(one == name) for one in names]) for name in sorted(set(names))}


def within(statistic: Statistic, images: Floats) -> Statistic:
    """A statistic of some images alone; (images,) 1 for those."""

    def part(weights: Floats) -> Floats:
        return statistic(weights * images)

    return part


def sums(parts: Sequence[Sequence[float]], columns: int) -> Floats:
    """(columns, images) of one row an image."""
    return np.asarray(parts, np.float64).reshape(-1, columns).T


def _sampling(sample: Sample) -> str:
    if sample.gsd is None:
        return "not known"
    edges = (0.0, *GSD_EDGES)
    low = max(edge for edge in edges if edge <= sample.gsd)
    above = [edge for edge in edges if edge > sample.gsd]
    return f"{low:g} to {above[0]:g} m" if above else f"{low:g} m and more"
