"""Everything that `make bench` measures: Lanner, its peers, its kernels; tables and one JSON file.

    python benchmarks/run.py --size 4096 --repeat 5

With `--device cuda` it is what `make bench-gpu` measures: kernels and Lanner, without the peers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from against import PYTHON, Against, against_all, facts, peer_bars
from kernels import TESTS, kernel_rows, tests_pass
from rich.console import Console
from rich.table import Table

from lanner.cli.bench import show
from lanner.cli.bench.bars import Bar
from lanner.cli.bench.job import Job
from lanner.cli.bench.machine import slug
from lanner.cli.bench.run import Ask, Report, run
from lanner.cli.progress import progress_on
from lanner.core.errors import LannerError, error_status

RESULTS = Path(__file__).resolve().parent / "results"

RUNS = (("aircraft", ("retinanet",)), ("aircraft", None), ("roads", None))
"""Detector and members of each run of Lanner."""


def main() -> int:
    asked = _arguments()
    # Tables are made for a file as much as for a terminal.
    console, err_console = Console(width=100), Console(stderr=True)
    if asked.device.startswith("cuda") and not _has_gpu():
        err_console.print("error: no CUDA device is on this machine; make bench measures its CPU")
        return 1
    if asked.device.startswith("cuda") and not tests_pass([TESTS / "kernels"], quiet=False):
        err_console.print("error: tests of kernels are red on this GPU, so nothing is measured")
        return 1
    try:
        everything, bars = _lanner(asked, console, err_console)
        if asked.peers and PYTHON.exists():
            err_console.print("measuring peers", markup=False)
            rows = against_all(asked.size, asked.threads, asked.repeat)
            console.print(_peer_table(rows))
            everything["peers"] = facts(rows)
            bars += peer_bars(rows, asked.size)
        elif asked.peers:
            err_console.print("no .venv-peers, so no peers: make peers", markup=False)
    except LannerError as error:
        err_console.print(f"error: {error}", markup=False)
        return error_status(error).exit
    err_console.print("testing and measuring kernels", markup=False)
    everything["kernels"], red = kernel_rows(asked.size)
    for table in _kernel_tables(everything["kernels"]):
        console.print(table)
    for name in red:
        err_console.print(f"{name}: its tests are red, so there are no figures", markup=False)
    console.print(show.bars(bars))
    everything["bars"] = [vars(bar) for bar in bars]
    _write(everything, asked.out, err_console)
    return 1 if red else 0


def _lanner(
    asked: argparse.Namespace, console: Console, err_console: Console
) -> tuple[dict[str, Any], list[Bar]]:
    """Lanner's own runs, printed as they are done."""
    reports: list[Report] = []
    for detector, members in RUNS:
        job = Job("", detector, members, asked.device)
        ask = Ask(job, asked.size, (asked.threads,), asked.repeat)
        with progress_on(err_console) as progress:
            reports.append(run(ask, progress))
        *tables, _ = show.tables(reports[-1])
        for table in tables:
            console.print(table)
    everything: dict[str, Any] = {
        "bench": 1,
        "machine": reports[0].machine,
        "scene": reports[0].scene,
        "rows": [row for report in reports for row in report.facts()["rows"]],
    }
    return everything, [bar for report in reports for bar in report.bars]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=4096, help="pixels of the rendered scenes")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of torch, here and in the peers")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--out", type=Path, help="JSON file, by default in benchmarks/results")
    asked = parser.parse_args()
    asked.peers = asked.peers and asked.device == "cpu"
    return asked


def _has_gpu() -> bool:
    # In a process of its own: this one starts others and must not hold the device.
    code = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _peer_table(rows: Sequence[Against]) -> Table:
    table = Table("peer", *PEER_COLUMNS, title="Peers, and Lanner on the same work")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        cells = (cell(row) for cell in PEER_COLUMNS.values())
        table.add_row(f"{row.name} {row.version}\n{row.what}", *cells)
    return table


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


PEER_COLUMNS: dict[str, Callable[[Against], str]] = {
    "seconds": lambda row: f"{row.seconds:.3f}",
    "ours s": lambda row: f"{row.ours_s:.3f}",
    "same part s": lambda row: f"{row.ours_part_s:.3f}",
    "times": lambda row: f"{row.seconds / row.ours_s:.2f}",
    "MB": lambda row: f"{row.peak_mb:.0f}",
    "ours MB": lambda row: "-" if row.ours_peak_mb is None else f"{row.ours_peak_mb:.0f}",
    "ours found": lambda row: f"{_percent(row.ours_found)}\nof {row.ours_count}",
    "theirs": lambda row: f"{_percent(row.theirs_found)}\nof {row.theirs_count}",
    "uncut": lambda row: "-" if row.uncut is None else _percent(row.uncut),
}


def _kernel_tables(kernels: dict[str, list[dict[str, Any]]]) -> list[Table]:
    """One table a module; columns are whatever its rows hold."""
    tables = []
    for name, rows in kernels.items():
        columns = list(dict.fromkeys(key for row in rows for key in row))
        table = Table(*columns, title=name)
        for row in rows:
            table.add_row(*(_cell(row.get(key, "")) for key in columns))
        tables.append(table)
    return tables


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _write(everything: dict[str, Any], out: Path | None, err_console: Console) -> None:
    path = out or RESULTS / f"{slug(everything['machine'])}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(everything, indent=2) + "\n", encoding="utf-8")
    os.replace(part, path)
    err_console.print(f"written: {path}", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
