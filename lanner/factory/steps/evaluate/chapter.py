"""What a report and its tables tell of one split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lanner.factory.steps.evaluate.measured import Measured
from lanner.factory.steps.evaluate.raw import RawSet


@dataclass(frozen=True)
class Chapter:
    """One split: its predictions, what was measured, the figures told of it, its speed."""

    split: str
    raw: RawSet
    measured: Measured
    figures: Mapping[str, Any]
    timing: Mapping[str, Any]
