"""How well each type of the catalogue explains what was measured: log likelihoods."""

from __future__ import annotations

from typing import Any

import numpy as np

from postprocess.aircraft.catalogue import Catalogue
from postprocess.shapes import Floats

SIZE_SPREAD = (0.15, 0.008)
"""Spread of one type's own size: metres, and a share of it (versions, probes, table errors)."""

SWEEP = {"straight": (3.0, 6.0), "swept": (33.0, 9.0), "delta": (48.0, 10.0)}
"""Leading-edge sweep in degrees, mean and spread, by shape of the wing; swing wings go anywhere."""

WING_AT = {
    ("straight", "nose"): (0.38, 0.07),
    ("straight", "wings"): (0.44, 0.07),
    ("swept", "wings"): (0.53, 0.07),
    ("swept", "hips"): (0.59, 0.07),
    ("swept", "fuselage"): (0.67, 0.08),
    ("delta", "fuselage"): (0.68, 0.09),
}
"""Where the outer wing is along the fuselage (0 nose, 1 tail), by wing and place of the engines, as
seen in outlines of real aircraft from above (parked and flying, twelve types)."""

PODS = {
    "two": (0.20, 0.65, 0.10, 0.05),
    "four": (0.10, 0.20, 0.60, 0.10),
    "rear": (0.55, 0.35, 0.07, 0.03),
    "other": (0.25, 0.25, 0.25, 0.25),
}
"""Chance to count 0, 1, 2, 3 or more pods a wing: with one or several engines on each, with
engines at the rear fuselage, and where it says nothing (inside, at the nose)."""

DOUBT = 0.1
"""Share of outlines that show something else than the wing (shadow, stands, a neighbour)."""

RANGE_SWEEP = 90.0
RANGE_AT = 1.0


def size(
    catalogue: Catalogue, length: Floats, span: Floats, length_sd: Floats, span_sd: Floats
) -> Floats:
    """(n, types) log likelihood of measured sizes in metres with their 1-sigma errors.

    Gaussian about the type's size, its own spread added to the error; of several spans that a
    type is seen with each counts alike.
    """
    out = _normal(length[:, None], catalogue.length, _spread(length_sd, catalogue.length))
    spans = catalogue.spans
    with np.errstate(invalid="ignore"):
        each = _normal(span[:, None, None], spans, _spread(span_sd[:, None], spans))
    count = np.isfinite(spans).sum(axis=1)
    top = np.where(np.isfinite(each), each, -np.inf).max(axis=2)
    # A type that fits not at all would make 0 / 0 of the mean below.
    top = np.maximum(top, -1e6)
    mean = np.nansum(np.exp(each - top[:, :, None]), axis=2) / count
    return np.asarray(out + top + np.log(np.maximum(mean, 1e-300)), np.float64)


def shape(catalogue: Catalogue, sweep: Floats, sweep_sd: Floats, wing_at: Floats) -> Floats:
    """(n, types) log likelihood of the wing's sweep (degrees) and place; 0 where NaN.

    Each is a mixture with an outlier share of `DOUBT`, so no shape rules a type out.
    """
    result = np.zeros((len(sweep), len(catalogue.types)))
    seen = np.isfinite(sweep) & np.isfinite(wing_at)
    if not seen.any():
        return result
    angle = np.stack(
        [
            _robust(sweep[seen], *SWEEP[wing], sweep_sd[seen], RANGE_SWEEP)
            if wing in SWEEP
            else np.full(int(seen.sum()), -np.log(RANGE_SWEEP))
            for wing in catalogue.wing.tolist()
        ],
        axis=1,
    )
    # A coarse outline places the wing about as badly as it shows its sweep.
    at_sd = sweep_sd[seen] / 100
    pairs = zip(catalogue.wing.tolist(), catalogue.engines_at.tolist(), strict=True)
    place = np.stack(
        [
            _robust(wing_at[seen], *WING_AT[pair], at_sd, RANGE_AT)
            if pair in WING_AT
            else np.full(int(seen.sum()), -np.log(RANGE_AT))
            for pair in pairs
        ],
        axis=1,
    )
    result[seen] = angle + place
    return result


def pods(catalogue: Catalogue, counted: Floats) -> Floats:
    """(n, types) log likelihood of pods counted a wing; 0 where NaN."""
    kinds = [
        _pod_kind(where, facts.engines)
        for where, facts in zip(catalogue.engines_at.tolist(), catalogue.types, strict=True)
    ]
    chance = np.log(np.array([PODS[kind] for kind in kinds])).T
    result = np.zeros((len(counted), len(kinds)))
    seen = np.isfinite(counted)
    result[seen] = chance[np.clip(counted[seen], 0, 3).astype(np.int64)]
    return result


def _pod_kind(where: str, engines: int) -> str:
    if where == "wings":
        return "four" if engines >= 4 else "two"
    return "rear" if where == "hips" else "other"


def prior(catalogue: Catalogue, damping: float, retired: float) -> Floats:
    """(types,) log prior: numbers built to the power of `damping`, less for those retired."""
    log = damping * np.log1p(catalogue.built) + np.where(catalogue.retired, np.log(retired), 0.0)
    return np.asarray(log - np.logaddexp.reduce(log), np.float64)


def posterior(log_weights: Floats) -> Floats:
    """(n, types) probabilities from log weights, each row summing to 1."""
    top = log_weights.max(axis=1, keepdims=True)
    weights = np.exp(log_weights - top)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float64)


def _spread(error: Floats, of: Floats) -> Floats:
    own = np.hypot(SIZE_SPREAD[0], SIZE_SPREAD[1] * of)
    return np.asarray(np.hypot(error[..., None], own), np.float64)


def _normal(x: Floats, mean: Any, sd: Any) -> Floats:
    return np.asarray(-0.5 * ((x - mean) / sd) ** 2 - np.log(sd), np.float64)


def _robust(x: Floats, mean: float, sd: float, error: Floats, extent: float) -> Floats:
    wide = np.hypot(sd, error)
    inside = np.exp(-0.5 * ((x - mean) / wide) ** 2) / (wide * np.sqrt(2 * np.pi))
    return np.asarray(np.log((1 - DOUBT) * inside + DOUBT / extent), np.float64)
