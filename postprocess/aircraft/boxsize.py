"""What an upright box alone says about an aircraft that may stand at any angle in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from postprocess.shapes import Floats

ANGLES = np.radians(np.arange(1.0, 90.0, 2.0))
"""Angle of the fuselage from the box's long side: nothing is known, all count alike."""

RATIOS = np.exp(np.linspace(-0.6, 0.6, 25))
"""Wingspan over length."""

RATIO_SD = 0.22
"""Spread of ln(wingspan / length) over aircraft types, weighted by how many were built."""

FIT_SD = 0.06
"""How well a bare cross of fuselage and wing predicts the sides of the box, relative."""

CHUNK = 128
"""Boxes worked on at once: a megabyte for each of some ten arrays."""


@dataclass(frozen=True)
class Sizes:
    """(n,) best estimates in the unit of the boxes, and their 1-sigma errors."""

    length: Floats
    span: Floats
    length_sd: Floats
    span_sd: Floats


def from_boxes(width: Floats, height: Floats) -> Sizes:
    """Posterior mean and spread of length and wingspan, given (n,) sides of upright boxes.

    The aircraft is a cross of length L and span W turned by an unknown angle t: the box is
    max(L cos t, W sin t) by max(L sin t, W cos t). Angle and W / L are integrated out on a grid.
    """
    parts = [
        _some(width[low : low + CHUNK], height[low : low + CHUNK])
        for low in range(0, len(width), CHUNK)
    ]
    if not parts:
        none = np.empty(0)
        return Sizes(none, none, none, none)
    return Sizes(*np.concatenate(parts, axis=1))


def _some(width: Floats, height: Floats) -> Floats:
    turn, ratio = (grid.ravel() for grid in np.meshgrid(ANGLES, RATIOS, indexing="ij"))
    one = np.maximum(np.cos(turn), ratio * np.sin(turn))
    two = np.maximum(np.sin(turn), ratio * np.cos(turn))
    # Length that fits the box best (in the logarithm), and the misfit that stays.
    log_w = np.log(np.maximum(width, 1e-6))[:, None]
    log_h = np.log(np.maximum(height, 1e-6))[:, None]
    log_length = ((log_w - np.log(one)) + (log_h - np.log(two))) / 2
    misfit = ((log_w - np.log(one)) - (log_h - np.log(two))) / FIT_SD
    weight = np.exp(-0.5 * (misfit**2 / 2 + (np.log(ratio) / RATIO_SD) ** 2)) + 1e-300
    weight /= weight.sum(axis=1, keepdims=True)
    length = np.exp(log_length)
    span = length * ratio
    means = [(weight * value).sum(axis=1) for value in (length, span)]
    spreads = [
        np.sqrt((weight * (value - mean[:, None]) ** 2).sum(axis=1) + (FIT_SD * mean) ** 2)
        for value, mean in zip((length, span), means, strict=True)
    ]
    return np.stack([*means, *spreads])
