"""Medians of the repeats of one measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from lanner.cli.bench.job import Measured


@dataclass(frozen=True)
class Stage:
    """Median seconds of one stage, and its share of all stages."""

    seconds: float
    share: float


@dataclass(frozen=True)
class Row:
    """One setting measured `repeats` times; figures are medians, as in `job.Measured`.

    `spread` holds the least and the most seconds of the repeats. `ratio` is the median of each
    repeat's own seconds over its bare seconds: both were taken a moment apart, so that a machine
    that slows down does not show in it. `mpx_per_s` counts the scene's pixels, `grid_mpx_per_s`
    those that the networks see.
    """

    detector: str
    release: str
    members: tuple[str, ...]
    runs_on: str
    threads: int
    width: int
    height: int
    tile: int
    tiles: int
    objects: int
    repeats: int
    load_s: float
    seconds: float
    spread: tuple[float, float]
    mpx_per_s: float
    grid_mpx_per_s: float
    s_per_tile: float
    stages: Mapping[str, Stage]
    bare: Mapping[str, float]
    bare_s: float | None
    bare_share: float
    ratio: float | None
    model_mb: float
    peak_mb: float
    gpu: str | None
    gpu_mb: float | None


def summed(repeats: Sequence[Measured]) -> Row:
    """The row of repeats (at least one) of one setting."""
    first = repeats[0]
    seconds = median(one.seconds for one in repeats)
    bare = {name: median(one.bare[name] for one in repeats) for name in first.bare}
    gpu = [one.gpu_mb for one in repeats if one.gpu_mb is not None]
    return Row(
        detector=first.detector,
        release=first.release,
        members=first.members,
        runs_on=first.runs_on,
        threads=first.threads,
        width=first.width,
        height=first.height,
        tile=first.tile,
        tiles=first.tiles,
        objects=first.objects,
        repeats=len(repeats),
        load_s=median(one.load_s for one in repeats),
        seconds=seconds,
        spread=(min(one.seconds for one in repeats), max(one.seconds for one in repeats)),
        mpx_per_s=first.width * first.height / 1e6 / seconds,
        grid_mpx_per_s=first.megapixels / seconds,
        s_per_tile=seconds / first.tiles,
        stages=_stages(repeats),
        bare=bare,
        bare_s=median(sum(one.bare.values()) for one in repeats) if bare else None,
        bare_share=first.bare_share,
        ratio=median(one.seconds / sum(one.bare.values()) for one in repeats) if bare else None,
        model_mb=median(one.model_mb for one in repeats),
        peak_mb=median(one.peak_mb for one in repeats),
        gpu=first.gpu,
        gpu_mb=median(gpu) if gpu else None,
    )


def _stages(repeats: Sequence[Measured]) -> dict[str, Stage]:
    spent = {name: median(one.stages[name] for one in repeats) for name in repeats[0].stages}
    whole = sum(spent.values())
    return {name: Stage(s, s / whole if whole else 0.0) for name, s in spent.items()}
