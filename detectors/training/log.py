"""The log of a run: one JSON line for every few steps, the same lines after a kill and resume."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LOG = "log.jsonl"


def read_log(path: Path) -> list[dict[str, Any]]:
    """Lines of a log; a last line that a kill cut short is left out."""
    rows = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
    return rows


def rewind(path: Path, step: int) -> None:
    """Drop the lines after `step`."""
    kept = [row for row in read_log(path) if row["step"] <= step]
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    beside.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    beside.replace(path)


def append(path: Path, row: Mapping[str, Any]) -> None:
    """Add one line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
