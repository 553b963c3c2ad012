"""Where a server of this user keeps what outlives it."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder(port: int) -> Path | None:
    """Where a user's programs keep what outlives them (XDG Base Directory Specification): one
    folder a port, since servers that share one do each other's jobs, whichever scenes they may
    read. None for a free port, which another server has the next time.
    """
    if port == 0:
        return None
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "lanner" / f"server-{port}"
