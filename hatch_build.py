"""Puts configs/ and weights/ into the wheel as share/lanner; an editable install needs neither."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class SharedFiles(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the folders that exist to the wheel's data files."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Map each folder to its place under the environment's prefix."""
        if version == "editable":
            return
        for name in ("configs", "weights"):
            if (Path(self.root) / name).is_dir():
                build_data["shared_data"][name] = f"share/lanner/{name}"
