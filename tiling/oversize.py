"""Rasters that are larger than `tiling.limits` allow, refused before any pixel is read."""

from __future__ import annotations

import os

from rasterio.io import DatasetReader

from lanner.core.errors import SceneError
from tiling.blocks import LARGEST_BLOCK, itemsize, stored_share
from tiling.limits import SceneLimits

_WHOEVER = "or ask whoever runs this server to allow more"


def check_limits(
    dataset: DatasetReader, uri: str, limits: SceneLimits | None, part: str = ""
) -> None:
    """Refuse a raster that is larger than it may be; reads none of its pixels.

    Args:
        dataset: open raster or overviews beside one.
        uri: name of the scene, for messages.
        limits: those of this process; None: there are none.
        part: what of the scene it is, where it is not the scene itself.

    Raises:
        SceneError: it has more pixels or bands than allowed, or expands by more.
    """
    if limits is None:
        return
    pixels = dataset.width * dataset.height
    if pixels > limits.pixels:
        raise SceneError(
            "scene",
            uri,
            f"{part} has {dataset.width} x {dataset.height} px, which are {pixels}, and this "
            f"server takes {limits.pixels}".lstrip(),
            f"give a part of it, cut out with gdal_translate -srcwin, {_WHOEVER}",
        )
    if dataset.count > limits.bands:
        raise SceneError(
            "scene",
            uri,
            f"{part} has {dataset.count} bands, and this server takes {limits.bands}".lstrip(),
            f"choose some with gdal_translate -b 1 -b 2 -b 3, {_WHOEVER}",
        )
    _check_expansion(dataset, uri, limits, part)


def _check_expansion(dataset: DatasetReader, uri: str, limits: SceneLimits, part: str) -> None:
    files = [os.stat(name).st_size for name in dataset.files if os.path.isfile(name)]
    if not files:
        return  # a remote one
    decoded = float(dataset.width * dataset.height * sum(map(itemsize, dataset.dtypes)))
    most = max(limits.expansion * sum(files), float(LARGEST_BLOCK))
    # Which blocks are stored is asked where it matters alone: there may be many.
    if decoded <= most or decoded * stored_share(dataset) <= most:
        return
    raise SceneError(
        "scene",
        uri,
        f"{part} has {decoded / 1e6:.0f} MB of pixels in files of {sum(files) / 1e6:.3g} MB, "
        f"and this server decodes {limits.expansion:g} bytes for one".lstrip(),
        "leave out blocks that hold nothing: gdal_translate -co SPARSE_OK=TRUE SCENE out.tif, "
        f"{_WHOEVER}",
    )
