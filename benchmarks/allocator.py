"""What `lanner.core.machine.keep_memory` is worth: each network with and without it, alternating.

Run it with `python benchmarks/allocator.py`; every measurement is a process of its own.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import Any

ROUNDS, PASSES, SIDE = 5, 16, 704

CHILD = """
import sys, time, torch
from detectors.device import compute, running
from detectors.members import load_member
from lanner.inference.registry import find
import detectors.device, json
if sys.argv[2] == "0":
    detectors.device.keep_memory = lambda: False
entry = find("aircraft")
member = next(m for m in entry.config.members if m.name == sys.argv[1])
where = compute("cpu")
net = load_member(entry.config, member, entry.release_dir, where).net
x = torch.randn(1, 3, {side}, {side}).contiguous(memory_format=torch.channels_last)
with running(where):
    for _ in range(3):
        net(x)
    begin = time.perf_counter()
    for _ in range({passes}):
        net(x)
print(json.dumps((time.perf_counter() - begin) / {passes}))
"""


def rows() -> list[dict[str, Any]]:
    """One row a network: milliseconds a tile without and with, medians, and their ratio."""
    code = CHILD.format(side=SIDE, passes=PASSES)
    result = []
    for name in ("retinanet", "resunet"):
        spent: dict[str, list[float]] = {"0": [], "1": []}
        for _ in range(ROUNDS):
            for kept, seconds in spent.items():
                done = subprocess.run(
                    [sys.executable, "-c", code, name, kept],
                    check=True,
                    capture_output=True,
                    text=True,
                )
                seconds.append(json.loads(done.stdout.splitlines()[-1]))
        without, kept_ms = (statistics.median(v) * 1e3 for v in spent.values())
        result.append(
            {
                "name": name,
                "without_ms": round(without, 2),
                "with_ms": round(kept_ms, 2),
                "ratio": round(kept_ms / without, 3),
            }
        )
    return result


if __name__ == "__main__":
    for row in rows():
        print(row)
