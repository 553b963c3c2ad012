"""Hysteresis: what is probably road, as long as it hangs together with what surely is.

Canny (1986). A pixel at or above `low` stays when its 8-connected component holds one at or above
`high`. The probability is first smoothed a little (a Gaussian that leaves invalid pixels out),
which takes the ragged border off and spares the skeleton its spurs.
"""

from __future__ import annotations

from collections.abc import Callable

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from rasterio.io import DatasetReader
from scipy import ndimage

from lanner.core.config import Strict
from lanner.core.errors import ConfigError
from postprocess.context import Context
from postprocess.roads.components import components
from postprocess.roads.raster import (
    BLOCK,
    TILE,
    Block,
    Mask,
    blocks,
    read,
    read_valid,
    reading,
    write_mask,
    writing,
)


class Params(Strict):
    """Probabilities, the smoothing in metres, and the block in pixels."""

    low: float = Field(0.35, gt=0, le=1)
    high: float = Field(0.6, gt=0, le=1)
    smooth_m: float = Field(0.8, ge=0, le=10, description="sigma of the Gaussian")
    block: int = Field(BLOCK, ge=TILE, multiple_of=TILE)


def run(objects: gpd.GeoDataFrame, context: Context, params: Params) -> gpd.GeoDataFrame:
    """Write the raster `threshold` (255 road, 0 not); objects pass unchanged.

    Raises:
        ConfigError: `high` is below `low`.
        StepError: there is no probability raster on the grid.
    """
    if params.high < params.low:
        raise ConfigError("high", params.high, f"is below low, {params.low}", "raise high")
    grid = context.grid
    sigma = params.smooth_m / grid.gsd
    halo = _reach(sigma)
    pieces = blocks(grid.width, grid.height, params.block, halo)
    with reading(context, "probability") as dataset:
        probable = _smoothed(dataset, sigma, params.low)

        def low_and_high(block: Block) -> tuple[Mask, Mask]:
            context.cancel.check()
            value = probable(block)
            return value >= params.low, value >= params.high

        found = components(pieces, low_and_high, 8)
        keep = found.total > 0
        kept = 0
        with writing(context, "threshold", "road") as out:
            for block in pieces:
                mask = found.select(block, low_and_high(block)[0], keep)
                kept += int(np.count_nonzero(mask))
                write_mask(out, block, mask)
    objects = objects.copy()
    objects.attrs["note"] = (
        f"{kept} of {grid.width * grid.height} pixels are road, in {int(keep.sum())} pieces; "
        f"{int((~keep).sum())} pieces never reached {params.high:g}"
    )
    return objects


def _reach(sigma: float) -> int:
    """Pixels that the truncated Gaussian looks at on either side."""
    return int(3 * sigma + 0.5) if sigma > 0 else 0


def _smoothed(
    dataset: DatasetReader, sigma: float, low: float
) -> Callable[[Block], NDArray[np.float32]]:
    """A function from a block to the smoothed probability of its core, 0 where invalid."""
    reach = _reach(sigma)
    side = 2 * reach + 1
    full = float(_blur(np.ones((side, side), np.float32), sigma)[reach, reach])

    def probability(block: Block) -> NDArray[np.float32]:
        raw = read(dataset, block.window)
        core: NDArray[np.float32] = np.zeros((block.core.height, block.core.width), np.float32)
        if raw.max() < low * 255:
            return core
        valid = read_valid(dataset, block.window)
        if sigma <= 0:
            return np.where(valid, raw, 0).astype(np.float32) / np.float32(255)
        blurred = _blur(np.where(valid, raw, 0).astype(np.float32), sigma)
        # The weight of valid neighbours; inside a valid block it is the same everywhere, and
        # dividing by the very same float keeps a pixel's value free of its block.
        weight = full if valid.all() else np.maximum(_blur(valid.astype(np.float32), sigma), 1e-6)
        value = blurred / np.float32(255) / weight
        return np.where(valid, value, 0)[block.inner].astype(np.float32)

    return probability


def _blur(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    blurred: NDArray[np.float32] = ndimage.gaussian_filter(
        image, sigma, mode="constant", radius=_reach(sigma)
    )
    return blurred
