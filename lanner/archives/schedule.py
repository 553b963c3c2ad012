"""Jobs to workers: scenes in order, large ones cut for several of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from lanner.archives.cutting import RUN, Lost, Piece, Steps, scene_steps
from lanner.archives.executors import Pool
from lanner.archives.work import DetectorDone, RunScene, SceneJob, run_job
from lanner.core.job import Cancel

SHARES = 4
"""A scene is cut where it is more than one part in so many of each worker's share of the batch."""


@dataclass(frozen=True)
class Begun:
    """A worker has begun with a scene."""

    job: SceneJob


@dataclass(frozen=True)
class Advanced:
    """Some tiles of a scene are predicted, while others are not."""

    job: SceneJob
    tiles: int


@dataclass(frozen=True)
class Ended:
    """All is done for a scene; `tiles` of it were not counted by `Advanced`."""

    job: SceneJob
    done: Sequence[DetectorDone]
    tiles: int


@dataclass
class _Scene:
    """A scene in hand."""

    job: SceneJob
    steps: Steps
    tiles: int = 0


@dataclass(frozen=True)
class _Task:
    """A piece of work of a scene."""

    scene: _Scene
    piece: Piece


def run_jobs(
    jobs: Sequence[SceneJob], pool: Pool, cancel: Cancel, run: RunScene = run_job
) -> Iterator[Begun | Advanced | Ended]:
    """Run jobs by a pool's workers, begun in order and ended as they come.

    Args:
        jobs: the scenes.
        pool: the workers.
        cancel: asks for an end; what is in hand is left where it is.
        run: does one job; where it is another than `run_job`, no scene is cut.

    Raises:
        Cancelled: the caller asked to stop.
        OutputError: a file cannot be written.
        LannerError: no worker is left.
    """
    waiting, ready = deque(jobs), deque[_Task]()
    in_hand: dict[int, _Task] = {}
    numbers, total = count(), sum(job.tiles for job in jobs)
    while waiting or ready or in_hand:
        room = pool.room()
        while len(in_hand) < room and (ready or waiting):
            cancel.check()
            if not ready:
                job = waiting.popleft()
                cut = run is run_job and _is_cut(job, pool, room, total)
                scene = _Scene(job, scene_steps(job, cut, run))
                yield Begun(job)
                ready += [_Task(scene, piece) for piece in next(scene.steps)]
            task, number = ready.popleft(), next(numbers)
            in_hand[number] = task
            pool.submit(number, task.piece.work)
        answer = pool.wait(cancel)
        task = in_hand.pop(answer.number)
        scene = task.scene
        if answer.error is not None:
            raise answer.error
        value = Lost() if answer.lost else answer.value
        try:
            more = scene.steps.send(value)
        except StopIteration as end:
            yield Ended(scene.job, end.value, max(0, scene.job.tiles - scene.tiles))
            continue
        ready += [_Task(scene, piece) for piece in more]
        if task.piece.tiles and not answer.lost:
            scene.tiles += task.piece.tiles
            yield Advanced(scene.job, task.piece.tiles)


def _is_cut(job: SceneJob, pool: Pool, room: int, total: int) -> bool:
    return pool.cuts and job.tiles > RUN and job.tiles * room * SHARES > total
