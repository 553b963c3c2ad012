"""From pixels as the file has them to a network's input, in one pass over memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from detectors.kernels.normalise import cpu, reference


def normalise(
    raw: Tensor, valid: Tensor, low: Sequence[float], high: Sequence[float], dtype: torch.dtype
) -> Tensor:
    """Stretch, centre and scale; what is not valid becomes exactly 0, the value of zero padding.

    The scene's stretch (`tiling.normalise.Stretch`) and `detectors.inputs.prepare` together.

    Args:
        raw: (n, bands, h, w) uint8, uint16, int16 or float32, contiguous.
        valid: (n, h, w) bool, contiguous.
        low: value of each band that becomes 0 before centring.
        high: value that becomes 1; where it is `low`, every pixel becomes 0.5.
        dtype: of the result.

    Returns:
        (n, bands, h, w) of `dtype`, channels last in memory.
    """
    if raw.is_cuda:
        from detectors.kernels.normalise import kernel

        return kernel.normalise(raw, valid, low, high, dtype)
    if raw.device.type == "cpu":
        return cpu.normalise(raw, valid, low, high, dtype)
    return reference.normalise(raw, valid, low, high, dtype)
