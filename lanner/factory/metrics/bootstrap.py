"""Intervals by resampling images (Efron and Tibshirani, 1993), alone or in pairs.

A statistic is a function of how often each image counts. The same draws given to two statistics
make a paired comparison: what an image does to both cancels out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

Statistic = Callable[[Floats], Floats]
"""(k, images) weights to (k,) values; nan where nothing can be said."""

LEVEL = 0.95
DECIMALS = 6


def draws(images: int, times: int, seed: int = 1) -> Floats:
    """(times, images) how often each image was drawn, with replacement."""
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(images, np.full(images, 1 / images), size=times)
    return np.asarray(counts, np.float64)


def estimate(statistic: Statistic, images: int, weights: Floats | None = None) -> dict[str, Any]:
    """`value` over all images and, with draws, `low` and `high` of the percentile interval.

    None where nothing can be said; of a single image, which is drawn every time, no interval.
    """
    value = float(statistic(np.ones((1, images)))[0])
    result: dict[str, Any] = {"value": _plain(value)}
    if weights is not None and len(weights) and images > 1:
        result.update(_interval(statistic(weights)))
    return result


def paired(one: Statistic, two: Statistic, weights: Floats) -> dict[str, Any]:
    """How much `two` is above `one` on the same images.

    Returns:
        `value`, `low` and `high` of the difference, and `above`, the share of draws in which
        `two` is the higher. Of a single image, which is drawn every time, the difference itself.
    """
    once = np.ones((1, weights.shape[1]))
    value = float((two(once) - one(once))[0])
    drawn = two(weights) - one(weights)
    known = drawn[np.isfinite(drawn)]
    above = float(np.mean(known > 0)) if len(known) else float("nan")
    return {"value": _plain(value), **_interval(drawn), "above": _plain(above)}


def ratio(part: Floats, whole: Floats) -> Statistic:
    """The statistic of a sum over a sum; (images,) each."""

    def statistic(weights: Floats) -> Floats:
        top, bottom = weights @ part, weights @ whole
        share: Floats = np.full(len(top), np.nan)
        np.divide(top, bottom, out=share, where=bottom > 0)
        return share

    return statistic


def f1(right: Floats, found: Floats, truth: Floats) -> Statistic:
    """The statistic of F1 from (images,) counts."""
    return ratio(2 * right, found + truth)


def _interval(values: Floats) -> dict[str, Any]:
    known = values[np.isfinite(values)]
    if not len(known):
        return {"low": None, "high": None}
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"low": _plain(float(low)), "high": _plain(float(high))}


def _plain(value: float) -> float | None:
    return round(value, DECIMALS) + 0.0 if np.isfinite(value) else None
