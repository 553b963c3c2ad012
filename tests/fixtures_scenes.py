"""Small real GeoTIFFs of one place in every sample type, nodata kind and georeference.

Use: `from tests.fixtures_scenes import combinations, write_scene`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from lanner.synth.scene import render
from lanner.synth.spec import RenderSpec
from lanner.synth.world import build_world

SEED = 11
GSD = 0.6

GEOREFERENCES: dict[str, dict[str, Any]] = {
    "utm": {},
    "mercator": {"epsg": 3857},
    "geographic": {"epsg": 4326},
    "rotated": {"rotation": 23.0},
    "south_up": {"south_up": True},
    "point": {"pixel_is_point": True},
    "southern": {"lon": 151.2, "lat": -33.9},
    "none": {"georeferenced": False},
}
DTYPES = ("uint8", "uint16", "int16", "float32")
NODATA = ("none", "value", "nan", "alpha", "mask", "sidecar")


@dataclass(frozen=True)
class SceneFile:
    """A written scene: its file, what it was made from and its truth (GeoJSON mapping)."""

    path: Path
    spec: RenderSpec
    truth: dict[str, Any]

    @property
    def aircraft(self) -> list[dict[str, Any]]:
        return [f for f in self.truth["features"] if f["properties"]["label"] == "aircraft"]

    @property
    def roads(self) -> list[dict[str, Any]]:
        return [f for f in self.truth["features"] if f["properties"]["label"] == "road"]


def possible(dtype: str, nodata: str) -> bool:
    """Whether a sample type can say that a pixel is missing in that way."""
    if nodata == "nan":
        return dtype == "float32"
    return nodata != "alpha" or dtype in ("uint8", "uint16")


def combinations() -> list[tuple[str, str, str]]:
    """Every (dtype, nodata, georeference) there can be."""
    return [c for c in product(DTYPES, NODATA, GEOREFERENCES) if possible(c[0], c[1])]


def scene_spec(
    dtype: str = "uint8", nodata: str = "none", georeference: str = "utm", **more: Any
) -> RenderSpec:
    """The spec of one variant; `more` overrides any field of RenderSpec."""
    fields: dict[str, Any] = {
        "width": 320,
        "height": 288,
        "gsd": GSD,
        "seed": SEED,
        "dtype": dtype,
        "nodata": nodata,
        "nodata_wedge": nodata != "none",
        **GEOREFERENCES[georeference],
        **more,
    }
    return RenderSpec(**fields)


def write_scene(
    folder: Path,
    dtype: str = "uint8",
    nodata: str = "none",
    georeference: str = "utm",
    **more: Any,
) -> SceneFile:
    """Write one variant into `folder` under a name that tells which it is."""
    spec = scene_spec(dtype, nodata, georeference, **more)
    done = render(folder / f"{dtype}_{nodata}_{georeference}.tif", spec)
    return SceneFile(done.scene, spec, json.loads(done.truth.read_text()))


def validity(spec: RenderSpec) -> np.ndarray:
    """(height, width) bool: the pixels that hold a measurement, from the renderer itself."""
    return build_world(spec).sky.validity((0, 0), (spec.height, spec.width))
