"""Lanner finds objects in satellite imagery and hands over classified, measured features."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lanner.client import Client

__version__ = "0.1.0"
__all__ = ["Client", "__version__"]


def __getattr__(name: str) -> Any:
    """Load `Client` when it is first asked for: importing Lanner must not load gRPC."""
    if name == "Client":
        return importlib.import_module("lanner.client").Client
    raise AttributeError(f"module 'lanner' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
