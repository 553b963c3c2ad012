"""Where releases lie, and which of them is the one to go on from."""

from __future__ import annotations

import re
from pathlib import Path

from detectors.card import FILE as CARD
from lanner.config import DetectorConfig
from lanner.factory.shop import Shop


def weights_home(detector_path: Path) -> Path:
    """The `weights/` folder beside a detector's file, or beside its `configs/` folder."""
    folder = detector_path.parent
    return (folder.parent if folder.name == "configs" else folder) / "weights"


def released(home: Path, detector: DetectorConfig) -> Path | None:
    """The release that a new one goes on from: of the same version, else the newest."""
    folders = [path.parent for path in (home / detector.name).glob(f"*/{CARD}")]
    folders = [path for path in folders if not path.name.startswith(".")]
    same = home / detector.name / detector.release
    if same in folders:
        return same
    return max(folders, key=lambda path: version_key(path.name), default=None)


def last_release(shop: Shop) -> Path | None:
    """The folder of the detector's release, its own or else an installed one; None without.

    The number in the detector's file may already be that of the next release.
    """
    from lanner.errors import ConfigError
    from lanner.home import weights_dir

    detector = shop.detector()
    own = released(weights_home(shop.detector_path), detector)
    if own is not None:
        return own
    try:
        return released(weights_dir(), detector)
    except ConfigError:
        return None  # a detector of one's own needs no installed ones


def version_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts 1.10.0 above 1.9.0; what is no number goes below numbers."""
    parts = re.findall(r"\d+|[^\d.]+", text)
    return tuple((1, int(p), "") if p.isdigit() else (0, 0, p) for p in parts)


__all__ = ["last_release", "released", "version_key", "weights_home"]
