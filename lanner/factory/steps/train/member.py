"""The process that trains one member: `python -m lanner.factory.steps.train.member JOB.json`.

A process of its own has its threads and number formats from the start, gives all its memory
back, and can be killed. It tells its parent of progress in JSON lines on its standard output.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from lanner.core.errors import LannerError, TrainingError
from lanner.factory.releases import IMAGENET
from lanner.factory.samples import read_samples
from lanner.factory.steps.train.plan import TERMS, Job, member_of

if TYPE_CHECKING:
    from detectors.training.pictures import Picture
    from detectors.training.tasks import Task
    from detectors.training.views import Recipe

CACHE_SHARE = 0.25
"""Share of the machine's memory that decoded pictures may take, in all processes together."""

PATIENCE = 60.0
"""Seconds to wait for a process of a killed parent to be gone."""


def main(job_file: str) -> int:
    """Train what the job says; 0 when done, 1 after telling the error."""
    # What libraries print goes to the log: the parent reads our lines alone.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as channel:
        os.dup2(2, 1)
        job = Job.model_validate_json(Path(job_file).read_text(encoding="utf-8"))
        first = int(os.environ.get("LOCAL_RANK", "0")) == 0
        try:
            if first:
                with _alone(job.folder):
                    done = train(job, _teller(channel))
            else:
                done = train(job, lambda _, __: None, draw=False)
        except LannerError as error:
            if first:
                facts = [error.argument, str(error.value), error.problem, error.remedy]
                _teller(channel)("error", {"kind": type(error).__name__, "said": facts})
            else:
                print(error, file=sys.stderr)
            return 1
        if first:
            _teller(channel)("done", done)
    return 0


def _teller(channel: IO[str]) -> Any:
    def tell(what: str, facts: Mapping[str, Any]) -> None:
        channel.write(json.dumps({"what": what, **facts}) + "\n")
        channel.flush()

    return tell


def _alone(folder: Path) -> IO[str]:
    """Hold the member's folder; a process left over by a killed parent soon lets it go."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / "lock").open("a")
    until = time.monotonic() + PATIENCE
    while not _taken(lock):
        if time.monotonic() > until:
            lock.close()
            raise TrainingError(
                "train", folder.name, "is being trained by another process", "wait for its end"
            )
        time.sleep(0.2)
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def _taken(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def train(job: Job, tell: Any, draw: bool = True) -> dict[str, Any]:
    """Read the pictures, build network and task, draw what it sees, and fit.

    Args:
        job: what to do.
        tell: called with what is told (`pictures`, `pace`, `step`, `row`) and its facts.
        draw: leave a sheet of views and say how long it may take, as the first process does.

    Returns:
        Facts of `detectors.training.fit.Trained`.
    """
    import torch

    from detectors.members import build
    from detectors.training.fit import fit
    from detectors.training.imagenet import imagenet_encoder
    from detectors.training.pace import seconds_a_step
    from detectors.training.settings import hardware
    from detectors.training.weights import encoder_from, rare_at_first, start_from
    from lanner.factory.steps.train.draw import draw_batches
    from lanner.factory.steps.train.pictures import pictures

    samples = read_samples(job.samples)
    classes = job.detector.classes
    task = task_for(job, pictures(samples, "train", job.task, classes), recipe_of(job))
    held = pictures(samples, "valid", job.task, classes)
    valid = task_for(job, held, recipe_of(job, plain=True))
    budget = int(CACHE_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    # Each of the processes that train together holds its own pictures.
    budget //= max(1, hardware(job.devices, job.training.precision).world)
    budget = task.album.fill(budget, lambda k, n: tell("pictures", {"done": k, "total": n}))
    valid.album.fill(budget)
    torch.manual_seed(job.seed)
    net = build(job.detector, member_of(job.detector, job.member))
    if job.encoder_from is not None:
        encoder_from(net, job.encoder_from)
    if job.start is not None and job.training.start != IMAGENET:
        start_from(net, job.start)
    elif job.task == "instances":
        rare_at_first(net)
    if job.start is not None and job.training.start == IMAGENET:
        imagenet_encoder(net, job.start)
    if draw and task.objects():
        task.pool.read_styles()
        draw_batches(task, job.seed, job.folder / "batches.png")
    if draw and (rate := seconds_a_step(net, job.training.pixels, settings_of(job))) is not None:
        tell("pace", {"seconds": rate})
    trained = fit(
        net,
        task,
        valid if valid.objects() else None,
        settings_of(job),
        job.folder,
        weights=job.weights,
        key=job.key,
        tell=tell,
    )
    return {**asdict(trained), "weights": str(trained.weights)}


def settings_of(job: Job) -> Any:
    """The job's numbers as `detectors.training.settings.Settings`."""
    from detectors.training.settings import Settings

    training = job.training
    return Settings(
        steps=training.steps,
        lr=training.lr,
        encoder_rate=training.encoder_rate,
        weight_decay=training.weight_decay,
        warmup=training.warmup,
        ema=training.ema,
        loss=training.loss,
        checkpoint_every=training.checkpoint_every,
        valid_every=training.valid_every,
        precision=training.precision,
        devices=job.devices,
        threads=job.threads,
        workers=training.workers,
        seed=job.seed,
    )


def recipe_of(job: Job, plain: bool = False) -> Recipe:
    """What batches look like; `plain` leaves colours as they are."""
    from detectors.training.views import Mixing, Recipe

    training = job.training
    return Recipe(
        pixels=training.pixels,
        sizes=training.sizes,
        colour=0.0 if plain else training.colour,
        gentle=0.0 if plain else training.gentle,
        sensor=training.sensor,
        free=training.rotate == "free",
        single_band=training.single_band,
        mix={name: Mixing(mix.odds, mix.scale) for name, mix in training.mix.items()},
    )


def task_for(job: Job, found: list[Picture], recipe: Recipe) -> Task:
    """The task of a member over some pictures."""
    from detectors.instances import CHANNELS
    from detectors.members import RASTER_OUTPUTS
    from detectors.training.boxes import BoxTask
    from detectors.training.instances import InstanceTask
    from detectors.training.pictures import Album
    from detectors.training.roads import RoadTask

    assert job.task in TERMS
    arch = member_of(job.detector, job.member).arch
    # What is never drawn need not be decoded, nor kept in memory.
    drawn = [one for one in found if recipe.of(one.source).odds > 0]
    album = Album(drawn, masks=job.task == "roads")
    if job.task == "boxes":
        return BoxTask(album, recipe)
    if job.task == "instances":
        return InstanceTask(album, recipe, tuple(arch.get("outputs", CHANNELS)))
    thin = job.training.loss.get("cldice", 0.0) > 0
    return RoadTask(album, recipe, tuple(arch.get("outputs", RASTER_OUTPUTS)), thin)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
