"""Closer looks at single objects: what is asked, and what is kept of the answers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lanner.core.config import DetectorConfig, config_sha256

if TYPE_CHECKING:
    from detectors.views import Outline
    from lanner.inference.manifest import Manifest


def looks_key(manifest: Manifest, config: DetectorConfig) -> str:
    """SHA-256 over all that outlines follow from, besides what a `LookTask` says.

    That is the scene, its stretch, the grid, the networks and what they run on. Tiles and the
    other steps of the chain have no part in it.
    """
    facts = manifest.facts()
    networks = config_sha256(config.model_copy(update={"chain": ()}))
    key_facts = {
        **{name: facts[name] for name in ("lanner", "scene", "stretch")},
        "grid": {name: facts["plan"][name] for name in ("gsd", "width", "height")},
        "detector": {**facts["detector"], "config_sha256": networks},
    }
    text = json.dumps(key_facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class LookTask:
    """One object to be looked at: its box x0 y0 x1 y1 in grid pixels, and how.

    The other values are those of `postprocess.context.Closer`.
    """

    box: tuple[float, float, float, float]
    object_px: float
    gain: float
    enlarge: float
    threshold: float

    @property
    def name(self) -> str:
        """SHA-256 over all of it."""
        how = (self.object_px, self.gain, self.enlarge, self.threshold)
        return hashlib.sha256(np.array([*self.box, *how], "<f8").tobytes()).hexdigest()


def encode_ring(ring: Outline | None) -> bytes:
    """A ring (k, 2) to the last bit; no bytes where nothing was seen."""
    return b"" if ring is None else np.asarray(ring, "<f8").tobytes()


def decode_ring(payload: bytes) -> Outline | None:
    """The ring that `encode_ring` was given."""
    return np.frombuffer(payload, "<f8").reshape(-1, 2).astype(np.float64) if payload else None
