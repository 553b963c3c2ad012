"""What one measurement is told and what it tells, as plain values that travel as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Job:
    """One measurement: arguments as in `lanner.core.job.DetectRequest`.

    `threads` is what torch computes with (None: its own choice); `bare` also times the networks
    by themselves.
    """

    scene: str
    detector: str
    members: tuple[str, ...] | None = None
    device: str = "auto"
    tile: int | None = None
    gsd: float | None = None
    threads: int | None = None
    bare: bool = True

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """The job of `to_json`."""
        raw = json.loads(text)
        members = raw["members"]
        return cls(**{**raw, "members": None if members is None else tuple(members)})


@dataclass(frozen=True)
class Measured:
    """What one measurement says.

    Attributes:
        detector: its name.
        release: of its weights.
        members: networks that ran.
        runs_on: device, number format and release of torch.
        threads: that torch computed with.
        width: of the scene in its own pixels.
        height: the same.
        megapixels: millions of pixels of the detector's grid.
        tile: side of a tile in grid pixels.
        tiles: how many.
        objects: features that came out.
        load_s: seconds for importing libraries and loading the networks; not in `seconds`.
        seconds: from opening the scene to the text of the last feature.
        stages: seconds by stage; together they are `seconds`, but for rounding.
        bare: seconds of each network by itself for the same tiles; empty where not measured.
        bare_share: share of the tiles on which `bare` was measured; it is scaled to all.
        model_mb: resident megabytes (10^6 bytes) once libraries and networks are there.
        peak_mb: the most that was resident until the last feature.
        gpu: name of the GPU that networks ran on; None on a CPU.
        gpu_mb: the most that torch held on it.
    """

    detector: str
    release: str
    members: tuple[str, ...]
    runs_on: str
    threads: int
    width: int
    height: int
    megapixels: float
    tile: int
    tiles: int
    objects: int
    load_s: float
    seconds: float
    stages: Mapping[str, float]
    bare: Mapping[str, float]
    bare_share: float
    model_mb: float
    peak_mb: float
    gpu: str | None
    gpu_mb: float | None

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Measured:
        """The value of which `facts` is the JSON object."""
        return cls(**{**facts, "members": tuple(facts["members"])})
