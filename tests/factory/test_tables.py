"""Labels on the map as Shapefiles and CSV tables, and files that say no CRS or no class."""

from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely

from lanner.core.errors import DatasetError
from tests.factory.test_geo import NOSE, at, features, polygon
from tests.fixtures_readers import raster, read, whys

SQUARE = polygon((20, 10), (60, 10), (60, 50), (20, 50))
(LOW, HIGH), (X1, Y1) = at(20, 50), at(60, 10)
LONLAT = geopandas.GeoSeries([SQUARE], crs="EPSG:32633").to_crs("EPSG:4326").iloc[0]


def boxes(found) -> list[tuple[float, ...]]:
    return [tuple(round(v) for v in label.box) for label in found.samples[0].labels]


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326", "EPSG:3857"])
def test_shapefiles_in_any_crs(tmp_path, crs):
    raster(tmp_path / "a.tif")
    features(tmp_path / "a.shp", [polygon(*NOSE)], crs, cls=["plane"])
    found = read(tmp_path, format="geo", options={"field": "cls"}, classes={"plane": "aircraft"})
    assert boxes(found) == [(20, 10, 60, 50)]
    assert not found.skipped


@pytest.mark.parametrize(("crs", "name"), [("EPSG:32633", "UTM zone 33N"), ("EPSG:4326", "WGS 84")])
@pytest.mark.parametrize("options", [{}, {"labels": "a.shp"}])
def test_a_shapefile_without_prj_is_where_its_images_are_and_told(tmp_path, crs, name, options):
    raster(tmp_path / "a.tif")
    features(tmp_path / "a.shp", [SQUARE], crs, cls=["plane"])
    (tmp_path / "a.prj").unlink()
    found = read(tmp_path, format="geo", options=options)
    assert boxes(found) == [(20, 10, 60, 50)]
    [skip] = found.skipped
    assert skip.kind == "adjusted"
    assert "state no CRS (of a Shapefile its .prj does): taken as" in skip.why
    assert name in skip.why


def test_without_a_crs_in_the_wrong_place_it_is_told_which_was_taken(tmp_path):
    raster(tmp_path / "a.tif")
    far = shapely.transform(LONLAT, lambda xy: xy + 3)
    frame = geopandas.GeoDataFrame({"c": [1]}, geometry=[far])
    frame.to_file(tmp_path / "a.shp")
    with pytest.raises(DatasetError, match=r"fits no image.*states no CRS, so WGS 84.* was taken"):
        read(tmp_path, format="geo")


@pytest.mark.parametrize(
    ("gone", "options", "message"),
    [
        (".shx", {}, r"a.shp.*cannot be read.*put its .shx and .dbf beside it"),
        (".dbf", {"field": "cls"}, r"a.shp.*has no field cls"),
    ],
)
def test_parts_of_a_shapefile_that_are_gone(tmp_path, gone, options, message):
    raster(tmp_path / "a.tif")
    features(tmp_path / "a.shp", [SQUARE], cls=["plane"])
    (tmp_path / "a").with_suffix(gone).unlink()
    with pytest.raises(DatasetError, match=message):
        read(tmp_path, format="geo", options=options)


TABLES = {
    "wkt": f'id,WKT,cls\n1,"{SQUARE.wkt}",plane\n',
    "geometry": f"id;geometry;cls\n1;{SQUARE.wkt};plane\n",
    "degrees": f'wkt,cls\n"{LONLAT.wkt}",plane\n',
    "ewkt": f'geom,cls\n"SRID=4326;{LONLAT.wkt}",plane\n',
    "box": f"xmin,ymin,xmax,ymax,cls\n{LOW},{HIGH},{X1},{Y1},plane\n",
    "tabs": f"Min X\tMin_Y\tMax-X\tMaxY\tcls\n{LOW}\t{HIGH}\t{X1}\t{Y1}\tplane\n",
    "commas": f"left;bottom;right;top;cls\n{LOW};{HIGH};{X1};{Y1};plane\n".replace(".", ","),
    "west": "west,south,east,north,cls\n{},{},{},{},plane\n".format(*LONLAT.bounds),
    "lon": f"lon,lat,cls\n{LONLAT.centroid.x},{LONLAT.centroid.y},plane\n\n",
    "xy": f"\ufeffx,y,cls\n{(LOW + X1) / 2},{(HIGH + Y1) / 2},plane\n",
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("one", [True, False])
def test_tables_with_columns_that_say_where(tmp_path, name, one):
    raster(tmp_path / "a.tif")
    (tmp_path / ("all.csv" if one else "a.csv")).write_text(TABLES[name], encoding="utf-8")
    options = {"field": "cls", "point_m": 20, **({"labels": "all.csv"} if one else {})}
    found = read(tmp_path, format="geo", classes={"plane": "p"}, options=options)
    [label] = found.samples[0].labels
    # The sides of a square in degrees slant by some centimetres.
    assert np.allclose(label.box, (20, 10, 60, 50), atol=0.5)
    assert {skip.kind for skip in found.skipped} <= {"adjusted"}
    assert bool(found.skipped) == (name not in ("ewkt", "lon"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"is empty; give a table with columns wkt"),
        ("foo,bar\n1,2\n", r"has no column that says where labels are, only foo, bar; name colum"),
        ("image_path,xmin,ymin,xmax,ymax,label\na.tif,20,10,60,50,plane\n", r"boxes in pixels"),
        ("wkt\nSRID=4326;POINT (1 2)\nSRID=32633;POINT (1 2)\n", r"rows of EPSG:32633, EPSG:4326"),
        ("wkt,wkt2\n" + '"' + "x" * 200_000 + '"\n', r"is no CSV \(field larger than"),
    ],
)
def test_tables_that_are_none(tmp_path, text, message):
    raster(tmp_path / "a.tif")
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read(tmp_path, format="geo")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (f"{LOW},{HIGH},oops,{Y1}", "oops"),
        (f"{X1},{HIGH},{LOW},{Y1}", "xmin or ymin is above xmax or ymax"),
        (f"{LOW},{HIGH}", "could not convert"),
    ],
)
def test_an_image_with_a_row_that_cannot_be_read_is_left_out(tmp_path, row, message):
    for name in "ab":
        raster(tmp_path / f"{name}.tif")
        more = f"{row}\n" if name == "b" else ""
        good = f"{LOW},{HIGH},{X1},{Y1}"
        (tmp_path / f"{name}.csv").write_text(f"xmin,ymin,xmax,ymax\n{good}\n{more}")
    found = read(tmp_path, format="geo")
    assert [one.id for one in found.samples] == ["s/a"]
    [skip] = [one for one in found.skipped if one.kind == "unreadable_labels"]
    assert skip.what == "b.csv"
    assert skip.why.startswith("row 2 is malformed (")
    assert message in skip.why
    assert skip.why.endswith("so b.tif is left out")
    # Of one table for all nobody knows which image such a row is of.
    both = read(tmp_path, format="geo", options={"labels": "b.csv"})
    assert len(both.samples) == 2
    assert "b.csv rows: 1 (row 2 is malformed" in whys(both)


def test_a_table_without_rows_says_that_there_is_nothing(tmp_path):
    for name in "ab":
        raster(tmp_path / f"{name}.tif")
    (tmp_path / "a.csv").write_text(TABLES["wkt"])
    (tmp_path / "b.csv").write_text("id,wkt,cls\n")
    found = read(tmp_path, format="geo", options={"field": "cls"})
    assert [(one.role, len(one.labels)) for one in found.samples] == [
        ("labelled", 1), ("labelled", 0),
    ]  # fmt: skip


def test_tables_count_only_where_there_is_nothing_else(tmp_path):
    raster(tmp_path / "a.tif")
    features(tmp_path / "a.geojson", [SQUARE], "EPSG:4326")
    (tmp_path / "a.csv").write_text("camera,altitude\nx,300\n")
    (tmp_path / "flight.csv").write_text("camera,altitude\nx,300\n")
    assert not read(tmp_path, format="geo").skipped
    for role in ("negative", "unlabelled"):
        (tmp_path / "a.geojson").unlink(missing_ok=True)
        assert len(read(tmp_path, format="geo", role=role).samples) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("labels.shp", r"'labels.shp': is called like no image.*options: {labels: labels.shp}"),
        ("labels.csv", r"'labels.csv': is called like no image.*options: {labels: labels.csv}"),
        ("a.kml", r"'a.kml': is of no format that is read.*ogr2ogr a.gpkg a.kml"),
    ],
)
def test_labels_that_are_there_and_not_read_are_named(tmp_path, name, message):
    raster(tmp_path / "a.tif")
    if name.endswith(".shp"):
        features(tmp_path / name, [SQUARE])
    else:
        (tmp_path / name).write_text("x")
    with pytest.raises(DatasetError, match=message):
        read(tmp_path, format="geo")


def test_a_folder_is_no_vector_file(tmp_path):
    raster(tmp_path / "a.tif")
    (tmp_path / "labels.gdb").mkdir()
    with pytest.raises(DatasetError, match=r"is a folder; give a file in options.labels"):
        read(tmp_path, format="geo", options={"labels": "labels.gdb"})


def test_a_feature_without_a_class_is_not_taught_as_background(tmp_path: Path):
    raster(tmp_path / "a.tif")
    other = polygon((2, 2), (9, 2), (9, 9))
    features(tmp_path / "a.geojson", [SQUARE, other], cls=["plane", None])
    found = read(tmp_path, format="geo", classes={"plane": "p"}, options={"field": "cls"})
    named, unnamed = found.samples[0].labels
    assert (named.weight, named.flags) == (1, ())
    assert (unnamed.label, unnamed.weight, unnamed.flags) == ("p", 0, ("unnamed",))
    assert np.allclose(unnamed.box, (2, 2, 9, 9))
    assert "1 (2): have no cls: not learned from" in whys(found)
