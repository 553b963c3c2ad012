"""STAC documents: static catalogues written with pystac, items, assets, old versions."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pystac
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lanner.archives.scenes import FoundScenes, SceneFilter
from lanner.archives.sources import find_scenes
from lanner.core.errors import SceneError, ServerError
from lanner.core.job import Cancel
from tests.archives.fixtures_stac import COG, box, item, items
from tests.archives.fixtures_web import Asked, Reply, Site, pages, serving


def find(source: object, **asked: Any) -> FoundScenes:
    return find_scenes([str(source)], SceneFilter(**asked), Cancel())


def names(found: FoundScenes) -> list[str]:
    return [scene.name for scene in found.scenes]


def written(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document))
    return path


def one(tmp_path: Path, made: dict[str, Any], **asked: Any) -> FoundScenes:
    """What is found of one item with these assets."""
    return find(written(tmp_path / "item.json", item(assets=made)), **asked)


# --- catalogues ---------------------------------------------------------------------------------


def archive(folder: Path, kind: pystac.CatalogType) -> Path:
    """A catalogue of two collections of two items each, with scenes beside the items."""
    root = pystac.Catalog("archive", "of a test")
    for year in (2023, 2024):
        period = pystac.TemporalExtent([[datetime(year, 1, 1, tzinfo=UTC), None]])
        extent = pystac.Extent(pystac.SpatialExtent([[0, 0, 20, 60]]), period)
        collection = pystac.Collection(f"c{year}", "of a year", extent)
        root.add_child(collection)
        for k in range(2):
            west = 10.0 + 2 * k
            made = pystac.Item(
                f"{year}-{k}",
                box(west, 50, west + 1, 51),
                [west, 50, west + 1, 51],
                datetime(year, 5, 1, 10, tzinfo=UTC),
                {"eo:cloud_cover": 30.0 * k},
            )
            made.add_asset("scene", pystac.Asset("./scene.tif", media_type=COG, roles=["data"]))
            collection.add_item(made)
    root.normalize_and_save(str(folder), kind)
    return folder / "catalog.json"


@pytest.mark.parametrize("kind", list(pystac.CatalogType))
def test_a_static_catalogue_is_walked(tmp_path: Path, kind):
    found = find(archive(tmp_path, kind))
    assert names(found) == ["2023-0", "2023-1", "2024-0", "2024-1"]
    first = found.scenes[0]
    place = tmp_path / "c2023" / "2023-0"
    assert first.uri == str(place / "scene.tif")
    assert first.item == str(place / "2023-0.json")
    assert first.collection == "c2023"
    assert first.bounds == (10.0, 50.0, 11.0, 51.0)
    assert not found.skipped and not found.notes


def test_a_collection_of_a_catalogue_is_a_source_of_its_own(tmp_path: Path):
    archive(tmp_path, pystac.CatalogType.SELF_CONTAINED)
    assert names(find(tmp_path / "c2024" / "collection.json")) == ["2024-0", "2024-1"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"bounds": (9.0, 49.0, 10.5, 52.0)}, ["2023-0", "2024-0"]),
        ({"area": shapely.box(12.5, 50.5, 30, 60)}, ["2023-1", "2024-1"]),
        ({"start": "2024-01-01"}, ["2024-0", "2024-1"]),
        ({"end": "2023-12-31"}, ["2023-0", "2023-1"]),
        ({"cloud": 29.0}, ["2023-0", "2024-0"]),
        ({"cloud": 29.0, "start": "2024-05-01", "end": "2024-05-01"}, ["2024-0"]),
        ({"start": "2025-01-01"}, []),
    ],
)
def test_what_a_catalogue_says_is_filtered(tmp_path: Path, asked, expected):
    found = find(archive(tmp_path, pystac.CatalogType.SELF_CONTAINED), **asked)
    assert names(found) == expected
    assert len(found.notes) == 1
    assert not found.skipped


def served(folder: Path) -> dict[str, Any]:
    """The files of a folder by the path of an address."""
    return {
        f"/stac/{file.relative_to(folder)}": json.loads(file.read_text())
        for file in folder.rglob("*.json")
    }


def test_a_catalogue_at_an_address(tmp_path: Path):
    archive(tmp_path, pystac.CatalogType.SELF_CONTAINED)
    with pages(served(tmp_path)) as site:
        found = find(f"{site.url}/stac/catalog.json")
        assert names(found) == ["2023-0", "2023-1", "2024-0", "2024-1"]
        assert found.scenes[0].uri == f"{site.url}/stac/c2023/2023-0/scene.tif"
        assert len(site.asked) == 7


def test_user_and_password_go_to_the_server_alone(tmp_path: Path):
    archive(tmp_path, pystac.CatalogType.SELF_CONTAINED)
    content = served(tmp_path)
    with pages(content) as site:
        address = site.url.replace("http://", "http://me:secret@")
        found = find(f"{address}/stac/catalog.json")
        assert all(asked.headers["authorization"].startswith("Basic ") for asked in site.asked)
    assert found.scenes[0].uri.startswith("http://me:secret@")
    assert "secret" not in str(found.scenes[0].item)


def test_links_in_a_circle_and_to_what_is_not_there(tmp_path: Path):
    root = archive(tmp_path, pystac.CatalogType.SELF_CONTAINED)
    document = json.loads(root.read_text())
    document["links"] += [
        {"rel": "child", "href": "./catalog.json"},
        {"rel": "child", "href": "./gone/catalog.json"},
        {"rel": "child", "href": "./c2023/../c2023/collection.json"},
        {"rel": "item", "href": "./c2023/2023-0/2023-0.json"},
        {"rel": "item", "href": "file:///etc/passwd"},
        {"rel": "item"},
        "nonsense",
    ]
    found = find(written(root, document))
    assert names(found) == ["2023-0", "2023-1", "2024-0", "2024-1"]
    assert {one.uri for one in found.skipped} == {
        "file:///etc/passwd",
        str(tmp_path / "gone" / "catalog.json"),
    }


def test_a_server_that_fails_on_the_way_is_an_error_and_no_smaller_archive(tmp_path: Path):
    archive(tmp_path, pystac.CatalogType.SELF_CONTAINED)
    content = served(tmp_path)

    def answer(_: Site, asked: Asked) -> Reply:
        broken = asked.path.endswith("2024-1.json")
        return Reply("broken", 503) if broken else Reply(content[asked.path])

    with serving(answer) as site, pytest.raises(ServerError) as error:
        find(f"{site.url}/stac/catalog.json")
    assert "503" in error.value.problem


def test_a_catalogue_without_items_is_an_error(tmp_path: Path):
    pystac.Catalog("empty", "of a test").normalize_and_save(
        str(tmp_path), pystac.CatalogType.SELF_CONTAINED
    )
    with pytest.raises(SceneError):
        find(tmp_path / "catalog.json")


def test_an_item_collection(tmp_path: Path):
    made = items(3)
    made[1]["links"] = [{"rel": "self", "href": "https://stac.example.org/c/i001.json"}]
    made[1]["assets"]["scene"]["href"] = "./i001.tif"
    made[2]["assets"]["scene"]["href"] = "./i002.tif"
    path = written(tmp_path / "items.json", {"type": "FeatureCollection", "features": made})
    uris = [scene.uri for scene in find(path).scenes]
    assert uris == [
        "https://data.example.org/i000.tif",
        "https://stac.example.org/c/i001.tif",
        str(tmp_path / "i002.tif"),
    ]


def test_an_item_of_stac_before_1_0(tmp_path: Path):
    old = item("old", cloud=5.0)
    old |= {"stac_version": "0.8.1", "stac_extensions": ["eo", "datetime-range"]}
    old["properties"] = {
        "datetime": None,
        "dtr:start_datetime": "2019-05-01T00:00:00Z",
        "dtr:end_datetime": "2019-05-03T00:00:00Z",
        "eo:cloud_cover": 5,
    }
    path = written(tmp_path / "old.json", old)
    found = find(path, start="2019-05-02", end="2019-05-02")
    assert [(scene.acquired, scene.cloud) for scene in found.scenes] == [
        ("2019-05-01T00:00:00Z", 5.0)
    ]
    assert not find(path, start="2019-05-04").scenes


def test_bounds_across_the_antimeridian(tmp_path: Path):
    path = written(tmp_path / "item.json", item(bbox=(179.0, -18.0, -179.0, -17.0)))
    assert find(path).scenes[0].bounds == (179.0, -18.0, -179.0, -17.0)
    assert find(path, bounds=(-179.5, -20.0, -179.4, -10.0)).scenes
    assert find(path, area=shapely.box(180.1, -17.5, 180.2, -17.2)).scenes
    assert not find(path, bounds=(0.0, -20.0, 10.0, -10.0)).scenes


@pytest.mark.parametrize(
    "change",
    [
        {"geometry": None},
        {"geometry": {"type": "Nonsense"}},
        {"geometry": {"type": "Polygon", "coordinates": [[["a", "b"]]]}},
        {"bbox": None},
        {"bbox": "everywhere"},
        {"properties": None},
        {"properties": {"datetime": 5, "eo:cloud_cover": "much"}},
        {"links": None},
        {"collection": 7},
        {"collection": "\ud800"},
        {"stac_version": "0.9.0", "properties": None},
        {"stac_version": 1.0},
    ],
)
def test_an_item_that_says_nonsense_is_still_a_scene(tmp_path: Path, change):
    path = written(tmp_path / "item.json", {**item(), **change})
    asked = {"bounds": (9.0, 49.0, 12.0, 52.0), "start": "2024-01-01", "cloud": 50.0}
    assert names(find(path, **asked)) == ["a"]


@pytest.mark.parametrize("change", [{"id": None}, {"assets": None}, {"assets": []}])
def test_an_item_that_is_none_is_skipped(tmp_path: Path, change):
    features = [{**item(), **change}, item("b")]
    path = written(tmp_path / "items.json", {"type": "FeatureCollection", "features": features})
    found = find(path)
    assert names(found) == ["b"]
    assert len(found.skipped) == 1


# --- assets -------------------------------------------------------------------------------------


def asset(name: str, kind: str | None = COG, roles: list[str] | None = None, **more) -> dict:
    found = {"href": f"https://data.example.org/{name}", **more}
    found |= {} if kind is None else {"type": kind}
    return found if roles is None else {**found, "roles": roles}


@pytest.mark.parametrize(
    ("assets", "taken"),
    [
        (["b01:data", "visual:data", "tci:visual"], "tci"),
        (["b01:data", "visual:data"], "visual"),
        (["thumbnail:thumbnail", "b01:data", "b02:data"], "b01"),
        (["thumbnail:thumbnail", "image:"], "image"),
    ],
)
def test_the_asset_that_is_for_looking_at_comes_first(tmp_path: Path, assets, taken):
    made = {}
    for text in assets:
        key, _, role = text.partition(":")
        made[key] = asset(f"{key}.tif", roles=[role] if role else None)
    found = one(tmp_path, made)
    assert [scene.uri for scene in found.scenes] == [f"https://data.example.org/{taken}.tif"]


@pytest.mark.parametrize(
    ("made", "fits"),
    [
        (asset("a.bin", "image/tiff", ["data"]), True),
        (asset("a.bin", "image/jp2", ["data"]), True),
        (asset("a.bin", "image/vnd.stac.geotiff; cloud-optimized=true", ["visual"]), True),
        (asset("a.tif?sig=1", None, ["data"]), True),
        (asset("a.tif", "image/png", ["data"]), False),
        (asset("a.nc", None, ["data"]), False),
        (asset("a.tif", roles=["metadata"]), False),
        ({"type": COG, "roles": ["data"]}, False),
        ("nonsense", False),
    ],
)
def test_which_assets_are_rasters(tmp_path: Path, made, fits):
    found = one(tmp_path, {"scene": made})
    assert len(found.scenes) == fits
    assert len(found.skipped) == (not fits)


def test_assets_by_name_and_what_there_is_instead(tmp_path: Path):
    made = {"red": asset("red.png", "image/png"), "tci": asset("tci.tif", roles=["visual"])}
    assert one(tmp_path, made, assets=("blue", "red")).scenes[0].uri.endswith("red.png")
    found = one(tmp_path, made, assets=("blue", "green"))
    assert not found.scenes
    assert "blue" in found.skipped[0].problem
    assert "red, tci" in found.skipped[0].remedy


@pytest.mark.parametrize(
    "bands",
    [
        {"eo:bands": [{"name": "B4", "common_name": "red"}, {"name": "NIR"}]},
        {"bands": [{"name": "B4", "eo:common_name": "Red"}, {"name": "nir"}]},
    ],
)
def test_an_asset_must_have_the_bands_that_are_asked_for(tmp_path: Path, bands):
    made = {
        "tci": asset("tci.tif", roles=["visual"], **{"eo:bands": [{"common_name": "red"}]}),
        "all": asset("all.tif", roles=["data"], **bands),
    }
    found = one(tmp_path, made, bands=("red", "nir"))
    assert [scene.uri for scene in found.scenes] == ["https://data.example.org/all.tif"]
    assert one(tmp_path, made, bands=("swir",)).skipped
    unsaid = {"tci": asset("tci.tif", roles=["visual"])}
    assert one(tmp_path, unsaid, bands=("swir",)).scenes


@pytest.mark.parametrize(
    ("href", "kept"),
    [
        ("s3://bucket/a.tif", True),
        ("https://data.example.org/a.tif?sig=1", True),
        ("/vsicurl/https://user:secret@host/a.tif", False),
        ("/vsis3/bucket/a.tif", False),
        ("file:///etc/passwd", False),
        ("gs://bucket/a.tif", False),
        ("https://[/a.tif", False),
        ("\ud800.tif", False),
        ("a\0b.tif", False),
        ("", False),
    ],
)
def test_addresses_of_assets(tmp_path: Path, href, kept):
    found = one(tmp_path, {"scene": {"href": href, "type": COG, "roles": ["data"]}})
    assert [scene.uri for scene in found.scenes] == ([href] if kept else [])
    assert len(found.skipped) == (not kept)
    assert "secret" not in str(found.skipped)


def test_an_item_from_elsewhere_names_no_file_of_this_machine():
    made = item(assets={"scene": {"href": "/etc/passwd", "type": COG, "roles": ["data"]}})
    with pages({"/c/item.json": made}) as site:
        found = find(f"{site.url}/c/item.json")
    assert [scene.uri for scene in found.scenes] == [f"{site.url}/etc/passwd"]


# --- whatever a file holds ----------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(), inside, max_size=3),
    max_leaves=8,
)
WORDS = st.sampled_from(
    ["Feature", "FeatureCollection", "Catalog", "Collection", "1.0.0", "0.8.0", "child", "self"]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_document_of_anything_is_read_or_refused(tmp_path: Path, data):
    document: dict[str, Any] = item()
    document = data.draw(
        st.sampled_from(
            [document, {"type": "FeatureCollection", "features": [document, item("b")]}]
        )
    )
    for _ in range(data.draw(st.integers(1, 3))):
        place: Any = document
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = data.draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and data.draw(st.booleans()):
                place = place[key]
                continue
            place[key] = data.draw(JSON | WORDS)
            break
    path = written(tmp_path / "any.json", document)
    with contextlib.suppress(SceneError):
        asked = {"bounds": (9.0, 49.0, 12.0, 52.0), "start": "2024", "cloud": 50.0}
        find(path, **asked)
