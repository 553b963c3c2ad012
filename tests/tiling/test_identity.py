"""The checksum follows what changes pixels, validity, bands or place, and nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import Resampling

from tiling.scene import open_scene

RGB = ("red", "green", "blue")


def write(path: Path, driver: str = "GTiff", **more: object) -> Path:
    pixels = np.random.default_rng(0).integers(1, 200, (3, 256, 256)).astype(np.uint8)
    place = {"crs": "EPSG:32633", "transform": Affine(1, 0, 5e5, 0, -1, 5e6)}
    profile = {"width": 256, "height": 256, "count": 3, "dtype": "uint8", **place, **more}
    with rasterio.open(path, "w", driver=driver, **profile) as file:
        file.write(pixels)
    return path


def pam(path: Path, inner: str) -> None:
    path.with_name(path.name + ".aux.xml").write_text(f"<PAMDataset>{inner}</PAMDataset>")


def band(inner: str) -> str:
    return f'<PAMRasterBand band="1">{inner}</PAMRasterBand>'


MEASURED = (
    "<Histograms><HistItem><HistMin>0</HistMin><HistMax>255</HistMax><BucketCount>2</BucketCount>"
    "<IncludeOutOfRange>0</IncludeOutOfRange><Approximate>1</Approximate>"
    "<HistCounts>9|7</HistCounts></HistItem></Histograms>"
    '<Metadata><MDI key="STATISTICS_MAXIMUM">199</MDI><MDI key="STATISTICS_MEAN">99.5</MDI>'
    "</Metadata>"
)
STATISTICS = band(MEASURED)


def test_statistics_change_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif")
    before = open_scene(path).sha256()
    assert before == hashlib.sha256(path.read_bytes()).hexdigest()
    pam(path, STATISTICS)
    with rasterio.open(path) as file:
        assert file.tags(1)["STATISTICS_MAXIMUM"] == "199"  # GDAL reads it
    assert open_scene(path).sha256() == before
    (tmp_path / "a.tfw").write_text("1\n0\n0\n-1\n500000.5\n4999999.5\n")  # says the same
    (tmp_path / "a.tif.xml").write_text("<metadata/>")
    assert open_scene(path).sha256() == before


CHANGES = {
    "place": "<GeoTransform>5e5, 2, 0, 5e6, 0, -2</GeoTransform>",
    "CRS": "<SRS>{wkt}</SRS>",
    "nodata": band("<NoDataValue>7</NoDataValue>"),
    "name": band("<Description>nir</Description>"),
    "colour": band("<ColorInterp>Blue</ColorInterp>"),
    "time": '<Metadata><MDI key="ACQUISITIONDATETIME">2021-06-30T10:00:00Z</MDI></Metadata>',
}


@pytest.mark.parametrize("kind", CHANGES)
def test_what_changes_bands_or_place_counts(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "a.tif")
    before = open_scene(path).sha256()
    wkt = rasterio.CRS.from_epsg(32634).to_wkt().replace('"', "&quot;")
    inner = CHANGES[kind].format(wkt=wkt)
    with rasterio.Env(GDAL_GEOREF_SOURCES="PAM,INTERNAL"):
        pam(path, inner)
        changed = open_scene(path).sha256()
        assert changed != before
        # And statistics beside it still do not.
        end = "</PAMRasterBand>"
        pam(path, inner.replace(end, MEASURED + end) if end in inner else inner + STATISTICS)
        assert open_scene(path).sha256() == changed


def test_a_world_file_is_the_place_of_a_picture(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", "PNG", crs=None, transform=Affine.identity())
    (tmp_path / "a.pgw").write_text("1\n0\n0\n-1\n500000.5\n4999999.5\n")
    first = open_scene(path, gsd=1.0).sha256()
    (tmp_path / "a.pgw").write_text("1.0\n0.0\n0.0\n-1.0\n500000.50\n4999999.50\n")
    assert open_scene(path, gsd=1.0).sha256() == first
    (tmp_path / "a.pgw").write_text("2\n0\n0\n-2\n500000.5\n4999999.5\n")
    assert open_scene(path, gsd=1.0).sha256() != first


def test_a_mask_counts_by_its_pixels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif")
    sums = {open_scene(path).sha256()}
    for n in (10, 20):
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as file:
            file.write_mask(np.arange(256)[:, None] * np.ones(256) > n)
        sums.add(open_scene(path).sha256())
    assert (tmp_path / "a.tif.msk").exists() and len(sums) == 3


def test_overviews_beside_count_where_they_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif")
    scene = open_scene(path)
    fine, deep = scene.grid(1.0), scene.grid(9.0)
    before = scene.sha256()
    assert scene.sha256(fine) == scene.sha256(deep) == before
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4], Resampling.average)
    assert (tmp_path / "a.tif.ovr").exists()
    scene = open_scene(path)
    assert scene.sha256(fine) == before
    assert scene.sha256(deep) == scene.sha256() != before
