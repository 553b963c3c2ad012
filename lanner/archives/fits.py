"""Rates out of measurements: robust against single odd ones, and sound beyond what was measured."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from postprocess.shapes import Floats

ROUNDS = 40
"""Rounds of weighting; sums that people measure settle in twenty."""
DOUBT = 0.7
"""Relative doubt about what is supposed: it may be twice as much or half."""
USUAL = 0.05
"""Relative scatter that is always there."""
ODD = 4.0
"""Scatters off the fit from which on a measurement is an odd one."""


def fitted(
    table: ArrayLike,
    values: ArrayLike,
    supposed: ArrayLike,
    trials: ArrayLike,
    *,
    scaled: bool = False,
) -> Floats:
    """Coefficients, none below zero, of which measured values are sums.

    Errors are taken to be relative, so that small scenes count as large ones do. Odd measurements,
    as of a machine that slept in between, have little weight. What measurements leave open, such
    as a fixed share where all are of one size, follows from what is supposed.

    Args:
        table: (n, k) how often each coefficient is in each value.
        values: (n,) what was measured, above zero; n of 1 or more.
        supposed: (k,) coefficients to go by where measurements do not tell.
        trials: (m, k) rows whose sums are supposed, too, give or take `DOUBT`.
        scaled: whether what is supposed holds in proportion alone, as on a machine of any speed.

    Returns:
        (k,) coefficients; they add up to the sum of those measurements that are not odd.
    """
    from scipy.optimize import nnls

    rows, measured = np.asarray(table, np.float64), np.asarray(values, np.float64)
    prior = np.asarray(supposed, np.float64)
    if scaled:
        prior = prior * float(np.median(measured / (rows @ prior)))
    extra = np.asarray(trials, np.float64)
    whole = np.concatenate([rows, extra])
    target = np.concatenate([measured, extra @ prior])
    found = prior
    for step in range(ROUNDS):
        sums = np.maximum(whole @ found, 1e-12)
        off = _off(target, sums)
        scatter = _scatter(off[: len(rows)])
        # What is far off counts less at first, and then no more: by then it is known what is.
        weight = np.minimum(1.0, 1.5 * scatter / np.maximum(np.expm1(off), 1e-12))
        if step >= ROUNDS // 2:
            weight[off > ODD * scatter] = 0.0
        weight[len(rows) :] *= min(1.0, scatter / DOUBT) ** 2
        root = np.sqrt(weight) / sums
        found, _ = nnls(whole * root[:, None], target * root)
    sums = np.maximum(rows @ found, 1e-12)
    off = _off(measured, sums)
    good = off <= ODD * _scatter(off)
    return np.asarray(found * measured[good].sum() / sums[good].sum(), np.float64)


def _off(values: Floats, sums: Floats) -> Floats:
    """How far values are off a fit, as logarithms: twice as much is as far as half."""
    return np.asarray(np.abs(np.log(np.maximum(values, 1e-12) / sums)), np.float64)


def _scatter(off: Floats) -> float:
    """Of measurements about a fit; half of them lie within two thirds of it."""
    return USUAL + 1.4826 * float(np.median(off))
