"""Vector labels on rasters: any CRS, cuts at borders, and what cannot be true."""

import json
from pathlib import Path

import geopandas
import numpy as np
import pandas
import pyogrio
import pytest
import shapely
from affine import Affine
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lanner.core.errors import DatasetError
from lanner.factory.readers.geometry import shapes
from tests.fixtures_readers import LEFT, RES, TOP, H, W, raster, read, whys
from tiling.place import Place


def at(x: float, y: float, left: float = LEFT) -> tuple[float, float]:
    """UTM coordinates of a pixel of the first raster."""
    return left + x * RES, TOP - y * RES


def polygon(*pixels: tuple[float, float]) -> shapely.Polygon:
    return shapely.Polygon([at(*one) for one in pixels])


NOSE = ((40.0, 10.0), (20.0, 30.0), (40.0, 50.0), (60.0, 30.0))


def features(path: Path, geometries: list, crs: str | None = "EPSG:32633", **columns) -> None:
    frame = geopandas.GeoDataFrame(columns, geometry=geometries, crs="EPSG:32633")
    frame = frame if crs is None else frame.to_crs(crs)
    if crs is None:
        frame = frame.set_crs(None, allow_override=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_file(path, engine="pyogrio")


@pytest.mark.parametrize("name", ["a.geojson", "a.gpkg", "a.fgb"])
@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326", "EPSG:3857", "EPSG:32632"])
def test_labels_in_any_crs_fall_on_the_same_pixels(tmp_path, name, crs):
    raster(tmp_path / "a.tif")
    features(tmp_path / name, [polygon(*NOSE)], crs, cls=["plane"], icao=["B738"])
    found = read(
        tmp_path, format="geo", classes={"plane": "aircraft"},
        options={"field": "cls", "kind_field": "icao"},
    )  # fmt: skip
    (label,) = found.samples[0].labels
    assert (label.label, label.kind) == ("aircraft", "B738")
    assert np.allclose(label.polygon, NOSE, atol=0.02)
    assert np.allclose(label.box, (20, 10, 60, 50), atol=0.02)
    assert found.samples[0].gsd == pytest.approx(RES, rel=2e-3)
    assert found.samples[0].place == pytest.approx((15.0, 45.15), abs=0.01)


def test_one_file_for_all_images_lines_points_and_cuts(tmp_path):
    raster(tmp_path / "a.tif")
    raster(tmp_path / "b.tif", left=LEFT + W * RES)
    line = shapely.LineString([at(60, 30), at(120, 30)])
    far = polygon((900, 900), (910, 900), (910, 910))
    both = polygon((70, 5), (110, 5), (110, 15), (70, 15))
    point = shapely.Point(at(40, 30))
    features(tmp_path / "all.gpkg", [line, far, both, point, None])
    options = {"labels": "all.gpkg", "point_m": 6, "least": 0.5}
    found = read(tmp_path, format="geo", options=options)
    left, right = found.samples
    assert left.labels[0].line == ((60, 30), (80, 30))
    assert right.labels[0].line == ((0, 30), (40, 30))
    assert left.labels[1].box == (70, 5, 80, 15)
    assert right.labels[1].box == (0, 5, 30, 15)
    assert (left.labels[1].weight, right.labels[1].weight) == (0, 1)
    assert left.labels[1].flags == ("cut",)
    assert np.allclose(left.labels[2].box, (34, 24, 46, 36), atol=0.01)
    assert "1 (2): lie outside every image" in whys(found)
    assert "1 (5): have no geometry" in whys(found)


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857"])
def test_a_raster_over_the_antimeridian_has_the_labels_of_both_sides(tmp_path, crs):
    # 20 of its 80 columns are west of it.
    res = 5e-6 if crs == "EPSG:4326" else 0.5
    edge = 180.0 if crs == "EPSG:4326" else 20037508.342789244
    top = 10.0 if crs == "EPSG:4326" else 1_118_889.97
    raster(tmp_path / "a.tif", left=edge - 20 * res, top=top, crs=crs, res=res)

    def box(x0, y0, x1, y1, turn=0.0):
        xs = [edge + (x - 20) * res - turn for x in (x0, x1)]
        return shapely.box(xs[0], top - y1 * res, xs[1], top - y0 * res)

    def line(x0, x1, y, turn=0.0):
        return shapely.LineString([(edge + (x - 20) * res - turn, top - y * res) for x in (x0, x1)])

    there = 2 * edge
    shape = [
        shapely.MultiPolygon([box(10, 10, 20, 20), box(20, 10, 40, 20, there)]),
        box(50, 30, 60, 40, there),
        shapely.MultiLineString([line(5, 20, 50), line(20, 70, 50, there)]),
    ]
    frame = geopandas.GeoDataFrame({"c": ["x"] * 3}, geometry=shape, crs=crs)
    frame.to_crs("EPSG:4326").to_file(tmp_path / "a.gpkg")
    found = read(tmp_path, format="geo")
    boxes = [one.box for one in found.samples[0].labels]
    assert np.allclose(boxes, [(10, 10, 40, 20), (50, 30, 60, 40), (5, 50, 70, 50)], atol=0.01)
    assert all(one.flags == () for one in found.samples[0].labels)
    assert not found.skipped


def test_tables_without_geometries_are_no_layers(tmp_path):
    raster(tmp_path / "a.tif")
    features(tmp_path / "a.gpkg", [polygon(*NOSE)], cls=["plane"])
    styles = pandas.DataFrame({"f_table_name": ["a"], "styleQML": ["<qgis/>"]})
    pyogrio.write_dataframe(styles, tmp_path / "a.gpkg", layer="layer_styles", append=True)
    assert len(pyogrio.list_layers(tmp_path / "a.gpkg")) == 2
    assert len(read(tmp_path, format="geo").samples[0].labels) == 1
    more = geopandas.GeoDataFrame(geometry=[polygon(*NOSE)], crs="EPSG:32633")
    more.to_file(tmp_path / "a.gpkg", layer="more", engine="pyogrio")
    with pytest.raises(DatasetError, match="has 2 layers"):
        read(tmp_path, format="geo")
    found = read(tmp_path, format="geo", options={"layer": "more"})
    assert len(found.samples[0].labels) == 1


def test_labels_that_fit_no_image_and_crs_that_cannot_be(tmp_path):
    raster(tmp_path / "a.tif")
    square = polygon(*NOSE)
    away = shapely.transform(square, lambda xy: xy + 50_000)
    facts = {"format": "geo", "options": {"labels": "l.geojson"}}
    features(tmp_path / "l.geojson", [away], "EPSG:4326")
    with pytest.raises(DatasetError, match="fits no image"):
        read(tmp_path, **facts)
    bare = {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(square)}
    (tmp_path / "l.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "features": [bare]})
    )
    with pytest.raises(DatasetError, match="in degrees, but its coordinates reach"):
        read(tmp_path, **facts)
    degrees = geopandas.GeoSeries([square], crs="EPSG:32633").to_crs("EPSG:4326")
    lying = geopandas.GeoDataFrame(geometry=degrees).set_crs("EPSG:32633", allow_override=True)
    lying.to_file(tmp_path / "l.gpkg")
    with pytest.raises(DatasetError, match="look like degrees"):
        read(tmp_path, format="geo", options={"labels": "l.gpkg"})


def test_labels_without_crs_take_the_one_of_the_images_or_are_mixed(tmp_path):
    raster(tmp_path / "a.tif")
    features(tmp_path / "l.gpkg", [polygon(*NOSE)], None)
    facts = {"format": "geo", "options": {"labels": "l.gpkg"}}
    assert read(tmp_path, **facts).samples[0].labels[0].polygon == NOSE
    raster(tmp_path / "b.tif", crs="EPSG:32632")
    with pytest.raises(DatasetError, match=r"mixed CRS.*32N.*33N"):
        read(tmp_path, **facts)


def test_unplaced_rasters_fields_and_lost_files(tmp_path):
    raster(tmp_path / "a.tif")
    raster(tmp_path / "b.tif", crs=None)
    raster(tmp_path / "c.tif")
    features(tmp_path / "a.geojson", [polygon(*NOSE), polygon(*NOSE)], cls=["plane", None])
    features(tmp_path / "z.geojson", [polygon(*NOSE)], cls=["plane"])
    found = read(tmp_path, format="geo", options={"field": "cls"})
    assert [(one.id, one.role) for one in found.samples] == [
        ("s/a", "labelled"), ("s/c", "unlabelled"),
    ]  # fmt: skip
    for part in ("b.tif: cannot be placed", "z.geojson", "c.tif: has no label", "(2): have no cls"):
        assert part in whys(found), part
    with pytest.raises(DatasetError, match="did you mean 'cls'"):
        read(tmp_path, format="geo", options={"field": "clss"})


def test_an_image_without_objects_has_no_columns(tmp_path):
    raster(tmp_path / "a.tif")
    raster(tmp_path / "b.tif")
    features(tmp_path / "a.geojson", [polygon(*NOSE)], cls=["plane"])
    (tmp_path / "b.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    found = read(tmp_path, format="geo", options={"field": "cls"})
    assert [(one.role, len(one.labels)) for one in found.samples] == [
        ("labelled", 1), ("labelled", 0),
    ]  # fmt: skip


def test_rasters_of_one_name_are_recorded_where_labels_go_by_it(tmp_path):
    raster(tmp_path / "a.tif")
    raster(tmp_path / "a.tiff")
    features(tmp_path / "a.geojson", [polygon(*NOSE)])
    found = read(tmp_path, format="geo")
    assert [one.image.name for one in found.samples] == ["a.tiff"]
    assert "a.tif: is called like a.tiff, which is read" in whys(found)
    both = read(tmp_path, format="geo", options={"labels": "a.geojson"})
    assert [one.image.name for one in both.samples] == ["a.tif", "a.tiff"]


def test_other_formats_of_vectors_are_not_opened(tmp_path):
    raster(tmp_path / "a.tif")
    features(tmp_path / "real.gpkg", [polygon(*NOSE)])
    (tmp_path / "l.geojson").write_text(
        '<OGRVRTDataSource><OGRVRTLayer name="real"><SrcDataSource>'
        f"{tmp_path}/real.gpkg</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>"
    )
    with pytest.raises(DatasetError, match=r"l\.geojson.*(is OGR_VRT|cannot be read)"):
        read(tmp_path, format="geo", options={"labels": "l.geojson"})


# GEOS itself fails on some shapes whose corners are less than 1e-200 apart.
COORDINATE = st.floats(-60, 140, allow_nan=False).map(lambda value: round(value, 9))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(COORDINATE, COORDINATE), min_size=3, max_size=6, unique=True))
@example([(0.0, 2.0), (82.0, 1.0), (0.0, 0.0), (81.0, 1.0), (0.0, 2.161155594599227e-30)])
@example([(0.0, 0.0), (0.0, 1.0), (0.0, 2.0)])
@example([(0.0, 61.0), (1.0, -1.0), (0.0, 1e-9), (0.0, 0.0), (1.0, 0.0)])
def test_shapes_stay_on_the_image_and_lose_no_area_there(points):
    ring = shapely.Polygon(points)
    frame = shapely.box(0, 0, W, H)
    inside = shapely.make_valid(ring).intersection(frame)
    areas = [part for part in getattr(inside, "geoms", [inside]) if "Polygon" in part.geom_type]
    want = shapely.GeometryCollection(areas)
    found = list(shapes(1, ring, (W, H), (5, 5)))
    whole = frame.covers(shapely.MultiPoint(points))
    assert len(found) == (whole or want.area > 0)
    for shape in found:
        x0, y0, x1, y1 = shape.box
        assert (x0, y0) >= (0, 0) and x0 >= 0 and y0 >= 0 and x1 <= W and y1 <= H
        if "cut" in shape.flags:
            assert np.allclose(shape.box, want.bounds, atol=1e-5)
            assert shape.inside == pytest.approx(want.area / shapely.make_valid(ring).area)
        else:
            assert np.allclose(shape.polygon, points, atol=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.floats(-3.1, 3.1), st.floats(0.1, 5), st.tuples(st.floats(5, 75), st.floats(5, 55)))
def test_pixels_of_a_turned_raster_come_back(angle, res, pixel):
    cos, sin = res * np.cos(angle), res * np.sin(angle)
    place = Place(Affine(cos, sin, LEFT, sin, -cos, TOP), None, (res, res))
    east = LEFT + cos * pixel[0] + sin * pixel[1]
    north = TOP + sin * pixel[0] - cos * pixel[1]
    moved = shapely.transform(shapely.Point(east, north), place.from_crs)
    (shape,) = shapes(1, moved, (W, H), (2, 3))
    want = (pixel[0] - 2, pixel[1] - 3, pixel[0] + 2, pixel[1] + 3)
    assert np.allclose(shape.box, want, atol=1e-4)
