"""Connected components of masks, numbered in one order on every device."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from detectors.kernels.label import reference


def label(mask: Tensor, neighbours: Literal[4, 8] = 8) -> tuple[Tensor, Tensor]:
    """Number the connected components of each mask.

    Args:
        mask: (n, h, w) bool, contiguous; h x w below 2^31.
        neighbours: pixels that touch along a side (4), or at a corner too (8).

    Returns:
        numbers: (n, h, w) int32, 0 outside; in each image from 1 in raster order of the
            components' first pixels, as scipy and scikit-image count.
        counts: (n,) int32, components of each image.
    """
    if mask.is_cuda:
        from detectors.kernels.label import kernel

        return kernel.label(mask, neighbours)
    return reference.label(mask, neighbours)
