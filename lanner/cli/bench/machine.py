"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

from lanner import __version__
from lanner.core.machine import cores


def machine(gpu: str | None) -> dict[str, object]:
    """Processor, cores that this process may use, memory and releases; no names of hosts.

    Args:
        gpu: that networks ran on, None where they ran on the processor.
    """
    return {
        "cpu": _cpu(),
        "cores": cores(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "gpu": gpu,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "lanner": __version__,
    }


def slug(facts: dict[str, object]) -> str:
    """A file name for a machine: its GPU or processor, and its cores."""
    text = f"{facts['gpu'] or facts['cpu']} {facts['cores']} cores"
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.M) if info.exists() else None
    return " ".join((found[1] if found else platform.machine()).split())
