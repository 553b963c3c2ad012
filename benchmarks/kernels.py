"""Rows of the kernels' own benchmarks; none of what fails its tests."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent / "tests"
KERNELS = TESTS / "detectors" / "kernels"

MODULES = {
    "kernels_boxes": (KERNELS / "test_decode.py", KERNELS / "test_nms.py"),
    "kernels_fuse": tuple(KERNELS / f"test_{name}.py" for name in ("fuse", "label", "blend")),
    "chains": tuple(
        TESTS / "postprocess" / name for name in ("test_chain.py", "test_roads_chain.py")
    ),
}
"""Modules beside this one with a function `rows`, and the tests that vouch for them."""

CHAIN_OBJECTS, CHAIN_SIDE = 100_000, 16_384
"""Objects that the chains are given for a scene of this side; others as many a pixel."""


def kernel_rows(size: int) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """Rows by module, and the modules that have none because a test of theirs is red.

    Args:
        size: side of the scene that the chains are given, in pixels.
    """
    rows, red = {}, []
    for name, tests in MODULES.items():
        if not (HERE / f"{name}.py").exists():
            continue
        if tests_pass(list(tests)):
            rows[name] = _rows(name, size)
        else:
            red.append(name)
    return rows, red


def tests_pass(tests: list[Path], *, quiet: bool = True) -> bool:
    """Whether tests are there and all of them pass."""
    words = [sys.executable, "-m", "pytest", "-q", *map(str, tests)]
    out = subprocess.DEVNULL if quiet else None
    return subprocess.run(words, cwd=HERE.parent, stdout=out, check=False).returncode == 0


def _rows(name: str, size: int) -> list[dict[str, Any]]:
    # A process of its own: what one leaves in memory or compiled is not the next one's.
    count = max(1, CHAIN_OBJECTS * size**2 // CHAIN_SIDE**2)
    asked = f"{count}, {size}" if name == "chains" else ""
    code = f"import json, sys, {name}; json.dump({name}.rows({asked}), open(sys.argv[1], 'w'))"
    with tempfile.TemporaryDirectory(prefix="lanner-kernels-") as folder:
        out = Path(folder) / "rows.json"
        subprocess.run([sys.executable, "-c", code, str(out)], cwd=HERE, check=True)
        rows: list[dict[str, Any]] = json.loads(out.read_text())
    return rows
