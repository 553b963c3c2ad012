"""What a batch knows of each scene and detector: one row of its ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lanner.archives.scenes import SceneRef

State = Literal["waiting", "running", "done", "failed", "skipped"]

Ring = tuple[tuple[float, float], ...]
"""Longitude and latitude of the corners of a footprint, closed."""


BINS = 20


@dataclass(frozen=True)
class ErrorFacts:
    """An error as it is kept: class, and the parts of its message."""

    kind: str
    argument: str
    value: str
    problem: str
    remedy: str

    @property
    def sentence(self) -> str:
        """As the command line would say it."""
        return f"{self.argument} {self.value!r}: {self.problem}; {self.remedy}"


@dataclass(frozen=True)
class SceneFacts:
    """What opening a scene told: `stamp` changes when its file does."""

    width: int
    height: int
    gsd: float
    bands: tuple[str, ...]
    dtype: str
    crs: str | None
    acquired: str | None
    footprint: Ring | None
    bytes: int | None
    stamp: str


@dataclass(frozen=True)
class Outcome:
    """What one detector made of one scene.

    Attributes:
        key: content key: SHA-256 over scene, weights, configuration and number format.
        features: how many there are.
        counts: label to decision to number.
        expected: sum of the calibrated confidences of all features: how many of them are right.
        expected_sd: the standard deviation of that number, objects taken as independent.
        megapixels: in the detector's pixels.
        tiles: how many were run.
        seconds: by stage.
        outputs: files below the batch's folder.
        scores: how many features have a confidence in each of `BINS` equal parts of 0 to 1.
        notes: sentences on how the scene was read.
        unread: blocks of the scene that could not be read: nothing was looked for there.
    """

    key: str
    features: int
    counts: Mapping[str, Mapping[str, int]]
    expected: float
    expected_sd: float
    megapixels: float
    tiles: int
    seconds: Mapping[str, float]
    outputs: tuple[str, ...]
    scores: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    unread: int = 0


@dataclass(frozen=True)
class BatchRecord:
    """One scene and one detector: `facts` where the scene could be opened, `outcome` where it is
    done, `error` where it is failed or skipped. Times are ISO 8601, UTC.
    """

    scene: SceneRef
    detector: str
    state: State
    attempts: int = 0
    started: str | None = None
    ended: str | None = None
    facts: SceneFacts | None = None
    outcome: Outcome | None = None
    error: ErrorFacts | None = None
