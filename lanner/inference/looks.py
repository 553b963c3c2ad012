"""What closer looks showed, as it is kept for a run that goes on where one was stopped."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lanner.core.config import DetectorConfig, config_sha256

if TYPE_CHECKING:
    from detectors.views import Outline
    from lanner.inference.manifest import Manifest


def looks_key(manifest: Manifest, config: DetectorConfig) -> str:
    """SHA-256 over all that outlines follow from, besides what `look_name` tells apart.

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


def look_name(
    box: NDArray[np.float64], object_px: float, gain: float, enlarge: float, threshold: float
) -> str:
    """SHA-256 over the box (4,) in grid pixels and how it is looked at."""
    values = np.array([*box, object_px, gain, enlarge, threshold], "<f8")
    return hashlib.sha256(values.tobytes()).hexdigest()


def encode_ring(ring: Outline | None) -> bytes:
    """A ring (k, 2) to the last bit; no bytes where nothing was seen."""
    return b"" if ring is None else np.asarray(ring, "<f8").tobytes()


def decode_ring(payload: bytes) -> Outline | None:
    """The ring that `encode_ring` was given."""
    return np.frombuffer(payload, "<f8").reshape(-1, 2).astype(np.float64) if payload else None
