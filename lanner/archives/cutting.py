"""What is to be done for one scene, piece by piece: at once, or cut for several workers.

A large scene is opened by one worker; its tiles are predicted by any, some rows at a time, and
gathered in the ledger of its run; one worker then goes on from there to the end, as if a run had
been interrupted after its last tile. So a cut scene has the bytes of one that is not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from lanner.archives.executors import Work
from lanner.archives.records import ErrorFacts
from lanner.archives.work import (
    DetectorDone,
    SceneJob,
    open_detector,
    predict_run,
    run_detector,
    run_folder_of,
    run_job,
)

if TYPE_CHECKING:
    from lanner.inference.manifest import Manifest

RUN = 16
"""Tiles that a worker predicts at a time, neighbours in a row: each of these reads half of what the
next one reads, and what a lost worker loses is done again within a minute.
"""

AHEAD = 256
"""Runs of tiles that are handed out before one of them is done."""


@dataclass(frozen=True)
class Piece:
    """Work for one worker, and how many tiles it predicts while others predict some, too."""

    work: Work
    tiles: int = 0


@dataclass(frozen=True)
class Lost:
    """What comes of a piece of work whose workers died, time and again."""


Steps = Generator[Sequence[Piece], Any, list[DetectorDone]]
"""Gives pieces that can be done now; is sent the value of each, in whatever order, or `Lost`."""

_LOST = ErrorFacts(
    "DeviceMemoryError",
    "worker",
    "lost",
    "workers died of this scene, time and again: they may be short of memory",
    "give workers more memory or a smaller `tile`, then try failed scenes again",
)


def scene_steps(job: SceneJob, cut: bool) -> Steps:
    """Everything that is to be done for one scene.

    Args:
        job: the scene and its detectors.
        cut: whether several workers share it.

    Raises:
        OutputError: the ledger of a run cannot be written.
    """
    if not cut:
        answered = yield [Piece(partial(run_job, job))]
        if isinstance(answered, Lost):
            return [_lost(detector) for detector in job.detectors]
        return list(answered)
    done, others = [], dict(job.others)
    for detector in job.detectors:
        opened = yield [Piece(partial(open_detector, job, detector))]
        if isinstance(opened, Lost):
            opened = _lost(detector)
        if isinstance(opened, DetectorDone):
            done.append(opened)
            continue
        failed = yield from _predicted(job, detector, opened)
        if failed is None:
            runs_on = {**job.runs_on, detector: opened.identity}
            rest = replace(job, runs_on=runs_on)
            one = yield [Piece(partial(run_detector, rest, detector, dict(others)))]
            if isinstance(one, Lost):
                one = _lost(detector)
            if one.outcome is not None:
                others[detector] = one.outcome.key
            done.append(one)
        else:
            done.append(failed)
    return done


def _predicted(
    job: SceneJob, detector: str, manifest: Manifest
) -> Generator[Sequence[Piece], Any, DetectorDone | None]:
    """All tiles into the run's ledger; gives why not, where one cannot be predicted."""
    from lanner.inference.run_folder import LEDGER
    from tiling.ledger import Ledger

    folder = run_folder_of(job, detector)
    folder.mkdir(parents=True, exist_ok=True)
    manifest.write(folder)
    failed: DetectorDone | None = None
    with Ledger(folder / LEDGER, manifest.key) as ledger:
        todo = [index for index in range(len(manifest.plan)) if not ledger.done(index)]
        waiting = deque(runs_of(todo))
        pieces: list[Piece] = []

        def hand_out() -> None:
            run = waiting.popleft()
            pieces.append(Piece(partial(predict_run, job, detector, manifest, run), len(run)))

        for _ in range(min(AHEAD, len(waiting))):
            hand_out()
        in_hand = len(pieces)
        while in_hand:
            value = yield tuple(pieces)
            pieces.clear()
            in_hand -= 1
            if isinstance(value, Lost):
                value = _lost(detector)
            if isinstance(value, DetectorDone):
                failed = failed or value
                continue
            for index, payload in value:
                ledger.put(index, payload)
            if waiting and failed is None:
                hand_out()
                in_hand += 1
    return failed


def _lost(detector: str) -> DetectorDone:
    return DetectorDone(detector, None, _LOST, {})


def runs_of(indices: Sequence[int], size: int = RUN) -> list[tuple[int, ...]]:
    """Indices in runs of about the same length, `size` at most, in order."""
    if not indices:
        return []
    count = -(-len(indices) // size)
    ends = [len(indices) * k // count for k in range(count + 1)]
    return [tuple(indices[a:b]) for a, b in pairwise(ends)]
