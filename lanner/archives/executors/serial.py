"""One scene after the other, in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lanner.archives.executors import Begun, Ended
from lanner.archives.work import SceneJob, run_job
from lanner.core.config import Strict
from lanner.core.job import Cancel


class Params(Strict):
    """None."""


def run(jobs: Sequence[SceneJob], cancel: Cancel, _: Params) -> Iterator[Begun | Ended]:
    """Run jobs in order.

    Raises:
        Cancelled: the caller asked to stop.
        OutputError: a file cannot be written.
    """
    for job in jobs:
        yield Begun(job)
        yield Ended(job, run_job(job, cancel))
