"""Points measured by several processes of this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import TYPE_CHECKING

from lanner.core.errors import ConfigError, StepError
from lanner.factory.process_map import one_thread
from lanner.factory.steps.search.points import (
    Bench,
    Measure,
    Measured,
    measure,
    plain_figures,
    ready,
)
from lanner.factory.steps.search.space import Point, at_point

if TYPE_CHECKING:
    from lanner.factory.steps.evaluate.network import MatchedLines


@dataclass(frozen=True)
class Refused:
    """Why a point has no figures, and at which image that was found (-1: before any)."""

    image: int
    why: str


Part = dict[int, "MatchedLines"] | Refused
"""What one process says of one point, by number of the image."""


@contextmanager
def by_point(bench: Bench, count: int, context: BaseContext) -> Iterator[Measure]:
    """A function that measures points, each by one of `count` processes, as `points.measure`."""
    with ProcessPoolExecutor(count, mp_context=context, initializer=one_thread) as pool:
        yield lambda points: list(pool.map(measure, [bench] * len(points), points))


@contextmanager
def by_image(bench: Bench, count: int, context: BaseContext) -> Iterator[Measure]:
    """A function that measures points of a road detector, the same as `points.measure`.

    Points share much of their chains: two that differ in `prune` alone share all before it. Each
    process keeps to its own images and sees all points of them, and so finds that again.

    Args:
        bench: what they are measured on.
        count: processes.
        context: how they are started.
    """
    raw = ready(bench).raw
    grids = [raw.place(number).plan.grid for number in range(len(raw))]
    shares = shared_out([grid.width * grid.height for grid in grids], count)
    # More processes than images: several see the same images, each some of the points.
    times = max(1, count // len(shares))
    with ExitStack() as stack:
        pools = [
            [
                stack.enter_context(
                    ProcessPoolExecutor(1, mp_context=context, initializer=one_thread)
                )
                for _ in range(times)
            ]
            for _ in shares
        ]

        def measured(points: Sequence[Point]) -> list[Measured]:
            asked = [
                [
                    pool.submit(parts_of, bench, share, list(points[k::times]))
                    for k, pool in enumerate(row)
                ]
                for share, row in zip(shares, pools, strict=True)
            ]
            results = [[one.result() for one in row] for row in asked]
            return [
                joined(bench, point, [row[i % times][i // times] for row in results])
                for i, point in enumerate(points)
            ]

        yield measured


def shared_out(sizes: Sequence[int], count: int) -> list[list[int]]:
    """Numbers of the images in at most `count` shares of about the same size, none empty."""
    shares: list[list[int]] = [[] for _ in range(min(count, len(sizes)))]
    load = [0] * len(shares)
    for number in sorted(range(len(sizes)), key=lambda n: (-sizes[n], n)):
        least = load.index(min(load))
        shares[least].append(number)
        load[least] += max(sizes[number], 1)
    return [sorted(share) for share in shares]


def parts_of(bench: Bench, numbers: Sequence[int], points: Sequence[Point]) -> list[Part]:
    """Every point on some of the images."""
    return [_part(bench, numbers, point) for point in points]


def joined(bench: Bench, point: Point, parts: Sequence[Part]) -> Measured:
    """Figures of one point out of what was said of all images."""
    from lanner.factory.steps.evaluate.figures import figures_as_data
    from lanner.factory.steps.evaluate.network import pooled

    refused = [part for part in parts if isinstance(part, Refused)]
    if refused:
        # The first image tells, as it would if one process went through all.
        return Measured(point, {}, min(refused, key=lambda one: one.image).why)
    judged = {n: one for part in parts if not isinstance(part, Refused) for n, one in part.items()}
    bed = ready(bench)
    measured = pooled([judged[number] for number in range(len(bed.raw))])
    return Measured(
        point, plain_figures(figures_as_data(measured, bed.raw, bed.settings, quick=True))
    )


def _part(bench: Bench, numbers: Sequence[int], point: Point) -> Part:
    from lanner.factory.steps.evaluate.network import judge

    bed, image = ready(bench), -1
    part: dict[int, MatchedLines] = {}
    try:
        config = at_point(bed.detector, point)
        curves = bed.calibration(config)
        for image in numbers:
            found = bed.raw.detect(config, curves, [image])[0]
            part[image] = judge(found, bed.raw, image, bed.settings.relax_px)
    except (ConfigError, StepError) as error:
        return Refused(image, str(error))
    except ValueError as error:  # pydantic: two values that each alone would do
        return Refused(image, " ".join(str(error).split()))
    return part


__all__ = ["by_image", "by_point", "joined", "parts_of", "shared_out"]
