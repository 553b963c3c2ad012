"""How well each type of the catalogue explains what was measured: log likelihoods."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from postprocess.aircraft.catalogue import Catalogue
from postprocess.shapes import Floats, Ints

SIZE_SPREAD = (0.15, 0.008)
"""Spread of one type's own size: metres, and a share of it (versions, table errors)."""

PROBED, PROBE = "combat", (0.97, 0.03)
"""A family whose published lengths count a nose probe too thin to be seen, and the share of the
length that is seen: mean and spread."""

FREEDOM = 4.0
"""Degrees of freedom of size errors (Student's t): an outline is off by a shadow now and then."""

SWEEP = {
    ("straight", "any"): (3.0, 6.0),
    ("swept", "any"): (33.0, 9.0),
    ("swept", "fuselage"): (39.0, 10.0),
    ("delta", "any"): (48.0, 10.0),
    ("spread", "any"): (22.0, 8.0),
    ("folded", "any"): (66.0, 10.0),
}
"""Leading-edge sweep in degrees, mean and spread, by shape of the wing and place of the engines.
A swing wing is `spread` or `folded` back, as its span says; published sweeps of those are 15 to
20 and 65 to 72 degrees, a little of which a contour rounds off."""

WING_AT = {
    ("straight", "nose"): (0.38, 0.07),
    ("straight", "wings"): (0.44, 0.07),
    ("swept", "wings"): (0.53, 0.07),
    ("swept", "hips"): (0.59, 0.07),
    ("swept", "fuselage"): (0.67, 0.08),
    ("delta", "fuselage"): (0.68, 0.09),
    ("spread", "any"): (0.62, 0.08),
    ("folded", "any"): (0.72, 0.08),
}
"""Where the outer wing is along the fuselage (0 nose, 1 tail), by wing and place of the engines, as
seen in outlines of real aircraft from above (parked and flying, twelve types)."""

FILL = {
    ("straight", "any"): (0.24, 0.05),
    ("straight", "fuselage"): (0.30, 0.06),
    ("straight", "nose"): (0.27, 0.05),
    ("swept", "any"): (0.22, 0.03),
    ("swept", "fuselage"): (0.35, 0.06),
    ("delta", "any"): (0.40, 0.07),
    ("spread", "any"): (0.23, 0.04),
    ("folded", "any"): (0.36, 0.07),
}
"""Area seen from above over length times wingspan, mean and spread: what areas of wings and
widths of fuselages and tails add up to, some 0.2 for airliners, 0.25 for straight wings, 0.33 for
twin-engined fighters, 0.45 for deltas. Rough sums, hence wide spreads."""

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
RANGE_FILL = 0.6


@dataclass(frozen=True)
class Measures:
    """(n,) each: sizes in metres with 1-sigma errors, sweep of the leading edge in degrees with
    its error, place of the wing along the fuselage 0..1, filled share with its error. Shape is
    NaN where it was not seen.
    """

    length: Floats
    span: Floats
    length_sd: Floats
    span_sd: Floats
    sweep: Floats
    sweep_sd: Floats
    wing_at: Floats
    fill: Floats
    fill_sd: Floats


def size_and_shape(catalogue: Catalogue, seen: Measures, shape_weight: float) -> Floats:
    """(n, types) log likelihood of what was measured, shape counting by `shape_weight`.

    Each span that a type is seen with is a state of its own, and counts alike: a swing wing is
    folded back at the smaller span, and looks so. Errors of size have heavy tails, those of shape
    an outlier share of `DOUBT`, so no single measure rules a type out.
    """
    owner, rank = np.nonzero(np.isfinite(catalogue.spans))
    spans = catalogue.spans[owner, rank]
    log = _length(catalogue, seen)[:, owner]
    log += _student(seen.span, spans, _spread(seen.span_sd, spans))
    log += shape_weight * _shape(_wings(catalogue, owner, spans), seen)
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    count = np.diff(first, append=len(owner))
    return np.asarray(np.logaddexp.reduceat(log, first, axis=1) - np.log(count), np.float64)


def _length(catalogue: Catalogue, seen: Measures) -> Floats:
    none = np.zeros(len(catalogue.types), bool)
    probed = catalogue.within.get(PROBED, none)
    shown = np.where(probed, PROBE[0], 1.0) * catalogue.length
    hidden = np.where(probed, PROBE[1], 0.0) * catalogue.length
    return _student(seen.length, shown, np.hypot(_spread(seen.length_sd, shown), hidden))


def _wings(catalogue: Catalogue, owner: Ints, spans: Floats) -> list[tuple[str, str]]:
    """Shape of the wing and place of the engines of each state."""
    swing = catalogue.wing[owner] == "swing"
    # A swing wing of one known span may be seen at any sweep: it stays `swing`.
    swing &= np.isfinite(catalogue.spans).sum(axis=1)[owner] > 1
    wide = spans >= np.nanmax(catalogue.spans, axis=1)[owner]
    wing = np.where(swing, np.where(wide, "spread", "folded"), catalogue.wing[owner])
    return list(zip(wing.tolist(), catalogue.engines_at[owner].tolist(), strict=True))


def _shape(wings: list[tuple[str, str]], seen: Measures) -> Floats:
    """(n, states) log likelihood of sweep, wing's place and filled share; 0 where unseen."""
    kinds = sorted(set(wings))
    column = np.array([kinds.index(wing) for wing in wings])
    result = np.zeros((len(seen.sweep), len(kinds)))
    known = np.isfinite(seen.sweep) & np.isfinite(seen.wing_at)
    # A coarse outline places the wing about as badly as it shows its sweep.
    parts = (
        (known, SWEEP, seen.sweep, seen.sweep_sd, RANGE_SWEEP),
        (known, WING_AT, seen.wing_at, seen.sweep_sd / 100, RANGE_AT),
        (np.isfinite(seen.fill), FILL, seen.fill, seen.fill_sd, RANGE_FILL),
    )
    for rows, table, value, error, extent in parts:
        for k, kind in enumerate(kinds):
            facts = table.get(kind, table.get((kind[0], "any")))
            result[rows, k] += (
                -np.log(extent)
                if facts is None
                else _robust(value[rows], *facts, error[rows], extent)
            )
    return result[:, column]


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


def _student(x: Floats, mean: Floats, sd: Floats) -> Floats:
    """(n, m) log density, but for a constant, of (n,) about (m,) with (n, m) spreads."""
    far = ((x[:, None] - mean) / sd) ** 2
    return np.asarray(-(FREEDOM + 1) / 2 * np.log1p(far / FREEDOM) - np.log(sd), np.float64)


def _robust(x: Floats, mean: float, sd: float, error: Floats, extent: float) -> Floats:
    wide = np.hypot(sd, error)
    inside = np.exp(-0.5 * ((x - mean) / wide) ** 2) / (wide * np.sqrt(2 * np.pi))
    return np.asarray(np.log((1 - DOUBT) * inside + DOUBT / extent), np.float64)
