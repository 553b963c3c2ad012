"""Tiles of probability merged into a band of rows, and finished rows made small.

What `tiling.blend.Blender` does to pixels, where the probabilities are: what is copied back is a
byte a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from detectors.kernels.blend import reference


def add(
    mean: Tensor,
    total: Tensor,
    values: Tensor,
    valid: Tensor,
    weights: Tensor,
    at: Sequence[tuple[int, int]],
) -> None:
    """Merge tiles into a band, in the order given, so that how they are batched is no matter.

    A pixel is the weighted mean of the tiles that see it valid, kept as a running mean. What
    hangs over the band is left out. A valid pixel that is no number stays none in `mean`; the
    caller looks before its rows are finished.

    Args:
        mean: (channels, rows, width) float32, contiguous; changed in place. 0 at first.
        total: (rows, width) float32, contiguous, weight so far; changed in place. 0 at first.
        values: (n, channels, tile, tile) float32 or bfloat16; anything where not valid.
        valid: (n, tile, tile) bool.
        weights: (tile, tile) float32, see `tiling.blend.window_weights`.
        at: n times row and column in the band of a tile's first pixel, which may be negative.
    """
    if mean.is_cuda:
        from detectors.kernels.blend import kernel

        kernel.add(mean, total, values, valid, weights, at)
    else:
        reference.add(mean, total, values, valid, weights, at)


def quantise(mean: Tensor, total: Tensor) -> Tensor:
    """Probability 0..1 as 0..255, rounded half to even; 0 where nothing is known.

    Args:
        mean: (channels, rows, width) float32, contiguous.
        total: (rows, width) float32, contiguous.

    Returns:
        (channels, rows, width) uint8.
    """
    if mean.is_cuda:
        from detectors.kernels.blend import kernel

        return kernel.quantise(mean, total)
    return reference.quantise(mean, total)


def argmax(mean: Tensor, total: Tensor) -> Tensor:
    """Number, from 1, of the greatest channel, of equals the first; 0 where nothing is known.

    Args:
        mean: (channels, rows, width) float32, contiguous, at most 255 channels, all numbers.
        total: (rows, width) float32, contiguous.

    Returns:
        (rows, width) uint8.
    """
    if mean.is_cuda:
        from detectors.kernels.blend import kernel

        return kernel.argmax(mean, total)
    return reference.argmax(mean, total)
