"""Sub-pixel centre lines: where the probability's ridge lies, and a smooth line through it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.linalg import solveh_banded

Xy = NDArray[np.float64]
Index = NDArray[np.int64]
Values = NDArray[np.float64]

FLOOR = 0.15
"""Signal below this is no road."""

PINNED = 1e8
"""Weight of an end point; everything else weighs at most 1."""


def normals(points: Xy, owner: Index) -> Xy:
    """(n, 2) unit normals of polylines given by points and the line each belongs to."""
    first, last = tips(owner)
    before = np.where(first, np.arange(len(owner)), np.arange(len(owner)) - 1)
    after = np.where(last, np.arange(len(owner)), np.arange(len(owner)) + 1)
    way = points[after] - points[before]
    way /= np.maximum(np.hypot(*way.T), 1e-9)[:, None]
    return np.stack([-way[:, 1], way[:, 0]], axis=1)


def tips(owner: Index) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(n,) whether a point is its line's first, and whether its last."""
    change = np.diff(owner) != 0
    return np.concatenate([[True], change]), np.concatenate([change, [True]])


def ridge(
    profiles: Iterable[tuple[Index, NDArray[np.float32]]], owner: Index, most: float
) -> tuple[Values, Values]:
    """Where the ridge lies across the line, and how far that can be trusted.

    From the line's own crest outward the profile is held down to its lowest value so far, so that a
    neighbouring road has no say; the ridge is the centre of gravity of what is left. Where the
    road looks half again as wide as its line's median (a junction), the place is not trusted.

    Args:
        profiles: numbers of points and their (k, 2r + 1) float32 signal at offsets -r .. r; every
            point once, in any order.
        owner: (n,) line of each point, rising.
        most: largest believable offset, pixels.

    Returns:
        (n,) offsets in pixels along the normal, and (n,) weights 0..1.
    """
    offset, top, mass = centred = np.empty((3, len(owner)))
    for some, profile in profiles:
        centred[:, some] = _centred(profile.astype(np.float64), most)
    width = mass / np.maximum(top, 1e-9)
    usual = pd.Series(width).groupby(owner).transform("median").to_numpy()
    weight = np.minimum(top, 1.0)
    weight = np.where((width > 1.5 * usual + 1) | (np.abs(offset) > most), 0.0, weight)
    return np.clip(offset, -most, most), weight


def _centred(profile: Values, most: float) -> Values:
    """(3, n) of each profile: the ridge's offset, the highest signal held, and their sum."""
    reach = profile.shape[1] // 2
    crest = _crest(profile, reach, most)[:, None]
    places = np.arange(profile.shape[1])
    right = np.minimum.accumulate(np.where(places >= crest, profile, np.inf), axis=1)
    left = np.minimum.accumulate(np.where(places <= crest, profile, np.inf)[:, ::-1], axis=1)
    held = np.clip(np.where(places >= crest, right, left[:, ::-1]) - FLOOR, 0, None)
    mass = held.sum(axis=1)
    offset = (held * (places - reach)).sum(axis=1) / np.maximum(mass, 1e-9)
    return np.stack([offset, held.max(axis=1), mass])


def _crest(profile: Values, reach: int, most: float) -> Index:
    """(n,) where to start from: the middle, unless within `most` the signal is far higher."""
    near = min(reach, int(most))
    part = profile[:, reach - near : reach + near + 1]
    best = np.argmax(part, axis=1) + reach - near
    high = part.max(axis=1) * 0.6 > profile[:, reach]
    return np.where(high, best, reach)


def smoothed(points: Xy, weight: Values, owner: Index, wavelength: float) -> Xy:
    """Polylines with wiggles shorter than `wavelength` (in points) taken out, ends held.

    Penalised least squares on second differences (Whittaker, 1923; Eilers, 2003), all lines in
    one banded system.

    Args:
        points: (n, 2) wanted places, about equally spaced along each line.
        weight: (n,) trust 0..1; a little is always kept.
        owner: (n,) line of each point, rising.
        wavelength: at which half of a wiggle's height is left, in points.
    """
    stiff = (wavelength / (2 * np.pi)) ** 4
    first, last = tips(owner)
    trust = np.where(first | last, PINNED, np.maximum(weight, 0.02))
    inside = (owner[2:] == owner[:-2]).astype(np.float64) if len(owner) > 2 else np.zeros(0)
    bands = np.zeros((3, len(owner)))
    bands[2] = trust
    if len(inside):
        bands[2, :-2] += stiff * inside
        bands[2, 1:-1] += 4 * stiff * inside
        bands[2, 2:] += stiff * inside
        bands[1, 1:-1] -= 2 * stiff * inside
        bands[1, 2:] -= 2 * stiff * inside
        bands[0, 2:] += stiff * inside
    found = np.asarray(solveh_banded(bands, trust[:, None] * points, lower=False), np.float64)
    found[first | last] = points[first | last]
    return found
