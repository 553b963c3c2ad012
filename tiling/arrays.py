"""Scenes that are no file yet: arrays, xarray's DataArrays and open rasterio datasets.

Each becomes a GeoTIFF, without loss, since readers open a scene in several threads at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import CRSError, RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from lanner.core.errors import BandError, PlaceError, SceneError
from tiling.access import DRIVERS, writing_env
from tiling.names import is_remote

ROWS = 1024
"""Rows of an open dataset that are copied at once."""

SIDES = 3
"""Dimensions of an array of bands."""

_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
_COLOURS = {
    "red": ColorInterp.red,
    "green": ColorInterp.green,
    "blue": ColorInterp.blue,
    "gray": ColorInterp.gray,
    "alpha": ColorInterp.alpha,
}


def scene_file(
    scene: Any,
    folder: Path,
    *,
    transform: Affine | Sequence[float] | None = None,
    crs: Any = None,
    bands: Sequence[str] | None = None,
    nodata: float | None = None,
) -> str:
    """The path or address of a scene; what is in memory is written to `folder` first.

    Args:
        scene: a path, an http(s):// or s3:// address, an open rasterio dataset, a DataArray of
            xarray or rioxarray with dimensions (band, y, x) or (y, x), or an array (bands, h, w)
            or (h, w); masked arrays keep their mask.
        folder: for the file of what is in memory.
        transform: of an array: pixel corners to the CRS, as rasterio has it.
        crs: of an array: anything that rasterio takes for a CRS.
        bands: of an array: names of the bands; three are red, green, blue, one is gray.
        nodata: of an array: the value that means no data.

    Raises:
        SceneError: of another type, or of a shape or number type that is no image.
        BandError: names that do not fit the bands.
        PlaceError: `transform` without `crs` or the other way round, or a CRS that is none.
    """
    array_only = {"transform": transform, "crs": crs, "bands": bands, "nodata": nodata}
    if isinstance(scene, str | os.PathLike):
        _refuse(array_only, "a file says this itself")
        return os.fspath(scene)
    if isinstance(scene, rasterio.io.DatasetReaderBase):
        _refuse(array_only, "an open dataset says this itself")
        return _of_dataset(scene, folder)
    if hasattr(scene, "dims") and hasattr(scene, "coords"):
        return _of_data_array(scene, folder, transform, crs, bands, nodata)
    if not hasattr(scene, "__array__"):
        raise SceneError(
            "scene",
            type(scene).__name__,
            "is no path, address, open dataset, DataArray or array",
            "give one of these",
        )
    return _of_array(scene, folder, transform, crs, bands, nodata)


def _refuse(given: dict[str, Any], why: str) -> None:
    for name, value in given.items():
        if value is not None:
            raise SceneError(name, value, f"is for arrays, {why}", "leave it out")


def _of_dataset(dataset: Any, folder: Path) -> str:
    """The dataset's own file where it is one that can be opened again, else a copy."""
    if dataset.closed:
        raise SceneError("scene", dataset.name, "is a closed dataset", "open it, or give its path")
    plain = isinstance(dataset, DatasetReader) and dataset.mode == "r"
    if plain and dataset.driver in DRIVERS and not hasattr(dataset, "src_dataset"):
        name = str(dataset.name)
        if is_remote(name) or Path(name).is_file():
            return name
    path = _path(folder)
    profile = {
        "count": dataset.count,
        "dtype": np.result_type(*dataset.dtypes).name,
        "height": dataset.height,
        "width": dataset.width,
        "nodata": dataset.nodata,
    }
    placed = dataset.crs is not None or not dataset.transform.is_identity
    if placed:
        profile |= {"crs": dataset.crs, "transform": dataset.transform}
    with _writing(path, profile) as file:
        file.colorinterp = [
            kind if kind in (ColorInterp.alpha, *_COLOURS.values()) else ColorInterp.undefined
            for kind in dataset.colorinterp
        ]
        file.descriptions = dataset.descriptions
        file.update_tags(**dataset.tags())
        alpha = ColorInterp.alpha in dataset.colorinterp
        for top in range(0, dataset.height, ROWS):
            window = Window(0, top, dataset.width, min(ROWS, dataset.height - top))
            file.write(dataset.read(window=window), window=window)
            if dataset.nodata is None and not alpha:
                file.write_mask(dataset.dataset_mask(window=window), window=window)
    return str(path)


def _of_data_array(
    data: Any,
    folder: Path,
    transform: Affine | Sequence[float] | None,
    crs: Any,
    bands: Sequence[str] | None,
    nodata: float | None,
) -> str:
    """As an array, placed by its coordinates and what rioxarray wrote beside them."""
    named = {"x": ("x", "lon", "longitude"), "y": ("y", "lat", "latitude")}
    found = {
        side: next((d for d in data.dims if str(d).lower() in names), None)
        for side, names in named.items()
    }
    if found["x"] is None or found["y"] is None or len(data.dims) not in (SIDES - 1, SIDES):
        raise SceneError(
            "scene",
            tuple(data.dims),
            "has not the dimensions (band, y, x) or (y, x)",
            "choose one time and rename its dimensions",
        )
    first = [d for d in data.dims if d not in found.values()]
    data = data.transpose(*first, found["y"], found["x"])
    if bands is None and first:
        bands = _band_names(data, first[0])
    if transform is None:
        transform = _grid_of(data, found["y"], found["x"])
    if crs is None:
        crs = _crs_of(data)
    if crs is None:
        transform = None
    if nodata is None:
        nodata = data.attrs.get("_FillValue", getattr(data, "encoding", {}).get("_FillValue"))
    if isinstance(nodata, float) and np.isnan(nodata) and data.dtype.kind != "f":
        nodata = None
    return _of_array(data.values, folder, transform, crs, bands, nodata)


def _band_names(data: Any, dim: Any) -> Sequence[str] | None:
    """Names of the bands where the coordinate or rioxarray's `long_name` has some."""
    if dim in data.coords:
        labels = list(data.coords[dim].values)
        if all(isinstance(one, str) for one in labels):
            return labels
    names = data.attrs.get("long_name")
    if isinstance(names, tuple | list) and len(names) == data.sizes[dim]:
        return [str(one) for one in names]
    return None


def _grid_of(data: Any, y: Any, x: Any) -> Affine | None:
    """The affine of evenly spaced coordinates of pixel centres; None where there are none.

    Raises:
        PlaceError: coordinates that are not evenly spaced.
    """
    if x not in data.coords or y not in data.coords:
        return None
    steps, corners = [], []
    for dim in (x, y):
        centres = np.asarray(data.coords[dim].values, np.float64)
        if len(centres) < 2:
            return None
        step = (centres[-1] - centres[0]) / (len(centres) - 1)
        if not np.allclose(np.diff(centres), step, rtol=1e-3, atol=0):
            raise PlaceError(
                f"coordinate {dim}",
                f"{centres[0]} ... {centres[-1]}",
                "is not evenly spaced",
                "resample the scene to a regular grid",
            )
        steps.append(step)
        corners.append(centres[0] - step / 2)
    return Affine(steps[0], 0, corners[0], 0, steps[1], corners[1])


def _crs_of(data: Any) -> Any:
    """The CRS that rioxarray (coordinate `spatial_ref`) or an attribute `crs` tells."""
    reference = data.coords.get("spatial_ref")
    for held in (getattr(reference, "attrs", {}), data.attrs):
        for key in ("crs_wkt", "spatial_ref", "crs"):
            if held.get(key):
                return held[key]
    return None


def _of_array(
    data: Any,
    folder: Path,
    transform: Affine | Sequence[float] | None,
    crs: Any,
    bands: Sequence[str] | None,
    nodata: float | None,
) -> str:
    pixels, mask = _pixels(data)
    names = _names(bands, len(pixels))
    if (transform is None) != (crs is None):
        given, missing = ("transform", "crs") if crs is None else ("crs", "transform")
        raise PlaceError(
            missing, "", f"is missing beside {given}", "give both, or `gsd` alone for pixels"
        )
    path = _path(folder)
    profile = {
        "count": len(pixels),
        "dtype": pixels.dtype.name,
        "height": pixels.shape[1],
        "width": pixels.shape[2],
        "nodata": nodata,
    }
    if transform is not None:
        profile |= {"transform": _affine(transform), "crs": _crs(crs)}
    with _writing(path, profile) as file:
        if names is not None:
            file.colorinterp = [_COLOURS.get(one, ColorInterp.undefined) for one in names]
            file.descriptions = tuple(names)
        file.write(pixels)
        if mask is not None:
            file.write_mask(mask)
    return str(path)


def _pixels(data: Any) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """(bands, h, w) of a type that GeoTIFF has, and which pixels are valid (None: all)."""
    mask: NDArray[np.bool_] | None = None
    if isinstance(data, np.ma.MaskedArray):
        hidden = np.asarray(np.ma.getmaskarray(data), np.bool_)
        mask = np.logical_not(hidden.any(axis=0) if data.ndim == SIDES else hidden)
        data = data.data
    pixels = np.asarray(data)
    if pixels.ndim == SIDES - 1:
        pixels = pixels[None]
    if pixels.ndim != SIDES or 0 in pixels.shape:
        raise SceneError(
            "scene", pixels.shape, "is no shape of an image", "give (bands, height, width)"
        )
    if pixels.shape[2] in (3, 4) and pixels.shape[0] > pixels.shape[2]:
        raise SceneError(
            "scene",
            pixels.shape,
            "looks like (height, width, bands)",
            "give (bands, height, width): array.transpose(2, 0, 1)",
        )
    if pixels.dtype == np.float16:
        pixels = pixels.astype(np.float32)
    if pixels.dtype.name not in _TYPES:
        raise SceneError(
            "scene",
            pixels.dtype.name,
            "is no number type of an image",
            f"convert it to one of {', '.join(_TYPES)}",
        )
    return np.ascontiguousarray(pixels), mask


def _names(bands: Sequence[str] | None, count: int) -> Sequence[str] | None:
    if bands is None:
        usual = {1: ("gray",), 3: ("red", "green", "blue"), 4: ("red", "green", "blue", "nir")}
        return usual.get(count)
    if isinstance(bands, str) or len(bands) != count:
        raise BandError(
            "bands", bands, f"does not name {count} bands", "give one name a band, in order"
        )
    return [str(one) for one in bands]


def _affine(transform: Affine | Sequence[float]) -> Affine:
    try:
        return transform if isinstance(transform, Affine) else Affine(*list(transform)[:6])
    except TypeError as error:
        raise PlaceError(
            "transform", transform, "is no affine", "give rasterio's `dataset.transform`"
        ) from error


def _crs(crs: Any) -> CRS:
    try:
        return CRS.from_user_input(crs.to_wkt() if hasattr(crs, "to_wkt") else crs)
    except (CRSError, ValueError) as error:  # "EPSG:none" is a ValueError to rasterio
        raise PlaceError(
            "crs", crs, f"is no CRS ({error})", "give an EPSG code such as 'EPSG:32633'"
        ) from error


def _path(folder: Path) -> Path:
    return folder / "scene.tif"


@contextmanager
def _writing(path: Path, profile: dict[str, Any]) -> Iterator[Any]:
    """A GeoTIFF to write to.

    Raises:
        SceneError: there is no room for it.
    """
    layout = {"driver": "GTiff", "tiled": True, "blockxsize": 256, "blockysize": 256}
    photometric = "rgb" if profile["count"] >= SIDES else "minisblack"
    try:
        with (
            writing_env(),
            rasterio.open(
                path, "w", BIGTIFF="IF_SAFER", photometric=photometric, **layout, **profile
            ) as file,
        ):
            yield file
    except (RasterioError, OSError) as error:
        raise SceneError(
            "scene",
            path,
            f"cannot be copied to a file ({error})",
            "free some space, or set TMPDIR to another folder",
        ) from error
