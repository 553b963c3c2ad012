"""Progress on the terminal: one bar a stage, or plain lines where nobody watches."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Console

from lanner.core.job import Cancel
from lanner.core.job import Progress as StageProgress

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

OnProgress = Callable[[StageProgress], None]

PLAIN_SECONDS = 5.0
"""A plain log gets at most one line a stage in this many seconds, and one when it ends."""


@contextmanager
def progress_on(console: Console, *, quiet: bool = False) -> Iterator[OnProgress]:
    """Give a function that shows progress on `console` until the block ends.

    Bars on a terminal, plain lines elsewhere, nothing when `quiet`. The function may be called
    from any thread.
    """
    if quiet:
        yield lambda progress: None
    elif console.is_terminal:
        with _bars(console) as bars:
            yield _Bars(bars).show
    else:
        yield _Lines(console).show


def _bars(console: Console) -> Progress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}", markup=False),
        console=console,
    )


class _Bars:
    """One rich task a stage, in the order the stages first speak."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()

    def show(self, progress: StageProgress) -> None:
        with self._lock:
            if progress.stage not in self._tasks:
                self._tasks[progress.stage] = self._progress.add_task(progress.stage, detail="")
        if progress.remark:
            self._progress.console.print(progress.remark, markup=False, highlight=False)
        self._progress.update(
            self._tasks[progress.stage],
            completed=progress.done,
            total=progress.total or None,
            detail=progress.detail,
        )


class _Lines:
    """Lines a log file can hold: the first and the last of a stage, and some in between."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._last: dict[str, float] = {}
        self._ended: set[str] = set()
        self._lock = threading.Lock()

    def show(self, progress: StageProgress) -> None:
        with self._lock:
            if progress.remark:
                self._console.print(progress.remark, markup=False, highlight=False, soft_wrap=True)
                return
            now = self._clock()
            # A stage of one piece is named when it begins; its end is the next one's beginning.
            ended = progress.total == 1 or 0 < progress.total <= progress.done
            recent = now - self._last.get(progress.stage, float("-inf")) < PLAIN_SECONDS
            if progress.stage in self._ended or (recent and not ended):
                return
            self._last[progress.stage] = now
            if ended:
                self._ended.add(progress.stage)
            with suppress(OSError):  # a log on a full disk ends no run
                self._console.print(_line(progress), markup=False, highlight=False)


def _line(progress: StageProgress) -> str:
    detail = f": {progress.detail}" if progress.detail else ""
    if progress.total == 1:
        return f"{progress.stage}{detail}"
    if progress.total <= 0:
        return f"{progress.stage} {progress.done}{detail}"
    percent = 100 * progress.done // progress.total
    return f"{progress.stage} {progress.done}/{progress.total} ({percent} %){detail}"


@contextmanager
def cancel_on_signal(cancel: Cancel, console: Console) -> Iterator[None]:
    """Turn the first Ctrl-C (or SIGTERM) into `cancel.set()`; a second one stops at once.

    Signals can be taken by the main thread alone; elsewhere the block runs unchanged.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if cancel.is_set():
            raise KeyboardInterrupt
        cancel.set()
        with suppress(OSError):
            console.print("stopping after this piece; once more stops at once", markup=False)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
