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

FUSELAGE_ROOM = 0.06
"""Spread of a published width as it is seen, as a share of it: the nose, tanks, a camera aslant."""

SLENDER = {
    "wide_body": (0.093, 0.015),
    "narrow_body": (0.093, 0.014),
    "regional_jet": (0.085, 0.013),
    "propeller_airliner": (0.098, 0.02),
    "business_jet": (0.105, 0.018),
    "military_transport": (0.12, 0.03),
    "tanker": (0.095, 0.015),
    "surveillance": (0.09, 0.03),
    "bomber": (0.063, 0.014),
    "combat": (0.085, 0.025),
    "light": (0.125, 0.03),
    "warbird": (0.10, 0.03),
}
"""Width of the fuselage over its length, mean and spread by family, where the type's own width is
not known: those of types whose width is published (B-52 0.068, Tu-16 0.072 and Tu-95 0.059 among
bombers, Il-76 0.10 and C-17 0.13 among transports, F-16 0.10 among fighters)."""

AFT_PLAIN, AFT_DISC = (1.15, 0.25), (2.0, 0.5)
"""Widest between wing and tail in widths of the fuselage: flaps and fairings, and a rotodome
(9.1 m on fuselages of 3.8 to 5 m, 7.3 m on one of 2.5 to 3)."""

DOUBT = 0.1
"""Share of outlines that show something else than the wing (shadow, stands, a neighbour)."""

RANGE_SWEEP = 90.0
RANGE_AT = 1.0
RANGE_FILL = 0.6
RANGE_SLENDER = 0.3
RANGE_AFT = 6.0


@dataclass(frozen=True)
class Measures:
    """(n,) each: sizes in metres with 1-sigma errors, sweep of the leading edge in degrees with
    its error, place of the wing along the fuselage 0..1, filled share with its error, width of
    the fuselage in metres with its error, widest behind the wing in such widths. Shape is NaN
    where it was not seen.
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
    fuselage: Floats
    fuselage_sd: Floats
    aft: Floats


def size_and_shape(catalogue: Catalogue, measures: Measures, shape: Floats) -> Floats:
    """(n, types) log likelihood of what was measured, given that of the `wing_shapes`.

    Each span that a type is seen with is a state of its own, and counts alike: a swing wing is
    folded back at the smaller span, and looks so. Errors of size have heavy tails, those of shape
    an outlier share of `DOUBT`, so no single measure rules a type out.
    """
    owner, rank = np.nonzero(np.isfinite(catalogue.spans))
    spans = catalogue.spans[owner, rank]
    log = _length(catalogue, measures)[:, owner]
    log += _student(measures.span, spans, _spread(measures.span_sd, spans))
    log += shape
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    count = np.diff(first, append=len(owner))
    return np.asarray(np.logaddexp.reduceat(log, first, axis=1) - np.log(count), np.float64)


def wing_shapes(catalogue: Catalogue, measures: Measures) -> Floats:
    """(n, states) log likelihood of the shape of each span that a type is seen with."""
    owner, rank = np.nonzero(np.isfinite(catalogue.spans))
    return _shape(_wings(catalogue, owner, catalogue.spans[owner, rank]), measures)


def _length(catalogue: Catalogue, measures: Measures) -> Floats:
    none = np.zeros(len(catalogue.types), bool)
    probed = catalogue.within.get(PROBED, none)
    visible = np.where(probed, PROBE[0], 1.0) * catalogue.length
    hidden = np.where(probed, PROBE[1], 0.0) * catalogue.length
    return _student(
        measures.length, visible, np.hypot(_spread(measures.length_sd, visible), hidden)
    )


def _wings(catalogue: Catalogue, owner: Ints, spans: Floats) -> list[tuple[str, str]]:
    """Shape of the wing and place of the engines of each state."""
    swing = catalogue.wing[owner] == "swing"
    # A swing wing of one known span may be seen at any sweep: it stays `swing`.
    swing &= np.isfinite(catalogue.spans).sum(axis=1)[owner] > 1
    wide = spans >= np.nanmax(catalogue.spans, axis=1)[owner]
    wing = np.where(swing, np.where(wide, "spread", "folded"), catalogue.wing[owner])
    return list(zip(wing.tolist(), catalogue.engines_at[owner].tolist(), strict=True))


def _shape(wings: list[tuple[str, str]], measures: Measures) -> Floats:
    """(n, states) log likelihood of sweep, wing's place and filled share; 0 where unseen."""
    kinds = sorted(set(wings))
    column = np.array([kinds.index(wing) for wing in wings])
    result = np.zeros((len(measures.sweep), len(kinds)))
    known = np.isfinite(measures.sweep) & np.isfinite(measures.wing_at)
    # A coarse outline places the wing about as badly as it shows its sweep.
    parts = (
        (known, SWEEP, measures.sweep, measures.sweep_sd, RANGE_SWEEP),
        (known, WING_AT, measures.wing_at, measures.sweep_sd / 100, RANGE_AT),
        (np.isfinite(measures.fill), FILL, measures.fill, measures.fill_sd, RANGE_FILL),
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


def body(catalogue: Catalogue, measures: Measures) -> Floats:
    """(n, types) log likelihood of the fuselage's width and what is wider behind; 0 where unseen.

    Both are shares, of the length and of that width: a sampling that is off is off in both.
    Behind a wing that is no airliner's or transport's anything may stand out.
    """
    slender = measures.fuselage / np.maximum(measures.length, 1e-9)
    slender_sd = measures.fuselage_sd / np.maximum(measures.length, 1e-9)
    aft_sd = measures.aft * measures.fuselage_sd / np.maximum(measures.fuselage, 1e-9)
    log = _about(slender, slender_sd, _slender(catalogue), RANGE_SLENDER)
    return log + _about(measures.aft, aft_sd, _aft(catalogue), RANGE_AFT)


def _slender(catalogue: Catalogue) -> Floats:
    """(types, 2) mean and spread of the fuselage's width over its length; 0 where unknown."""
    facts = np.zeros((len(catalogue.types), 2))
    for family, known in SLENDER.items():
        inside = catalogue.within.get(family)
        if inside is not None:
            facts[inside] = known
    own = catalogue.fuselage / catalogue.length
    published = np.stack([own, FUSELAGE_ROOM * own], axis=1)
    return np.where(np.isfinite(published), published, facts)


def _aft(catalogue: Catalogue) -> Floats:
    """(types, 2) mean and spread of what is widest behind the wing; 0 where unknown."""
    plain = (catalogue.engines_at == "wings") & np.isin(catalogue.wing, ("straight", "swept"))
    facts = np.where(plain[:, None], AFT_PLAIN, 0.0)
    return np.where(catalogue.rotodome[:, None], AFT_DISC, facts)


def _about(x: Floats, error: Floats, facts: Floats, extent: float) -> Floats:
    """(n, m) log density of (n,) by (m, 2) mean and spread: anything alike where that is 0, and 0
    in rows that were not seen.
    """
    kinds, column = np.unique(facts, axis=0, return_inverse=True)
    result = np.full((len(x), len(kinds)), -np.log(extent))
    for k, (mean, spread) in enumerate(kinds):
        if spread > 0:
            result[:, k] = _robust(x, mean, spread, error, extent)
    return np.where(np.isfinite(x)[:, None], result[:, column.ravel()], 0.0)


def pods(catalogue: Catalogue, counted: Floats) -> Floats:
    """(n, types) log likelihood of pods counted a wing; 0 where NaN."""
    kinds = [
        _pod_kind(where, facts.engines)
        for where, facts in zip(catalogue.engines_at.tolist(), catalogue.types, strict=True)
    ]
    chance = np.log(np.array([PODS[kind] for kind in kinds])).T
    result = np.zeros((len(counted), len(kinds)))
    known = np.isfinite(counted)
    result[known] = chance[np.clip(counted[known], 0, 3).astype(np.int64)]
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
