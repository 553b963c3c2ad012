"""Archives of small scenes of every kind, one broken and one without data."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

BROKEN = ("cut", "empty")
"""Scenes that cannot be run: cut off in the middle, and all nodata."""

KINDS = (
    {"crs": "EPSG:32633"},
    {"crs": "EPSG:32632", "dtype": "uint16"},
    {"crs": "EPSG:3857"},
    {"crs": "EPSG:32633", "nodata": 0},
    {"crs": "EPSG:32733"},
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Rates that batches measure are kept here, not with those of the user."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


FULL = bool(os.environ.get("LANNER_FULL"))
"""`make accept` does what is said of large archives at its full size."""


def make_archive(folder: Path, pictures, count: int = 5, cut: int = 0, blank: int = 0) -> Path:
    """A folder of `count` good scenes far from one another, and those of `BROKEN`; more that are
    `cut` off, and more that are `blank`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        kind = dict(KINDS[k % len(KINDS)])
        pixels = pictures.texture(150 + 10 * (k % 12), 170, seed=k)
        if kind.pop("dtype", None):
            pixels = pixels.astype(np.uint16) * 9
        place = Affine(1, 0, 500_000 + 2_000 * (k % 100), 0, -1, 5_000_000 - 3_000 * (k // 100))
        pictures.write_tif(folder / f"scene{k}.tif", pixels, transform=place, **kind)
    whole = pictures.texture(400, 400, seed=99)
    pictures.write_tif(folder / "cut.tif", whole, crs="EPSG:32633")
    data = (folder / "cut.tif").read_bytes()
    for name in ("cut", *(f"cut{k}" for k in range(cut))):
        (folder / f"{name}.tif").write_bytes(data[: len(data) // 2])
    for name in ("empty", *(f"empty{k}" for k in range(blank))):
        pictures.write_tif(folder / f"{name}.tif", np.zeros((3, 90, 90), np.uint8), nodata=0)
    return folder


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of every file that a batch leaves, by its path below the folder.

    The ledger and the report tell when it was run and how long it took.
    """
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith((".lock", "batch.sqlite", "report.html"))
    }
