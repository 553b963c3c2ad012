"""What is written: RFC 7946 to the letter, the contract's properties, whole files or none."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Geod, Transformer

from lanner.core.errors import OutputError
from postprocess.context import Context, DetectorFacts
from postprocess.contract import GROUP
from postprocess.frame import candidates, column, empty
from postprocess.style import style
from postprocess.writers import features, scene_frame, write
from tiling.grid import Grid
from tiling.place import Place

FACTS = DetectorFacts("aircraft", "1.2.0", "w" * 64, "c" * 64)
UTM = (32633, Affine(1, 0, 5e5, 0, -1, 4.4e6))


def context(epsg=UTM[0], affine=UTM[1], acquired="2024-05-01T10:00:00Z", scale=1.0, size=4000):
    crs = None if epsg is None else CRS.from_user_input(epsg)
    grid = Grid.over((size, size), (scale, scale), 1.0)
    return Context(
        "scene-1", acquired, Place(affine, crs, (scale, scale)), grid, None, FACTS, workdir=None
    )


def frame(shapes, **columns):
    shapes = np.array(shapes, object)
    n = len(shapes)
    made = candidates(
        shapely.bounds(shapes),
        scores=np.linspace(0.4, 0.95, n),
        votes=[{"retinanet": 0.5, "resunet": 0.1 + 0.2}] * n,
        tiles=[0] * n,
        cuts=[0] * n,
        labels=["aircraft"] * n,
    )
    made["geometry"] = gpd.GeoSeries(shapes)
    made["steps"] = column([[{"step": "triage", "did": "accept at 0.8"}]] * n)
    made["decision"] = column(["accept", "review"] * (n // 2) + ["accept"] * (n % 2))
    for name, values in columns.items():
        made[name] = values
    return made


def squares(n=5):
    return [shapely.box(100 * i + 7, 50 * i + 3, 100 * i + 40, 50 * i + 33) for i in range(n)]


# --- a validator of RFC 7946, from the text of the standard -------------------------------------

KINDS = {
    "Point": 0,
    "MultiPoint": 1,
    "LineString": 1,
    "MultiLineString": 2,
    "Polygon": 2,
    "MultiPolygon": 3,
}


def depth(value):
    return 0 if isinstance(value[0], int | float) else 1 + depth(value[0])


def rings(geometry):
    parts = geometry["coordinates"]
    return [parts] if geometry["type"] == "Polygon" else parts


def lines(geometry):
    """Every run of positions in a geometry."""
    kind, parts = geometry["type"], geometry["coordinates"]
    if kind == "Point":
        return [[parts]]
    if kind in ("LineString", "MultiPoint"):
        return [parts]
    if kind in ("Polygon", "MultiLineString"):
        return parts
    return [ring for polygon in parts for ring in polygon]


def signed_area(ring):
    x, y = np.array(ring).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)


def assert_rfc7946(text):
    collection = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert collection["type"] == "FeatureCollection"
    assert "crs" not in collection  # section 4: removed
    ids = set()
    spans = []
    for feature in collection["features"]:
        assert feature["type"] == "Feature"
        assert {"geometry", "properties"} <= feature.keys()
        assert not {"coordinates", "geometries", "features", "crs"} & feature.keys()  # 7.1
        assert isinstance(feature["id"], str) and feature["id"] not in ids
        ids.add(feature["id"])
        geometry = feature["geometry"]
        assert depth(geometry["coordinates"]) == KINDS[geometry["type"]]
        assert not {"geometry", "properties", "features"} & geometry.keys()
        for line in lines(geometry):
            xy = np.array(line, float)
            assert xy.shape[1] == 2
            assert (np.abs(xy[:, 0]) <= 180).all() and (np.abs(xy[:, 1]) <= 90).all()
            # 3.1.9: nothing crosses the antimeridian, so no part is half a world wide
            # (around a pole it may be, cut at +-180).
            if np.ptp(xy[:, 0]) > 180:
                assert np.abs(xy[:, 1]).max() == 90
            spans.append((xy[:, 0].min(), xy[:, 0].max(), xy[:, 1].min(), xy[:, 1].max()))
        if "Polygon" in geometry["type"]:
            for polygon in rings(geometry):
                for position, ring in enumerate(polygon):
                    assert len(ring) >= 4 and ring[0] == ring[-1]  # 3.1.6
                    area = signed_area(ring)
                    assert area > 0 if position == 0 else area < 0  # right-hand rule
            assert shapely.from_geojson(json.dumps(geometry)).is_valid
    if "bbox" in collection:
        west, south, east, north = collection["bbox"]
        for low, high, bottom, top in spans:
            assert south <= bottom and top <= north
            if west <= east:
                assert west <= low and high <= east
            else:  # 5.2: over the antimeridian
                assert low >= west or high <= east
    return collection


def collection_of(objects, where, tmp_path):
    texts = features(objects, where)
    path = tmp_path / "out.geojson"
    write(texts, scene_frame(objects, where), path)
    raw = path.read_text(encoding="utf-8")
    for text in texts:
        assert text in raw  # byte for byte
    return assert_rfc7946(raw)


# --- geometry -----------------------------------------------------------------------------------


def test_lonlat_lie_where_the_place_says(tmp_path):
    where = context()
    shape = shapely.Polygon([(10, 10), (50, 12), (30, 60)], [[(25, 25), (35, 25), (30, 35)]])
    made = collection_of(frame([shape]), where, tmp_path)
    ring, hole = made["features"][0]["geometry"]["coordinates"]
    wanted = where.place.to_lonlat(shapely.get_coordinates(shape.exterior))
    _, _, metres = Geod(ellps="WGS84").inv(*np.array(ring)[[0]].T, *wanted[[0]].T)
    assert len(hole) == 4 and {tuple(p) for p in ring} == {tuple(p) for p in np.round(wanted, 7)}
    assert metres[0] < 0.02 or ring[0] != wanted[0].tolist()
    west, south, east, north = made["bbox"]
    assert [west, south] == np.array(ring).min(axis=0).tolist()
    assert [east, north] == np.array(ring).max(axis=0).tolist()


@pytest.mark.parametrize(
    ("epsg", "lat", "size"), [(4326, 10, 1e-5), (32660, 10, 1), (32701, -17, 1)]
)
def test_the_antimeridian_is_cut(tmp_path, epsg, lat, size):
    east, north = Transformer.from_crs(4326, epsg, always_xy=True).transform(180, lat)
    where = context(epsg, Affine(size, 0, east - 2000 * size, 0, -size, north + 500 * size))
    lonlat = where.place.to_lonlat(np.array([[x, 500.0] for x in range(4000)]))
    jumps = np.flatnonzero(np.abs(np.diff(lonlat[:, 0])) > 180)
    assert len(jumps) == 1
    x = float(jumps[0])
    square = shapely.box(x - 30, 480, x + 50, 520).difference(shapely.box(x - 10, 490, x + 9, 510))
    line = shapely.LineString([(x - 100, 600), (x, 640), (x + 100, 600)])
    beside = [shapely.box(x - 300, 480, x - 250, 520), shapely.box(x + 250, 480, x + 300, 520)]
    made = collection_of(frame([square, line, *beside]), where, tmp_path)
    kinds = sorted(f["geometry"]["type"] for f in made["features"])
    assert kinds == ["MultiLineString", "MultiPolygon", "Polygon", "Polygon"]
    west, _, east, _ = made["bbox"]
    assert west > 179 and east < -179
    multi = next(f for f in made["features"] if f["geometry"]["type"] == "MultiPolygon")
    parts = rings(multi["geometry"])
    # The two sides together cover what the square covers.
    geod = Geod(ellps="WGS84")
    area = sum(
        abs(geod.polygon_area_perimeter(*np.array(ring).T)[0]) * (1 if i == 0 else -1)
        for polygon in parts
        for i, ring in enumerate(polygon)
    )
    ring = where.place.to_lonlat(shapely.get_coordinates(square.exterior))
    hole = where.place.to_lonlat(shapely.get_coordinates(square.interiors[0]))
    whole = abs(geod.polygon_area_perimeter(*ring.T)[0]) - abs(
        geod.polygon_area_perimeter(*hole.T)[0]
    )
    assert area == pytest.approx(whole, rel=1e-3)


@pytest.mark.parametrize(("epsg", "sign"), [(3413, 1), (3031, -1)])
def test_a_ring_around_a_pole_is_carried_to_it(tmp_path, epsg, sign):
    where = context(epsg, Affine(10, 0, -20000, 0, -10, 20000))
    made = collection_of(frame([shapely.Point(2000, 2000).buffer(50)]), where, tmp_path)
    box = made["bbox"]
    assert box[0] == -180 and box[2] == 180
    assert (box[3] if sign > 0 else box[1]) == 90 * sign
    shape = shapely.from_geojson(json.dumps(made["features"][0]["geometry"]))
    assert shape.contains(shapely.Point(33, 89.999 * sign))


@settings(max_examples=40, deadline=None)
@given(
    st.floats(-179.9, 179.9),
    st.floats(-80, 80),
    st.floats(0, 360),
    st.booleans(),
    st.lists(
        st.tuples(st.floats(0, 3900), st.floats(0, 3900), st.floats(3, 90)), min_size=1, max_size=5
    ),
)
def test_any_scene_anywhere_is_valid(tmp_path_factory, lon, lat, turn, mirror, spots):
    """Scenes rotated, mirrored, at any place: winding and bounds hold."""
    c, s = np.cos(np.radians(turn)) * 1e-5, np.sin(np.radians(turn)) * 1e-5
    flip = 1 if mirror else -1
    affine = Affine(c, -s * flip, lon, s, c * flip, lat)
    shapes = [shapely.Point(x + 50, y + 50).buffer(r, quad_segs=3) for x, y, r in spots]
    collection_of(frame(shapes), context(4326, affine), tmp_path_factory.mktemp("any"))


# --- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["geojson", "gpkg", "fgb", "parquet"])
def test_files_hold_the_same_in_equal_bytes(tmp_path, ending):
    made = frame(squares(7), length_m=np.linspace(10, 70, 7))
    where = context()
    texts, table = features(made, where), scene_frame(made, where)
    path = tmp_path / f"out.{ending}"
    write(texts, table, path)
    again = tmp_path / f"again.{ending}"
    write(texts, table, again)
    assert path.read_bytes() == again.read_bytes()
    back = gpd.read_parquet(path) if ending == "parquet" else gpd.read_file(path)
    by_id = back.set_index("id")
    for text in texts:
        wanted = json.loads(text)["properties"]
        row = by_id.loc[wanted["id"]]
        assert row["confidence"] == wanted["confidence"]
        assert row["length_m"] == wanted["length_m"]
        votes = row["votes"]
        assert (json.loads(votes) if isinstance(votes, str) else votes) == wanted["votes"]
    if ending != "geojson":
        assert back.crs == where.place.crs
        x0, _, _, y1 = by_id.loc[json.loads(texts[0])["id"]].geometry.bounds
        assert (x0, y1) == (5e5 + 7, 4.4e6 - 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        ["again.qml", f"again.{ending}", "out.qml", f"out.{ending}"]
    )


def test_columns_of_several_groups_have_the_type_of_all_their_values():
    size = GROUP + 3
    rows = np.arange(size)
    shapes = shapely.box(0, 3 * rows, 2, 3 * rows + 2)  # in final order as they stand
    first = rows < GROUP
    made = frame(
        shapes,
        whole=rows,
        late=column([None if early else 1.5 for early in first]),
        gaps=column([1 if early else None for early in first]),
        both=column([1 if early else 2.5 for early in first]),
        flag=column([True] * size),
        maybe=column([True if early else None for early in first]),
        mixed=column([1 if early else "a" for early in first]),
    )
    table = scene_frame(made, context())
    kinds = {name: table[name].dtype for name in ("whole", "late", "gaps", "both", "flag")}
    assert kinds == {"whole": "int64", "late": "f8", "gaps": "f8", "both": "f8", "flag": "bool"}
    assert table["late"].isna().sum() == GROUP and table["gaps"].isna().sum() == 3
    for name in ("maybe", "mixed", "votes"):
        assert list(table[name]) == list(made[name])


@pytest.mark.parametrize("ending", ["geojson", "json", "gpkg", "fgb", "parquet"])
def test_nothing_found_is_a_file_too(tmp_path, ending):
    texts, table = features(empty(), context()), scene_frame(empty(), context())
    path = tmp_path / f"out.{ending}"
    write(texts, table, path)
    if ending in ("geojson", "json"):
        assert assert_rfc7946(path.read_text())["features"] == []
    else:
        back = gpd.read_parquet(path) if ending == "parquet" else gpd.read_file(path)
        assert len(back) == 0


def test_without_a_place_pixels_are_written_and_said(tmp_path):
    made, where = frame(squares(2)), context(None, Affine.identity())
    texts, table = features(made, where), scene_frame(made, where)
    assert table.crs is None
    with pytest.raises(OutputError, match=r"no CRS.*\.json"):
        write(texts, table, tmp_path / "a.geojson")
    assert list(tmp_path.iterdir()) == []
    write(texts, table, tmp_path / "a.json")
    back = json.loads((tmp_path / "a.json").read_text())
    assert back["lanner:coordinates"] == "scene_pixels" and "bbox" not in back
    assert back["features"][0]["lanner:coordinates"] == "scene_pixels"
    xy = np.array(back["features"][0]["geometry"]["coordinates"][0])
    assert xy.min(axis=0).tolist() == [7.0, 3.0] and xy.max(axis=0).tolist() == [40.0, 33.0]
    write(texts, table, tmp_path / "a.gpkg")
    laid_out = gpd.read_file(tmp_path / "a.gpkg", layer="aircraft")
    assert tuple(laid_out.total_bounds) == (7.0, -83.0, 140.0, -3.0), "as QGIS lays the picture"
    assert tuple(table.total_bounds) == (7.0, 3.0, 140.0, 83.0)


def test_bad_outputs_are_refused_in_words(tmp_path):
    texts, table = features(frame(squares()), context()), scene_frame(frame(squares()), context())
    with pytest.raises(OutputError, match=r"'.*out\.shp'.*\.gpkg"):
        write(texts, table, tmp_path / "out.shp")
    for ending in ("geojson", "gpkg", "fgb", "parquet"):
        with pytest.raises(OutputError, match="folder does not exist"):
            write(texts, table, tmp_path / "none" / f"out.{ending}")


DISK_FULL = """
    import resource, signal, sys
    sys.path.insert(0, {here!r})
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    from pathlib import Path
    import geopandas as gpd, shapely
    from lanner.core.errors import OutputError
    from postprocess.writers import write
    path = Path({path!r})
    boxes = [shapely.box(i, 0, i + 1, 1) for i in range(3000)]
    ids = [str(i) * 20 for i in range(3000)]
    table = gpd.GeoDataFrame({{"id": ids}}, geometry=boxes, crs=32633)
    texts = ['{{"type":"Feature","id":"%d","geometry":{{"type":"Point","coordinates":[1,2]}},'
             '"properties":{{}}}}' % i for i in range(3000)]
    write(texts[:1], table[:1], path)
    before = path.read_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
    try:
        write(texts, table, path)
    except OutputError as error:
        assert path.read_bytes() == before, "the old file was touched"
        print("refused:", error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file size")
@pytest.mark.parametrize("ending", ["geojson", "gpkg", "fgb", "parquet"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, ending, request):
    path = tmp_path / f"out.{ending}"
    code = textwrap.dedent(DISK_FULL).format(here=str(request.config.rootpath), path=str(path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("refused:"), done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {f"out.{ending}", "out.qml"}


def test_the_style_is_xml_that_names_both_decisions_and_is_not_overwritten(tmp_path):
    roads = frame([shapely.LineString([(0, 0), (9, 9)])])
    for made, kind in ((frame(squares()), "fill"), (roads, "line")):
        path = tmp_path / f"{kind}.fgb"
        write((), scene_frame(made, context()), path)
        root = ET.fromstring(path.with_suffix(".qml").read_text().split("\n", 1)[1])
        values = [c.get("value") for c in root.iter("category")]
        assert values == ["accept", "review"]
        assert {s.get("type") for s in root.iter("symbol")} == {kind}
    path.with_suffix(".qml").write_text("mine")
    write((), scene_frame(roads, context()), path)
    assert path.with_suffix(".qml").read_text() == "mine"


@pytest.mark.parametrize("ending", ["geojson", "gpkg", "fgb", "parquet"])
def test_a_raster_of_the_same_name_gets_no_style_for_vectors(tmp_path, ending):
    scene, path = tmp_path / "air[port].tif", tmp_path / f"air[port].{ending}"
    scene.write_bytes(b"II*")
    texts, table = features(frame(squares()), context()), scene_frame(frame(squares()), context())
    for _ in range(2):
        write(texts, table, path)
        assert {one.name for one in tmp_path.iterdir()} == {scene.name, path.name}
    if ending == "gpkg":
        with closing(sqlite3.connect(path)) as db:
            rows = db.execute("SELECT f_table_name, useAsDefault, styleQML FROM layer_styles")
            assert rows.fetchall() == [("aircraft", 1, style(lines=False).decode())]


def test_a_style_follows_what_is_written_after_an_empty_result(tmp_path):
    """And one for areas that nobody edited makes room for one for lines."""
    path = tmp_path / "out.fgb"
    roads = scene_frame(frame([shapely.LineString([(0, 0), (9, 9)])]), context())
    write((), scene_frame(empty(), context()), path)
    assert not path.with_suffix(".qml").exists()
    for table, kind in ((roads, b'"line"'), (scene_frame(frame(squares()), context()), b'"fill"')):
        write((), table, path)
        assert b"type=" + kind in path.with_suffix(".qml").read_bytes()


@pytest.mark.parametrize("ending", ["geojson", "gpkg", "fgb", "parquet"])
@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_followed(tmp_path, ending, there):
    (tmp_path / "store").mkdir()
    real, link, plain = (tmp_path / name / f"out.{ending}" for name in ("store", "linked", "plain"))
    link.parent.mkdir()
    plain.parent.mkdir()
    link.symlink_to(f"../store/out.{ending}")
    texts, table = features(frame(squares()), context()), scene_frame(frame(squares()), context())
    if there:
        real.write_bytes(b"old")
        real.chmod(0o600)
    write(texts, table, link)
    write(texts, table, plain)
    assert link.is_symlink() and not real.is_symlink()
    assert real.read_bytes() == plain.read_bytes()
    assert (real.stat().st_mode & 0o777) == (0o600 if there else plain.stat().st_mode & 0o777)
    assert [one.name for one in real.parent.iterdir()] == [real.name]
    assert {one.name for one in link.parent.iterdir()} == {link.name, "out.qml"}


def test_who_has_an_old_file_open_goes_on_reading_it(tmp_path):
    texts, table = features(frame(squares()), context()), scene_frame(frame(squares()), context())
    few = frame(squares(1))
    for ending in ("geojson", "fgb", "parquet"):
        path = tmp_path / f"out.{ending}"
        write(texts, table, path)
        old = path.read_bytes()
        with path.open("rb") as file:
            head = file.read(100)
            write(features(few, context()), scene_frame(few, context()), path)
            assert head + file.read() == old
        assert path.read_bytes() != old


@pytest.mark.parametrize("ending", ["geojson", "json", "gpkg", "fgb", "parquet"])
def test_a_name_may_have_255_bytes(tmp_path, ending):
    name = "ä" * 120 + "." + ending
    path = tmp_path / ("n" * (255 - len(name.encode())) + name)
    assert len(path.name.encode()) == 255
    texts, table = features(frame(squares()), context()), scene_frame(frame(squares()), context())
    for _ in range(2):
        write(texts, table, path)
        assert {one.name for one in tmp_path.iterdir()} == {
            path.name,
            path.with_suffix(".qml").name,
        }
    back = gpd.read_parquet(path) if ending == "parquet" else gpd.read_file(path)
    assert len(back) == 5


def test_geojson_goes_through_a_pipe_and_nothing_else_does(tmp_path):
    texts, table = features(frame(squares()), context()), scene_frame(frame(squares()), context())
    write(texts, table, tmp_path / "plain.geojson")
    pipe = tmp_path / "pipe.geojson"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_bytes)
        write(texts, table, pipe)
        assert read.result() == (tmp_path / "plain.geojson").read_bytes()
    assert pipe.is_fifo()
    pipe.unlink()
    for ending in ("gpkg", "fgb", "parquet"):
        os.mkfifo(tmp_path / f"pipe.{ending}")
        with pytest.raises(OutputError, match="takes GeoJSON alone"):
            write(texts, table, tmp_path / f"pipe.{ending}")
        assert (tmp_path / f"pipe.{ending}").is_fifo()
    assert not (tmp_path / "pipe.qml").exists()


def test_a_pipe_whose_reader_goes_is_an_error_in_words(tmp_path):
    texts = [*features(frame(squares()), context())] * 2000
    pipe = tmp_path / "pipe.geojson"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: pipe.open("rb").close())
        with pytest.raises(OutputError, match=r"pipe\.geojson.*reader"):
            write(texts, scene_frame(frame(squares()), context()), pipe)
