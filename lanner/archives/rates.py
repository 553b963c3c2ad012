"""How fast detectors were on this machine and how large their files: kept for plans."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from lanner.archives.options import GPKG
from lanner.core.errors import OutputError
from lanner.core.files import replacing
from lanner.core.machine import cores

FILE = "rates.json"
LEAST = 4
"""Scenes without which a batch measures nothing."""
CANDIDATES = " and candidates"
"""Put after a format's name for files that hold what is not worth a look, too."""
PART, ARCHIVE_GPKG, ARCHIVE_PARQUET = "part", "archive gpkg", "archive parquet"
"""Kinds of files beside the formats of scenes: what the archive's files are made of, and these."""
LAYER = 28_672
"""Bytes of another layer in a GeoPackage, without features."""
PAGES = 400_000
PAGES_SCENE = 20_000
"""Bytes of report, catalogue and ledger: of any batch, and of each scene and detector."""
_MEMORY = 3
"""How many times as many scenes as the newest measurement had are remembered of earlier ones."""


@dataclass(frozen=True)
class FileRate:
    """Bytes of a file without features, and of each feature in it."""

    file: float
    feature: float


@dataclass(frozen=True)
class Rate:
    """How fast a detector is on this machine, and what it leaves.

    Attributes:
        start_s: seconds until its networks are loaded, once a batch.
        scene_s: seconds of a scene, whatever its size, beside the others that are under way.
        megapixel_s: seconds of a megapixel, likewise; of the detector's pixels.
        end_s: seconds of writing the archive's files and pages, of any batch.
        end_scene_s: of those, seconds of each scene and detector.
        end_feature_s: of those, seconds of each feature.
        features: how many a megapixel.
        files: sizes by kind: a format's name, `PART`, `ARCHIVE_GPKG` or `ARCHIVE_PARQUET`.
        scenes: from how many it was measured; 0 where it was not.
    """

    start_s: float
    scene_s: float
    megapixel_s: float
    end_s: float
    end_scene_s: float
    end_feature_s: float
    features: float
    files: Mapping[str, FileRate] = field(default_factory=dict)
    scenes: int = 0

    def file(self, kind: str) -> FileRate:
        """Sizes of a kind of file; as files of that format mostly are where none was measured."""
        plain = kind.removesuffix(CANDIDATES)
        return self.files.get(kind) or self.files.get(plain) or FILES[plain]


FILES = {
    GPKG: FileRate(102_400, 4_000),
    "geojson": FileRate(3_600, 5_500),
    "fgb": FileRate(7_000, 3_500),
    "parquet": FileRate(48_500, 1_500),
    PART: FileRate(45_000, 1_500),
    ARCHIVE_GPKG: FileRate(106_496, 4_200),
    ARCHIVE_PARQUET: FileRate(20_000, 1_500),
}
"""What is supposed of files until a batch has been measured here; with a style beside each that
has none inside.
"""

UNKNOWN = Rate(5.0, 0.5, 1.5, 4.0, 0.03, 0.0006, 10.0)
"""Of no machine in particular: what is supposed until a batch has been measured here."""


def rates_file() -> Path:
    """Where rates are kept: the user's folder for caches."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "lanner" / FILE


def name_of(detector: str, release: str, device: str) -> str:
    """What a rate is of."""
    return f"{detector} {release} on {device}, {cores()} cores"


def known_rates() -> dict[str, Rate]:
    """Every rate that was kept; without those that another version of Lanner kept otherwise, and
    none where the file is missing or damaged.
    """
    try:
        facts = json.loads(rates_file().read_text(encoding="utf-8"))
        kept = {name: _rate(rate) for name, rate in facts.items()}
    except (OSError, ValueError, AttributeError):
        return {}
    return {name: rate for name, rate in kept.items() if rate is not None}


def keep(name: str, rate: Rate) -> str | None:
    """Keep a rate for the next plan, together with what earlier batches measured.

    Returns:
        A note where it could not be kept, which costs that plan its precision alone.
    """
    path = rates_file()
    known = known_rates()
    known[name] = blended(known[name], rate) if name in known else rate
    facts = {one: asdict(kept) for one, kept in known.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as beside:
            beside.write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    except (OSError, OutputError) as error:
        return f"How fast this batch was could not be kept in {path} ({error})."
    return None


def blended(old: Rate, new: Rate) -> Rate:
    """What two measurements tell together: each by its scenes, the old one by no more than three
    times as many as the new one has.
    """
    scenes = min(old.scenes, _MEMORY * new.scenes)
    share = new.scenes / max(scenes + new.scenes, 1)

    def mean(a: float, b: float) -> float:
        return round(a + (b - a) * share, 8)

    both = {
        kind: FileRate(
            mean(old.files[kind].file, one.file), mean(old.files[kind].feature, one.feature)
        )
        for kind, one in new.files.items()
        if kind in old.files
    }
    return Rate(
        mean(old.start_s, new.start_s),
        mean(old.scene_s, new.scene_s),
        mean(old.megapixel_s, new.megapixel_s),
        mean(old.end_s, new.end_s),
        mean(old.end_scene_s, new.end_scene_s),
        mean(old.end_feature_s, new.end_feature_s),
        mean(old.features, new.features),
        {**old.files, **new.files, **both},
        scenes + new.scenes,
    )


_NUMBERS = (
    "start_s",
    "scene_s",
    "megapixel_s",
    "end_s",
    "end_scene_s",
    "end_feature_s",
    "features",
)


def _rate(facts: Any) -> Rate | None:
    """A rate that was kept; None for anything else."""
    try:
        files = {
            str(kind): FileRate(_number(one["file"]), _number(one["feature"]))
            for kind, one in facts["files"].items()
        }
        numbers = {name: _number(facts[name]) for name in _NUMBERS}
        return Rate(**numbers, files=files, scenes=int(_number(facts["scenes"])))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None


def _number(value: Any) -> float:
    """A finite number from 0 on.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(value)
    if not (isfinite(value) and value >= 0):
        raise ValueError(value)
    return float(value)
