"""What is to be done for one scene, piece by piece: at once, or cut for several workers.

A large scene is opened by one worker; its tiles are predicted by any, some rows at a time, and
gathered in the ledger of its run; one worker then goes on from there, as if a run had been
interrupted after its last tile. Where it comes to closer looks at many objects, any worker takes
some of these, and one goes on once more. So a cut scene has the bytes of one that is not.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, TypeVar

from lanner.archives.executors import Work
from lanner.archives.records import ErrorFacts
from lanner.archives.work import (
    DetectorDone,
    LooksLeft,
    RunScene,
    SceneJob,
    look_run,
    open_detector,
    predict_run,
    run_detector,
    run_folder_of,
    run_job,
    run_to_looks,
)

if TYPE_CHECKING:
    from lanner.inference.manifest import Manifest
    from tiling.ledger import Ledger, NamedLedger

T = TypeVar("T")

RUN = 16
"""Tiles that a worker predicts at a time, neighbours in a row: each of these reads half of what the
next one reads, and what a lost worker loses is done again within a minute.
"""

AT_A_TIME = 16
"""Closer looks that a worker takes at a time; no more of them are not shared."""

AHEAD = 256
"""Runs that are handed out before one of them is done."""


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


def scene_steps(job: SceneJob, cut: bool, run: RunScene = run_job) -> Steps:
    """Everything that is to be done for one scene.

    Args:
        job: the scene and its detectors.
        cut: whether several workers share it.
        run: does all of it where they do not.

    Raises:
        OutputError: the ledger of a run cannot be written.
    """
    if not cut:
        answered = yield [Piece(partial(run, job))]
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
        one = yield from _shared(job, detector, opened, others)
        if one.outcome is not None:
            others[detector] = one.outcome.key
        done.append(one)
    return done


def _shared(
    job: SceneJob, detector: str, manifest: Manifest, others: Mapping[str, str]
) -> Generator[Sequence[Piece], Any, DetectorDone]:
    """One detector of a scene that is open."""
    from lanner.inference.run_folder import LEDGER, LOOKS
    from tiling.ledger import Ledger, NamedLedger

    folder = run_folder_of(job, detector)
    folder.mkdir(parents=True, exist_ok=True)
    manifest.write(folder)
    with Ledger(folder / LEDGER, manifest.key) as ledger:
        todo = [index for index in range(len(manifest.plan)) if not ledger.done(index)]
        pieces = (
            Piece(partial(predict_run, job, detector, manifest, run), len(run))
            for run in runs_of(todo, RUN)
        )
        failed = yield from _gathered(pieces, detector, ledger)
    if failed is not None:
        return failed
    rest = replace(job, runs_on={**job.runs_on, detector: manifest.identity})
    done = dict(others)
    one = yield [Piece(partial(run_to_looks, rest, detector, done, manifest, AT_A_TIME))]
    if isinstance(one, LooksLeft):
        with NamedLedger(folder / LOOKS, one.key) as looks:
            pieces = (
                Piece(partial(look_run, job, detector, manifest, tasks))
                for tasks in runs_of(one.tasks, AT_A_TIME)
            )
            failed = yield from _gathered(pieces, detector, looks)
        if failed is not None:
            return failed
        one = yield [Piece(partial(run_detector, rest, detector, done, opened_as=manifest))]
    if isinstance(one, Lost):
        return _lost(detector)
    assert isinstance(one, DetectorDone)
    return one


def _gathered(
    pieces: Iterator[Piece], detector: str, ledger: Ledger | NamedLedger
) -> Generator[Sequence[Piece], Any, DetectorDone | None]:
    """What pieces of work give, into a ledger; gives why not, where one of them fails."""
    failed: DetectorDone | None = None
    ahead = list(islice(pieces, AHEAD))
    in_hand = len(ahead)
    while in_hand:
        value = yield tuple(ahead)
        ahead.clear()
        in_hand -= 1
        if isinstance(value, Lost):
            value = _lost(detector)
        if isinstance(value, DetectorDone):
            failed = failed or value
        if failed is not None:
            continue
        for name, payload in value:
            ledger.put(name, payload)
        ahead += islice(pieces, 1)
        in_hand += len(ahead)
    return failed


def _lost(detector: str) -> DetectorDone:
    return DetectorDone(detector, None, _LOST, {})


def runs_of(things: Sequence[T], size: int) -> list[tuple[T, ...]]:
    """Things in runs of about the same length, `size` at most, in order."""
    if not things:
        return []
    count = -(-len(things) // size)
    ends = [len(things) * k // count for k in range(count + 1)]
    return [tuple(things[a:b]) for a, b in pairwise(ends)]
