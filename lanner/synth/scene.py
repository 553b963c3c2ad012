"""Write a rendered scene as a GeoTIFF, band of rows by band of rows, with its ground truth.

Memory holds one band of rows (width x 512 x bands samples) and the display list, whatever the
height. Pixels depend on the spec alone, not on tiling, compression or the order of writing.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.windows import Window

from lanner.core.errors import OutputError
from lanner.core.job import Progress
from lanner.synth import sensor, texture
from lanner.synth.spec import NODATA_VALUE, RenderSpec
from lanner.synth.truth import write_truth
from lanner.synth.whole import whole
from lanner.synth.world import World, build_world

CELL_ROWS, CELL_COLS = 512, 1024
"""Pixels are computed in cells of this size, whatever the file's own blocks are."""

_NOISE = 1.8
_BLUR = 0.12
# Factor and offset from light (0..255) to samples, and the range samples are kept in.
_SCALE: dict[str, tuple[float, float, float, float]] = {
    "uint8": (1.0, 0.5, 0.0, 255.0),
    "uint16": (8.0, 150.5, 0.0, 4095.0),
    "int16": (16.0, -99.5, -200.0, 10000.0),
    "float32": (0.0024, 0.008, -0.05, 2.0),
}


@dataclass(frozen=True)
class Rendered:
    """What was written: paths, and how many aircraft and pieces of road are in the scene."""

    scene: Path
    truth: Path
    aircraft: int
    roads: int


def render(
    path: Path,
    spec: RenderSpec,
    progress: Callable[[Progress], None] | None = None,
    truth_path: Path | None = None,
    threads: int = 1,
) -> Rendered:
    """Write the scene `spec` describes to `path`, and its truth to `truth_path`.

    Args:
        path: GeoTIFF to write; an existing file is replaced once the new one is whole.
        spec: what to render.
        progress: told after each band of rows.
        truth_path: GeoJSON to write; by default `path` with the ending `.truth.geojson`.
        threads: painters (and encoders) at work at once; the picture is the same.

    Raises:
        ConfigError: the spec's EPSG code cannot serve.
        OutputError: a file cannot be written.
    """
    world = build_world(spec)
    side = truth_path or path.with_suffix(".truth.geojson")
    try:
        with whole(path) as beside:
            _write(beside, world, progress or (lambda _: None), max(1, threads))
    except (RasterioError, OSError) as error:
        raise OutputError(
            "path", path, f"cannot be written ({error})", "choose a folder with room for the scene"
        ) from error
    found = write_truth(world, side)
    return Rendered(path, side, found["aircraft"], found["road"])


def render_scene(path: Path, truth_path: Path, spec: RenderSpec) -> Rendered:
    """`render` without progress, the truth's place first."""
    return render(path, spec, truth_path=truth_path)


def cell(world: World, x0: int, y0: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Samples (bands, h, w) and validity (h, w) of the cell whose corner is pixel x0, y0.

    Missing pixels hold the spec's nodata value, NaN or 0.
    """
    spec = world.spec
    w, h = min(CELL_COLS, spec.width - x0), min(CELL_ROWS, spec.height - y0)
    scale = (1 / world.place.gsd[0], 1 / world.place.gsd[1])
    rgb = world.picture.render((x0 - 1, y0 - 1), (h + 2, w + 2), scale)
    light = sensor.blur(rgb, _BLUR)
    world.sky.veil(light, (x0, y0))
    factor, add, low, high = _SCALE[spec.dtype]
    if spec.nodata == "value" and NODATA_VALUE[spec.dtype] == 0:
        low = 1.0  # a dark pixel must not pass for a missing one
    at = np.random.default_rng((spec.seed, x0, y0)).integers(0, texture.SIDE, 2)
    samples = np.empty((spec.bands, h, w), spec.dtype)
    sensor.expose(
        light, texture.noise()[0], at, _NOISE, np.array([factor, add, low, high]), samples
    )
    valid = world.sky.validity((x0, y0), (h, w))
    if not valid.all():
        fill = {"value": NODATA_VALUE[spec.dtype], "nan": np.nan}.get(spec.nodata, 0)
        samples[:, ~valid] = fill
    return samples, valid


def _write(path: Path, world: World, progress: Callable[[Progress], None], threads: int) -> None:
    spec = world.spec
    total = -(-spec.height // CELL_ROWS)
    internal = "YES" if spec.nodata == "mask" else "NO"
    with (
        ThreadPoolExecutor(threads) as pool,
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal, GDAL_CACHEMAX=128),
        rasterio.open(path, "w", **_profile(world), num_threads=threads) as file,
    ):
        colours = {
            1: [ColorInterp.gray],
            3: [ColorInterp.red, ColorInterp.green, ColorInterp.blue],
            4: [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.undefined],
        }[spec.bands]
        alpha = spec.nodata == "alpha"
        file.colorinterp = [*colours, ColorInterp.alpha] if alpha else colours
        names = {1: ["pan"], 3: ["red", "green", "blue"], 4: ["red", "green", "blue", "nir"]}
        for k, name in enumerate(names[spec.bands], 1):
            file.set_band_description(k, name)
        file.update_tags(TIFFTAG_DATETIME=spec.acquired)
        if spec.pixel_is_point:
            file.update_tags(AREA_OR_POINT="Point")
        for band in range(total):
            _band(file, world, band * CELL_ROWS, pool)
            progress(Progress("render", band + 1, total))


def _band(file: Any, world: World, y0: int, pool: ThreadPoolExecutor) -> None:
    """Compute and write one band of rows."""
    spec = world.spec
    rows = min(CELL_ROWS, spec.height - y0)
    samples = np.empty((spec.bands, rows, spec.width), spec.dtype)
    valid = np.empty((rows, spec.width), bool)

    def fill(x0: int) -> None:
        part = slice(x0, x0 + CELL_COLS)
        samples[..., part], valid[:, part] = cell(world, x0, y0)

    # Exhausting the iterator raises what a thread raised.
    list(pool.map(fill, range(0, spec.width, CELL_COLS)))
    window = Window(0, y0, spec.width, rows)
    file.write(samples, indexes=list(range(1, spec.bands + 1)), window=window)
    if spec.nodata == "alpha":
        full = np.iinfo(spec.dtype).max
        file.write(np.where(valid, full, 0).astype(spec.dtype), spec.bands + 1, window=window)
    elif spec.nodata in ("mask", "sidecar"):
        file.write_mask(valid, window=window)


def _profile(world: World) -> dict[str, Any]:
    spec = world.spec
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "width": spec.width,
        "height": spec.height,
        "dtype": spec.dtype,
        "count": spec.bands + (spec.nodata == "alpha"),
        "interleave": "pixel",
        "bigtiff": "IF_SAFER",
        "photometric": "MINISBLACK" if spec.bands == 1 else "RGB",
        # Tiles of a band of rows are finished when it is written.
        **(
            {"tiled": True, "blockxsize": 512, "blockysize": 512}
            if spec.tiled
            else {"tiled": False, "blockysize": 16}
        ),
    }
    if spec.compress != "none":
        profile |= {
            "compress": spec.compress,
            "zlevel" if spec.compress == "deflate" else "zstd_level": 1,
            "predictor": 3 if spec.dtype == "float32" else 2,
        }
    if spec.georeferenced:
        profile |= {"crs": f"EPSG:{world.place.epsg}", "transform": world.place.affine}
    if spec.nodata == "value":
        profile["nodata"] = NODATA_VALUE[spec.dtype]
    elif spec.nodata == "nan":
        profile["nodata"] = float("nan")
    return profile
