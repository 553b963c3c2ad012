"""Progress on its way from the thread that works to the one that sends."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator

from lanner.core.job import Progress

_CAPACITY = 64


class Mailbox:
    """A bounded queue that never makes the work wait for a slow reader.

    A report of the stage that the newest unread one tells of replaces it; past the capacity
    the oldest is dropped.
    """

    def __init__(self) -> None:
        self._unread: deque[Progress] = deque(maxlen=_CAPACITY)
        self._changed = threading.Condition()
        self._closed = False

    def put(self, progress: Progress) -> None:
        """Leave a report; returns at once."""
        with self._changed:
            if self._unread and self._unread[-1].stage == progress.stage:
                self._unread.pop()
            self._unread.append(progress)
            self._changed.notify()

    def close(self) -> None:
        """No more reports: the reader ends after those that are left."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Progress]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._unread or self._closed)
                if not self._unread:
                    return
                progress = self._unread.popleft()
            yield progress
