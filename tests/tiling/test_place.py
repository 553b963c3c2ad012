"""Where pixels lie: known targets, ground sampling, and places that are refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC

from lanner.core.errors import GsdError, PlaceError
from tiling.place import Place
from tiling.scene import open_scene

WIDTH, HEIGHT = 60, 40
WGS84 = pyproj.Geod(ellps="WGS84")
UTM = pyproj.Transformer.from_crs("OGC:CRS84", "EPSG:32633", always_xy=True)
MOON = (
    'GEOGCS["Moon 2000",DATUM["D_Moon_2000",SPHEROID["Moon_2000_IAU_IAG",1737400,0]],'
    'PRIMEM["Greenwich",0],UNIT["Decimal_Degree",0.0174532925199433]]'
)
LOCAL = 'LOCAL_CS["plant grid",UNIT["metre",1]]'


def write(
    path: Path,
    transform: Affine | None,
    crs: str | None = "EPSG:32633",
    size: tuple[int, int] = (WIDTH, HEIGHT),
    tags: dict[str, str] | None = None,
    **more: object,
) -> Path:
    width, height = size
    profile = {"driver": "GTiff", "width": width, "height": height, "count": 1, "dtype": "uint8"}
    profile |= {k: v for k, v in (("crs", crs), ("transform", transform)) if v is not None}
    with rasterio.open(path, "w", **profile, **more) as file:
        file.write(np.ones((1, height, width), np.uint8))
        file.update_tags(**(tags or {}))
    return path


def turned(degrees: float, size: float) -> Affine:
    """An affine whose pixel (20, 10) corner is at 500100, 5000100, turned about it."""
    c, s = size * math.cos(math.radians(degrees)), size * math.sin(math.radians(degrees))
    a, b, d, e = c, s, s, -c
    return Affine(a, b, 500100 - 20 * a - 10 * b, d, e, 5000100 - 20 * d - 10 * e)


@pytest.mark.parametrize(
    "affine",
    [
        turned(0, 0.5),
        turned(30, 0.5),
        turned(-117, 2.0),
        Affine(0.5, 0, 500090, 0, 0.5, 5000095),
    ],
    ids=["north-up", "turned", "turned far", "south-up"],
)
@pytest.mark.parametrize("point", [False, True], ids=["area", "point"])
def test_a_known_target_is_where_it_is(tmp_path: Path, affine: Affine, point: bool) -> None:
    """Pixel corner (20, 10) is 500100, 5000100 however the file writes it down."""
    tags = {"AREA_OR_POINT": "Point"} if point else {}
    place = open_scene(write(tmp_path / "a.tif", affine, tags=tags)).place
    np.testing.assert_allclose(place.to_crs([(20, 10)]), [(500100, 5000100)], atol=1e-6)
    inverse = UTM.transform(500100, 5000100, direction="INVERSE")
    np.testing.assert_allclose(place.to_lonlat([(20, 10)])[0], inverse, atol=1e-12)
    np.testing.assert_allclose(place.from_lonlat([inverse]), [(20, 10)], atol=1e-3)
    # A second target, 30 m true east by geodesic, whichever way the pixels run.
    lon, lat, _ = WGS84.fwd(*inverse, 90, 30)
    east = place.from_lonlat([(lon, lat)])
    assert place.distance_m([(20, 10)], east)[0] == pytest.approx(30, abs=1e-6)
    assert place.azimuth_deg([(20, 10)], east)[0] == pytest.approx(90, abs=1e-6)


def test_pixel_is_point_as_the_standard_writes_it(tmp_path: Path) -> None:
    """GeoTIFF 1.1: with PixelIsPoint the tie point is a pixel's centre.

    The tag is turned in the file's own bytes, so that no writer can make up for it.
    """
    path = write(tmp_path / "area.tif", Affine(2, 0, 500000, 0, -2, 5000000))
    data = path.read_bytes()
    # Keys 1024 (model type: projected) and 1025 (raster type), each one short in place.
    keys = b"\x00\x04\x00\x00\x01\x00\x01\x00" + b"\x01\x04\x00\x00\x01\x00"
    area, as_point = keys + b"\x01\x00", keys + b"\x02\x00"
    assert area in data
    (tmp_path / "point.tif").write_bytes(data.replace(area, as_point))
    place = open_scene(tmp_path / "point.tif").place
    np.testing.assert_allclose(place.to_crs([(0.5, 0.5)]), [(500000, 5000000)], atol=1e-9)


@pytest.mark.parametrize(
    ("crs", "affine", "x", "y"),
    [
        # Web Mercator stretches by 1 / cos(latitude), and by the ellipsoid's shape.
        ("EPSG:3857", Affine(1, 0, 0, 0, -1, 8399737.889818355), 0.5, 0.5),
        ("EPSG:4326", Affine(1e-5, 0, 10, 0, -1e-5, 60), 0.5578, 1.1141),
        ("EPSG:32633", Affine(0.3, 0, 5e5, 0, -0.3, 5e6), 0.30012, 0.30012),
        ("EPSG:2263", Affine(1, 0, 985000, 0, -1, 200000), 0.3048, 0.3048),  # US survey feet
    ],
)
def test_ground_sampling_is_on_the_ground(
    tmp_path: Path, crs: str, affine: Affine, x: float, y: float
) -> None:
    gsd = open_scene(write(tmp_path / "a.tif", affine, crs)).gsd
    assert gsd == pytest.approx((x, y), rel=5e-3)
    # And to the millimetre by another road: half way along, corner to corner.
    place = open_scene(tmp_path / "a.tif").place
    lonlat = place.to_lonlat([(0, HEIGHT / 2), (WIDTH, HEIGHT / 2)])
    assert WGS84.line_length(*lonlat.T) == pytest.approx(gsd[0] * WIDTH, rel=1e-6)


def test_a_grid_pixel_is_square_on_the_ground(tmp_path: Path) -> None:
    scene = open_scene(write(tmp_path / "a.tif", Affine(1e-5, 0, 10, 0, -1e-5, 60), "EPSG:4326"))
    grid = scene.grid(2.0)
    corners = grid.to_scene(np.array([(5, 5), (6, 5), (5, 6)]))
    assert scene.place.distance_m(corners[:1], corners[1:2])[0] == pytest.approx(2, rel=1e-5)
    assert scene.place.distance_m(corners[:1], corners[2:])[0] == pytest.approx(2, rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-170, 170),
    st.floats(-80, 80),
    st.floats(0, 360),
    st.floats(0.1, 30),
    st.integers(-5000, 5000),
    st.integers(-5000, 5000),
)
def test_there_and_back(lon: float, lat: float, angle: float, size: float, x: int, y: int) -> None:
    zone = f"EPSG:{326 if lat >= 0 else 327}{int((lon + 180) // 6) + 1:02d}"
    easting, northing = pyproj.Transformer.from_crs("OGC:CRS84", zone, always_xy=True).transform(
        lon, lat
    )
    base = turned(angle, size)
    affine = Affine(base.a, base.b, easting, base.d, base.e, northing)
    place = Place(affine, pyproj.CRS(zone), (size, size))
    back = place.from_lonlat(place.to_lonlat([(x, y)]))
    np.testing.assert_allclose(back, [(x, y)], atol=2e-3)
    np.testing.assert_allclose(place.from_crs(place.to_crs([(x, y)])), [(x, y)], atol=1e-5)
    assert -180 <= place.to_lonlat([(x, y)])[0, 0] <= 180
    assert 0 <= place.azimuth_deg([(0, 0)], [(x, y)])[0] < 360


def test_over_the_antimeridian(tmp_path: Path) -> None:
    scene = open_scene(
        write(tmp_path / "a.tif", Affine(1e-4, 0, 180 - 30e-4, 0, -1e-4, -17), "EPSG:4326")
    )
    west, east = scene.place.to_lonlat([(0, 20), (60, 20)])
    assert west[0] == pytest.approx(179.997) and east[0] == pytest.approx(-179.997)
    metres = scene.place.distance_m([(0, 20)], [(60, 20)])[0]
    assert metres == pytest.approx(60 * scene.gsd[0], rel=1e-9)
    np.testing.assert_allclose(scene.place.length_m([(0, 20), (30, 20), (60, 20)]), metres)


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-540, 540),
    st.floats(0, 360),
    st.booleans(),
    st.lists(st.tuples(st.floats(0, 40_000), st.floats(0, 40_000)), min_size=1, max_size=5),
)
@pytest.mark.parametrize(("crs", "unit"), [("EPSG:4326", 1e-5), ("EPSG:4807", 1e-5 / 0.9)])
def test_there_and_back_over_the_antimeridian(
    crs: str,
    unit: float,
    lon: float,
    angle: float,
    mirrored: bool,
    points: list[tuple[float, float]],
) -> None:
    """Longitudes that go on past 180, whichever way, and grads."""
    base = turned(angle, unit) @ Affine.scale(-1 if mirrored else 1, 1)
    affine = Affine(base.a, base.b, lon / 1e-5 * unit, base.d, base.e, 10)
    place = Place(affine, pyproj.CRS(crs), (1.1, 1.1))
    back = place.from_lonlat(place.to_lonlat(points))
    np.testing.assert_allclose(back, points, atol=1e-2)


def test_without_a_crs_the_caller_gives_the_sampling(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", None, None)
    with pytest.raises(PlaceError, match=r"a\.tif.*no affine.*`gsd`"):
        open_scene(path)
    place = open_scene(path, gsd=0.5).place
    assert place.crs is None and place.gsd == (0.5, 0.5)
    assert place.length_m([(0, 0), (3, 4), (3, 4)]) == pytest.approx(2.5)
    assert place.length_m([(1, 1)]) == place.length_m([]) == 0
    assert place.azimuth_deg([(0, 0)] * 4, [(0, -1), (1, 0), (0, 1), (-1, -1e-20)]).tolist() == [
        0,
        90,
        180,
        270,
    ]
    for call in (place.to_lonlat, place.from_lonlat):
        with pytest.raises(PlaceError, match=r"CRS.*gdal_edit\.py -a_srs"):
            call([(0, 0)])


@pytest.mark.parametrize(
    ("crs", "affine"),
    [
        ("EPSG:32633", turned(30, 0.5)),
        ("EPSG:4326", Affine(1e-5, 0, 10, 0, -1e-5, 60)),  # 0.56 m by 1.11
        ("EPSG:3857", Affine(1, 0, 0, 0, -1, 8399737.9)),
    ],
)
def test_a_given_sampling_overrules_the_metres_of_a_crs(
    tmp_path: Path, crs: str, affine: Affine
) -> None:
    """One scale for all that is measured; coordinates and directions are the file's."""
    path = write(tmp_path / "a.tif", affine, crs)
    own, given = open_scene(path).place, open_scene(path, gsd=0.7).place
    line = [(0, 0), (30, 40), (30, 0)]
    assert given.length_m(line) == pytest.approx(0.7 * 90)
    assert given.distance_m(line[:1], line[1:2])[0] == pytest.approx(0.7 * 50)
    grid = open_scene(path, gsd=0.7).grid(1.4)
    on_grid = grid.to_scene(np.array([(5, 5), (6, 5)]))
    assert given.distance_m(on_grid[:1], on_grid[1:])[0] == pytest.approx(1.4)
    np.testing.assert_array_equal(given.to_lonlat(line), own.to_lonlat(line))
    ways = [place.azimuth_deg(line[:-1], line[1:]) for place in (own, given)]
    np.testing.assert_array_equal(*ways)


@pytest.mark.parametrize(("gsd", "metres"), [(0.5, 50.02), (0.504, 50.02), (0.506, 50.6)])
def test_a_sampling_that_was_rounded_leaves_metres_geodesic(
    tmp_path: Path, gsd: float, metres: float
) -> None:
    """On UTM's central meridian 0.5 m of the map are 0.5002 m of ground."""
    place = open_scene(write(tmp_path / "a.tif", turned(0, 0.5)), gsd=gsd).place
    assert place.gsd == (gsd, gsd)
    assert place.length_m([(0, 0), (100, 0)]) == pytest.approx(metres, abs=2e-3)


@pytest.mark.parametrize("gsd", [0, -1, math.nan, math.inf])
def test_a_sampling_that_is_none(tmp_path: Path, gsd: float) -> None:
    path = write(tmp_path / "a.tif", None, None)
    with pytest.raises(GsdError, match="above 0"):
        open_scene(path, gsd=gsd)


@pytest.mark.parametrize(
    ("affine", "crs", "words"),
    [
        (Affine(1, 0, 5e5, 0, -1, 5e6), None, "no CRS"),
        (None, "EPSG:32633", "no affine"),
        (Affine(1, 1, 5e5, 1, 1, 5e6), "EPSG:32633", "degenerate"),
        (Affine(1, 0, 5e5, 0, 0, 5e6), "EPSG:32633", "degenerate"),
        (Affine(1, 0.5, 5e5, 0, -1, 5e6), "EPSG:32633", "right angle"),
        (Affine(1, 0, 5e5, 0, -1, 5e6), LOCAL, "Engineering CRS"),
        (Affine(1, 0, 5e5, 0, -1, 5e6), "EPSG:4326", "cannot hold the scene's coordinates"),
        (Affine(1, 0, 5e5, 0, -1, 5e6), "EPSG:4978", "Geocentric CRS"),
    ],
)
def test_what_has_no_place_is_refused_with_a_remedy(
    tmp_path: Path, affine: Affine | None, crs: str | None, words: str
) -> None:
    path = write(tmp_path / "a.tif", affine, crs)
    with pytest.raises(PlaceError, match=words) as caught:
        open_scene(path)
    assert "gdal" in caught.value.remedy
    assert open_scene(path, gsd=2).place.crs is None


@pytest.mark.parametrize("gsd", [None, 1.0])
def test_another_planet_is_refused_whatever_is_given(tmp_path: Path, gsd: float | None) -> None:
    path = write(tmp_path / "a.tif", Affine(1e-5, 0, 10, 0, -1e-5, 20), MOON)
    with pytest.raises(PlaceError, match=r"another world.*1737 km"):
        open_scene(path, gsd=gsd)


def gcps(bend: float) -> list[GroundControlPoint]:
    return [
        GroundControlPoint(
            row,
            col,
            5e5 + 2 * col + 0.3 * row + bend * (col == row == 0),
            5e6 - 2 * row + 0.3 * col,
        )
        for row in (0, 20, 40)
        for col in (0, 30, 60)
    ]


def test_gcps_that_an_affine_fits_place_a_scene(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", None, "EPSG:32633", gcps=gcps(0.5))
    place = open_scene(path).place
    assert place.crs is not None and place.crs.to_epsg() == 32633
    np.testing.assert_allclose(place.to_crs([(30, 20)]), [(5e5 + 66, 5e6 - 31)], atol=0.2)


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (gcps(9.0), r"off by 2\.\d pixels"),
        (gcps(0)[:2], "2 GCPs in no triangle"),
        (gcps(0)[:3], "in no triangle"),
    ],
)
def test_gcps_that_no_affine_fits_are_refused(
    tmp_path: Path, points: list[GroundControlPoint], words: str
) -> None:
    path = write(tmp_path / "a.tif", None, "EPSG:32633", gcps=points)
    with pytest.raises(PlaceError, match=words + ".*gdalwarp -tps"):
        open_scene(path)
    assert open_scene(path, gsd=1).place.crs is None


def test_rpcs_only_are_refused(tmp_path: Path) -> None:
    rpcs = RPC(
        height_off=100,
        height_scale=500,
        lat_off=60,
        lat_scale=0.1,
        long_off=10,
        long_scale=0.1,
        line_off=20,
        line_scale=20,
        samp_off=30,
        samp_scale=30,
        line_num_coeff=[0.0] * 20,
        line_den_coeff=[1.0] + [0.0] * 19,
        samp_num_coeff=[0.0] * 20,
        samp_den_coeff=[1.0] + [0.0] * 19,
    )
    path = write(tmp_path / "a.tif", None, None, rpcs=rpcs)
    with pytest.raises(PlaceError, match="gdalwarp -rpc"):
        open_scene(path)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
def test_the_smallest_scenes_have_a_ground_sampling(tmp_path: Path, size: tuple[int, int]) -> None:
    scene = open_scene(write(tmp_path / "a.tif", turned(10, 0.5), size=size))
    assert scene.gsd == pytest.approx((0.5, 0.5), rel=1e-3)
    assert scene.grid(0.7).width == math.ceil(size[0] / scene.grid(0.7).scale[0])


def test_compound_and_three_dimensional_crs_are_taken_flat(tmp_path: Path) -> None:
    for code in ("EPSG:7405", "EPSG:4979"):
        affine = (
            Affine(1e-5, 0, 10, 0, -1e-5, 60)
            if code == "EPSG:4979"
            else Affine(1, 0, 4e5, 0, -1, 3e5)
        )
        crs = open_scene(write(tmp_path / f"{code[5:]}.tif", affine, code)).place.crs
        assert crs is not None and len(crs.axis_info) == 2
