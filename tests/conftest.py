"""Before anything is imported: without an NVIDIA driver, Triton interprets its kernels."""

from __future__ import annotations

import os
from pathlib import Path

if not Path("/proc/driver/nvidia/version").exists():
    # Read when triton is imported, which torch may do before any test of a kernel is collected.
    os.environ["TRITON_INTERPRET"] = "1"

from tests.fixtures_home import at_home, own_config, pictures, tiny_home

__all__ = ["at_home", "own_config", "pictures", "tiny_home"]
