"""What running jobs show so far: kept in memory by the server that runs them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Preview = Callable[[], Sequence[str]]

KEPT = 256
"""Reports of one job that are kept; one who begins to follow later misses those before them."""


@dataclass
class _Report:
    """What one report shows, found out when somebody asks first."""

    preview: Preview
    texts: Sequence[str] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self) -> Sequence[str]:
        with self.lock:
            if self.texts is None:
                self.texts = self.preview()
            return self.texts


@dataclass
class _Reports:
    """Those of one job that have numbers above `since`."""

    since: int
    kept: deque[tuple[int, _Report]] = field(default_factory=lambda: deque(maxlen=KEPT))


class Previews:
    """Reports by job. Threads share it."""

    def __init__(self) -> None:
        self._reports: dict[str, _Reports] = {}
        self._last = 0
        self._lock = threading.Lock()

    def begin(self, job: str) -> None:
        """Work on a job begins, perhaps anew."""
        with self._lock:
            self._reports[job] = _Reports(self._last)

    def add(self, job: str, preview: Preview) -> None:
        """Keep a report."""
        with self._lock:
            self._last += 1
            if job in self._reports:
                self._reports[job].kept.append((self._last, _Report(preview)))

    def end(self, job: str) -> None:
        """Forget what a job showed."""
        with self._lock:
            self._reports.pop(job, None)

    def after(self, job: str, number: int) -> tuple[int, bool, Sequence[str]]:
        """What a job shows after a report.

        Args:
            job: its id.
            number: of the last report that was read; 0 for none.

        Returns:
            The number of the last report; whether those that were read are void, since work on
            the job began anew; what is new, as GeoJSON texts.
        """
        with self._lock:
            reports = self._reports.get(job)
            if reports is None:
                return number, False, []
            found = [one for one in reports.kept if one[0] > number]
            replaces = 0 < number <= reports.since
        return (
            found[-1][0] if found else max(number, reports.since),
            replaces,
            [text for _, report in found for text in report.read()],
        )
