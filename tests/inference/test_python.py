"""Lanner from Python, without a server: every kind of scene gives the same objects."""

import json
import threading

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import xarray as xr
import yaml
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT

import lanner
from lanner.core.errors import BandError, ConfigError, PlaceError, SceneError, UnknownDetectorError
from postprocess.writers import FORMATS

LAYERS = ("tiny", "tiny_candidates")

pytestmark = pytest.mark.usefixtures("at_home")


@pytest.fixture(scope="module")
def texture(pictures):
    return pictures.texture(200, 260, seed=3)


@pytest.fixture(scope="module")
def path(pictures, texture, tmp_path_factory):
    return pictures.write_tif(tmp_path_factory.mktemp("scene") / "scene.tif", texture)


@pytest.fixture(scope="module")
def place(path):
    with rasterio.open(path) as file:
        return {"transform": file.transform, "crs": file.crs}


@pytest.fixture
def expected(path):
    return lanner.detect(path, "tiny")


def same(found, expected):
    """The same features; `scene_id` and ids follow the file's name, which is the same here."""
    return list(found.features) == list(expected.features) and len(expected) > 3


def test_a_path_an_address_of_it_and_an_open_dataset_give_the_same(path, expected):
    assert same(lanner.detect(str(path), "tiny"), expected)
    with rasterio.open(path) as file:
        found = lanner.detect(file, "tiny")
    assert same(found, expected)
    assert found.scene == str(path)


def test_an_array_gives_the_same_objects_as_its_file(texture, place, expected):
    assert same(lanner.detect(texture, "tiny", **place), expected)
    assert same(
        lanner.detect(texture, "tiny", transform=list(place["transform"]), crs=32633), expected
    )


def test_datasets_that_are_no_file_are_copied(path, expected):
    with MemoryFile(path.read_bytes()) as memory, memory.open() as file:
        assert same(lanner.detect(file, "tiny"), expected)
    with rasterio.open(path) as file, WarpedVRT(file, crs=file.crs) as warped:
        assert same(lanner.detect(warped, "tiny"), expected)


def data_array(texture, place):
    transform = place["transform"]
    _, height, width = texture.shape
    coords = {
        "band": ["red", "green", "blue"],
        "y": transform.f + transform.e * (np.arange(height) + 0.5),
        "x": transform.c + transform.a * (np.arange(width) + 0.5),
    }
    data = xr.DataArray(texture, dims=("band", "y", "x"), coords=coords)
    reference = xr.DataArray(0, attrs={"crs_wkt": place["crs"].to_wkt()})
    return data.assign_coords(spatial_ref=reference)


def test_a_data_array_gives_the_same_objects(texture, place, expected):
    data = data_array(texture, place)
    assert same(lanner.detect(data, "tiny"), expected)
    assert same(lanner.detect(data.transpose("y", "x", "band"), "tiny"), expected)


def test_an_uneven_grid_is_refused(texture, place):
    data = data_array(texture, place)
    with pytest.raises(PlaceError):
        lanner.detect(data.isel(x=[0, 1, 2, 5, 9]), "tiny")


def test_an_array_without_a_crs_is_in_pixels(texture):
    found = lanner.detect(texture, "tiny", gsd=1.0)
    assert found.gdf.crs is None
    assert len(found) == len(found.gdf) > 3
    assert found.gdf.total_bounds[2] <= texture.shape[2] + 1


def test_masked_pixels_are_no_data(texture, place):
    hidden = np.zeros(texture.shape, bool)
    hidden[:, :, 130:] = True
    found = lanner.detect(np.ma.masked_array(texture, hidden), "tiny", **place)
    edge = place["transform"].c + 140
    assert len(found) > 0
    assert (found.gdf.geometry.centroid.x < edge).all()


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda a: a.transpose(1, 2, 0), SceneError),
        (lambda a: a[0, 0], SceneError),
        (lambda a: a > 3, SceneError),
        (lambda a: [1, 2], SceneError),
        (lambda a: a[:, :0], SceneError),
    ],
)
def test_what_is_no_scene_is_refused(texture, place, change, kind):
    with pytest.raises(kind):
        lanner.detect(change(texture), "tiny", **place)


def test_half_a_place_wrong_names_and_words_for_arrays_are_refused(texture, path, place):
    with pytest.raises(PlaceError):
        lanner.detect(texture, "tiny", transform=place["transform"])
    with pytest.raises(PlaceError):
        lanner.detect(texture, "tiny", transform=place["transform"], crs="EPSG:none")
    with pytest.raises(BandError):
        lanner.detect(texture, "tiny", gsd=1, bands=["red", "green"])
    with pytest.raises(PlaceError):
        lanner.detect(path, "tiny", crs="EPSG:4326")
    with pytest.raises(UnknownDetectorError):
        lanner.detect(path, "tinny")


def test_a_loaded_detector_reads_its_networks_once(path, expected, monkeypatch):
    detector = lanner.load_detector("tiny")
    networks = detector.loaded
    assert same(detector.detect(path), expected)
    assert same(detector.detect(path), expected)
    assert detector.loaded is networks
    assert lanner.load_detector("tiny", members="boxes").members == ("boxes",)


def test_progress_is_told_and_a_cancel_stops(path):
    stages = []
    cancel = lanner.Cancel()

    def follow(progress):
        stages.append(progress.stage)
        if progress.stage == "detect":
            cancel.set()

    with pytest.raises(lanner.errors.Cancelled):
        lanner.detect(path, "tiny", on_progress=follow, cancel=cancel)
    assert stages[0] == "open"


def test_detections_are_a_sequence_of_features(expected):
    features = list(expected)
    assert [json.loads(text) for text in expected.features] == features
    assert expected[0] == features[0]
    assert list(expected[1:3]) == features[1:3]
    keep = expected.gdf["confidence"].to_numpy() > np.median(expected.gdf["confidence"])
    assert [one["id"] for one in expected[keep]] == expected.gdf["id"][keep].tolist()
    assert expected[keep].gdf["id"].tolist() == expected.gdf["id"][keep].tolist()
    with pytest.raises(IndexError):
        expected[keep[1:]]


def test_filter_by_values_and_by_a_function(expected):
    sure = expected.filter(lambda one: one["properties"]["confidence"] > 0.5)
    assert 0 < len(sure) < len(expected)
    assert all(one["properties"]["confidence"] > 0.5 for one in sure)
    assert len(expected.filter(label="thing")) == len(expected)
    assert len(expected.filter(label={"other"})) == 0
    assert len(expected.filter(label="other").gdf) == 0
    with pytest.raises(ConfigError):
        expected.filter(lable="thing")
    assert sum(n for row in sure.counts().values() for n in row.values()) == len(sure)


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_holds_every_feature(expected, tmp_path, ending):
    path = expected.to_file(tmp_path / f"out{ending}")
    read = gpd.read_parquet(path) if ending == ".parquet" else gpd.read_file(path)
    # FlatGeobuf keeps features in the order of its spatial index.
    order = sorted if ending == ".fgb" else list
    assert order(read["id"]) == order(expected.gdf["id"])


def test_a_notebook_shows_counts_and_a_picture(expected, texture, tmp_path):
    html = expected._repr_html_()
    assert f"<b>{len(expected)}</b>" in html
    assert 'src="data:image/png;base64,' in html
    from_array = lanner.detect(texture, "tiny", gsd=1.0)
    # The file that was made of the array is there as long as the result.
    assert 'src="data:image/png;base64,' in from_array[:2]._repr_html_()
    assert from_array.overlay(tmp_path / "o.png").stat().st_size > 1000


def test_threads_share_a_detector(path, expected):
    detector, results = lanner.load_detector("tiny"), []
    threads = [
        threading.Thread(target=lambda: results.append(detector.detect(path))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    assert all(same(found, expected) for found in results)


def test_candidates_come_where_they_are_asked_for(at_home, path, expected, tmp_path):
    every = sorted(one["properties"]["confidence"] for one in expected)
    floor = every[len(every) // 2]
    config = yaml.safe_load((at_home / "configs" / "tiny.yaml").read_text())
    config["chain"].append({"step": "triage", "accept_at": 1.0, "floor": floor})
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump(config))
    plain = lanner.detect(path, str(own))
    found = lanner.detect(path, str(own), candidates=True)
    assert plain.candidates is None
    assert list(plain.features) == list(found.features)
    assert len(found) + len(found.candidates) == len(expected)
    assert len(found.candidates) > 0
    assert all(one["properties"]["decision"] == "candidate" for one in found.candidates)
    assert all(one["properties"]["reason"] for one in found.candidates)
    assert all(one["properties"]["confidence"] >= floor for one in found)
    found.to_file(tmp_path / "both.gpkg")
    found.candidates.to_file(tmp_path / "both.gpkg")
    layers = {name: gpd.read_file(tmp_path / "both.gpkg", layer=name) for name in LAYERS}
    assert [len(layer) for layer in layers.values()] == [len(found), len(found.candidates)]
