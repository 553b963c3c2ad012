"""What a tile a worker is worth on a CPU: each network by all cores at one tile, and by workers.

Run it with `python benchmarks/workers.py`; every measurement is a process of its own.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import Any

ROUNDS, TILES = 5, 24
NETWORKS = (
    ("aircraft", "retinanet", 768),
    ("aircraft", "resunet", 768),
    ("roads", "resunet", 1024),
)

CHILD = """
import json, resource, sys, time, torch
from concurrent.futures import ThreadPoolExecutor
from detectors.device import compute, running
from detectors.members import load_member
from lanner.inference.registry import find
entry, side, workers = find(sys.argv[1]), int(sys.argv[3]), int(sys.argv[4])
member = next(m for m in entry.config.members if m.name == sys.argv[2])
where = compute("cpu")
net = load_member(entry.config, member, entry.release_dir, where).net
x = torch.randn(1, 3, side, side).contiguous(memory_format=torch.channels_last)
def forward(_):
    with running(where, where.threads // workers):
        net(x)
with ThreadPoolExecutor(workers) as pool:
    list(pool.map(forward, range(4)))
    begin = time.perf_counter()
    list(pool.map(forward, range({tiles})))
    spent = (time.perf_counter() - begin) / {tiles}
print(json.dumps([spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3]))
"""


def rows() -> list[dict[str, Any]]:
    """One row a network and number of workers: milliseconds a tile, medians, and resident MB."""
    from detectors.device import compute

    most = compute("cpu").workers
    widths = [workers for workers in (1, 2, 4) if workers <= most]
    code, result = CHILD.format(tiles=TILES), []
    for detector, network, side in NETWORKS:
        spent: dict[int, list[tuple[float, float]]] = {workers: [] for workers in widths}
        for _ in range(ROUNDS):
            for workers, times in spent.items():
                words = [sys.executable, "-c", code, detector, network, str(side), str(workers)]
                done = subprocess.run(words, check=True, capture_output=True, text=True)
                times.append(tuple(json.loads(done.stdout.splitlines()[-1])))
        for workers, times in spent.items():
            result.append(
                {
                    "name": f"{detector} {network} {side}",
                    "workers": workers,
                    "ms": round(statistics.median(one for one, _ in times) * 1e3, 1),
                    "mb": round(statistics.median(mb for _, mb in times)),
                }
            )
    return result


if __name__ == "__main__":
    for row in rows():
        print(json.dumps(row))
