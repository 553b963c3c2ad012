"""How well the sizes of aircraft would fit the catalogue at other ground samplings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from postprocess.aircraft import evidence
from postprocess.aircraft.catalogue import Catalogue
from postprocess.aircraft.evidence import Measures
from postprocess.shapes import Floats

AIRFIELD_SHARE = {"light": 0.1, "combat": 0.3, "warbird": 0.02}
"""How much rarer than their numbers say these families are in imagery of airfields, where
airliners, transports and business jets stand."""


def size_likelihood(
    catalogue: Catalogue,
    measures: Measures,
    pods: Floats,
    weights: Floats,
    shape_weight: float,
    factors: Floats,
) -> Floats:
    """Log likelihood of what was measured of each aircraft if the ground sampling were another.

    Types are summed over by their prior, so that a length and a wingspan count as much as there
    are types of those proportions at that size. Shape belongs to its type at any sampling.

    Args:
        catalogue: the types.
        measures: (n,) each, in metres at the ground sampling assumed.
        pods: (n, types) log likelihood of engine pods.
        weights: (types,) log prior.
        shape_weight: how much shape counts.
        factors: (m,) other samplings over the one assumed.

    Returns:
        (n, m), comparable along m: densities in pixels, which the sampling does not change.
    """
    log_prior = weights + _airfield_prior(catalogue)
    still = log_prior + shape_weight * (evidence.body(catalogue, measures) + pods)
    shape = shape_weight * evidence.wing_shapes(catalogue, measures)
    columns = []
    for factor in factors.tolist():
        scaled = replace(
            measures,
            length=measures.length * factor,
            span=measures.span * factor,
            length_sd=measures.length_sd * factor,
            span_sd=measures.span_sd * factor,
        )
        log = still + evidence.size_and_shape(catalogue, scaled, shape)
        columns.append(np.logaddexp.reduce(log, axis=1) + 2 * np.log(factor))
    return np.stack(columns, axis=1)


def _airfield_prior(catalogue: Catalogue) -> Floats:
    log = np.zeros(len(catalogue.types))
    for family, share in AIRFIELD_SHARE.items():
        inside = catalogue.within.get(family)
        if inside is not None:
            log[inside] = np.log(share)
    return log
