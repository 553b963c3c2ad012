"""Lanner finds objects in satellite imagery and hands over classified, measured features."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from lanner.core.version import __version__

if TYPE_CHECKING:
    from lanner.client.client import Client

# Read when torch is first imported. Threads of a network that spin while they wait take the cores
# from everything else: two detections at once hardly moved. Waiting quietly costs nothing that can
# be measured, and two take twice as long as one (docs/performance.md).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__all__ = ["Client", "__version__"]


def __getattr__(name: str) -> Any:
    """Load `Client` when it is first asked for: importing Lanner must not load gRPC."""
    if name == "Client":
        return importlib.import_module("lanner.client.client").Client
    raise AttributeError(f"module 'lanner' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
