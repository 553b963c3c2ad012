"""What the machine lends: cores that this process may use, memory that it keeps."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from lanner.core.machine import cores, thread_each, thread_map, workers

FAULTS = """
import resource, sys
import numpy as np
from lanner.core.machine import keep_memory
if sys.argv[1] == "keep":
    print(int(keep_memory()))
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    np.ones(48 << 20, np.uint8)
before = faults()
for _ in range(10):
    np.ones(48 << 20, np.uint8)
print(faults() - before)
"""


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux has it")
def test_only_cores_that_may_be_used_count():
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    code += "from lanner.core.machine import cores; print(cores())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
    assert 1 <= cores() <= (os.cpu_count() or 1)


def test_kept_memory_is_not_asked_for_again():
    def measured(how):
        run = [sys.executable, "-c", FAULTS, how]
        done = subprocess.run(run, capture_output=True, text=True, check=True)
        return [int(line) for line in done.stdout.split()]

    kept, faults = measured("keep")
    if not kept:
        pytest.skip("not glibc")
    (usual,) = measured("give back")
    assert faults < usual / 10


LEFT = """
import ctypes
from lanner.core.machine import trim_heap
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
malloc, free = ctypes.CDLL(None).malloc, ctypes.CDLL(None).free
malloc.restype, free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
held = [malloc(50_000) for _ in range(4000)]
for place in held:
    ctypes.memset(place, 1, 50_000)
for place in held[:-1]:
    free(place)
full = resident()
trim_heap()
print(hasattr(ctypes.CDLL(None), "malloc_trim"), full - resident())
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="only Linux has it")
def test_freed_memory_below_something_in_use_is_given_back():
    run = [sys.executable, "-c", LEFT]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    can, back = done.stdout.split()
    if can != "True":
        pytest.skip("not glibc")
    assert int(back) > 150e6


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_each_comes_back_in_order(count):
    assert thread_map(lambda n: n * n, range(count)) == [n * n for n in range(count)]


def test_the_first_that_fails_is_told():
    def work(n):
        if n >= 3:
            raise ValueError(n)
        return n

    with pytest.raises(ValueError, match="3"):
        thread_map(work, range(9))


def test_one_by_one_and_no_further_than_wanted():
    begun, held = [], threading.Event()

    def work(n):
        begun.append(n)
        if n >= 5:
            held.wait(20)
        return n

    some = thread_each(work, range(100))
    assert [next(some) for _ in range(5)] == [0, 1, 2, 3, 4]
    threading.Timer(0.2, held.set).start()
    some.close()
    assert len(begun) <= 5 + workers()


@pytest.mark.parametrize(("policy", "kept"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_wait_quietly_unless_told_otherwise(policy, kept):
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    environment |= {} if policy is None else {"OMP_WAIT_POLICY": policy}
    code = "import lanner, os, sys; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [kept, "False"]
