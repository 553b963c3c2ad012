"""What a run is made of, as checksums: the key that finished tiles are kept under, and a file.

Nothing here depends on the time, the machine's name or where the scene lies.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanner.core.version import __version__

if TYPE_CHECKING:
    from tiling.grid import TilePlan
    from tiling.normalise import Stretch

FILE = "manifest.json"
"""Its name in the run folder."""


@dataclass(frozen=True)
class Manifest:
    """Everything that finished tiles depend on, and the files that the chain reads after them.

    `identity` names the device and number format the networks ran in; `weights` the checksums
    of the weights' files, `weights_sha256` one over them all; `chain_files` those of the files
    that steps of the chain read, by name.
    """

    scene_sha256: str
    scene_gsd: tuple[float, float]
    detector: str
    release: str
    config_sha256: str
    weights: Mapping[str, str]
    weights_sha256: str
    members: tuple[str, ...]
    identity: str
    plan: TilePlan
    stretch: Stretch
    chain_files: Mapping[str, str] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """What finished tiles depend on, as plain JSON data."""
        grid = self.plan.grid
        return {
            "lanner": __version__,
            "scene": {
                "sha256": self.scene_sha256,
                "gsd": list(self.scene_gsd),
                "width": grid.scene_width,
                "height": grid.scene_height,
            },
            "detector": {
                "name": self.detector,
                "release": self.release,
                "config_sha256": self.config_sha256,
                "weights_sha256": self.weights_sha256,
                "weights": dict(sorted(self.weights.items())),
                "members": list(self.members),
                "runs_on": self.identity,
            },
            "plan": {
                "tile": self.plan.tile,
                "halo": self.plan.halo,
                "gsd": grid.gsd,
                "width": grid.width,
                "height": grid.height,
                "tiles": len(self.plan),
            },
            "stretch": _stretch_facts(self.stretch),
        }

    def all_facts(self) -> dict[str, Any]:
        """Those facts, and the files that the chain reads where it reads any."""
        facts = self.facts()
        if self.chain_files:
            facts["detector"]["chain_files"] = dict(sorted(self.chain_files.items()))
        return facts

    @property
    def key(self) -> str:
        """SHA-256 over the facts: runs of one key do the same tiles to the same bytes."""
        text = json.dumps(self.facts(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def write(self, folder: Path) -> Path:
        """Write `manifest.json`; equal runs give equal bytes.

        Raises:
            OutputError: the file cannot be written.
        """
        from lanner.core.files import replacing

        path = folder / FILE
        text = json.dumps({**self.all_facts(), "key": self.key}, sort_keys=True, indent=1) + "\n"
        with replacing(path) as beside:
            beside.write_text(text, encoding="utf-8")
        return path


def _stretch_facts(stretch: Stretch) -> dict[str, Any]:
    """A stretch as plain data; a border's value is there where there is such a border."""
    border = {} if stretch.fill is None else {"fill": stretch.fill}
    return {"low": list(stretch.low), "high": list(stretch.high), **border}
