"""Several processes of this machine, where each piece of work keeps to itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.context import BaseContext
from typing import TypeVar

from lanner.core.machine import cores

T = TypeVar("T")

WORTH = 16
"""Pieces for each process that make up for the seconds of its start."""


def fresh(*modules: str) -> BaseContext:
    """How processes are started: threads of this one would not survive a plain fork.

    Args:
        modules: what each needs; loaded once for all.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    return context


def process_map(
    work: Callable[[T], None],
    things: Sequence[T],
    progress: Callable[[int], None],
    workers: int = 0,
) -> None:
    """Do something with each thing, in as many processes as there are cores.

    Args:
        work: a function of a module, as processes find it by name.
        things: what can be sent to another process.
        progress: told before each how many are done; what it raises ends the work, and what was
            begun is still finished.
        workers: processes; 0 for one a core.

    Raises:
        Exception: whatever `work` or `progress` raises.
    """
    count = min(workers or cores(), len(things) // WORTH)
    if count < 2:
        for k, thing in enumerate(things):
            progress(k)
            work(thing)
        return
    with ProcessPoolExecutor(
        count, mp_context=fresh(work.__module__), initializer=one_thread
    ) as pool:
        try:
            progress(0)
            for k, _ in enumerate(pool.map(work, things)):
                progress(k + 1)
        finally:
            pool.shutdown(cancel_futures=True)


def one_thread() -> None:
    """Keep this process to one thread: its siblings have the other cores."""
    from threadpoolctl import threadpool_limits

    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # of what is loaded later
        os.environ[name] = "1"
    threadpool_limits(1)
