"""STAC items in GeoParquet files, in each of the ways that they are laid out."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from shapely.geometry import shape

from lanner.archives.scenes import FoundScenes, SceneFilter
from lanner.archives.sources import find_scenes
from lanner.core.errors import SceneError
from lanner.core.job import Cancel
from tests.archives.fixtures_stac import COG, item
from tests.archives.fixtures_web import pages

ITEMS = [
    item("a", cloud=5.0),
    item(
        "b",
        bbox=(30.0, 50.0, 31.0, 51.0),
        when="2024-06-01T00:00:00.500000Z",
        assets={"visual": {"href": "./b.tif", "type": COG, "roles": ["visual"], "eo:bands": []}},
        links=[{"rel": "self", "href": "https://stac.example.org/c/b.json"}],
    ),
]


def find(source: object, **asked: Any) -> FoundScenes:
    return find_scenes([str(source)], SceneFilter(**asked), Cancel())


def columns(layout: str) -> pa.Table:
    """The items as stac-geoparquet lays them out, or with JSON text or maps in its columns."""
    boxes = [dict(zip(("xmin", "ymin", "xmax", "ymax"), x["bbox"], strict=True)) for x in ITEMS]
    moments = [datetime.fromisoformat(x["properties"]["datetime"]) for x in ITEMS]
    held: dict[str, Any] = {
        "id": [x["id"] for x in ITEMS],
        "collection": [x["collection"] for x in ITEMS],
        "assets": [x["assets"] for x in ITEMS],
        "links": [x["links"] for x in ITEMS],
    }
    if layout == "struct":
        held |= {
            "bbox": boxes,
            "geometry": [shapely.to_wkb(shape(x["geometry"])) for x in ITEMS],
            "datetime": pa.array(moments, pa.timestamp("us", "UTC")),
            "eo:cloud_cover": [x["properties"].get("eo:cloud_cover") for x in ITEMS],
        }
    elif layout == "json":
        held = {key: [json.dumps(x) for x in held[key]] for key in ("assets", "links")} | {
            "id": held["id"],
            "collection": held["collection"],
            "bbox": [x["bbox"] for x in ITEMS],
            "properties": [json.dumps(x["properties"]) for x in ITEMS],
        }
    else:
        kind = pa.map_(pa.string(), pa.struct([(n, pa.string()) for n in ("href", "type")]))
        made = [
            [(k, {n: v[n] for n in ("href", "type")}) for k, v in x["assets"].items()]
            for x in ITEMS
        ]
        held |= {
            "assets": pa.array(made, kind),
            "bbox": boxes,
            "datetime": pa.array([x.replace(tzinfo=None) for x in moments], pa.timestamp("ns")),
            "properties": [
                {"eo:cloud_cover": x["properties"].get("eo:cloud_cover")} for x in ITEMS
            ],
        }
    return pa.table(held)


@pytest.mark.parametrize("layout", ["struct", "json", "map"])
def test_rows_are_items(tmp_path: Path, layout):
    path = tmp_path / "items.parquet"
    pq.write_table(columns(layout), path)
    first, second = find(path).scenes
    assert (first.name, second.name) == ("a", "b")
    assert first.uri == "https://data.example.org/a.tif"
    assert second.uri == "https://stac.example.org/c/b.tif"
    assert second.item == "https://stac.example.org/c/b.json"
    assert first.bounds == (10.0, 50.0, 11.0, 51.0)
    assert (first.cloud, second.cloud) == (5.0, None)
    assert first.collection == "images"
    assert [datetime.fromisoformat(scene.acquired) for scene in (first, second)] == [
        datetime(2024, 5, 1, 10, tzinfo=UTC),
        datetime(2024, 6, 1, 0, 0, 0, 500000, tzinfo=UTC),
    ]


@pytest.mark.parametrize("layout", ["struct", "json", "map"])
def test_rows_are_filtered(tmp_path: Path, layout):
    path = tmp_path / "items.geoparquet"
    pq.write_table(columns(layout), path)
    for asked in (
        {"bounds": (9.0, 49.0, 12.0, 52.0)},
        {"area": shapely.box(10.5, 50.5, 12, 52)},
        {"end": "2024-05-31"},
    ):
        assert [scene.name for scene in find(path, **asked).scenes] == ["a"]
    assert [scene.name for scene in find(path, cloud=1.0).scenes] == ["b"]


def test_a_table_at_an_address():
    file = io.BytesIO()
    pq.write_table(columns("struct"), file)
    with pages({"/items.parquet": file.getvalue()}) as site:
        assert len(find(f"{site.url}/items.parquet?sig=secret").scenes) == 2


def test_rows_that_lack_what_an_item_has_are_skipped(tmp_path: Path):
    path = tmp_path / "items.parquet"
    assets = [json.dumps(ITEMS[0]["assets"]), None, "nonsense", "{}"]
    pq.write_table(pa.table({"id": ["a", "b", "c", "d"], "assets": assets}), path)
    found = find(path)
    assert [scene.name for scene in found.scenes] == ["a"]
    assert len(found.skipped) == 3


@pytest.mark.parametrize("held", [{"id": ["a"]}, {"name": ["a"]}, {"id": [], "assets": []}])
def test_a_table_of_something_else_is_an_error(tmp_path: Path, held):
    path = tmp_path / "items.parquet"
    pq.write_table(pa.table(held), path)
    with pytest.raises(SceneError):
        find(path)
