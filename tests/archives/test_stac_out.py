"""The static catalogue of a batch: read and validated by pystac, with the network cut.

What validates it: STAC 1.1 by the schemas that pystac carries; of each extension the fields that
Lanner writes, by the schemas below, which say of them what the extensions do.
"""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path

import pystac
import pytest
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from lanner.archives.records import BatchRecord, ErrorFacts, Outcome, SceneFacts
from lanner.archives.scenes import SceneRef
from lanner.archives.stac import write_stac
from lanner.core.errors import OutputError

HOME = "https://stac-extensions.github.io"
FACTS = {
    "release": "1.9.0",
    "description": "Aircraft on the ground.",
    "classes": ["aircraft", "fire truck"],
    "bands": ("red", "green", "blue"),
    "gsd": 0.8,
    "members": [{"name": "boxes", "kind": "retinanet"}, {"name": "masks", "kind": "resunet"}],
    "weights_sha256": "a" * 64,
    "config_sha256": "b" * 64,
    "licence": "Apache-2.0",
}
ROADS = {**FACTS, "release": "2", "classes": ["road"], "members": ["resunet"], "licence": "ask us"}
DETECTORS = {"aircraft": FACTS, "roads": ROADS}
RING = ((10.0, 50.0), (10.1, 50.0), (10.1, 50.1), (10.0, 50.1), (10.0, 50.0))


def declares(uri, properties, assets=None, required=()):
    """A schema of an extension: listed, with these fields and no others of its prefix."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": uri,
        "type": "object",
        "required": ["stac_extensions"],
        "properties": {
            "stac_extensions": {"contains": {"const": uri}},
            "properties": {"required": list(required), **properties},
            "assets": assets or {},
        },
    }


def closed(prefix, fields):
    """Fields of a prefix, of which there are no others."""
    other = {f"^(?!{prefix}:)": {}}
    return {"properties": fields, "patternProperties": other, "additionalProperties": False}


TEXT = {"type": "string", "minLength": 1}
TEXTS = {"type": "array", "items": TEXT, "minItems": 1}
COUNTS = {
    "type": "array",
    "items": {
        "required": ["name", "count"],
        "properties": {"name": TEXT, "count": {"type": "integer", "minimum": 0}},
    },
}
CLASSES = {
    "type": "array",
    "minItems": 1,
    "uniqueItems": True,
    "items": {
        "required": ["value", "name"],
        "properties": {
            "value": {"type": "integer"},
            "name": {"type": "string", "pattern": "^[0-9A-Za-z-_]+$"},
            "title": {"type": "string"},
        },
        "additionalProperties": False,
    },
}
TASKS = {"enum": ["object-detection", "instance-segmentation", "semantic-segmentation"]}
TENSOR = {
    "required": ["shape", "dim_order", "data_type"],
    "properties": {
        "shape": {"type": "array", "items": {"type": "integer", "minimum": -1}, "minItems": 1},
        "dim_order": {"type": "array", "items": {"pattern": "^[a-z-_]+$"}, "uniqueItems": True},
        "data_type": {"enum": ["float32", "other"]},
    },
}
LABEL = declares(
    f"{HOME}/label/v1.0.1/schema.json",
    closed(
        "label",
        {
            "label:type": {"const": "vector"},
            "label:description": TEXT,
            "label:properties": TEXTS,
            "label:tasks": TEXTS,
            "label:methods": TEXTS,
            "label:classes": {
                "items": {"required": ["name", "classes"], "properties": {"classes": TEXTS}}
            },
            "label:overviews": {"items": {"properties": {"property_key": TEXT, "counts": COUNTS}}},
        },
    ),
    required=["label:properties", "label:description", "label:type"],
)
PROCESSING = declares(
    f"{HOME}/processing/v1.2.0/schema.json",
    closed(
        "processing",
        {
            "processing:level": {"const": "L4"},
            "processing:lineage": TEXT,
            "processing:software": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    ),
)
CLASSIFICATION = declares(
    f"{HOME}/classification/v2.0.0/schema.json",
    closed("classification", {"classification:classes": CLASSES}),
)
VERSION = declares(
    f"{HOME}/version/v1.2.0/schema.json", {"properties": {"version": {"type": "string"}}}
)
MLM = declares(
    f"{HOME}/mlm/v1.6.0/schema.json",
    closed(
        "mlm",
        {
            "mlm:name": {"pattern": r"^[a-zA-Z][a-zA-Z0-9_.\-\s]+[a-zA-Z0-9]$"},
            "mlm:architecture": TEXT,
            "mlm:framework": {"const": "PyTorch"},
            "mlm:tasks": {"type": "array", "items": TASKS, "uniqueItems": True},
            "mlm:input": {
                "type": "array",
                "items": {
                    "required": ["name", "bands", "input"],
                    "properties": {"name": TEXT, "bands": {"type": "array"}, "input": TENSOR},
                    # Bands are a dimension where there are any, and only there.
                    "if": {"properties": {"bands": {"minItems": 1}}},
                    "then": {
                        "properties": {
                            "input": {"properties": {"dim_order": {"contains": {"const": "bands"}}}}
                        }
                    },
                },
            },
            "mlm:output": {
                "type": "array",
                "items": {
                    "required": ["name", "tasks", "result"],
                    "properties": {
                        "name": TEXT,
                        "tasks": {"type": "array", "items": TASKS},
                        "result": TENSOR,
                        "classification:classes": {"anyOf": [CLASSES, {"maxItems": 0}]},
                    },
                },
            },
        },
    )
    # Bands of an input are described by the item.
    | {"dependencies": {"mlm:input": ["bands"]}},
    assets={
        "required": ["model"],
        "additionalProperties": {
            "required": ["roles", "mlm:artifact_type"],
            "properties": {"roles": {"contains": {"const": "mlm:model"}}},
        },
    },
    required=["mlm:name", "mlm:architecture", "mlm:tasks", "mlm:input", "mlm:output"],
)
SCHEMAS = {one["$id"]: one for one in (LABEL, PROCESSING, CLASSIFICATION, VERSION, MLM)}


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Whoever asks the network fails, and pystac validates by what is here."""

    def refuse(*_, **__):
        raise OSError("the network is cut")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    validator = JsonSchemaSTACValidator()
    validator.schema_cache.update(SCHEMAS)
    monkeypatch.setattr(pystac.validation.RegisteredValidator, "_validator", validator)


def facts(**changes) -> SceneFacts:
    known = SceneFacts(
        width=100,
        height=100,
        gsd=0.5,
        bands=("red", "green", "blue"),
        dtype="uint8",
        crs="EPSG:32632",
        acquired="2024-05-01T10:20:30.25+02:00",
        footprint=RING,
        bytes=1,
        stamp="x",
    )
    return replace(known, **changes)


def done(name="one", detector="aircraft", scene=None, known=None, **changes) -> BatchRecord:
    outcome = Outcome(
        key="k",
        features=3,
        counts={detector if detector != "roads" else "road": {"accept": 2, "review": 1}},
        expected=2.25,
        expected_sd=0.5,
        megapixels=1.0,
        tiles=1,
        seconds={"tiles": 1.0},
        outputs=(f"scenes/{name}/{detector}.geojson", f"scenes/{name}/{detector}.gpkg"),
    )
    return BatchRecord(
        scene=scene or SceneRef(f"/archive/{name}.tif", name),
        detector=detector,
        state="done",
        started="2024-06-01T00:00:00Z",
        ended="2024-06-01T00:01:00+00:00",
        facts=known or facts(),
        outcome=replace(outcome, **changes),
    )


def other(name: str, state) -> BatchRecord:
    error = ErrorFacts("SceneError", "scene", name, "is no raster", "give another")
    return BatchRecord(SceneRef(f"/archive/{name}.tif", name), "aircraft", state, error=error)


def item_of(folder: Path, name="one") -> dict:
    return json.loads((folder / "items" / name / f"{name}.json").read_text())


def test_catalogue_is_valid_and_reads_as_one(tmp_path):
    records = [
        done("two", detector="roads"),
        done("two"),
        done("one", scene=SceneRef("s3://archive/one.tif", "one", item="https://x.org/one.json")),
        other("bad", "failed"),
        other("left", "skipped"),
        BatchRecord(SceneRef("/archive/w.tif", "w"), "aircraft", "waiting"),
    ]
    path = write_stac(records, tmp_path / "stac", detectors=DETECTORS)
    catalog = pystac.Catalog.from_file(str(path))
    assert catalog.validate_all() == 4
    items = {item.id: item for item in catalog.get_items(recursive=True)}
    assert set(items) == {"aircraft-1.9.0", "roads-2", "one", "two"}
    assert not (tmp_path / "stac" / "items" / "bad").exists()
    for item in items.values():
        item.validate()
        assert item.get_parent() is not None


def test_schemas_refuse_what_they_should(tmp_path):
    write_stac([done()], tmp_path, detectors=DETECTORS)
    item = pystac.Item.from_file(str(tmp_path / "items" / "one" / "one.json"))
    item.properties["label:unknown"] = 1
    with pytest.raises(pystac.errors.STACValidationError):
        item.validate()


def test_an_item_a_scene_with_every_detector(tmp_path):
    one, two = done(), done(detector="roads")
    write_stac([two, one], tmp_path, detectors=DETECTORS)
    item = item_of(tmp_path)
    told = item["properties"]
    assert told["datetime"] == "2024-05-01T08:20:30.250000Z"
    assert item["bbox"] == [10.0, 50.0, 10.1, 50.1]
    assert item["geometry"]["type"] == "Polygon"
    counts = {one["property_key"]: one["counts"] for one in told["label:overviews"]}
    assert counts["label"] == [
        {"name": "aircraft", "count": 3},
        {"name": "fire truck", "count": 0},
        {"name": "road", "count": 3},
    ]
    assert counts["decision"] == [{"name": "accept", "count": 4}, {"name": "review", "count": 2}]
    assert told["lanner:detectors"]["aircraft"]["expected"] == 2.25
    assert told["processing:software"]["Lanner detector roads"] == "2"
    assert set(item["assets"]) == {
        "aircraft-geojson",
        "aircraft-gpkg",
        "roads-geojson",
        "roads-gpkg",
    }


@pytest.mark.parametrize(
    ("ending", "kind", "labels"),
    [
        ("geojson", "application/geo+json", True),
        ("gpkg", "application/geopackage+sqlite3", False),
        ("fgb", "application/vnd.flatgeobuf", False),
        ("parquet", "application/vnd.apache.parquet", False),
    ],
)
def test_assets_say_what_they_are(tmp_path, ending, kind, labels):
    write_stac([done(outputs=(f"a b/x.{ending}", f"a/x.{ending}"))], tmp_path, detectors={})
    assets = item_of(tmp_path)["assets"]
    assert set(assets) == {f"aircraft-{ending}", f"aircraft-{ending}-2"}
    first = assets[f"aircraft-{ending}"]
    assert first["type"] == kind
    assert first["href"] == f"../../../a%20b/x.{ending}"
    assert ("labels" in first["roles"], "data" in first["roles"]) == (labels, True)


def test_asset_of_an_item_is_found_from_where_the_item_is(tmp_path):
    output = tmp_path / "scenes" / "one" / "aircraft.gpkg"
    output.parent.mkdir(parents=True)
    output.write_bytes(b"x")
    path = write_stac([done()], tmp_path / "stac", detectors=DETECTORS)
    moved = tmp_path.parent / f"{tmp_path.name}-moved"
    tmp_path.rename(moved)
    catalog = pystac.Catalog.from_file(str(moved / path.relative_to(tmp_path)))
    item = next(catalog.get_items("one"), None)
    assert item is not None
    href = item.assets["aircraft-gpkg"].get_absolute_href()
    assert href is not None
    assert Path(href).read_bytes() == b"x"
    models = [link for link in item.links if link.extra_fields.get("mlm:name")]
    assert [link.resolve_stac_object().target.id for link in models] == ["aircraft-1.9.0"]


@pytest.mark.parametrize(
    ("root", "href"),
    [
        ("s3://b/run", "s3://b/run/scenes/one/aircraft.gpkg"),
        (".", "../.././scenes/one/aircraft.gpkg"),
        ("../out/", "../../../out/scenes/one/aircraft.gpkg"),
    ],
)
def test_outputs_may_lie_elsewhere(tmp_path, root, href):
    write_stac([done()], tmp_path, detectors={}, root_href=root)
    assert item_of(tmp_path)["assets"]["aircraft-gpkg"]["href"] == href


@pytest.mark.parametrize(
    ("acquired", "told"),
    [
        ("2024-05-01T10:20Z", ("2024-05-01T10:20:00Z", None, None)),
        ("2024-05-01", (None, "2024-05-01T00:00:00Z", "2024-05-01T23:59:59Z")),
        ("2024-05", (None, "2024-05-01T00:00:00Z", "2024-05-31T23:59:59Z")),
        ("../2001-01-01", (None, "1858-01-01T00:00:00Z", "2001-01-01T23:59:59Z")),
        ("2001-01-01/..", (None, "2001-01-01T00:00:00Z", "9999-12-31T23:59:59Z")),
        (None, (None, "1858-01-01T00:00:00Z", "9999-12-31T23:59:59Z")),
        ("some day", (None, "1858-01-01T00:00:00Z", "9999-12-31T23:59:59Z")),
    ],
)
def test_time_is_as_close_as_it_is_known(tmp_path, acquired, told):
    record = done(known=facts(acquired=acquired))
    path = write_stac([record], tmp_path, detectors=DETECTORS)
    found = item_of(tmp_path)["properties"]
    keys = ("datetime", "start_datetime", "end_datetime")
    assert tuple(found.get(key) for key in keys) == told
    assert pystac.Catalog.from_file(str(path)).validate_all() == 3


def test_catalogue_says_when_the_scene_does_not(tmp_path):
    scene = SceneRef("/x.tif", "one", acquired="2020-01-02T03:04:05Z", bounds=(1.0, 2.0, 3.0, 4.0))
    record = done(scene=scene, known=facts(acquired=None, footprint=None))
    write_stac([record], tmp_path, detectors={})
    item = item_of(tmp_path)
    assert item["properties"]["datetime"] == "2020-01-02T03:04:05Z"
    assert item["bbox"] == [1.0, 2.0, 3.0, 4.0]


def test_a_scene_without_a_place_has_neither_geometry_nor_bbox(tmp_path):
    path = write_stac([done(known=facts(footprint=None))], tmp_path, detectors=DETECTORS)
    item = item_of(tmp_path)
    assert item["geometry"] is None
    assert "bbox" not in item
    assert pystac.Catalog.from_file(str(path)).validate_all() == 3


@pytest.mark.parametrize(
    "footprint", [((1.0, 1.0),) * 4, ((1.0, 1.0), (2.0, 2.0), (1.0, 1.0))], ids=["point", "line"]
)
def test_a_footprint_that_encloses_nothing_is_none(tmp_path, footprint):
    scene = SceneRef("/x.tif", "one", bounds=(1.0, 2.0, 3.0, 4.0))
    write_stac([done(scene=scene, known=facts(footprint=footprint))], tmp_path, detectors={})
    assert item_of(tmp_path)["bbox"] == [1.0, 2.0, 3.0, 4.0]


def test_a_scene_around_the_earth_or_a_pole(tmp_path):
    steps = [-180.0, -90.0, 0.0, 90.0, 180.0]
    whole = (*((x, -80.0) for x in steps), *((x, 80.0) for x in reversed(steps)), (-180.0, -80.0))
    pole = tuple((x, 80.0) for x in (-135.0, -45.0, 45.0, 135.0, -135.0))
    records = [done("one", known=facts(footprint=whole)), done("two", known=facts(footprint=pole))]
    path = write_stac(records, tmp_path, detectors={})
    assert item_of(tmp_path, "one")["bbox"] == [-180.0, -80.0, 180.0, 80.0]
    assert item_of(tmp_path, "two")["bbox"] == [-180.0, 80.0, 180.0, 90.0]
    assert pystac.Catalog.from_file(str(path)).validate_all() == 2


@pytest.mark.parametrize("east", [-179.0, 181.0])
def test_a_scene_across_the_antimeridian_is_cut_there(tmp_path, east):
    ring = ((179.0, 1.0), (east, 1.0), (east, 2.0), (179.0, 2.0), (179.0, 1.0))
    path = write_stac([done(known=facts(footprint=ring))], tmp_path, detectors=DETECTORS)
    item = item_of(tmp_path)
    assert item["geometry"]["type"] == "MultiPolygon"
    assert item["bbox"] == [179.0, 1.0, -179.0, 2.0]
    assert pystac.Catalog.from_file(str(path)).validate_all() == 3


def test_bounds_across_the_antimeridian_are_cut_there(tmp_path):
    scene = SceneRef("/x.tif", "one", bounds=(170.0, -1.0, -170.0, 1.0))
    write_stac([done(scene=scene, known=facts(footprint=None))], tmp_path, detectors={})
    item = item_of(tmp_path)
    assert len(item["geometry"]["coordinates"]) == 2
    assert item["bbox"] == [170.0, -1.0, -170.0, 1.0]


def test_links_say_where_it_comes_from_without_secrets(tmp_path):
    scene = SceneRef(
        "https://u:p@x.org/a.tif?sig=SECRET", "one", item="https://x.org/a.json?sig=SECRET"
    )
    write_stac([done(scene=scene)], tmp_path, detectors=DETECTORS)
    item = item_of(tmp_path)
    hrefs = {(link["rel"], link["href"]) for link in item["links"]}
    assert {
        ("derived_from", "https://x.org/a.json"),
        ("source", "https://x.org/a.json"),
        ("via", "https://x.org/a.tif"),
        ("derived_from", "../../detectors/aircraft-1.9.0/aircraft-1.9.0.json"),
    } <= hrefs
    assert "SECRET" not in json.dumps(item)
    # All but where it comes from is relative.
    whole = {rel for rel, href in hrefs if "://" in href}
    assert whole == {"derived_from", "source", "via"}


def test_paths_become_addresses(tmp_path):
    scene = SceneRef("/with space/\udcff.tif", "one", item="/items/one.json")
    write_stac([done(scene=scene)], tmp_path, detectors={})
    hrefs = {link["rel"]: link["href"] for link in item_of(tmp_path)["links"]}
    assert hrefs["via"] == "file:///with%20space/%FF.tif"
    assert hrefs["derived_from"] == "file:///items/one.json"


def test_hostile_names_stay_inside_the_text(tmp_path):
    name = "<script>\"&'#?%"
    write_stac([done(name)], tmp_path, detectors=DETECTORS)
    assert item_of(tmp_path, name)["id"] == name
    catalog = json.loads((tmp_path / "catalog.json").read_text())
    href = next(link["href"] for link in catalog["links"] if "items/" in link["href"])
    assert not set(href) & set("<>\"'#?& ")


def test_detector_is_described(tmp_path):
    path = write_stac([], tmp_path, detectors=DETECTORS)
    catalog = pystac.Catalog.from_file(str(path))
    assert catalog.validate_all() == 2
    model = next(catalog.get_items("aircraft-1.9.0"), None)
    roads = next(catalog.get_items("roads-2"), None)
    assert model is not None
    assert roads is not None
    told = model.properties
    assert told["mlm:tasks"] == ["object-detection", "instance-segmentation"]
    assert roads.properties["mlm:tasks"] == ["semantic-segmentation"]
    assert told["mlm:input"][0]["bands"] == ["red", "green", "blue"]
    assert told["gsd"] == 0.8
    assert told["license"] == "Apache-2.0"
    assert roads.properties["license"] == "other"
    assert told["lanner:weights_sha256"] == "a" * 64
    classes = told["mlm:output"][0]["classification:classes"]
    assert classes == [
        {"value": 0, "name": "aircraft"},
        {"value": 1, "name": "fire_truck", "title": "fire truck"},
    ]
    href = model.assets["model"].get_absolute_href()
    assert href is not None
    assert json.loads(Path(href).read_text())["release"] == "1.9.0"


def test_a_detector_of_which_little_is_known(tmp_path):
    path = write_stac([done(detector="x")], tmp_path, detectors={"x": {}})
    assert {item.id for item in pystac.Catalog.from_file(str(path)).get_items()} == {"x", "one"}


def test_same_records_in_any_order_give_the_same_bytes(tmp_path):
    records = [done("one"), done("two", detector="roads"), done("two"), other("bad", "failed")]
    write_stac(records, tmp_path / "a", detectors=DETECTORS)
    write_stac(records[::-1], tmp_path / "b", detectors=dict(reversed(DETECTORS.items())))
    files = sorted(one.relative_to(tmp_path / "a") for one in (tmp_path / "a").rglob("*.json"))
    assert len(files) == 7
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_stac([done()], tmp_path / "file", detectors={})
