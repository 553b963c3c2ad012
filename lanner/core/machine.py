"""What this machine lends to this process."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

MOST_THREADS = 8
"""Of one kind of work; each holds a tile or two, of 7 MB where it has 768 pixels a side."""

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8
"""Parameters of glibc's mallopt(3)."""

KEPT, PAD = 2**31 - 1, 64 << 20
"""Bytes of freed memory that stay with the process, and by how many its heap grows at once."""


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def workers() -> int:
    """Threads for work that needs memory each: one a core, and no more than `MOST_THREADS`."""
    return min(cores(), MOST_THREADS)


def thread_map(work: Callable[[T], R], things: Sequence[T]) -> list[R]:
    """What `work` makes of each thing, in order; by threads where there are several of both."""
    return list(thread_each(work, things))


def thread_each(work: Callable[[T], R], things: Sequence[T]) -> Generator[R, None, None]:
    """The same one by one, each as soon as it and those before it are made.

    Threads go on meanwhile; what they have not begun when the generator is closed is not done.
    """
    threads = min(workers(), len(things))
    if threads < 2:
        for thing in things:
            yield work(thing)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="lanner-map") as pool:
        yield from pool.map(work, things)


@cache
def keep_memory() -> bool:
    """Let this process keep the memory of freed arrays for the next ones.

    Left to itself glibc gives arrays of megabytes back at once and asks anew for the next layer's
    or tile's, which the system hands out page by page, zeroed: a Res-UNet and reading spend a
    fifth of their time on that, a RetinaNet a tenth (`benchmarks/allocator.py`).

    Returns:
        Whether the allocator understood; another C library is left alone.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    # One heap for all threads: each would keep its own share otherwise.
    wanted = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: KEPT, M_TOP_PAD: PAD, M_ARENA_MAX: 1}
    return all([mallopt(name, value) for name, value in wanted.items()])


def trim_heap() -> None:
    """Let the system have the memory that glibc keeps between things that are still in use.

    After millions of small objects such as lines have come and gone, that is more than is in use.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
