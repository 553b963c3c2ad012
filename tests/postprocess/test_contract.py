"""The output contract: properties, their rounding and order, ids."""

from __future__ import annotations

import json
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from pyproj import CRS

from lanner.core.errors import OutputError
from postprocess.context import Context, DetectorFacts
from postprocess.contract import GROUP
from postprocess.frame import candidates, column
from postprocess.writers import features, scene_frame, write
from tiling.grid import Grid
from tiling.place import Place

FACTS = DetectorFacts("aircraft", "1.2.0", "w" * 64, "c" * 64)


def context(acquired="2024-05-01T10:00:00Z", scale=1.0):
    place = Place(Affine(1, 0, 5e5, 0, -1, 4.4e6), CRS.from_epsg(32633), (scale, scale))
    grid = Grid.over((4000, 4000), (scale, scale), 1.0)
    return Context("scene-1", acquired, place, grid, None, FACTS, workdir=None)


def frame(shapes, **columns):
    shapes = np.array(shapes, object)
    n = len(shapes)
    table = candidates(
        shapely.bounds(shapes),
        scores=np.linspace(0.4, 0.95, n),
        votes=[{"retinanet": 0.5, "resunet": 0.1 + 0.2}] * n,
        tiles=[0] * n,
        cuts=[0] * n,
        labels=["aircraft"] * n,
    )
    table["geometry"] = gpd.GeoSeries(shapes)
    table["steps"] = column([[{"step": "triage", "did": "accept at 0.8"}]] * n)
    table["decision"] = column(["accept", "review"] * (n // 2) + ["accept"] * (n % 2))
    for name, values in columns.items():
        table[name] = values
    return table


def squares(n=5):
    return [shapely.box(100 * i + 7, 50 * i + 3, 100 * i + 40, 50 * i + 33) for i in range(n)]


def test_the_contract_is_kept():
    objects = frame(
        squares(2),
        length_m=[41.537, np.nan],
        heading_deg=[359.97, 12.34],
        wingspan_m=[39.0, 1.0],
        types=column([[{"icao": "K35R", "name": "KC-135", "probability": 0.5}], []]),
        taxonomy=column([{"path": ["aircraft"], "name": "aircraft", "probability": 1.0}] * 2),
        acme_grade=column(["a", None]),
    )
    first, second = (json.loads(text)["properties"] for text in features(objects, context()))
    assert list(first) == [
        "id",
        "detector",
        "label",
        "confidence",
        "decision",
        "length_m",
        "wingspan_m",
        "heading_deg",
        "votes_n",
        "acme_grade",
        "votes",
        "box_px",
        "types",
        "taxonomy",
        "scene_id",
        "acquired",
        "detector_version",
        "weights_sha256",
        "config_sha256",
        "steps",
    ]
    assert first["detector"] == "aircraft" and first["detector_version"] == "1.2.0"
    assert first["length_m"] == 41.54 and first["heading_deg"] == 0.0
    assert first["votes_n"] == 2
    assert first["votes"] == {"retinanet": 0.5, "resunet": 0.1 + 0.2}
    assert first["box_px"] == [7.0, 3.0, 40.0, 33.0]
    assert first["steps"] == [{"step": "triage", "did": "accept at 0.8"}]
    assert second["length_m"] is None and second["acme_grade"] is None
    assert "score" not in first and "tile" not in first and "cut" not in first


def test_box_px_is_the_detected_box_in_scene_pixels():
    objects = frame(squares(1), box=column([[10.0, 20.0, 30.0, 44.0]]))
    where = context(scale=0.5)
    assert where.grid.scale == (2.0, 2.0)
    found = json.loads(features(objects, where)[0])["properties"]
    assert found["box_px"] == [20.0, 40.0, 60.0, 88.0]


def test_without_triage_a_person_decides_and_unknown_time_is_null():
    objects = frame(squares(1)).drop(columns="decision")
    found = json.loads(features(objects, context(acquired=None))[0])["properties"]
    assert found["decision"] == "review" and found["acquired"] is None


@pytest.mark.parametrize(
    ("acquired", "utc"),
    [
        ("2024-05-01", "2024-05-01T00:00:00Z"),
        ("2024-05-01T10:31:07", "2024-05-01T10:31:07Z"),
        ("2024-05-01T01:31:07+02:00", "2024-04-30T23:31:07Z"),
        ("2024-05-01T10:31:07Z", "2024-05-01T10:31:07Z"),
        ("2024-02-30", None),
        ("2016-12-31T23:59:60", None),
    ],
)
def test_a_time_is_in_utc(acquired, utc):
    where = context(acquired=acquired)
    assert json.loads(features(frame(squares(1)), where)[0])["properties"]["acquired"] == utc
    times = scene_frame(frame(squares(1)), where)["acquired"]
    assert str(times.dtype) == "datetime64[ms, UTC]"
    assert times.isna().all() if utc is None else times[0].isoformat().startswith(utc[:-1])


def test_ids_are_stable_and_never_collide():
    objects = frame([*squares(3), *squares(3)])
    objects["score"] = [0.9, 0.8, 0.7, 0.6, 0.9, 0.7]
    texts = features(objects, context())
    ids = [json.loads(text)["id"] for text in texts]
    assert len(set(ids)) == 6
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(6)
        assert features(objects.iloc[order].reset_index(drop=True), context()) == texts
    # Known once, known for ever.
    assert json.loads(features(frame(squares(1)), context())[0])["id"] == ID_OF_FIRST


ID_OF_FIRST = "845077c1ee1d81f2ad10e4ce"


def test_groups_do_not_show():
    """More objects than are made at once, some of them equal and far from each other."""
    size = GROUP + 300
    x, y = np.divmod(np.random.default_rng(1).permutation(size), 40)
    shapes = shapely.box(20 * x, 20 * y, 20 * x + 9, 20 * y + 9)
    shapes[-3:] = shapes[0]
    objects = frame(shapes)
    found = [json.loads(text)["properties"] for text in features(objects, context())]
    ids = [one["id"] for one in found]
    assert len(set(ids)) == len(found) == size
    places = [(y0, x0, y1, x1) for x0, y0, x1, y1 in (one["box_px"] for one in found)]
    assert places == sorted(places)
    alone = {
        json.loads(features(objects.iloc[[i]], context())[0])["id"] for i in range(0, size, 97)
    }
    assert alone <= set(ids)
    table = scene_frame(objects, context())
    assert table["id"].tolist() == ids
    assert table["box_px"].tolist() == [one["box_px"] for one in found]
    turned = objects.iloc[::-1].reset_index(drop=True)
    assert features(turned, context()) == features(objects, context())


def test_order_is_by_box_from_the_top():
    shapes = [shapely.box(50, 90, 60, 99), shapely.box(70, 10, 80, 20), shapely.box(5, 10, 9, 20)]
    tops = [json.loads(t)["properties"]["box_px"][:2] for t in features(frame(shapes), context())]
    assert tops == [[5.0, 10.0], [70.0, 10.0], [50.0, 90.0]]


def test_what_is_no_number_is_null_however_deep(tmp_path):
    """A step of one's own may measure in numpy, and find nothing to measure."""
    objects = candidates(
        [[1, 2, 10, 20], [30, 30, 50, 60]],
        scores=[np.nan, 0.5],
        votes=[{"a": 0.5}, {"a": np.nan}],
        tiles=[0, 0],
        cuts=[0, 0],
        labels=["x", "x"],
    )
    objects["shape"] = column([{"sides": [1.5, float("inf")]}, {"sides": [np.float32(2), np.nan]}])
    where = context()
    properties = [json.loads(text)["properties"] for text in features(objects, where)]
    assert [one["confidence"] for one in properties] == [None, 0.5]
    assert [one["votes"] for one in properties] == [{"a": 0.5}, {"a": None}]
    assert [one["shape"]["sides"] for one in properties] == [[1.5, None], [2, None]]
    for ending in ("gpkg", "parquet"):
        path = tmp_path / f"a.{ending}"
        write(features(objects, where), scene_frame(objects, where), path)
        back = gpd.read_file(path) if ending == "gpkg" else gpd.read_parquet(path)
        assert json.loads(back["shape"].iloc[1]) == {"sides": [2, None]}


@pytest.mark.parametrize("ending", ["gpkg", "fgb", "parquet", "geojson"])
def test_a_crs_that_a_format_cannot_say_is_an_error_with_a_remedy(tmp_path, ending):
    rotated = CRS.from_proj4(
        "+proj=ob_tran +o_proj=longlat +o_lon_p=-162 +o_lat_p=39.25 +lon_0=180 "
        "+to_meter=0.0174532925199433 +type=crs"
    )
    place = Place(Affine(1e-5, 0, 5, 0, -1e-5, 5), rotated, (1.1, 1.1))
    where = replace(context(), place=place)
    objects = frame(squares(2))
    path = tmp_path / f"a.{ending}"
    if ending in ("parquet", "geojson"):
        write(features(objects, where), scene_frame(objects, where), path)
        assert path.is_file()
        return
    with pytest.raises(OutputError, match="GeoJSON or GeoParquet"):
        write(features(objects, where), scene_frame(objects, where), path)
    assert list(tmp_path.iterdir()) == []
