"""Images in and out: whatever they are stored as, RGB of 8 bits."""

import struct
import zlib

import cv2
import numpy as np
import pytest
import rasterio

from lanner.core.errors import DatasetError
from lanner.factory.images import image_size, read_mask, read_rgb, verify, write_png
from tests.fixtures_readers import RNG, H, W, draw


def test_png_round_trip_and_the_same_bytes(tmp_path):
    rgb = draw(tmp_path / "a.png")
    draw(tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert np.array_equal(read_rgb(tmp_path / "a.png"), rgb)
    wide = np.arange(W * H, dtype=np.uint16).reshape(H, W) * 13
    write_png(wide, tmp_path / "wide.png")
    assert np.array_equal(read_mask(tmp_path / "wide.png"), wide)
    assert read_mask(tmp_path / "wide.png").dtype == np.uint16


def test_deep_images_are_stretched_between_percentiles(tmp_path):
    ramp = np.tile(np.linspace(100, 4000, W, dtype=np.uint16), (H, 1))
    write_png(ramp, tmp_path / "gray.png")
    cv2.imwrite(str(tmp_path / "colour.png"), np.repeat(ramp[..., None], 3, 2))
    with rasterio.open(
        tmp_path / "deep.tif", "w", driver="GTiff", width=W, height=H, count=1, dtype="uint16"
    ) as file:
        file.write(ramp, 1)
    for name in ("gray.png", "colour.png", "deep.tif"):
        rgb = read_rgb(tmp_path / name)
        low, high = np.percentile(ramp, (1, 99))
        want = np.rint(np.clip((ramp - low) / (high - low), 0, 1) * 255)
        assert rgb.shape == (H, W, 3), name
        assert np.abs(rgb[..., 1].astype(float) - want).max() <= 1, name
        assert image_size(tmp_path / name) == (W, H)


def test_deep_grey_beside_an_alpha_band_keeps_its_lower_bits(tmp_path):
    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    ramp = np.tile(np.linspace(100, 4000, W, dtype=np.uint16), (H, 1))
    rows = np.stack([ramp, np.full_like(ramp, 65535)], -1).astype(">u2")
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", W, H, 16, 4, 0, 0, 0)
    path = tmp_path / "a.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw))
        + chunk(b"IEND", b"")
    )  # fmt: skip
    write_png(ramp, tmp_path / "b.png")
    pixels, alone = read_rgb(path), read_rgb(tmp_path / "b.png")
    assert np.abs(pixels.astype(int) - alone).max() <= 1
    assert verify(path) == image_size(path) == (W, H)


def test_of_many_bands_the_colours_are_shown(tmp_path):
    bands = np.stack([np.full((H, W), value, np.uint8) for value in (10, 20, 30, 40)])
    for name, described in (("order", ()), ("named", ("nir", "blue", "green", "red"))):
        with rasterio.open(
            tmp_path / f"{name}.tif", "w", driver="GTiff", width=W, height=H, count=4,
            dtype="uint8", photometric="minisblack", alpha="no",
        ) as file:  # fmt: skip
            file.write(bands)
            if described:
                file.descriptions = described
    assert read_rgb(tmp_path / "order.tif")[0, 0].tolist() == [10, 20, 30]
    assert read_rgb(tmp_path / "named.tif")[0, 0].tolist() == [40, 30, 20]


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tif"])
def test_cut_images_are_refused_by_name(tmp_path, ending):
    path = tmp_path / f"cut.{ending}"
    rgb = RNG.integers(0, 255, (H * 4, W * 4, 3), np.uint8)
    assert cv2.imwrite(str(path), rgb)
    assert verify(path) == (W * 4, H * 4)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    for reader in (read_rgb, verify):
        with pytest.raises(DatasetError, match=r"cut\..*does not decode"):
            reader(path)
