"""Two scenes of one pass that overlap by half, with the released aircraft detector."""

import json

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.windows import Window

import lanner
from lanner.synth.scene import render
from lanner.synth.spec import RenderSpec
from tests.archives.fixtures_archive import own_cache

__all__ = ["own_cache"]

SURE = 0.6


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A rendered airfield, and its two halves and a bit as scenes of their own."""
    folder = tmp_path_factory.mktemp("pass")
    path = folder / "whole.tif"
    render(path, RenderSpec(1200, 640, 0.6, seed=31))
    (folder / "scenes").mkdir()
    with rasterio.open(path) as file:
        for name, at in (("east", 400), ("west", 0)):
            window = Window(at, 0, 800, 640)
            profile = {**file.profile, "width": 800, "transform": file.window_transform(window)}
            with rasterio.open(folder / "scenes" / f"{name}.tif", "w", **profile) as part:
                part.write(file.read(window=window))
                part.update_tags(**file.tags())
    return path


def test_every_object_comes_out_once_and_none_is_fused(whole, tmp_path):
    lanner.batch(whole.parent / "scenes", "aircraft", tmp_path / "out", device="cpu")
    found = gpd.read_file(tmp_path / "out" / "features.gpkg", layer="aircraft")
    assert found["id"].is_unique
    truth = lanner.detect(whole, "aircraft", device="cpu").gdf.to_crs(found.crs)
    metres = truth.estimate_utm_crs()
    found, truth = found.to_crs(metres), truth.to_crs(metres)
    sure = truth[truth["confidence"] >= SURE]
    assert len(sure) >= 8
    # Each is there once: of what was found one alone lies over it.
    tree = shapely.STRtree(found.geometry.to_numpy())
    at, over = tree.query(sure.geometry.to_numpy(), predicate="intersects")
    shared = shapely.area(
        shapely.intersection(sure.geometry.to_numpy()[at], found.geometry.to_numpy()[over])
    )
    most = shared > 0.5 * np.minimum(sure.area.to_numpy()[at], found.area.to_numpy()[over])
    times = np.bincount(at[most], minlength=len(sure))
    assert (times == 1).all()
    # And none lies over two of them.
    assert (np.bincount(over[most], minlength=len(found)) <= 1).all()
    # Those in the middle were seen by both.
    with rasterio.open(whole) as file:
        left, right = (file.transform * (x, 0) for x in (430, 770))
        west, east = sorted((left[0], right[0]))
        crs = file.crs
    middle = found.to_crs(crs).centroid.x.between(west, east)
    seen = found[middle & (found["confidence"] >= SURE)]["sightings"].map(json.loads)
    assert len(seen) >= 2
    assert all({one["scene"] for one in some} == {"east", "west"} for some in seen)
