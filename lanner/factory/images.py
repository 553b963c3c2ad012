"""Images in and out, whatever they are stored as: always RGB of 8 bits, always the same."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import ColorInterp, MaskFlags

from detectors.card import sha256_file
from lanner.core.config import Normalise
from lanner.core.errors import DatasetError, LannerError, OutputError, SceneError
from lanner.core.files import hidden
from lanner.factory.files import keep
from lanner.factory.orientation import UPRIGHT, orientation, upright, upright_size
from lanner.factory.palette import has_palette, palette_colours, write_colours
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
    itself. Palette numbers become their colours. The image is turned as its EXIF orientation says
    (`lanner.factory.orientation`).

    Args:
        path: PNG, JPEG, WebP, BMP, or what `tiling.access` lets in.

    Returns:
        (h, w, 3) uint8; 0 where the image holds no data, as where its alpha is 0.

    Raises:
        DatasetError: missing, cut off, or no image; the message names the file.
    """
    return _pixels_and_valid(path)[0]


def missing(path: Path) -> NDArray[np.bool_] | None:
    """Where an image holds no data: alpha of 0, a stored mask, nodata, no finite number.

    Args:
        path: as of `read_rgb`.

    Returns:
        (h, w) bool, turned as `read_rgb` turns it; None where there is data everywhere.

    Raises:
        DatasetError: as `read_rgb`.
    """
    try:
        if _by_gdal(path):
            if not _may_miss(path):
                return None
        else:
            with Image.open(path) as image:
                if not _has_alpha(image):
                    return None
    except (LannerError, *_BROKEN) as error:
        raise _undecodable(path, error) from error
    valid = _pixels_and_valid(path)[1]
    return None if valid is None or valid.all() else ~valid


def _pixels_and_valid(path: Path) -> tuple[Pixels, NDArray[np.bool_] | None]:
    """Colours as they are shown, and where there is data; None for everywhere."""
    valid: NDArray[np.bool_] | None
    if _by_gdal(path):
        rgb, valid = _raster(path)
    else:
        try:
            with Image.open(path) as image:
                rgb, valid = _decoded(image)
        except _BROKEN as error:
            raise _undecodable(path, error) from error
    turn = orientation(path)
    if turn == UPRIGHT:
        return rgb, valid
    return upright(rgb, turn), None if valid is None else upright(valid, turn)


def _may_miss(path: Path) -> bool:
    """Whether a raster can say that it holds no data somewhere."""
    with opened(str(path)) as dataset:
        whole = all(flags == [MaskFlags.all_valid] for flags in dataset.mask_flag_enums)
        floats = any(np.dtype(one).kind == "f" for one in dataset.dtypes)
        return not whole or floats or ColorInterp.palette in dataset.colorinterp


def _decoded(image: Image.Image) -> tuple[Pixels, NDArray[np.bool_] | None]:
    if image.mode in ("F", "I", "I;16", "I;16B"):
        return _stretched(np.asarray(image)), None
    if not _has_alpha(image):
        return np.array(image.convert("RGB"), np.uint8), None
    rgba = np.array(image.convert("RGBA"), np.uint8)
    valid = rgba[..., 3] > 0
    rgba[~valid] = 0
    return np.ascontiguousarray(rgba[..., :3]), valid


def _has_alpha(image: Image.Image) -> bool:
    """Whether an image has an alpha band, or a colour that is transparent."""
    return image.has_transparency_data


def image_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels as the image is shown, from the header alone.

    Raises:
        DatasetError: missing or no image.
    """
    try:
        turn = orientation(path)
        if _by_gdal(path):
            with opened(str(path)) as dataset:
                return upright_size((dataset.width, dataset.height), turn)
        with Image.open(path) as image:
            return upright_size(image.size, turn)
    except (LannerError, *_BROKEN) as error:
        raise _undecodable(path, error) from error


def verify(path: Path) -> tuple[int, int]:
    """Decode an image whole, keeping nothing: a cut file shows itself only so.

    Returns:
        Width and height in pixels as the image is shown.

    Raises:
        DatasetError: missing, cut off, or no image.
    """
    try:
        turn = orientation(path)
        if _by_gdal(path):
            try:
                scene = open_scene(path, gsd=1.0)
            except SceneError:
                if not has_palette(path):
                    raise
                rgb, _ = palette_colours(path)
                return upright_size((rgb.shape[1], rgb.shape[0]), turn)
            with opened(scene.uri) as dataset:
                source = Source(dataset, scene.uri, scene.found.indices, scene.found.alpha)
                for top in range(0, scene.height, _STRIP):
                    source.read(Box(0, top, scene.width, min(top + _STRIP, scene.height)))
            return upright_size((scene.width, scene.height), turn)
        with Image.open(path) as image:
            image.load()
            return upright_size(image.size, turn)
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


def with_colours(path: Path, folder: Path) -> tuple[str | None, Path]:
    """A raster in the colours of its palette: written once, for whatever reads rasters.

    Args:
        path: an image.
        folder: where to write it; named by its content.

    Returns:
        Checksum of the image and where it lies in colours; None and `path` where it has no palette.

    Raises:
        DatasetError: it does not decode.
        OutputError: it cannot be written.
    """
    if path.suffix.lower() not in RASTERS:
        return None, path
    try:
        if not has_palette(path):
            return None, path
        origin = sha256_file(path)
        to = (folder / f"{origin[:24]}.tif").resolve()
        if not to.exists():
            keep(partial(write_colours, path), to)
    except LannerError as error:
        raise error if isinstance(error, OutputError) else _undecodable(path, error) from error
    return origin, to


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


def _raster(path: Path) -> tuple[Pixels, NDArray[np.bool_]]:
    """Colours as they are stored, and where there is data."""
    try:
        try:
            scene = open_scene(path, gsd=1.0)
        except SceneError:
            if not has_palette(path):
                raise
            return palette_colours(path)
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
    return np.ascontiguousarray(raw.transpose(1, 2, 0)), valid


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
