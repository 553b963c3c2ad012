"""How fast detectors were on this machine: measured by batches, kept for plans."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lanner.core.errors import OutputError
from lanner.core.files import replacing
from lanner.core.machine import cores

FILE = "rates.json"
LEAST = 4
"""Scenes without which a batch measures nothing."""


@dataclass(frozen=True)
class Rate:
    """Seconds of this machine that a scene and a megapixel of it take, and bytes of output."""

    scene_s: float
    megapixel_s: float
    scene_bytes: float
    megapixel_bytes: float
    scenes: int = 0


UNKNOWN = Rate(0.5, 1.5, 110_000.0, 20_000.0)
"""Of no machine in particular: what is told until a batch has been measured here."""


def rates_file() -> Path:
    """Where rates are kept: the user's folder for caches."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "lanner" / FILE


def name_of(detector: str, release: str, device: str) -> str:
    """What a rate is of."""
    return f"{detector} {release} on {device}, {cores()} cores"


def known_rates() -> dict[str, Rate]:
    """Every rate that was kept; none where the file is missing or damaged."""
    try:
        facts = json.loads(rates_file().read_text(encoding="utf-8"))
        return {name: Rate(**rate) for name, rate in facts.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def keep(name: str, rate: Rate) -> str | None:
    """Keep a rate for the next plan.

    Returns:
        A note where it could not be kept, which costs that plan its precision alone.
    """
    path = rates_file()
    facts = {**{one: asdict(kept) for one, kept in known_rates().items()}, name: asdict(rate)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as beside:
            beside.write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    except (OSError, OutputError) as error:
        return f"How fast this batch was could not be kept in {path} ({error})."
    return None


def fitted(
    megapixels: Sequence[float], seconds: Sequence[float], sizes: Sequence[int], wall_s: float
) -> Rate | None:
    """The rate that a batch's scenes tell; None where they are too few.

    Args:
        megapixels: of each scene.
        seconds: each took, beside others.
        sizes: bytes of its files.
        wall_s: seconds that all took together, which the rate is made to add up to.
    """
    import numpy as np
    from scipy.optimize import nnls

    if len(megapixels) < LEAST:
        return None
    table = np.stack([np.ones(len(megapixels)), np.asarray(megapixels, np.float64)], axis=1)
    (scene_s, megapixel_s), _ = nnls(table, np.asarray(seconds, np.float64))
    (scene_b, megapixel_b), _ = nnls(table, np.asarray(sizes, np.float64))
    together = wall_s / max(sum(seconds), 1e-9)
    return Rate(
        round(float(scene_s) * together, 6),
        round(float(megapixel_s) * together, 6),
        round(float(scene_b), 1),
        round(float(megapixel_b), 1),
        len(megapixels),
    )
