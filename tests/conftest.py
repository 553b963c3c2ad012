"""Before anything is imported: without an NVIDIA driver, Triton interprets its kernels."""

from __future__ import annotations

import os
from pathlib import Path

if not Path("/proc/driver/nvidia/version").exists():
    # Read when triton is imported, which torch may do before any test of a kernel is collected.
    os.environ["TRITON_INTERPRET"] = "1"
