"""How long a training takes, in words: from a view that was timed, then from its own steps."""

from __future__ import annotations

from collections import deque

from lanner.factory.steps.train.plan import Job

LATELY = 50
"""Steps that the present rate is taken from."""

LONG = 600.0
"""Seconds from which on it is said how the training can be made shorter."""


class Pace:
    """The rate of the last steps, from when each of them was done."""

    def __init__(self) -> None:
        self._steps: deque[tuple[int, float]] = deque(maxlen=LATELY + 1)

    def add(self, done: int, now: float) -> None:
        """Take in that so many steps are done, `now` in seconds of any clock that rises."""
        self._steps.append((done, now))

    @property
    def seconds_a_step(self) -> float | None:
        """Seconds; None before two steps."""
        if len(self._steps) < 2:
            return None
        (first, began), (last, ended) = self._steps[0], self._steps[-1]
        return (ended - began) / (last - first) if last > first else None

    def words(self, total: int, loss: float | None) -> str:
        """Loss, rate and time left, as far as they are known."""
        parts = [] if loss is None else [f"loss {loss:.4g}"]
        rate = self.seconds_a_step
        if rate is not None:
            parts.append(f"{1 / rate:.3g} steps/s" if 0 < rate < 1 else f"{rate:.3g} s a step")
            left = rate * (total - self._steps[-1][0])
            if left > 0:
                parts.append(f"{spell(left)} left")
        return ", ".join(parts)


def spell(seconds: float) -> str:
    """A time as people say it: 40 s, 12 min, 3 h 20 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def expected(job: Job, rate: float, file: str) -> str:
    """What is said before the first step.

    Args:
        job: the member that is to be trained.
        rate: seconds a step, as one view was timed.
        file: the factory file.
    """
    training = job.training
    seconds = rate * training.steps
    threads = f"{job.threads} thread{'' if job.threads == 1 else 's'}"
    text = (
        f"train {job.member}: {training.steps} steps of {training.pixels / 1e6:.2g} megapixels "
        f"take about {spell(seconds)} on this CPU ({threads})."
    )
    if seconds < LONG:
        return text
    return (
        f"{text} Give train.members.{job.member} fewer `steps` or `pixels` in {file} for a first "
        "result sooner, or use a machine with a GPU. Stopped with Ctrl-C it goes on from the last "
        "step."
    )


__all__ = ["Pace", "expected", "spell"]
