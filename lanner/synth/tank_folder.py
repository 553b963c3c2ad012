"""A folder of rendered tank farms, each a GeoTIFF with its labels beside it: `lanner sample`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window
from shapely.geometry import Polygon, mapping
from shapely.geometry.polygon import orient

from lanner.core.errors import ConfigError, OutputError
from lanner.core.job import Progress
from lanner.synth.scene import CELL_COLS, CELL_ROWS, cell
from lanner.synth.spec import RenderSpec
from lanner.synth.tanks import Farm, build_farm
from lanner.synth.whole import whole
from lanner.synth.world import World

LABEL = "tank"
MOST = 999
"""Images of a folder; their names have three digits."""

_APART_M = 2500.0
_A_ROW = 10
_METRES_A_DEGREE = 111_320.0


@dataclass(frozen=True)
class Folder:
    """What was written: GeoTIFFs, each with labels of the same stem, and how many tanks."""

    images: tuple[Path, ...]
    tanks: int


def write_folder(
    folder: Path, spec: RenderSpec, count: int, tell: Callable[[Progress], None] = lambda _: None
) -> Folder:
    """Write `count` tank farms, `001.tif` with `001.geojson` and so on.

    Each lies 2.5 km from the next, so that no two show the same ground. Labels are RFC 7946
    polygons, whole also where the image's border cuts a tank, with `label`, `radius_m`,
    `height_m` and `roof`.

    Args:
        folder: made if need be; files of the same names are replaced.
        spec: size, sampling, seed and place of the first; 3 bands of uint8.
        count: how many, 1 to `MOST`.
        tell: called after each.

    Raises:
        ConfigError: `count` is out of range, or the spec's place is none.
        OutputError: a file cannot be written.
    """
    if not 1 <= count <= MOST:
        raise ConfigError("--images", count, f"is not between 1 and {MOST}", "choose one that is")
    farms = []
    for k in range(count):
        path = folder / f"{k + 1:03d}.tif"
        farm = build_farm(_moved(spec, k))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with whole(path) as beside:
                _write_pixels(beside, farm.world)
            path.with_suffix(".geojson").write_text(_labels(farm), encoding="utf-8")
        except (RasterioError, OSError) as error:
            raise OutputError(
                "DIR", path, f"cannot be written ({error})", "choose another folder"
            ) from error
        farms.append((path, len(farm.tanks)))
        tell(Progress("render", k + 1, count))
    return Folder(tuple(path for path, _ in farms), sum(many for _, many in farms))


def _moved(spec: RenderSpec, k: int) -> RenderSpec:
    """The spec of image k: another seed, `_APART_M` or more from the others."""
    own = int(np.random.default_rng((spec.seed, k)).integers(2**31))
    apart = _APART_M * max(1, ceil(max(spec.width, spec.height) * spec.gsd / 2000))
    north = apart / _METRES_A_DEGREE
    east = north / float(np.cos(np.radians(spec.lat)))
    lon, lat = spec.lon + (k % _A_ROW) * east, spec.lat - (k // _A_ROW) * north
    return replace(spec, seed=own, lon=lon, lat=lat)


def _write_pixels(path: Path, world: World) -> None:
    spec = world.spec
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "width": spec.width,
        "height": spec.height,
        "count": spec.bands,
        "dtype": spec.dtype,
        "photometric": "RGB",
        "compress": "deflate",
        "predictor": 2,
        "crs": f"EPSG:{world.place.epsg}",
        "transform": world.place.affine,
    }
    with rasterio.open(path, "w", **profile) as file:
        for y in range(0, spec.height, CELL_ROWS):
            for x in range(0, spec.width, CELL_COLS):
                samples, _ = cell(world, x, y)
                file.write(samples, window=Window(x, y, samples.shape[2], samples.shape[1]))


def _labels(farm: Farm) -> str:
    place = farm.world.place
    features = [
        {
            "type": "Feature",
            "properties": {
                "label": LABEL,
                "radius_m": round(one.radius, 2),
                "height_m": round(one.height, 2),
                "roof": one.roof,
            },
            "geometry": mapping(
                orient(Polygon(np.round(place.to_lonlat(one.ring / np.array(place.gsd)), 8)), 1.0)
            ),
        }
        for one in farm.tanks
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}) + "\n"
