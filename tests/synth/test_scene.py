"""A rendered file holds what its spec says and its truth lies where the file says."""

import json
from math import cos, radians

import numpy as np
import pytest
import rasterio
import rasterio.warp
import shapely
from pyproj import Geod
from shapely.geometry import shape

from lanner.core.errors import ConfigError, OutputError
from lanner.synth import scene as scene_module
from lanner.synth import sensor
from lanner.synth.scene import render, render_scene
from lanner.synth.spec import NODATA_VALUE, RenderSpec
from lanner.synth.truth import truth
from lanner.synth.world import build_world
from tests.fixtures_scenes import GEOREFERENCES, combinations, validity, write_scene

GEOD = Geod(ellps="WGS84")


def read(path):
    with rasterio.open(path) as file:
        return file.read()


def to_pixels(path, lonlat):
    """GeoJSON coordinates to pixels through GDAL alone."""
    with rasterio.open(path) as file:
        x, y = rasterio.warp.transform("OGC:CRS84", file.crs, *np.transpose(lonlat))
        t = ~file.transform
    x, y = np.array(x), np.array(y)
    return np.stack([t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f], 1)


@pytest.mark.parametrize("georeference", [g for g in GEOREFERENCES if g != "none"])
def test_truth_in_lonlat_falls_on_its_pixels(tmp_path, georeference):
    scene = write_scene(tmp_path, georeference=georeference)
    assert len(scene.aircraft) >= 5
    for feature in scene.aircraft:
        facts, ring = feature["properties"], feature["geometry"]["coordinates"][0]
        pixels = to_pixels(scene.path, ring)
        expected = shapely.Polygon(facts["outline_px"])
        drawn = shapely.Polygon(pixels)
        assert drawn.symmetric_difference(expected).area < 0.01 * expected.area
        assert drawn.hausdorff_distance(expected) < 0.01
        x0, y0, x1, y1 = facts["box_px"]
        assert (
            shapely.box(x0, y0, x1, y1)
            .buffer(1e-6)
            .contains(expected.intersection(shapely.box(0, 0, scene.spec.width, scene.spec.height)))
        )
        assert shapely.is_ccw(shapely.LinearRing(ring))


@pytest.mark.parametrize("georeference", [g for g in GEOREFERENCES if g != "none"])
def test_aircraft_have_their_true_size_and_heading_on_the_ground(tmp_path, georeference):
    scene = write_scene(tmp_path, georeference=georeference)
    for feature in scene.aircraft:
        facts = feature["properties"]
        ring = np.array(feature["geometry"]["coordinates"][0])
        middle = ring.mean(0)
        azimuth, _, reach = GEOD.inv(*np.broadcast_to(middle, ring.shape).T, *ring.T)
        off = np.radians(azimuth - facts["heading_deg"])
        along, across = reach * np.cos(off), reach * np.sin(off)
        assert np.ptp(along) == pytest.approx(facts["length_m"], rel=3e-3)
        assert np.ptp(across) == pytest.approx(facts["wingspan_m"], rel=3e-3)
        # Tail planes tell the tail from the nose.
        edge = 0.15 * facts["length_m"]
        rear, front = across[along < along.min() + edge], across[along > along.max() - edge]
        assert np.ptp(rear) > 1.3 * np.ptp(front)


@pytest.mark.parametrize(("dtype", "nodata"), sorted({c[:2] for c in combinations()}))
def test_missing_pixels_are_marked_as_the_spec_says(tmp_path, dtype, nodata):
    scene = write_scene(tmp_path, dtype, nodata)
    expected = validity(scene.spec)
    with rasterio.open(scene.path) as file:
        assert set(file.dtypes) == {dtype}
        assert file.count == 3 + (nodata == "alpha")
        mask = file.dataset_mask() > 0
        data = file.read([1, 2, 3])
        assert file.tags()["TIFFTAG_DATETIME"] == scene.spec.acquired
    if nodata == "nan":
        assert (np.isnan(data).all(0) == ~expected).all()
    np.testing.assert_array_equal(mask, expected)
    assert scene.path.with_suffix(".tif.msk").exists() == (nodata == "sidecar")
    if nodata == "none":
        assert expected.all()
    else:
        assert 0.02 < (~expected).mean() < 0.5
    if nodata == "value":
        missing = (data == NODATA_VALUE[dtype]).any(0)
        np.testing.assert_array_equal(missing, ~expected)


def test_every_sample_type_holds_the_same_picture(tmp_path):
    pictures = {
        d: read(write_scene(tmp_path, d).path).astype(float)
        for d in ("uint8", "uint16", "int16", "float32")
    }
    base = pictures["float32"].ravel()
    for dtype in ("uint8", "uint16", "int16"):
        slope, rest = np.polyfit(base, pictures[dtype].ravel(), 1)
        error = np.abs(slope * base + rest - pictures[dtype].ravel())
        assert error.max() < 1.5, dtype
        assert pictures[dtype].std() > 10


def test_bands_are_grey_colour_and_infrared(tmp_path):
    grey, colour, four = (
        read(write_scene(tmp_path, bands=b).path).astype(float) for b in (1, 3, 4)
    )
    assert (grey.shape[0], colour.shape[0], four.shape[0]) == (1, 3, 4)
    np.testing.assert_array_equal(colour, four[:3])
    mixed = np.tensordot([0.3, 0.5, 0.2], colour, 1)
    assert np.corrcoef(grey[0].ravel(), mixed.ravel())[0, 1] > 0.98
    green = colour[1] - (colour[0] + colour[2]) / 2
    leafy = green > np.quantile(green, 0.95)
    assert four[3][leafy].mean() > four[3][~leafy].mean()


def test_pixels_do_not_depend_on_blocks_or_compression(tmp_path):
    spec = dict(width=1300, height=700, gsd=1.0, seed=2, clouds=0.2)
    pictures = []
    for k, more in enumerate(
        [{}, {"tiled": False}, {"compress": "none"}, {"tiled": False, "compress": "zstd"}]
    ):
        path = tmp_path / f"{k}.tif"
        render(path, RenderSpec(**spec, **more))
        pictures.append(read(path))
    render(tmp_path / "t.tif", RenderSpec(**spec), threads=3)
    assert (tmp_path / "t.tif").read_bytes() == (tmp_path / "0.tif").read_bytes()
    for other in pictures[1:]:
        np.testing.assert_array_equal(pictures[0], other)


def test_cells_join_without_a_seam(tmp_path):
    scene = write_scene(tmp_path, width=1100, height=560, gsd=0.8)
    world = build_world(scene.spec)
    scale = (1 / world.place.gsd[0], 1 / world.place.gsd[1])
    whole = world.picture.render((-1, -1), (562, 1102), scale)
    light = np.moveaxis(sensor.blur(whole, 0.12), -1, 0)
    noise = read(scene.path).astype(float) - light
    # All that cells add is the sensor's noise, at their borders as elsewhere.
    inner = (light > 12) & (light < 243)
    assert noise[inner].std() == pytest.approx(1.8, rel=0.1)
    assert np.abs(noise[inner]).max() < 12
    edge = scene_module.CELL_COLS
    assert noise[..., edge - 1 : edge + 1].std() == pytest.approx(1.8, rel=0.15)


def test_same_spec_same_bytes_other_seed_other_scene(tmp_path):
    spec = RenderSpec(200, 160, seed=4)
    first = render(tmp_path / "a.tif", spec)
    render_scene(tmp_path / "b.tif", tmp_path / "b.json", spec)
    render(tmp_path / "c.tif", RenderSpec(200, 160, seed=5))
    assert first.scene.read_bytes() == (tmp_path / "b.tif").read_bytes()
    assert first.truth.read_bytes() == (tmp_path / "b.json").read_bytes()
    assert (read(tmp_path / "a.tif") != read(tmp_path / "c.tif")).mean() > 0.5


def test_progress_counts_bands_of_rows(tmp_path):
    events = []
    render(tmp_path / "a.tif", RenderSpec(64, 1100), events.append)
    assert [(p.stage, p.done, p.total) for p in events] == [("render", k, 3) for k in (1, 2, 3)]


def test_a_scene_is_whole_or_not_there(tmp_path):
    def stop(progress):
        raise KeyboardInterrupt

    path, half = tmp_path / "a.tif", RenderSpec(64, 1100, nodata="sidecar", nodata_wedge=True)
    with pytest.raises(KeyboardInterrupt):
        render(path, half, stop)
    assert list(tmp_path.iterdir()) == []
    scene = render(path, RenderSpec(64, 64))
    before = (path.read_bytes(), scene.truth.read_bytes())
    with pytest.raises(KeyboardInterrupt):
        render(path, half, stop)
    assert (path.read_bytes(), scene.truth.read_bytes()) == before
    assert sorted(tmp_path.iterdir()) == [path, scene.truth]


def test_the_mask_of_the_scene_before_goes_with_it(tmp_path):
    path = tmp_path / "a.tif"
    render(path, RenderSpec(64, 64, nodata="sidecar", nodata_wedge=True))
    assert (tmp_path / "a.tif.msk").exists()
    render(path, RenderSpec(64, 64))
    assert not (tmp_path / "a.tif.msk").exists()
    with rasterio.open(path) as file:
        assert file.dataset_mask().all()


@pytest.mark.parametrize("seed", range(4))
def test_aircraft_never_overlap_and_some_nearly_touch(seed):
    world = build_world(RenderSpec(2400, 2400, 0.5, seed))
    rings = [
        shapely.Polygon(f["properties"]["outline_px"])
        for f in truth(world)["features"]
        if f["properties"]["label"] == "aircraft"
    ]
    assert len(rings) > 20
    a, b = shapely.STRtree(rings).query(rings, predicate="intersects")
    assert (a == b).all()
    near = shapely.STRtree(rings).query(rings, predicate="dwithin", distance=6)
    assert near.shape[1] > len(rings)


@pytest.mark.parametrize("wanted", [0, 1, 7])
def test_as_many_aircraft_as_asked(wanted):
    world = build_world(RenderSpec(900, 900, 0.5, 8, aircraft=wanted))
    assert len(world.aircraft) == wanted


@pytest.mark.parametrize("seed", [1, 6])
def test_roads_are_one_network_of_true_width(seed):
    world = build_world(RenderSpec(3000, 3000, 1.0, seed))
    lines = [shapely.LineString(r.line) for r in world.roads]
    assert {r.kind for r in world.roads} >= {"residential", "track"}
    bounds = {
        "track": (2.6, 3.4),
        "residential": (5.6, 7.2),
        "primary": (9, 11),
        "motorway": (19, 21),
    }
    assert all(bounds[r.kind][0] <= r.width <= bounds[r.kind][1] for r in world.roads)
    # Pieces that meet, to the width of a road, form one network but for field tracks.
    main = [line for line, r in zip(lines, world.roads, strict=True) if r.kind != "track"]
    groups = shapely.get_parts(shapely.union_all([line.buffer(2) for line in main]))
    assert max(g.area for g in groups) > 0.97 * sum(g.area for g in groups)


def test_clouds_cover_their_share_and_hide_aircraft(tmp_path):
    folders = [tmp_path / name for name in ("cloudy", "clear")]
    for folder in folders:
        folder.mkdir()
    cloudy, clear = (
        write_scene(folder, clouds=share, width=1200, height=1200)
        for folder, share in zip(folders, (0.4, 0.0), strict=True)
    )
    world = build_world(cloudy.spec)
    x, y = np.meshgrid(np.arange(0, 1200, 5) + 0.5, np.arange(0, 1200, 5) + 0.5)
    points = np.stack([x.ravel(), y.ravel()], 1)
    cloud = world.sky.cloud(points)
    assert (cloud > 0.5).mean() == pytest.approx(0.4, abs=0.02)
    assert {f["properties"]["visible"] for f in clear.aircraft} >= {1.0}
    assert min(f["properties"]["visible"] for f in cloudy.aircraft) < 0.5
    assert max(f["properties"]["visible"] for f in cloudy.aircraft) > 0.9
    cloudy_px, clear_px = (read(m.path).astype(float).mean(0) for m in (cloudy, clear))
    thick = points[cloud > 0.99].astype(int)
    assert (cloudy_px - clear_px)[thick[:, 1], thick[:, 0]].mean() > 30


def test_visible_counts_what_is_missing_and_outside():
    world = build_world(RenderSpec(400, 400, 0.5, 3, nodata="value", nodata_wedge=True))
    shares = [f["properties"]["visible"] for f in truth(world)["features"]]
    assert min(shares) < 0.9
    assert max(shares) == 1.0
    assert all(0 <= s <= 1 for s in shares)


def test_without_roads_there_are_none(tmp_path):
    scene = write_scene(tmp_path, roads=False, width=900, height=900)
    assert scene.roads == []
    assert write_scene(tmp_path, width=900, height=900).roads != []


def test_ground_sampling_is_on_the_ground_in_every_crs():
    for epsg in (None, 3857, 4326):
        place = build_world(RenderSpec(64, 64, 0.5, epsg=epsg, aircraft=0, roads=False)).place
        assert place.gsd[1] == pytest.approx(0.5, rel=4e-3)
    assert place.gsd[0] == pytest.approx(0.5 * cos(radians(48.36)), rel=6e-3)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"width": 3}, "width"),
        ({"gsd": float("nan")}, "gsd"),
        ({"nodata": "nan"}, "nodata"),
        ({"nodata": "alpha", "dtype": "int16"}, "nodata"),
        ({"nodata_wedge": True}, "nodata_wedge"),
        ({"bands": 2}, "bands"),
        ({"clouds": 1.5}, "clouds"),
        ({"dtype": "int8"}, "dtype"),
        ({"lat": 89}, "lat"),
        ({"aircraft": -1}, "aircraft"),
        ({"compress": "lzma"}, "compress"),
    ],
)
def test_impossible_specs_are_refused(fields, named):
    with pytest.raises(ConfigError) as caught:
        RenderSpec(**{"width": 64, "height": 64, **fields})
    assert caught.value.argument == named


def test_unknown_crs_and_unwritable_place_are_named(tmp_path):
    with pytest.raises(ConfigError, match="epsg"):
        build_world(RenderSpec(64, 64, epsg=999999))
    for heights_or_centre in (5773, 4978):
        with pytest.raises(ConfigError, match="no CRS of maps"):
            build_world(RenderSpec(64, 64, epsg=heights_or_centre))
    with pytest.raises(OutputError, match="cannot be written"):
        render(tmp_path / "no" / "a.tif", RenderSpec(64, 64))


def test_truth_is_strict_json(tmp_path):
    scene = write_scene(tmp_path, georeference="none")
    text = scene.path.with_suffix(".truth.geojson").read_text()
    assert "NaN" not in text
    for feature in json.loads(text)["features"]:
        assert shape(feature["geometry"]).is_valid
    with rasterio.open(scene.path) as file:
        assert file.crs is None
