"""Puts configs/ and weights/ into the wheel as lanner/data; an editable install needs neither."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PackageData(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the folders to the package's data, where `importlib.resources` finds them."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Map each folder to its place in the package."""
        if version == "editable":
            return
        for name in ("configs", "weights"):
            build_data["force_include"][str(Path(self.root) / name)] = f"lanner/data/{name}"
