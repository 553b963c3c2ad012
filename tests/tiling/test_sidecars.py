"""What lies beside a scene or is named in it opens no other file, and true sidecars work."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.enums import Resampling

from lanner.core.errors import LannerError, SceneError
from tiling.access import opened
from tiling.grid import Box
from tiling.sample import GridSampler
from tiling.scene import open_scene

RGB = ("red", "green", "blue")
PLACE = {"crs": "EPSG:32633", "transform": Affine(1, 0, 5e5, 0, -1, 5e6)}
SECRET = 201
"""The value of every byte of the secret; no scene here has it."""


def write(path: Path, driver: str = "GTiff", value: int = 60, side: int = 128, **more: object):
    rng = np.random.default_rng(4)
    pixels = (value + rng.integers(0, 40, (1, side, side))).astype(np.uint8)
    profile = {"width": side, "height": side, "count": 1, "dtype": "uint8", **PLACE, **more}
    with rasterio.open(path, "w", driver=driver, **profile) as file:
        file.write(pixels)
    return path


def raw_vrt(secret: Path, side: int = 64) -> str:
    """A VRT whose pixels are the bytes of any file."""
    return (
        f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}"><Metadata>'
        '<MDI key="INTERNAL_MASK_FLAGS_1">2</MDI></Metadata><VRTRasterBand dataType="Byte" '
        'band="1" subClass="VRTRawRasterBand"><SourceFilename relativeToVRT="0">'
        f"{secret}</SourceFilename><ImageOffset>0</ImageOffset><PixelOffset>1</PixelOffset>"
        f"<LineOffset>{side}</LineOffset></VRTRasterBand></VRTDataset>"
    )


def pam(target: str, key: str = "OVERVIEW_FILE") -> str:
    return (
        f'<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="{key}">{target}</MDI></Metadata>'
        "</PAMDataset>"
    )


class Secret:
    """A file of another folder that tells whether it was read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir()
        path.write_bytes(bytes([SECRET]) * (1 << 16))
        self.forget()
        path.read_bytes()
        if not self.was_read:
            pytest.skip("this file system keeps no access times")
        self.forget()

    def forget(self) -> None:
        """As if it had never been read: older than its last change, which counts under relatime."""
        now = self.path.stat().st_mtime_ns
        os.utime(self.path, ns=(now - 10**12, now))
        self._before = self.path.stat().st_atime_ns

    @property
    def was_read(self) -> bool:
        return self.path.stat().st_atime_ns != self._before


@pytest.fixture
def secret(tmp_path: Path) -> Secret:
    return Secret(tmp_path / "elsewhere" / "secret.bin")


def overviews_as_vrt(folder: Path, secret: Path, ending: str, driver: str, name: str) -> Path:
    path = write(folder / name, driver, **({"crs": None} if driver == "NITF" else {}))
    path.with_name(path.name + ending).write_text(raw_vrt(secret))
    return path


def named_in_pam(folder: Path, secret: Path, key: str, base: str) -> Path:
    path = write(folder / "x.tif")
    hidden = folder if base else secret.parent
    (hidden / "other.vrt").write_text(raw_vrt(secret))
    path.with_name("x.tif.aux.xml").write_text(pam(base or str(hidden / "other.vrt"), key))
    return path


def named_in_tiff(folder: Path, secret: Path) -> Path:
    path = write(folder / "x.tif")
    other = secret.parent / "other.vrt"
    other.write_text(raw_vrt(secret))
    with rasterio.open(path, "r+") as file:
        file.update_tags(ns="OVERVIEWS", overview_file=str(other))
    return path


def with_overviews(path: Path) -> Path:
    """Overviews in `.ovr`, of a base that is not changed."""
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(path, "r+") as file:
        file.build_overviews([2], Resampling.average)
    assert path.with_name(path.name + ".ovr").exists()
    return path


def overviews_of_overviews(folder: Path, secret: Path, by: str) -> Path:
    path = with_overviews(write(folder / "x.tif", side=256))
    if by == "vrt":
        (folder / "x.tif.ovr.ovr").write_text(raw_vrt(secret))
    elif by == "pam":
        (secret.parent / "other.vrt").write_text(raw_vrt(secret))
        (folder / "x.tif.ovr.aux.xml").write_text(pam(str(secret.parent / "other.vrt")))
    else:
        (secret.parent / "other.vrt").write_text(raw_vrt(secret))
        with rasterio.open(folder / "x.tif.ovr", "r+") as file:
            file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=str(secret.parent / "other.vrt"))
    return path


def mask_as_vrt(folder: Path, secret: Path, ending: str) -> Path:
    path = write(folder / "x.tif")
    path.with_name(path.name + ending).write_text(raw_vrt(secret, 128))
    return path


def overviews_of_a_mask(folder: Path, secret: Path) -> Path:
    path = write(folder / "x.tif")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as file:
        file.write_mask(np.ones((128, 128), bool))
    with_overviews(path)
    (folder / "x.tif.msk.ovr").write_text(raw_vrt(secret))
    return path


def linked(folder: Path, secret: Path, ending: str) -> Path:
    path = with_overviews(write(folder / "x.tif", side=256))
    whole = (folder / "x.tif.ovr").read_bytes()
    (folder / "x.tif.ovr").unlink()
    secret.write_bytes(whole if ending == ".ovr" else pam("none").encode())
    (folder / f"x.tif{ending}").symlink_to(secret)
    return path


def spilled(folder: Path, secret: Path) -> Path:
    """An Imagine file whose pixels are in a file that it names."""
    name = "x" * 60
    path = write(folder / f"{name}.img", "HFA", USE_SPILL="YES")
    spill = folder / f"{name}.ige"
    data = spill.read_bytes()
    secret.write_bytes(data[:-4096] + bytes([SECRET]) * 4096)
    spill.unlink()
    target = f"../{secret.parent.name}/{secret.name}".encode()
    written = path.read_bytes()
    assert written.count(spill.name.encode()) == 1
    path.write_bytes(written.replace(spill.name.encode(), target.ljust(len(spill.name), b"\0")))
    return path


TRAPS: dict[str, Callable[[Path, Path], Path]] = {
    "overviews": lambda f, s: overviews_as_vrt(f, s, ".ovr", "GTiff", "x.tif"),
    "overviews, capitals": lambda f, s: overviews_as_vrt(f, s, ".OVR", "GTiff", "x.tif"),
    "overviews of a JPEG 2000": lambda f, s: overviews_as_vrt(f, s, ".ovr", "JP2OpenJPEG", "x.jp2"),
    "overviews of a PNG": lambda f, s: overviews_as_vrt(f, s, ".ovr", "PNG", "x.png"),
    "overviews of a JPEG": lambda f, s: overviews_as_vrt(f, s, ".ovr", "JPEG", "x.jpg"),
    "overviews of an Imagine": lambda f, s: overviews_as_vrt(f, s, ".ovr", "HFA", "x.img"),
    "overviews of a NITF": lambda f, s: overviews_as_vrt(f, s, ".ovr", "NITF", "x.ntf"),
    "reduced sets of a NITF": lambda f, s: overviews_as_vrt(f, s, ".r1", "NITF", "x.ntf"),
    "mask": lambda f, s: mask_as_vrt(f, s, ".msk"),
    "mask, capitals": lambda f, s: mask_as_vrt(f, s, ".MSK"),
    "overviews of a mask": overviews_of_a_mask,
    "named in .aux.xml": lambda f, s: named_in_pam(f, s, "OVERVIEW_FILE", ""),
    "named in .aux.xml, small letters": lambda f, s: named_in_pam(f, s, "overview_file", ""),
    "named beside": lambda f, s: named_in_pam(f, s, "OVERVIEW_FILE", ":::BASE:::other.vrt"),
    "named in the file": named_in_tiff,
    "overviews of overviews": lambda f, s: overviews_of_overviews(f, s, "vrt"),
    "named beside overviews": lambda f, s: overviews_of_overviews(f, s, "pam"),
    "named in overviews": lambda f, s: overviews_of_overviews(f, s, "tag"),
    "overviews behind a link": lambda f, s: linked(f, s, ".ovr"),
    ".aux.xml behind a link": lambda f, s: linked(f, s, ".aux.xml"),
    "spill file of an Imagine": spilled,
}


def read_plainly(path: Path) -> None:
    """All that GDAL gives of a raster."""
    with rasterio.open(path) as file:
        with suppress(ZeroDivisionError):
            for level in range(len(file.overviews(1))):
                with rasterio.open(path, overview_level=level) as overview:
                    overview.read()
                    overview.read_masks(1)
        file.read()
        file.read_masks(1)


def read_by_us(path: Path) -> list[np.ndarray]:
    """The same through the only door there is."""
    scene = open_scene(path, gsd=1.0)
    arrays = []
    for gsd in (1.0, 5.0, 9.0):
        grid = scene.grid(gsd)
        with GridSampler(scene, grid, RGB) as sampler:
            arrays += sampler.read(Box(0, 0, grid.width, grid.height))
    scene.sha256()
    for level in range(3):
        with suppress(LannerError), opened(str(path), level) as dataset:
            arrays.append(dataset.read())
    return arrays


@pytest.mark.parametrize("kind", TRAPS)
def test_no_other_file_is_read(tmp_path: Path, secret: Secret, kind: str) -> None:
    folder = tmp_path / "scenes"
    folder.mkdir()
    path = TRAPS[kind](folder, secret.path)
    secret.forget()
    with suppress(rasterio.errors.RasterioError):
        read_plainly(path)
    assert secret.was_read  # so the trap is one
    secret.forget()
    with pytest.raises(SceneError) as caught:
        read_by_us(path)
    assert not secret.was_read
    assert (
        path.name in str(caught.value) and str(tmp_path / "elsewhere") not in caught.value.problem
    )
    for level in range(2):
        with suppress(LannerError), opened(str(path), level) as dataset:
            assert SECRET not in dataset.read()
            assert SECRET not in dataset.read_masks(1)
    assert not secret.was_read


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("ending", [".msk", ".ovr", ".aux.xml", ".tfw"])
def test_a_pipe_beside_a_scene_is_not_waited_for(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / "x.tif")
    os.mkfifo(path.with_name(("x" if ending == ".tfw" else "x.tif") + ending))
    with at_most(30), pytest.raises(SceneError, match=r"is no regular file"):
        read_by_us(path)


@pytest.mark.parametrize("ending", [".ovr", ".msk"])
@pytest.mark.parametrize("content", [b"", b"hello", b"II*\0\x08\0\0\0"])
def test_a_damaged_sidecar_is_named(tmp_path: Path, ending: str, content: bytes) -> None:
    path = write(tmp_path / "x.tif")
    path.with_name(f"x.tif{ending}").write_bytes(content)
    with pytest.raises(SceneError, match=rf"x\.tif{ending}.* GeoTIFF") as caught:
        open_scene(path)
    assert "remove it" in caught.value.remedy


def test_other_files_of_the_folder_are_left_alone(tmp_path: Path, secret: Secret) -> None:
    path = write(tmp_path / "x.tif")
    for name in ("y.tif.ovr", "xx.tif.msk", "x.tif.txt.ovr", "x.vrt", "x.ovr", "x.msk"):
        (tmp_path / name).write_text(raw_vrt(secret.path))
    (tmp_path / "x_2.tif").symlink_to(secret.path)
    read_by_us(path)
    assert not secret.was_read


def test_a_folder_of_very_many_files(tmp_path: Path, secret: Secret) -> None:
    """GDAL lists no more than a thousand and tries the names that it knows."""
    path = write(tmp_path / "x.tif")
    for number in range(1100):
        (tmp_path / f"{number:04}.txt").touch()
    read_by_us(path)
    for name in ("x.tif.ovr", "x.tif.OVR", "x.tif.msk", "x.tif.MSK"):
        (tmp_path / name).write_text(raw_vrt(secret.path))
        with pytest.raises(SceneError, match=re.escape(name)):
            open_scene(path)
        (tmp_path / name).unlink()
    assert not secret.was_read


def reduced(path: Path) -> np.ndarray:
    scene = open_scene(path, gsd=1.0)
    grid = scene.grid(8.0)
    with GridSampler(scene, grid, RGB) as sampler:
        return sampler.read(Box(0, 0, grid.width, grid.height))[0]


def test_overviews_beside_the_scene_are_used(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tif", side=512)
    before = reduced(path)
    assert open_scene(path).overviews == ()
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4], Resampling.average)
    assert open_scene(path).overviews == (2, 4)
    after = reduced(path)
    assert not np.array_equal(after, before)
    np.testing.assert_allclose(after, before, atol=2)


@pytest.mark.parametrize("ending", [".msk", ".MSK"])
def test_a_mask_beside_the_scene_is_used(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / "x.tif")
    mask = np.zeros((128, 128), bool)
    mask[:50] = True
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as file:
        file.write_mask(mask)
    (tmp_path / "x.tif.msk").rename(tmp_path / f"x.tif{ending}")
    scene = open_scene(path, gsd=1.0)
    with GridSampler(scene, scene.grid(1.0), RGB) as sampler:
        np.testing.assert_array_equal(sampler.read(Box(0, 0, 128, 128))[1], mask)


def test_what_a_gis_writes_beside_a_scene_is_used(tmp_path: Path) -> None:
    path = write(tmp_path / "x.png", "PNG", crs=None, transform=Affine.identity())
    (tmp_path / "x.pgw").write_text("0.5\n0\n0\n-0.5\n500000.25\n4999999.75\n")
    with rasterio.open(path) as file:
        wkt = rasterio.CRS.from_epsg(32633).to_wkt().replace('"', "&quot;")
        assert file.transform.a == 0.5
    (tmp_path / "x.png.aux.xml").write_text(
        f"<PAMDataset><SRS>{wkt}</SRS><PAMRasterBand band='1'><NoDataValue>61</NoDataValue>"
        "<Metadata><MDI key='STATISTICS_MAXIMUM'>99</MDI></Metadata></PAMRasterBand></PAMDataset>"
    )
    scene = open_scene(path)
    assert scene.place.crs is not None and scene.place.crs.to_epsg() == 32633
    assert scene.gsd == pytest.approx((0.5, 0.5), rel=1e-3)
    with GridSampler(scene, scene.grid(scene.gsd[0]), RGB) as sampler:
        raw, valid = sampler.read(Box(0, 0, 128, 128))
    assert 0 < (~valid).sum() < 1000 and raw[0][valid].min() == 60


def test_an_imagine_file_with_its_own_files(tmp_path: Path) -> None:
    path = write(tmp_path / "x.img", "HFA", side=512, USE_SPILL="YES")
    assert (tmp_path / "x.ige").exists()
    before = reduced(path)
    with rasterio.Env(HFA_USE_RRD=True), rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4], Resampling.average)
    assert (tmp_path / "x.rrd").exists() and open_scene(path).overviews == (2, 4)
    np.testing.assert_allclose(reduced(path), before, atol=2)
    # A GeoTIFF's, too, may be in an Imagine file.
    other = write(tmp_path / "y.tif", side=512)
    with rasterio.Env(USE_RRD=True), rasterio.open(other, "r+") as file:
        file.build_overviews([2, 4], Resampling.average)
    assert (tmp_path / "y.aux").exists() and open_scene(other).overviews == (2, 4)
    np.testing.assert_allclose(reduced(other), before, atol=2)


def test_a_link_to_a_neighbour_is_a_file_of_the_folder(tmp_path: Path) -> None:
    path = with_overviews(write(tmp_path / "x.tif", side=256))
    (tmp_path / "x.tif.ovr").rename(tmp_path / "kept.bin")
    (tmp_path / "x.tif.ovr").symlink_to("kept.bin")
    assert open_scene(path).overviews == (2,)


def test_a_sidecar_that_changes_is_looked_at_again(tmp_path: Path, secret: Secret) -> None:
    path = with_overviews(write(tmp_path / "x.tif", side=256))
    assert open_scene(path).overviews == (2,)
    size = (tmp_path / "x.tif.ovr").stat().st_size
    kept = shutil.copy2(tmp_path / "x.tif.ovr", tmp_path / "kept")
    (tmp_path / "x.tif.ovr").write_text(raw_vrt(secret.path).ljust(size))
    os.utime(tmp_path / "x.tif.ovr", ns=(0, kept.stat().st_mtime_ns))
    with pytest.raises(SceneError, match="is no GeoTIFF"):
        open_scene(path)
    assert not secret.was_read


def test_other_drivers_can_be_closed_for_good(tmp_path: Path) -> None:
    """In a process of its own, for it cannot be undone."""
    path = with_overviews(write(tmp_path / "x.tif", side=256))
    rasterio.shutil.copy(path, tmp_path / "x.vrt", driver="VRT")
    code = f"""
import sys, rasterio, threading
sys.path[:0] = {sys.path!r}
from tiling.access import DRIVERS, close_other_drivers, opened
assert rasterio.open({str(tmp_path / "x.vrt")!r}).count == 1
close_other_drivers()
def left():
    with rasterio.Env() as env:
        assert set(env.drivers()) == {{*DRIVERS, "COG", "MEM"}}, env.drivers()
    try:
        rasterio.open({str(tmp_path / "x.vrt")!r})
    except rasterio.errors.RasterioIOError:
        print("shut")
left()
thread = threading.Thread(target=left); thread.start(); thread.join()
with opened({str(path)!r}, 0) as file:
    print(file.width)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["shut", "shut", "128"]
