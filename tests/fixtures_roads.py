"""A made-up road network with known centre lines, and real GeoTIFFs and contexts to run it in.

Use: `from tests.fixtures_roads import TOWN, painted, road_context`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyproj
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize
from scipy import ndimage
from shapely import LineString

from postprocess.context import Context, DetectorFacts
from tiling.grid import Grid
from tiling.place import Place

SIZE = 1024
CROSSINGS = np.array(
    [
        *(
            (80.6 + 90 * i - 0.4 * (k * 90 + 40) / 350, 80 + 90 * k + 0.4 * (i * 90 + 40) / 350)
            for k in range(4)
            for i in range(4)
        ),
        *((800 + 18 * np.cos(a), 260 + 18 * np.sin(a)) for a in (0.1, 1.7, 3.2, 4.8)),
        (180, 510),
        (470, 590),
        (700, 600),
        (200, 800 - 140 / 17),
        (235, 800 - 175 / 17),
        (697.9, 846.0),
    ]
)
"""(26, 2) every junction of `TOWN`: streets, roundabout, T, X, Y, two staggered T, X."""


def circle(x: float, y: float, radius: float) -> LineString:
    angle = np.linspace(0, 2 * np.pi, 97)
    xy = np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)
    xy[-1] = xy[0]
    return LineString(xy)


def arm(x: float, y: float, angle: float, begin: float, end: float) -> LineString:
    way = np.array([np.cos(angle), np.sin(angle)])
    return LineString([np.array([x, y]) + begin * way, np.array([x, y]) + end * way])


def town() -> NDArray[np.object_]:
    x = np.linspace(450, 950, 120)
    lines = [
        *(LineString([(40.3, 80 + 90 * k), (390.2, 80.4 + 90 * k)]) for k in range(4)),
        *(LineString([(80.6 + 90 * k, 40), (80.2 + 90 * k, 390)]) for k in range(4)),
        LineString(np.stack([x, 80 + 30 * np.sin((x - 450) / 60)], axis=1)),
        circle(560, 240, 60),
        circle(800, 260, 18),
        *(arm(800, 260, a, 18, 90) for a in (0.1, 1.7, 3.2, 4.8)),
        # Two carriageways 15 m apart.
        LineString([(450, 400), (960, 420)]),
        LineString([(450, 415), (960, 435)]),
        # T, oblique X, Y, staggered T.
        LineString([(60, 500), (300, 520)]),
        LineString([(180, 510), (170, 640)]),
        LineString([(380, 500), (560, 680)]),
        LineString([(470, 480), (470, 700)]),
        *(arm(700, 600, a, 0, 110) for a in (0.4, 2.5, 4.6)),
        LineString([(60, 800), (400, 780)]),
        LineString([(200, 800 - 140 / 17), (205, 900)]),
        LineString([(235, 800 - 175 / 17), (230, 700)]),
        LineString([(500, 760), (960, 960)]),
        LineString([(620, 960), (760, 760)]),
        # Sharp corners.
        LineString([(850, 700), (960, 760), (900, 850), (800, 820)]),
    ]
    return np.array(lines, dtype=object)


TOWN = town()
"""Centre lines on a grid of 1024 x 1024 pixels of 1 m."""


def painted(lines: NDArray[np.object_], width: float = 7, size: int = SIZE) -> NDArray[np.uint8]:
    """(size, size) mask, 255 where roads `width` pixels wide lie."""
    shapes = [shapely.buffer(line, width / 2, cap_style="flat") for line in lines]
    return rasterize(shapes, out_shape=(size, size), default_value=255).astype(np.uint8)


def spoilt(
    mask: NDArray[np.uint8], seed: int, gaps: int = 12, yards: bool = True
) -> NDArray[np.uint8]:
    """A mask as a network sees it: trees over roads, yards beside them, ragged borders, noise."""
    rng = np.random.default_rng(seed)
    found = mask / 255
    rows, cols = np.nonzero(mask)
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    for i in rng.choice(len(rows), gaps, replace=False):
        found[np.hypot(y - rows[i], x - cols[i]) < rng.uniform(5, 12.5)] *= 0.1
    if yards:
        for left, top, side in ((420, 620, 35), (100, 950, 40), (900, 500, 30)):
            found[top : top + side, left : left + side] = 0.9
    found = ndimage.gaussian_filter(found, 1.2)
    found += 0.6 * ndimage.gaussian_filter(rng.normal(0, 1, mask.shape), 1.5)
    return np.round(np.clip(found, 0, 1) * 255).astype(np.uint8)


def road_context(
    folder: Path,
    probability: NDArray[np.uint8],
    *,
    gsd: float = 1.0,
    valid: NDArray[np.bool_] | None = None,
    centreline: NDArray[np.uint8] | None = None,
) -> Context:
    """A context over a real probability GeoTIFF on the grid, in UTM zone 33 north."""
    folder.mkdir(parents=True, exist_ok=True)
    height, width = probability.shape
    # The scale of UTM on its central meridian: a pixel is `gsd` metres on the ground.
    affine = Affine(gsd * 0.9996, 0, 5e5, 0, -gsd * 0.9996, 5e6)
    grid = Grid.over((width, height), (gsd, gsd), gsd)
    path = folder / "road.tif"
    bands = [probability, *([] if centreline is None else [centreline])]
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path,
            "w",
            driver="GTiff",
            width=width,
            height=height,
            count=len(bands),
            dtype="uint8",
            tiled=True,
            blockxsize=256,
            blockysize=256,
            compress="deflate",
            crs="EPSG:32633",
            transform=affine,
        ) as dataset,
    ):
        for i, (band, name) in enumerate(zip(bands, ("road", "centreline"), strict=False), 1):
            dataset.write(band, i)
            dataset.set_band_description(i, name)
        dataset.write_mask(np.ones((height, width), bool) if valid is None else valid)
    work = folder / "work"
    work.mkdir(exist_ok=True)
    return Context(
        "scene",
        None,
        Place(affine, pyproj.CRS.from_epsg(32633), (gsd, gsd)),
        grid,
        None,
        DetectorFacts("roads", "1", "w", "c"),
        work,
        {"probability": path},
    )
