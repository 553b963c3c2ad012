"""Small drawn images, and sources over them, for tests of readers.

Use: `from tests.fixtures_readers import draw, read`.
"""

from pathlib import Path

import numpy as np
import rasterio
from PIL import Image
from rasterio.transform import from_origin

from lanner.factory.config import FactoryConfig
from lanner.factory.images import write_png
from lanner.factory.orientation import upright
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


OBJECT = (50, 10, 70, 20)
"""Where `photo` shows an object, in pixels as it is shown: bright, in the upper right."""


def photo(path: Path, turn: int, size: tuple[int, int] = (W, H)) -> np.ndarray:
    """An image with an object, stored so that EXIF turns it; lossless but for JPEG.

    Returns:
        (h, w, 3) uint8 as it is shown.
    """
    pixels = np.full((size[1], size[0], 3), 60, np.uint8)
    x0, y0, x1, y1 = OBJECT
    pixels[y0:y1, x0:x1] = 230
    # Each undoes itself, but for the two quarter turns.
    stored = Image.fromarray(upright(pixels, {6: 8, 8: 6}.get(turn, turn)))
    tags = stored.getexif()
    tags[274] = turn
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        stored.save(path, tiffinfo={274: turn})
    else:
        stored.save(path, exif=tags, **({"lossless": True} if path.suffix == ".webp" else {}))
    return pixels


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
