"""How far a run is and how long each stage took."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from lanner.core.job import Progress


class Stages:
    """Passes progress on, and counts the seconds from a stage's first word to the next's.

    Args:
        on_progress: where progress goes.
        clock: seconds that never run backwards.
    """

    def __init__(
        self, on_progress: Callable[[Progress], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._on_progress = on_progress
        self._clock = clock
        self._stage = ""
        self._since = clock()
        self._spent: dict[str, float] = {}

    def tell(
        self,
        stage: str,
        done: int,
        total: int,
        preview: Callable[[], Sequence[str]] | None = None,
    ) -> None:
        """Say how far a stage is, and what can be drawn of it."""
        self.pass_on(Progress(stage, done, total, preview=preview))

    def pass_on(self, progress: Progress) -> None:
        """Pass a stage's own words on."""
        if progress.stage != self._stage:
            self._turn(progress.stage)
        self._on_progress(progress)

    def seconds(self) -> dict[str, float]:
        """Seconds by stage so far, in the order they came, to a millisecond."""
        self._turn(self._stage)
        return {stage: round(spent, 3) for stage, spent in self._spent.items() if stage}

    def _turn(self, stage: str) -> None:
        now = self._clock()
        self._spent[self._stage] = self._spent.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = stage, now
