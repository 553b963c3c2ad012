"""What `lanner bench` does: which measurements, in which order, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from lanner.cli.bench.bars import Bar, judge
from lanner.cli.bench.fresh import measure
from lanner.cli.bench.job import Job, Measured
from lanner.cli.bench.machine import machine
from lanner.cli.bench.rows import Row, summed
from lanner.cli.bench.scenes import rendered
from lanner.core.errors import ConfigError
from lanner.core.job import Progress

SIZE, SCALED_SIZE = 4096, 8192
"""Side of the rendered scene, and of the largest one of `scaling`, where none is given."""

FIRST_SIZE, LAST_SIZE = 1024, 32_768
GSD = 0.5
"""Metres a pixel of rendered scenes: finer than the detectors work at, as real ones mostly are."""

Tell = Callable[[Progress], None]


@dataclass(frozen=True)
class Ask:
    """What is to be measured.

    Attributes:
        job: the setting; its scene is empty where one is to be rendered, its threads are not
            looked at.
        size: side of the rendered scene in pixels, the largest with `scaling`; None: the usual.
        threads: numbers of torch's threads to try, in turn; None is its own choice.
        repeats: measurements of each setting, at least one.
        scaling: sizes from `FIRST_SIZE` to `size`, each twice the one before, at one tile size.
    """

    job: Job
    size: int | None = None
    threads: tuple[int | None, ...] = (None,)
    repeats: int = 5
    scaling: bool = False


@dataclass(frozen=True)
class Report:
    """What was measured, on what, and which bars it holds."""

    machine: dict[str, object]
    scene: str
    rows: tuple[Row, ...]
    bars: tuple[Bar, ...]

    def facts(self) -> dict[str, Any]:
        """The same as plain JSON data; `bench` is the version of this form."""
        return {
            "bench": 1,
            "machine": self.machine,
            "scene": self.scene,
            "rows": [asdict(row) for row in self.rows],
            "bars": [asdict(bar) for bar in self.bars],
        }


def run(ask: Ask, tell: Tell) -> Report:
    """Measure, each setting `repeats` times in turn, and judge.

    Raises:
        LannerError: what a measurement raises; `ConfigError` for a size out of bounds or a
            scene given together with `scaling` or a size.
    """
    jobs = _jobs(ask, tell)
    taken: dict[Job, list[Measured]] = {job: [] for job in jobs}
    order = [job for _ in range(ask.repeats) for job in jobs]
    for done, job in enumerate(order):
        tell(Progress("measure", done, len(order)))
        taken[job].append(measure(job))
    tell(Progress("measure", len(order), len(order)))
    rows = tuple(summed(repeats) for repeats in taken.values())
    scene = ask.job.scene or f"rendered, {GSD:g} m a pixel"
    return Report(machine(rows[0].gpu), scene, rows, tuple(judge(rows, ask.scaling)))


def sizes(most: int) -> tuple[int, ...]:
    """Sides from `FIRST_SIZE` doubled up to `most` pixels.

    Raises:
        ConfigError: `most` is none of them.
    """
    found = [FIRST_SIZE]
    while found[-1] < min(most, LAST_SIZE):
        found.append(found[-1] * 2)
    if found[-1] != most:
        raise ConfigError(
            "--size",
            most,
            f"is not {FIRST_SIZE} doubled, at most {LAST_SIZE}, as --scaling needs",
            f"use {found[-1]}",
        )
    return tuple(found)


def _jobs(ask: Ask, tell: Tell) -> list[Job]:
    """Every setting, smallest scene first."""
    job = ask.job
    if job.scene:
        if ask.scaling:
            raise ConfigError(
                "SCENE", job.scene, "has one size", "leave it out, or leave out --scaling"
            )
        if ask.size is not None:
            raise ConfigError(
                "--size", ask.size, "is of a rendered scene", "leave it out, or leave out SCENE"
            )
        scenes: Sequence[str] = [job.scene]
    else:
        whole = ask.size or (SCALED_SIZE if ask.scaling else SIZE)
        sides = sizes(whole) if ask.scaling else (whole,)
        scenes = [str(rendered(side, GSD, tell)) for side in sides]
    if ask.scaling:
        # Of unequal tiles neither seconds nor memory could be compared.
        job = replace(job, tile=job.tile or _tile(job.detector), bare=False)
    return [
        replace(job, scene=scene, threads=threads) for scene in scenes for threads in ask.threads
    ]


def _tile(detector: str) -> int:
    from lanner.inference.registry import find

    return find(detector).config.tile
