"""A closer look at single objects: finer outlines, in the right place, only where that gains."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.features import rasterize
from skimage.measure import find_contours

from lanner.core.config import Normalise
from lanner.core.errors import Cancelled
from lanner.core.job import Cancel
from lanner.inference.refine import SIDES, SceneCloser
from tiling.ledger import NamedLedger
from tiling.normalise import scene_stretch
from tiling.scene import open_scene

CROSS = shapely.union_all([shapely.box(-60, -6, 60, 6), shapely.box(-6, -60, 10, 60)])


def bright(pixels, valid, box, threshold):
    """Takes what is bright for the object."""
    rings = find_contours(np.pad(pixels[0] * valid, 1), threshold)
    ring = max(rings, key=lambda r: shapely.Polygon(r).area, default=None)
    return None if ring is None else ring[:, ::-1] - 0.5


YES = np.array([True])


@pytest.fixture
def scene(tmp_path):
    """A white cross of 24 m on black, off the middle, 0.2 m a pixel, south up."""
    shape = shapely.affinity.translate(shapely.affinity.rotate(CROSS, 17), 341.3, 277.6)
    values = rasterize([shape], (600, 700), dtype="uint8", default_value=255)
    path = tmp_path / "cross.tif"
    place = rasterio.Affine(0.2, 0, 500_000, 0, 0.2, 5_000_000)
    with rasterio.open(
        path, "w", "GTiff", 700, 600, 3, "EPSG:32632", place, "uint8", photometric="RGB"
    ) as out:
        out.write(np.repeat(values[None], 3, 0))
    return path, shape


def _closer(path, gsd, cancel=None):
    opened = open_scene(str(path))
    bands = ("red", "green", "blue")
    grid = opened.grid(gsd)
    stretch = scene_stretch(opened, bands, Normalise())
    ledger = partial(NamedLedger, path.with_suffix(f".{gsd}.sqlite"), "k")
    return SceneCloser(opened, bands, grid, stretch, bright, cancel or Cancel(), ledger), grid


@pytest.mark.parametrize("gsd", [0.8, 1.1])
def test_an_outline_is_finer_and_in_its_place(scene, gsd):
    path, shape = scene
    closer, grid = _closer(path, gsd)
    box = grid.from_scene(np.array(shape.bounds).reshape(2, 2)).reshape(1, 4)
    (view,) = closer.outlines(box, YES, 100, 1.2, 1, 0.5)
    closer.close()
    outline = shapely.transform(view.outline, grid.to_scene)
    assert 0.2 <= view.gsd < 0.4
    assert outline.hausdorff_distance(shape) < 3.0  # corners are round by a pixel of 0.3 m
    assert abs(outline.area / shape.area - 1) < 0.01
    assert outline.centroid.distance(shape.centroid) < 0.2


def test_no_closer_look_where_the_scene_is_no_finer(scene):
    path, _ = scene
    closer, _ = _closer(path, 0.2)
    assert closer.outlines(np.array([[300.0, 200.0, 340.0, 240.0]]), YES, 100, 1.2, 1, 0.5) == [
        None
    ]
    closer, _ = _closer(path, 0.8)
    assert closer.outlines(np.array([[10.0, 10.0, 130.0, 110.0]]), YES, 100, 1.2, 1, 0.5) == [None]


@pytest.mark.parametrize(("enlarge", "gsd"), [(1.0, None), (2.0, 0.4), (4.0, 0.2), (30.0, 0.2)])
def test_where_the_scene_is_no_finer_its_pixels_are_enlarged(scene, tmp_path, enlarge, gsd):
    """To the wanted size (24 m at 100 pixels), or as far as is allowed."""
    path, shape = scene
    coarse = tmp_path / "coarse.tif"
    with rasterio.open(path) as file:
        values = file.read(out_shape=(3, 150, 175), resampling=rasterio.enums.Resampling.average)
        place = file.transform * rasterio.Affine.scale(4)
    with rasterio.open(
        coarse, "w", "GTiff", 175, 150, 3, "EPSG:32632", place, "uint8", photometric="RGB"
    ) as out:
        out.write(values)
    closer, grid = _closer(coarse, 0.8)
    box = grid.from_scene(np.array(shape.bounds).reshape(2, 2) / 4).reshape(1, 4)
    (view,) = closer.outlines(box, YES, 120, 1.2, enlarge, 0.5)
    closer.close()
    if gsd is None:
        assert view is None
        return
    assert view.gsd == pytest.approx(gsd)
    outline = shapely.transform(view.outline, lambda xy: grid.to_scene(xy) * 4)
    assert abs(outline.area / shape.area - 1) < 0.05
    assert outline.centroid.distance(shape.centroid) < 0.5


def test_nothing_to_see_is_said(scene):
    path, _ = scene
    closer, _ = _closer(path, 0.8)
    (view,) = closer.outlines(np.array([[2.0, 2.0, 20.0, 20.0]]), YES, 100, 1.2, 1, 0.5)
    closer.close()
    assert view is not None
    assert view.outline is None


def test_what_is_not_wanted_is_not_looked_at(scene):
    path, shape = scene
    closer, grid = _closer(path, 0.8)
    box = grid.from_scene(np.array(shape.bounds).reshape(2, 2)).reshape(1, 4)
    both = np.repeat(box, 2, axis=0)
    one, other = closer.outlines(both, np.array([False, True]), 100, 1.2, 1, 0.5)
    closer.close()
    assert one.outline is None and other.outline is not None
    assert one.gsd == other.gsd


@pytest.mark.parametrize(
    ("size", "side"), [(10, 96), (75, 128), (110, 160), (130, 192), (190, 224)]
)
def test_a_small_object_is_shown_in_a_small_picture(scene, size, side):
    path, _ = scene
    calls = []

    def outline(pixels, valid, box, threshold):
        calls.append((pixels.shape, valid.shape, box))

    opened = open_scene(str(path))
    bands, grid = ("red", "green", "blue"), opened.grid(0.4)
    stretch = scene_stretch(opened, bands, Normalise())
    ledger = partial(NamedLedger, path.with_suffix(".sqlite"), "k")
    closer = SceneCloser(opened, bands, grid, stretch, outline, Cancel(), ledger)
    half = size / 4
    closer.outlines(
        np.array([[160 - half, 150 - half, 160 + half, 150 + half]]), YES, 1e4, 1.2, 1, 0.5
    )
    closer.close()
    ((pixels, valid, box),) = calls
    assert pixels == (3, side, side) and valid == (side, side) and side in SIDES
    np.testing.assert_allclose(box[2:] - box[:2], size, rtol=1e-3)
    np.testing.assert_allclose(box.reshape(2, 2).mean(0), side / 2, atol=1)


def test_it_stops_when_the_caller_went_away(scene):
    path, _ = scene
    cancel = Cancel()
    closer, _ = _closer(path, 0.8, cancel)
    cancel.set()
    with pytest.raises(Cancelled):
        closer.outlines(np.array([[2.0, 2.0, 20.0, 20.0]]), YES, 100, 1.2, 1, 0.5)
