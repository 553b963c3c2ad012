"""Native pixels of an open raster with one validity, whichever way the file tells it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from lanner.core.errors import SceneError
from tiling.access import error_text
from tiling.grid import Box
from tiling.names import display_name
from tiling.palette import Palette

Pixels = NDArray[Any]
Mask = NDArray[np.bool_]

LARGEST = 1e36
"""No measurement is beyond this, and sums of such values stay finite in float32, in which pixels
are resampled. Undeclared fills are: float64's and float32's lowest, Surfer's and NetCDF's."""


@dataclass(frozen=True)
class Source:
    """An open dataset, read through chosen bands.

    A pixel is invalid where the file's mask (alpha band, internal mask, .msk sidecar) says so,
    where its palette colour is transparent, where any chosen band is not finite or beyond
    `LARGEST`, or where it holds nodata. A nodata value that is also an ordinary measurement (0,
    or any value of 8-bit bands) counts only where every chosen band holds it, so that a black or
    white object survives in one band; any other (-9999, 65535) counts in any band, for it would
    spoil its neighbours when resampled.

    Attributes:
        dataset: open raster, used by one thread.
        uri: path or URL, for messages.
        indices: 1-based file bands; may repeat. Of a raster of palette numbers 1, 2 and 3 are
            their red, green and blue.
        alpha: 1-based alpha band, or None.
        fill: value of an undeclared border (`tiling.collar`), invalid where every chosen band
            holds it; None where there is none.
    """

    dataset: DatasetReader
    uri: str
    indices: tuple[int, ...]
    alpha: int | None
    fill: float | None = None

    @cached_property
    def _palette(self) -> Palette | None:
        return Palette.of(self.dataset)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels that `read` gives."""
        if self._palette is not None:
            return np.dtype(np.uint8)
        return np.result_type(*(self.dataset.dtypes[i - 1] for i in self.indices))

    @property
    def _stored_mask(self) -> bool:
        return stores_mask(self.dataset, self._stored(self.indices)[0])

    def _stored(self, indices: tuple[int, ...]) -> tuple[int, ...]:
        """The file's bands that hold the chosen ones: of a palette's colours, its numbers."""
        return indices if self._palette is None else (1,)

    def read(self, box: Box) -> tuple[Pixels, Mask]:
        """Pixels of a box inside the raster: (bands, h, w) of the file's type, (h, w) valid.

        Invalid pixels are 0 in every band.

        Raises:
            SceneError: the file cannot be read there (truncated, gone, server failing).
        """
        window = Window(box.x0, box.y0, box.width, box.height)
        distinct = tuple(dict.fromkeys(self.indices))
        try:
            valid = self._mask(window)
            if valid is not None and not valid.any():
                shape = (len(self.indices), box.height, box.width)
                return np.zeros(shape, self.dtype), valid
            if self._palette is not None:
                pixels = self.dataset.read((1,), window=window)
            else:
                pixels = self.dataset.read(distinct, window=window)
        except RasterioError as error:
            # GDAL remembers it in this thread, and whatever asks for errors next would raise it.
            with suppress(CPLE_BaseError):
                _ = self.dataset.colorinterp
            raise SceneError(
                "scene",
                display_name(self.uri),
                f"cannot be read at pixels x {box.x0}..{box.x1}, y {box.y0}..{box.y1} "
                f"({error_text(error, self.uri)})",
                _remedy(error),
            ) from error
        bad = _no_data(pixels, [self.dataset.nodatavals[i - 1] for i in self._stored(distinct)])
        if self._palette is not None:
            pixels, opaque = self._palette.expand(pixels[0], distinct)
            if not opaque.all():
                bad = ~opaque if bad is None else bad | ~opaque
        if self.fill is not None:
            border = (pixels == _representable(self.fill, pixels.dtype)).all(axis=0)
            bad = border if bad is None else bad | border
        if bad is not None:
            valid = ~bad if valid is None else valid & ~bad
        if valid is None:
            valid = np.ones(pixels.shape[1:], np.bool_)
        elif not valid.all():
            pixels[:, ~valid] = 0
        if len(distinct) != len(self.indices):
            pixels = pixels[[distinct.index(i) for i in self.indices]]
        return pixels, valid

    def _mask(self, window: Window) -> Mask | None:
        """What the alpha band and the stored mask say; None where there is neither."""
        valid: Mask | None = None
        if self.alpha is not None:
            valid = self.dataset.read(self.alpha, window=window) > 0
        if self._stored_mask:
            band = self._stored(self.indices)[0]
            stored = self.dataset.read_masks(band, window=window) > 0
            valid = stored if valid is None else valid & stored
        return valid


def _remedy(error: RasterioError) -> str:
    """What to do about pixels that cannot be read."""
    if "libjpeg to allocate" in str(error.__cause__ or error):
        # A progressive JPEG is decoded whole, and GDAL bounds what that may take.
        return "it is a progressive JPEG: rewrite it with gdal_translate -of COG SCENE out.tif"
    return "the file is cut off or damaged: fetch it again"


def stores_mask(dataset: DatasetReader, band: int) -> bool:
    """Whether an open raster has an internal mask, a .msk sidecar or a nodata tuple."""
    flags = dataset.mask_flag_enums[band - 1]
    return MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags


def _no_data(pixels: Pixels, nodata: list[float | None]) -> Mask | None:
    """Where the pixels hold no data, by their values; None where all do."""
    bad: Mask | None = None
    if pixels.dtype.kind == "f":
        most = min(LARGEST, float(np.finfo(pixels.dtype).max))
        # Two looks without a copy settle it where all are good; NaN is neither.
        if not (pixels.min() >= -most and pixels.max() <= most):
            bad = np.logical_not((np.abs(pixels) <= most).all(axis=0))
    known = [_representable(value, pixels.dtype) for value in nodata]
    if all(v is None for v in known):
        return bad
    holds = [p == v for p, v in zip(pixels, known, strict=True) if v is not None]
    ordinary = pixels.dtype.itemsize == 1 or all(v is None or v == 0 for v in known)
    nothing: Mask
    if not ordinary:
        nothing = np.logical_or.reduce(holds)
    elif len(holds) == len(known):
        nothing = np.logical_and.reduce(holds)
    else:
        return bad
    return nothing if bad is None else bad | nothing


def _representable(value: float | None, dtype: np.dtype[Any]) -> Any:
    """The nodata value in the pixels' type, or None where no pixel can hold it."""
    if value is None or np.isnan(value):
        return None
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return dtype.type(value)
    info = np.iinfo(dtype)
    return dtype.type(value) if value == int(value) and info.min <= value <= info.max else None
