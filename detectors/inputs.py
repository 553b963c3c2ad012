"""From normalised pixels to a network's input; `detectors.kernels.normalise` does the same, to the
bit, together with the stretch before it.
"""

from __future__ import annotations

from torch import Tensor

BANDS = 3
"""What every network takes."""

MEAN, STD = 0.45, 0.225
"""One centre and spread for every band: a grey scene and a colour scene look alike."""


def prepare(pixels: Tensor, valid: Tensor) -> Tensor:
    """Centre and scale; what is not valid becomes exactly 0, the value of zero padding.

    Args:
        pixels: (n, bands, h, w) float in 0..1.
        valid: (n, h, w) bool.

    Returns:
        (n, bands, h, w) float, roughly -2..2.
    """
    return (pixels - MEAN) / STD * valid[:, None].to(pixels.dtype)
