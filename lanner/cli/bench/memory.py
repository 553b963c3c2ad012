"""Resident memory of this process, in megabytes of 10^6 bytes."""

from __future__ import annotations

import re
import resource
from pathlib import Path

STATUS = Path("/proc/self/status")


def resident_mb() -> float:
    """Now; the most so far where the system does not say."""
    return _status_value("VmRSS")


def peak_mb() -> float:
    """The most so far."""
    return _status_value("VmHWM")


def _status_value(name: str) -> float:
    # What getrusage says also counts the process that started this one, before its exec.
    if STATUS.exists():
        found = re.search(rf"^{name}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
        if found:
            return int(found[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
