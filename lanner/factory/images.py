"""Images in and out, whatever they are stored as: always RGB of 8 bits, always the same."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lanner.core.config import Normalise
from lanner.core.errors import DatasetError, LannerError, OutputError
from lanner.core.files import hidden
from tiling.access import opened
from tiling.bands import RGB
from tiling.grid import Box
from tiling.normalise import scene_stretch
from tiling.raw import Source
from tiling.scene import Scene, open_scene

Pixels = NDArray[np.uint8]

RASTERS = frozenset({".tif", ".tiff", ".jp2", ".ntf", ".img"})
"""Endings read by GDAL, under the rules of `tiling.access`."""
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"}) | RASTERS
"""Endings that are taken for images."""

_STRIP = 512
"""Rows of a raster decoded at a time where its pixels are not kept."""

# A broken file shows itself in any of these: Pillow has no error of its own for each format.
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)


def read_rgb(path: Path) -> Pixels:
    """The pixels of an image as RGB.

    One band (or two) is shown three times; of more than three the red, green and blue ones by
    description or colour interpretation, else the first three. 8-bit values stay as they are;
    others are stretched between their 1st and 99th percentile of valid pixels, each band for
    itself. An alpha band and EXIF orientation are passed over.

    Args:
        path: PNG, JPEG, WebP, BMP, or what `tiling.access` lets in.

    Returns:
        (h, w, 3) uint8; 0 where a raster holds no data.

    Raises:
        DatasetError: missing, cut off, or no image; the message names the file.
    """
    if _by_gdal(path):
        return _raster(path)
    try:
        with Image.open(path) as image:
            if image.mode in ("F", "I", "I;16", "I;16B"):
                return _stretched(np.asarray(image))
            return np.array(image.convert("RGB"), np.uint8)
    except _BROKEN as error:
        raise _undecodable(path, error) from error


def image_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels, from the header alone.

    Raises:
        DatasetError: missing or no image.
    """
    try:
        if _by_gdal(path):
            scene = open_scene(path, gsd=1.0)
            return scene.width, scene.height
        with Image.open(path) as image:
            return image.size
    except (LannerError, *_BROKEN) as error:
        raise _undecodable(path, error) from error


def verify(path: Path) -> tuple[int, int]:
    """Decode an image whole, keeping nothing: a cut file shows itself only so.

    Returns:
        Width and height in pixels.

    Raises:
        DatasetError: missing, cut off, or no image.
    """
    try:
        if _by_gdal(path):
            scene = open_scene(path, gsd=1.0)
            with opened(scene.uri) as dataset:
                source = Source(dataset, scene.uri, scene.found.indices, scene.found.alpha)
                for top in range(0, scene.height, _STRIP):
                    source.read(Box(0, top, scene.width, min(top + _STRIP, scene.height)))
            return scene.width, scene.height
        with Image.open(path) as image:
            image.load()
            return image.size
    except (LannerError, *_BROKEN) as error:
        raise _undecodable(path, error) from error


def read_mask(path: Path) -> NDArray[Any]:
    """A mask as it is stored: bits as 0 and 1, palette numbers, gray values.

    Returns:
        (h, w) uint8, or uint16 where stored in 16 bits.

    Raises:
        DatasetError: missing, cut off, or in colours.
    """
    try:
        with Image.open(path) as image:
            if image.mode in ("1", "L", "P"):
                return np.array(image).astype(np.uint8)
            if image.mode in ("I", "I;16", "I;16B"):
                return np.array(image).astype(np.uint16)
            mode = image.mode
    except _BROKEN as error:
        raise _undecodable(path, error) from error
    raise DatasetError(
        "mask", path, f"holds {mode} colours, not one value a pixel", "write class numbers as gray"
    )


def write_png(array: NDArray[Any], path: Path) -> None:
    """Write a PNG: the same bytes for the same pixels.

    Args:
        array: (h, w) uint8 or uint16, or (h, w, 3) uint8.
        path: the folder is made where missing.

    Raises:
        OutputError: it cannot be written.
    """
    if array.dtype not in (np.uint8, np.uint16) or (array.ndim == 3 and array.dtype != np.uint8):
        raise TypeError(f"no PNG of {array.dtype} {array.shape}")
    # No image by its name: what a kill leaves is not read as one.
    beside = hidden(path.with_suffix(".part"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(array)).save(beside, format="PNG", compress_level=6)
        beside.replace(path)
    except OSError as error:
        raise OutputError(
            "PNG", path, f"cannot be written ({error})", "make room or choose another folder"
        ) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def rgb_bands(scene: Scene) -> tuple[str, ...]:
    """Names of the three bands of a scene that are shown as red, green and blue."""
    if set(RGB) <= set(scene.bands):
        return RGB
    return scene.bands[:3] if len(scene.bands) >= 3 else scene.bands[:1] * 3


def _by_gdal(path: Path) -> bool:
    """Rasters, and PNGs of 16 bits, of which Pillow would drop the lower half.

    Pillow keeps all bits of grey ones alone: not of colours, nor beside an alpha band.
    """
    if path.suffix.lower() in RASTERS:
        return True
    if path.suffix.lower() != ".png" or not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(26)
    return head[24:26] in (b"\x10\x02", b"\x10\x04", b"\x10\x06")


def _raster(path: Path) -> Pixels:
    try:
        scene = open_scene(path, gsd=1.0)
        names = rgb_bands(scene)
        with opened(scene.uri) as dataset:
            indices = scene.band_indices(names)
            source = Source(dataset, scene.uri, indices, scene.found.alpha)
            raw, valid = source.read(Box(0, 0, scene.width, scene.height))
        if raw.dtype != np.uint8:
            stretch = scene_stretch(scene, names, Normalise())
            raw = np.rint(stretch.apply(raw.astype(np.float32), valid) * 255).astype(np.uint8)
    except LannerError as error:
        raise _undecodable(path, error) from error
    return np.ascontiguousarray(raw.transpose(1, 2, 0))


def _stretched(gray: NDArray[Any]) -> Pixels:
    """(h, w) numbers to (h, w, 3) uint8, as `tiling.normalise` does it."""
    values = gray.astype(np.float64)
    good = np.isfinite(values)
    low, high = np.percentile(values[good], (1, 99)) if good.any() else (0.0, 0.0)
    if high <= low and good.any():
        low, high = values[good].min(), values[good].max()
    unit = (values - low) / (high - low) if high > low else np.full(values.shape, 0.5)
    unit = np.where(good, unit, 0.0)
    return np.repeat(np.rint(np.clip(unit, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)


def _undecodable(path: Path, error: Exception) -> DatasetError:
    reason = error.problem if isinstance(error, LannerError) else str(error) or "no image"
    return DatasetError(
        "image", path, f"does not decode ({reason})", "fetch it again or take it out"
    )
