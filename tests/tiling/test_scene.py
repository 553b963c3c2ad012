"""What is let in as a scene, what it is called, and what is refused."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp as Ci

from lanner.core.errors import BandError, GsdError, SceneError
from tiling.grid import Box
from tiling.sample import GridSampler
from tiling.scene import open_scene

RGB = ("red", "green", "blue")
TRANSFORM = Affine(0.5, 0, 5e5, 0, -0.5, 5e6)


def write(
    path: Path,
    count: int = 3,
    dtype: str = "uint16",
    side: int = 16,
    driver: str = "GTiff",
    descriptions: tuple[str, ...] = (),
    interp: tuple[Ci, ...] = (),
    tags: dict[str, str] | None = None,
    **more: object,
) -> Path:
    values = np.arange(1, count + 1)[:, None, None] * 10
    rng = np.random.default_rng(0)
    pixels = (values + rng.integers(0, 9, (count, side, side))).astype(dtype)
    profile = {"crs": "EPSG:32633", "transform": TRANSFORM} | more
    with rasterio.open(
        path, "w", driver=driver, width=side, height=side, count=count, dtype=dtype, **profile
    ) as file:
        if interp:
            file.colorinterp = interp
        file.write(pixels)
        if descriptions:
            file.descriptions = descriptions
        if tags:
            file.update_tags(**tags)
    return path


@pytest.mark.parametrize(
    ("more", "names", "indices"),
    [
        ({"count": 3, "dtype": "uint8"}, RGB, (1, 2, 3)),
        ({"count": 3}, RGB, (1, 2, 3)),
        ({"count": 4}, (*RGB, "band4"), (1, 2, 3)),
        ({"count": 4, "dtype": "uint8", "photometric": "rgb", "alpha": "yes"}, RGB, (1, 2, 3)),
        (
            {"count": 4, "descriptions": ("Blue", "Green", "Red", "NIR")},
            ("blue", "green", "red", "nir"),
            (3, 2, 1),
        ),
        (
            {"count": 4, "descriptions": ("B02", "B03", "B04", "B08")},
            ("blue", "green", "red", "nir"),
            (3, 2, 1),
        ),
        ({"count": 3, "descriptions": ("Band 1", "Band 2", "Band 3")}, RGB, (1, 2, 3)),
        (
            {"count": 4, "descriptions": ("red band", "b2 (green)", "BLUE", "swir1")},
            (*RGB, "swir1"),
            (1, 2, 3),
        ),
        (
            {"count": 4, "descriptions": ("Band 2 (Blue)", "B3 - Green", "Band4_Red", "B5: NIR")},
            ("blue", "green", "red", "nir"),
            (3, 2, 1),
        ),
        (
            {
                "count": 4,
                "descriptions": tuple(f"B{n}, central wavelength {n}00 nm" for n in (8, 4, 3, 2)),
                "interp": (Ci.nir, Ci.red, Ci.green, Ci.blue),
            },
            ("nir", *RGB),
            (2, 3, 4),
        ),
        ({"count": 4, "interp": (Ci.nir, Ci.red, Ci.green, Ci.blue)}, ("nir", *RGB), (2, 3, 4)),
        *(
            (
                {"count": len(words), "descriptions": words},
                ("nir", "blue", "green", "red"),
                (4, 3, 2),
            )
            for words in (
                ("Nahes Infrarot", "Blau", "Grün", "Rot"),
                ("Kanal 4 - NIR", "blauer Kanal", "GRUEN", "Kanal 1: Rot"),
                ("proche infrarouge", "bleu", "bande verte", "Rouge"),
                ("PIR", "Bande 3 (bleu)", "vert", "canal rouge"),
                ("infrarrojo cercano", "azul", "verde", "rojo"),
                ("Infrarosso vicino", "Banda 3 blu", "verde", "rosso"),
                ("infravermelho próximo", "azul", "verde", "vermelho"),
                ("nabij-infrarood", "blauw", "groen", "rood"),
                ("bliska podczerwień", "niebieski", "zielony", "kanał czerwony"),
                ("ortho_2021_NIR", "ortho_2021_B", "ortho_2021_G", "ortho_2021_R"),
                ("dop.nir", "dop.blau", "dop.gruen", "dop.rot"),
            )
        ),
        # What is not known gives way to the colour interpretation, unless that is plainly wrong.
        (
            {
                "count": 3,
                "dtype": "uint8",
                "photometric": "rgb",
                "descriptions": ("Kanał A", "ortho_2021_x", "Ebene"),
            },
            RGB,
            (1, 2, 3),
        ),
        (
            {
                "count": 4,
                "descriptions": ("first", "second", "third", "fourth"),
                "interp": (Ci.blue, Ci.green, Ci.red, Ci.nir),
            },
            ("blue", "green", "red", "nir"),
            (3, 2, 1),
        ),
        (
            {
                "count": 3,
                "dtype": "uint8",
                "photometric": "rgb",
                "descriptions": ("x_B", "x_G", "x_R"),
            },
            ("blue", "green", "red"),
            (3, 2, 1),
        ),
        (
            {"count": 3, "dtype": "uint8", "photometric": "rgb", "descriptions": ("nir", "", "")},
            ("nir", "green", "blue"),
            None,
        ),
        (
            {"count": 3, "dtype": "uint8", "photometric": "rgb", "descriptions": ("nir", "r", "x")},
            ("nir", "red", "x"),
            None,
        ),
        ({"count": 3, "descriptions": ("Kanal 1", "Bande 2", "warstwa 3")}, RGB, (1, 2, 3)),
        ({"count": 2, "descriptions": ("ndvi_r", "slope_g")}, ("ndvi r", "slope g"), None),
        ({"count": 1, "descriptions": ("ortho_2021_R",)}, ("ortho 2021 r",), (1, 1, 1)),
        ({"count": 1, "descriptions": ("Graustufen",)}, ("gray",), (1, 1, 1)),
        ({"count": 1}, ("gray",), (1, 1, 1)),
        ({"count": 1, "descriptions": ("Panchromatic",)}, ("gray",), (1, 1, 1)),
        ({"count": 4, "descriptions": (*RGB, "Alpha")}, RGB, (1, 2, 3)),
        ({"count": 2, "interp": (Ci.gray, Ci.alpha), "alpha": "yes"}, ("gray",), (1, 1, 1)),
    ],
    ids=lambda value: "",
)
def test_bands_are_found_by_name(
    tmp_path: Path,
    more: dict[str, object],
    names: tuple[str, ...],
    indices: tuple[int, ...] | None,
) -> None:
    """And the detector's are among them, or it says which are not."""
    scene = open_scene(write(tmp_path / "a.tif", **more))
    assert scene.bands == names
    if indices is not None:
        assert scene.band_indices(RGB) == indices
    else:
        with pytest.raises(BandError):
            scene.band_indices(RGB)


@pytest.mark.parametrize(
    ("more", "wanted", "words"),
    [
        ({"count": 2}, RGB, "no red, green, blue band, only band1, band2"),
        ({"count": 3}, (*RGB, "nir"), "no nir band, only red, green, blue"),
        ({"count": 1}, ("nir",), "no nir band, only gray"),
        ({"count": 3, "descriptions": ("vh", "vv", "ratio")}, RGB, "only vh, vv, ratio"),
    ],
)
def test_a_missing_band_is_named_with_those_found(
    tmp_path: Path, more: dict[str, object], wanted: tuple[str, ...], words: str
) -> None:
    with pytest.raises(BandError, match=words):
        open_scene(write(tmp_path / "a.tif", **more)).band_indices(wanted)


def test_bands_of_one_name_stay_apart(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", count=3, descriptions=("red", "Red", "R"))
    assert open_scene(path).bands == ("red", "red2", "red3")


@pytest.mark.parametrize(
    ("driver", "name", "dtype", "more"),
    [
        ("GTiff", "a.tif", "uint8", {}),
        ("GTiff", "a.tif", "float32", {"tiled": True, "blockxsize": 16, "blockysize": 16}),
        ("COG", "a.tif", "uint16", {}),
        ("JP2OpenJPEG", "a.jp2", "uint16", {"QUALITY": 100, "REVERSIBLE": "YES"}),
        ("PNG", "a.png", "uint8", {"worldfile": "yes"}),
        ("JPEG", "a.jpg", "uint8", {"worldfile": "yes"}),
        ("HFA", "a.img", "float32", {}),
        (
            "NITF",
            "a.ntf",
            "uint8",
            {"crs": "EPSG:4326", "ICORDS": "G", "transform": Affine(1e-5, 0, 10, 0, -1e-5, 50)},
        ),
    ],
)
def test_formats_that_are_let_in(
    tmp_path: Path, driver: str, name: str, dtype: str, more: dict[str, object]
) -> None:
    scene = open_scene(write(tmp_path / name, driver=driver, dtype=dtype, side=64, **more), gsd=0.5)
    assert (scene.width, scene.height, scene.dtype) == (64, 64, dtype)
    assert scene.id == "a" and scene.gsd == (0.5, 0.5)
    with GridSampler(scene, scene.grid(0.5), RGB) as sampler:
        raw, valid = sampler.read(Box(0, 0, 64, 64))
    assert valid.all()
    np.testing.assert_allclose(raw.mean(axis=(1, 2)), [14, 24, 34], atol=1.5)


def test_a_vrt_is_refused_with_the_reason(tmp_path: Path) -> None:
    source = write(tmp_path / "a.tif")
    rasterio.shutil.copy(source, tmp_path / "a.vrt", driver="VRT")
    for name in ("a.vrt", "pretends.tif"):
        if name != "a.vrt":
            shutil.copy(tmp_path / "a.vrt", tmp_path / name)
        with pytest.raises(SceneError, match=r"is a VRT, which can read other files.*gdal_trans"):
            open_scene(tmp_path / name)


def test_an_overview_that_is_another_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif")
    with rasterio.open(path, "r+") as file:
        file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE="/etc/secret.vrt")
    with pytest.raises(SceneError, match="another file as its overviews"):
        open_scene(path)


@pytest.mark.parametrize(
    "uri",
    [
        "nothing.tif",
        "/vsizip//tmp/a.zip/a.tif",
        "GTIFF_DIR:1:a.tif",
        "vrt://a.tif?bands=1",
        "ftp://host/a.tif",
        "/vsicurl/http://host/a.tif",
        "<VRTDataset/>",
        "",
    ],
)
def test_other_ways_into_gdal_are_shut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    write(tmp_path / "a.tif")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SceneError, match=r"does not exist|is a folder"):
        open_scene(uri)
    assert open_scene("a.tif").uri == "a.tif"


def test_file_names_that_look_like_something_else(tmp_path: Path) -> None:
    for name in ("vrt:a.tif", "a b#c?d&e.tif", "a!b.tif", "zip+x.tif", "ünïcode.tif"):
        shutil.copy(write(tmp_path / "plain.tif"), tmp_path / name)
        assert open_scene(tmp_path / name).id == Path(name).stem


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is an empty file"),
        (b"hello, this is no raster", "cannot be opened as a raster"),
        (b"II*\0\x08\0\0\0", "cannot be opened as a raster"),
        (b"\x89PNG\r\n\x1a\n", "cannot be"),
    ],
)
def test_what_is_no_raster(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(SceneError, match=rf"a\.tif.*{words}"):
        open_scene(tmp_path / "a.tif")


def test_a_name_that_gdal_does_not_open(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif").rename(tmp_path / os.fsdecode(b"flugh\xe4fen.tif"))
    with pytest.raises(SceneError, match="no valid Unicode; rename it"):
        open_scene(path)


def test_band_descriptions_that_are_no_utf8(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", descriptions=("grXXXn", "rot", "blau"))
    path.write_bytes(path.read_bytes().replace(b"grXXXn", "grün".encode("latin-1").ljust(6)))
    with pytest.raises(BandError, match=r"a\.tif has band descriptions that are no UTF-8"):
        open_scene(path)


def test_a_crs_whose_name_is_no_utf8(tmp_path: Path) -> None:
    wkt = CRS.from_string("+proj=tmerc +lon_0=11.3 +ellps=GRS80").to_wkt()
    path = write(tmp_path / "a.tif", crs=CRS.from_wkt(wkt.replace('"unknown"', '"MXXXnchen"', 1)))
    name = "München".encode("latin-1").ljust(9)
    path.write_bytes(path.read_bytes().replace(b"MXXXnchen", name))
    with pytest.raises(SceneError, match=r"a\.tif.*CRS in bytes that are no UTF-8.*-a_srs"):
        open_scene(path)


def test_folders_palettes_and_complex_numbers(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="is a folder"):
        open_scene(tmp_path)
    with pytest.raises(SceneError, match=r"complex64 pixels"):
        open_scene(write(tmp_path / "c.tif", dtype="complex64"))
    radar = tmp_path / "radar.tif"
    profile = {"driver": "GTiff", "width": 16, "height": 16, "count": 1, "dtype": "complex_int16"}
    with rasterio.open(radar, "w", crs="EPSG:32633", transform=TRANSFORM, **profile) as file:
        file.write(np.ones((1, 16, 16), np.complex64))
    with pytest.raises(SceneError, match=r"complex_int16 pixels; give real numbers"):
        open_scene(radar)
    path = write(tmp_path / "p.tif", count=2, dtype="uint8", interp=(Ci.palette, Ci.gray))
    with pytest.raises(SceneError, match=r"palette.*-expand rgb"):
        open_scene(path)


@pytest.mark.parametrize(
    ("driver", "name", "dtype", "more"),
    [
        ("GTiff", "a.tif", "uint16", {}),
        ("GTiff", "a.tif", "uint16", {"compress": "deflate", "tiled": True}),
        ("GTiff", "a.tif", "uint8", {"compress": "jpeg", "photometric": "ycbcr"}),
        ("COG", "a.tif", "uint16", {}),
        ("PNG", "a.png", "uint8", {}),
        ("JPEG", "a.jpg", "uint8", {}),
        ("JP2OpenJPEG", "a.jp2", "uint16", {}),
        ("HFA", "a.img", "uint16", {}),
    ],
)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_cut_file_is_an_error_and_never_zeros(
    tmp_path: Path, driver: str, name: str, dtype: str, more: dict[str, object], share: float
) -> None:
    path = write(tmp_path / name, driver=driver, dtype=dtype, side=600, **more)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(SceneError, match=rf"{name}.*"):
        scene = open_scene(path, gsd=1)
        with GridSampler(scene, scene.grid(1.0), RGB) as sampler:
            sampler.read(Box(0, 0, 600, 600))


def test_the_error_names_the_pixels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", side=600, compress="deflate", tiled=True)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    scene = open_scene(path, gsd=1)
    with (
        GridSampler(scene, scene.grid(1.0), RGB) as sampler,
        pytest.raises(SceneError, match=r"at pixels x 500\.\.600, y 550\.\.600 .*fetch it again"),
    ):
        sampler.read(Box(500, 550, 700, 700))


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"TIFFTAG_DATETIME": "2021:06:30 10:11:12"}, "2021-06-30T10:11:12"),
        ({"ACQUISITIONDATETIME": "2020-01-02T03:04:05.678Z"}, "2020-01-02T03:04:05Z"),
        (
            {
                "ACQUISITIONDATETIME": "2020-01-02 03:04:05",
                "TIFFTAG_DATETIME": "2021:06:30 10:11:12",
            },
            "2020-01-02T03:04:05",
        ),
        ({"acquired": "20200102"}, "2020-01-02"),
        ({"acquired": "2020-01-02T03:04:05+02:00"}, "2020-01-02T03:04:05+02:00"),
        ({"acquired": "2020-01-02 03:04:05.5-0330"}, "2020-01-02T03:04:05-03:30"),
        ({"acquired": "2020-01-00"}, None),
        ({"acquired": "2020-01-02 25:61:00"}, "2020-01-02"),
        (
            {"acquired": "2020-13-02", "TIFFTAG_DATETIME": "2021:06:30 23:59:60"},
            "2021-06-30T23:59:60",
        ),
        ({"TIFFTAG_DATETIME": "0000:00:00 00:00:00"}, None),
        ({}, None),
    ],
)
def test_when_it_was_acquired(tmp_path: Path, tags: dict[str, str], expected: str | None) -> None:
    assert open_scene(write(tmp_path / "a.tif", tags=tags)).acquired == expected


def test_the_checksum_is_that_of_the_content(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif")
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert open_scene(path).sha256() == expected
    shutil.copy(path, tmp_path / "b.tif")
    assert open_scene(tmp_path / "b.tif").sha256() == expected
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as file:
        file.write_mask(np.eye(16, dtype=bool))
    assert (tmp_path / "a.tif.msk").exists()
    assert open_scene(path).sha256() not in (
        expected,
        hashlib.sha256(path.read_bytes()).hexdigest(),
    )


def test_a_file_of_several_images_is_told(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.tif"), write(tmp_path / "b.tif", side=20)
    with rasterio.open(second) as file:
        rasterio.shutil.copy(file, first, driver="GTiff", APPEND_SUBDATASET="YES")
    with rasterio.open(first) as file:
        assert len(file.subdatasets) == 2
    scene = open_scene(first)
    assert scene.width == 16
    assert len(scene.notes) == 1 and "2 images" in scene.notes[0] and "first" in scene.notes[0]
    # Overviews and masks are no images of their own.
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(second, "r+") as file:
        file.write_mask(np.eye(20, dtype=bool))
        file.build_overviews([2])
    assert open_scene(second).notes == ()


def test_a_scene_is_a_value(tmp_path: Path) -> None:
    scene = open_scene(write(tmp_path / "a.tif"))
    with scene as same:
        assert same is scene
    assert pickle.loads(pickle.dumps(scene)) == scene == open_scene(tmp_path / "a.tif")
    assert len({scene, open_scene(tmp_path / "a.tif")}) == 1
    with pytest.raises(GsdError, match="above 0"):
        scene.grid(0)


def test_a_scene_that_went_away(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif")
    scene = open_scene(path)
    path.unlink()
    with pytest.raises(SceneError, match="does not exist"):
        scene.sha256()
