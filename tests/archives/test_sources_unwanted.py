"""Which scenes are not wanted: places around the Earth, whole days, cloud."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import geopandas as gpd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.affinity import translate

from lanner.archives.scenes import SceneFilter
from lanner.archives.sources import check_filter, unwanted
from lanner.archives.sources.extents import bounds_of, boxes, width
from lanner.archives.sources.times import LAST, period
from lanner.cli.archive_options import scene_filter
from lanner.core.errors import ConfigError

LONGITUDES = st.integers(-180, 180).map(float)
LATITUDES = st.integers(-90, 90).map(float)


@st.composite
def some_bounds(draw) -> tuple[float, float, float, float]:
    south, north = sorted((draw(LATITUDES), draw(LATITUDES)))
    return draw(LONGITUDES), south, draw(LONGITUDES), north


def meridians(bounds: tuple[float, float, float, float]) -> set[int]:
    """Every whole degree from west to east, as one number around the Earth."""
    west, _, east, _ = map(int, bounds)
    last = east if east >= west else east + 360
    return {degree % 360 for degree in range(west, last + 1)}


def together(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Counted degree by degree: bounds of whole degrees touch where they share one."""
    high = one[1] <= other[3] and other[1] <= one[3]
    return high and bool(meridians(one) & meridians(other))


@given(some_bounds(), some_bounds())
def test_bounds_touch_as_they_do_on_a_globe(asked, scene):
    chosen = SceneFilter(bounds=asked)
    assert (unwanted(chosen, bounds=scene) is None) == together(asked, scene)


def outline(bounds: tuple[float, float, float, float]) -> shapely.Geometry:
    """A scene's footprint as RFC 7946 has it: cut at the antimeridian."""
    return shapely.union_all([shapely.make_valid(shapely.box(*one)) for one in boxes(bounds)])


@given(some_bounds(), some_bounds())
def test_footprints_touch_bounds_and_areas_as_bounds_do(asked, scene):
    expected = together(asked, scene)
    footprint = outline(scene)
    west, south, _, north = asked
    unsplit = shapely.box(west, south, west + width(asked), north)
    for chosen in (
        SceneFilter(bounds=asked),
        SceneFilter(area=shapely.make_valid(unsplit)),
        SceneFilter(area=translate(shapely.make_valid(unsplit), -360)),
        SceneFilter(area=outline(asked)),
    ):
        assert (unwanted(chosen, bounds=scene, footprint=footprint) is None) == expected
        assert (unwanted(chosen, footprint=footprint) is None) == expected
        assert (unwanted(chosen, bounds=scene) is None) == expected


def test_a_footprint_that_nobody_cut_at_the_antimeridian():
    scene = (178.0, -18.0, -178.0, -16.0)
    ring = [(178, -18), (-178, -18), (-178, -16), (178, -16)]
    footprint = shapely.Polygon(ring)
    for west, east, found in ((179.0, 179.5, True), (-179.0, -178.5, True), (0.0, 10.0, False)):
        chosen = SceneFilter(area=shapely.box(west, -17, east, -16.5))
        assert (unwanted(chosen, bounds=scene, footprint=footprint) is None) == found


def test_a_footprint_counts_for_more_than_its_bounds():
    footprint = shapely.Polygon([(0, 0), (10, 0), (0, 10)])
    chosen = SceneFilter(bounds=(8.0, 8.0, 9.0, 9.0))
    assert unwanted(chosen, bounds=(0, 0, 10, 10)) is None
    assert unwanted(chosen, bounds=(0, 0, 10, 10), footprint=footprint) is not None


def test_a_footprint_that_crosses_itself_is_mended():
    footprint = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    assert unwanted(SceneFilter(area=shapely.box(8, 4, 10, 6)), footprint=footprint) is None


@pytest.mark.parametrize(
    ("start", "end", "acquired", "wanted"),
    [
        ("2024-05-01", "2024-05-31", "2024-05-31T23:59:59.9Z", True),
        ("2024-05-01", "2024-05-31", "2024-06-01T00:00:00Z", False),
        ("2024-05-01", "2024-05-31", "2024-05-01T00:00:00Z", True),
        ("2024-05-01", "2024-05-31", "2024-04-30T23:59:59Z", False),
        ("2024-05-01", None, "2024-05-01T01:00:00+02:00", False),
        (None, "2024-04-30", "2024-05-01T01:00:00+02:00", True),
        ("2024-05-01T12:00", None, "2024-05-01", True),
        ("2024-05-01T12:00:00Z", "2024-05-01T12:00:00Z", "2024-05-01T12:00:00Z", True),
        ("2024-05", "2024-05", "2024-05-31 10:00:00", True),
        ("2024", "2024", "2025-01-01", False),
        ("2024-05-10", "2024-05-12", "2024-05-01T00:00:00Z/2024-05-10T00:00:00Z", True),
        ("2024-05-10", "2024-05-12", "2024-05-13/..", False),
        ("2024-05-10", "9999-12-31", "2024-06-30T23:59:60Z", True),
        ("2024-05-10", None, "sometime", True),
        ("2024-05-10", None, None, True),
    ],
)
def test_days_are_whole(start, end, acquired, wanted):
    assert (unwanted(SceneFilter(start=start, end=end), acquired=acquired) is None) == wanted


@given(st.datetimes(timezones=st.just(UTC)), st.timedeltas(timedelta(0), timedelta(days=400)))
def test_a_moment_is_wanted_from_its_own_day_to_its_own_day(moment, more):
    day = moment.date().isoformat()
    assert unwanted(SceneFilter(start=day, end=day), acquired=moment.isoformat()) is None
    try:
        later = moment + timedelta(days=1) + more
    except OverflowError:
        return
    assert unwanted(SceneFilter(end=day), acquired=later.isoformat()) is not None


def test_the_last_moment_there_is_has_no_end_beyond_it():
    assert period("9999-12-31") == (datetime(9999, 12, 31, tzinfo=UTC), LAST)


@pytest.mark.parametrize(
    ("cloud", "most", "wanted"), [(20.0, 20.0, True), (20.1, 20.0, False), (None, 0.0, True)]
)
def test_cloud(cloud, most, wanted):
    assert (unwanted(SceneFilter(cloud=most), cloud=cloud) is None) == wanted


def test_what_is_not_known_is_left_to_others():
    chosen = SceneFilter(
        bounds=(0, 0, 1, 1), area=shapely.box(0, 0, 1, 1), start="2024", end="2025", cloud=0.0
    )
    assert unwanted(chosen) is None
    assert unwanted(SceneFilter(), bounds=(5, 5, 6, 6), acquired="2024", cloud=99.0) is None


@pytest.mark.parametrize(
    ("chosen", "argument"),
    [
        (SceneFilter(start="yesterday"), "start"),
        (SceneFilter(end="2024-13-01"), "end"),
        (SceneFilter(start="2024-06-01", end="2024-05-01"), "end"),
        (SceneFilter(bounds=(0, 5, 1, 4)), "bounds"),
        (SceneFilter(bounds=(0, 0, 400, 4)), "bounds"),
        (SceneFilter(bounds=(0, 0, float("nan"), 4)), "bounds"),
        (SceneFilter(area=shapely.Polygon()), "area"),
        (SceneFilter(area=shapely.box(691_000, 5_334_000, 692_000, 5_335_000)), "area"),
        (SceneFilter(area=shapely.box(11, 48, 12, 91)), "area"),
        (SceneFilter(area=shapely.box(11, 48, float("inf"), 49)), "area"),
        (SceneFilter(cloud=101.0), "cloud"),
    ],
)
def test_what_no_scene_could_be_is_refused(chosen, argument):
    with pytest.raises(ConfigError) as error:
        check_filter(chosen)
    assert error.value.argument == argument


METRES, DEGREES = shapely.box(691_000, 5_334_000, 692_000, 5_335_000), shapely.box(11, 48, 12, 49)


@pytest.mark.parametrize(
    ("name", "shape", "crs", "taken"),
    [
        ("x.geojson", DEGREES, "EPSG:4326", True),
        ("x.gpkg", METRES, "EPSG:32632", True),
        ("x.geojson", METRES, None, False),  # a reader takes it for degrees
        ("x.gpkg", METRES, "EPSG:4326", False),
        ("x.shp", DEGREES, None, False),
        ("x.csv", None, None, False),
        ("x.geojson", shapely.Polygon(), None, False),
    ],
)
def test_a_file_of_an_area_says_where_it_is_or_is_refused(tmp_path, name, shape, crs, taken):
    path = tmp_path / name
    if shape is None:
        path.write_text("a,b\n1,2\n")
    elif path.suffix == ".geojson":
        geometry = shapely.geometry.mapping(shape)
        feature = {"type": "Feature", "properties": {}, "geometry": geometry}
        path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    else:
        gpd.GeoSeries([shape], crs=crs).to_file(path)

    def area():
        chosen = scene_filter(None, path, None, None, None, None, None)
        check_filter(chosen)
        return chosen.area

    if taken:
        assert area().intersects(shapely.box(11, 48, 12, 49))
        return
    with pytest.raises(ConfigError) as error:
        area()
    assert error.value.argument in ("area", "--area")
    assert error.value.remedy


@pytest.mark.parametrize(
    "numbers", [None, "0,0,1,1", [0, 0, 1], [0, 0, 1, None], [0, 2, 1, 1], [0, 0, 1, float("inf")]]
)
def test_what_are_no_bounds(numbers):
    assert bounds_of(numbers) is None


def test_bounds_with_heights():
    assert bounds_of([1, 2, -5, 3, 4, 100]) == (1.0, 2.0, 3.0, 4.0)
