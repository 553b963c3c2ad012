"""Small drawn images, and sources over them, for tests of readers.

Use: `from tests.fixtures_readers import draw, read`.
"""

from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin

from lanner.factory.config import FactoryConfig
from lanner.factory.images import write_png
from lanner.factory.project import Project
from lanner.factory.readers import Read, read_source

W, H = 80, 60
RNG = np.random.default_rng(5)
LEFT, TOP, RES = 500_000.0, 5_000_000.0, 0.5
"""An image in UTM 33N: 40 m by 30 m."""


def draw(path: Path, seed: int = 0, size: tuple[int, int] = (W, H)) -> np.ndarray:
    rgb = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    write_png(rgb, path)
    return rgb


def raster(
    path: Path,
    left: float = LEFT,
    top: float = TOP,
    crs: str | None = "EPSG:32633",
    res: float = RES,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    where = {} if crs is None else {"crs": crs, "transform": from_origin(left, top, res, res)}
    with rasterio.open(
        path, "w", driver="GTiff", width=W, height=H, count=3, dtype="uint8", photometric="rgb",
        **where,
    ) as file:  # fmt: skip
        file.write(RNG.integers(0, 255, (3, H, W), np.uint8))


def read(root: Path, **source: object) -> Read:
    facts = {"name": "s", "root": str(root), "classes": {"*": "thing"}, **source}
    config = FactoryConfig(factory="t", detector="d.yaml", data="/", sources=[facts])
    project = Project(config, root / "t.yaml", root / "work")
    return read_source(project, config.sources[0])


def whys(found: Read) -> str:
    return " | ".join(f"{one.what}: {one.why}" for one in found.skipped)
