"""Every kernel compiles for the GPUs it is meant for, also where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "tests/detectors/kernels/compile_all.py"


def test_every_kernel_compiles_for_hopper(tmp_path):
    # In a process of its own: this one interprets.
    kept = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment = {**kept, "PYTHONPATH": str(ROOT), "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, SCRIPT], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_no_kernel_is_forgotten():
    text = SCRIPT.read_text(encoding="utf-8")
    folders = [p.parent.name for p in (ROOT / "detectors/kernels").glob("*/kernel.py")]
    assert folders
    for op in folders:
        source = (ROOT / f"detectors/kernels/{op}/kernel.py").read_text(encoding="utf-8")
        own = source.split("@triton.jit")[1:]
        for name in [part.split("def ")[1].split("(")[0] for part in own]:
            assert f"{op}.{name}" in text or _helper(source, name), f"{op}.{name}"


def _helper(source: str, name: str) -> bool:
    """Whether a kernel is only called by other kernels of its file."""
    return f"{name}[" not in source
