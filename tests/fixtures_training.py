"""Small drawn pictures that networks are trained on.

Use: `from tests.fixtures_training import picture, pictures`.
"""

import numpy as np

from detectors.training.pictures import Picture
from detectors.training.views import Recipe

TANKS = {
    "version": 1,
    "name": "tanks",
    "release": "0.1.0",
    "description": "Storage tanks.",
    "classes": ["tank"],
    "output": "objects",
    "gsd": 1.0,
    "gsd_range": [0.5, 2.0],
    "tile": 128,
    "halo": 32,
    "chain": [{"step": "merge_seams"}],
}
"""A detector's file but for its members."""

SIDE = 96
ROAD = ("road", "centreline")
SMALL = Recipe(pixels=2 * 64 * 64, sizes=(64,))


def picture(k: int, source: str = "drawn", masks: bool = True) -> Picture:
    rng = np.random.default_rng(k)
    rgb = rng.integers(60, 120, (SIDE, SIDE, 3)).astype(np.uint8)
    ids = np.zeros((SIDE, SIDE), np.uint16)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    boxes = []
    for n, (x, y) in enumerate(((8, 8), (52, 20), (30, 60))):
        w, h = (int(v) for v in rng.integers(16, 28, 2))
        rgb[y : y + h, x : x + w] = (250, 220, 40)
        ids[y : y + h, x : x + w] = n + 1
        boxes.append([x, y, x + w, y + h])
    mask[40:47] = 1
    rgb[40:47] = 200
    return Picture(
        f"{source}/{k}",
        source,
        (SIDE, SIDE),
        lambda: rgb,
        np.array(boxes, np.float32),
        np.arange(3) % 2,
        np.ones(3, np.float32),
        (lambda: ids) if masks else None,
        lambda: mask,
    )


def pictures(n: int = 4) -> list[Picture]:
    return [picture(k, "one" if k % 2 else "two") for k in range(n)]
