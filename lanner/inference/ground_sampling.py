"""The ground sampling of a picture that does not say it, judged from what is found in it.

A network sees objects well over a range of sizes in pixels. Of what it sees, sizes in pixels
are known; how well these fit the objects' true sizes at every possible ground sampling is what
a step of the chain says (`size_likelihood`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SURE_SCORE = 0.5
"""Objects less likely than this say nothing of sizes."""

MOST = 32
"""Objects that are heard, the surest first: more only take time."""

ENOUGH = 3
"""Objects without which no estimate is sure."""

ALIKE, WITNESS, WITNESSES = 0.15, 0.8, 4.0
"""Objects alike in length and width (natural logarithm) are mostly of one type: n of them count
as n**(1 - `WITNESS`) independent ones. A picture holds at most `WITNESSES`: what misleads about
one kind of aircraft, a shadow or a blur, misleads about all."""

ODD_ONE = 5.0
"""Nats by which one object can speak against a sampling at most: it may be no such object."""

VIEW_PX = 24.0
"""Objects that are this long in the networks' view are seen about as well as larger ones."""

LEAST_PX, RUNG = 240, 2.0
"""Side of the first view of a whole picture, and how much larger each next one is: large objects
are seen in small views, and most views of small ones are not needed."""

SPREAD = 0.18
"""Error (natural logarithm) that a sampling has beside what sizes leave open."""

STEP, REACH = 1.06, (0.02, 8.0)
"""Samplings that are weighed: `STEP` apart, over this range of metres a pixel."""

WITHIN = 1.6
"""An estimate is sure where the truth is hardly more than this factor away."""

SURE = 0.9

NEAR, UNLIKELY = 1.4, 0.08
"""A sampling is contradicted where so little probability is left within this factor of it."""


@dataclass(frozen=True)
class Sizes:
    """What was found at an assumed ground sampling.

    Attributes:
        gsd: metres a pixel that were assumed.
        score: (n,) how likely each is an object.
        side_px: (n, 2) length and width in pixels of the networks' view; NaN where not measured.
        likelihood: gives (n, m) logarithms for (m,) factors on `gsd`, of the rows asked for.
    """

    gsd: float
    score: Floats
    side_px: Floats
    likelihood: Callable[[NDArray[np.int64], Floats], Floats]

    @property
    def heard(self) -> NDArray[np.int64]:
        """Rows of the objects that say something of sizes, the surest first."""
        measured = np.isfinite(self.side_px).all(axis=1)
        sure = np.flatnonzero((self.score >= SURE_SCORE) & measured)
        return sure[np.argsort(-self.score[sure], kind="stable")][:MOST]

    @property
    def well_seen(self) -> bool:
        """Whether enough objects were seen at a size at which none is missed."""
        heard = self.heard
        return len(heard) >= ENOUGH and bool(np.median(self.side_px[heard, 0]) >= VIEW_PX)


@dataclass(frozen=True)
class GsdEstimate:
    """Metres a pixel, nine tenths of the probability in `low` to `high`, and whether that is
    narrow enough to be relied on; `objects` were heard.
    """

    gsd: float
    low: float
    high: float
    sure: bool
    objects: int

    @property
    def sentence(self) -> str:
        """What its user is told."""
        count = "one object" if self.objects == 1 else f"{self.objects} objects"
        if self.sure:
            return (
                f"The ground sampling was estimated from {count}: {self.gsd:g} m a pixel, "
                f"{self.low:g} to {self.high:g} m with 90 % probability."
            )
        return (
            f"The ground sampling is not sure: {count} fit {self.gsd:g} m a pixel best, and "
            f"{self.low:g} to {self.high:g} m well enough. Measure a length that you know, and "
            "give the ground sampling that follows from it."
        )


def rungs(side: int, gsd: float, gsd_range: tuple[float, float]) -> Iterator[float]:
    """Samplings to assume, the quickest first.

    Args:
        side: longer side of the picture, pixels.
        gsd: metres a pixel of the networks' view.
        gsd_range: what the detector takes.
    """
    low, high = gsd_range
    value = min(max(gsd * LEAST_PX / side, low), high)
    while value < high:
        yield value
        value *= RUNG
    yield high


def estimate_gsd(views: Iterator[Sizes]) -> GsdEstimate | None:
    """The ground sampling that sizes speak for; None where no object speaks.

    Args:
        views: what is found at one assumed sampling after the other; no more are asked for than
            are needed.
    """
    best: Sizes | None = None
    for sizes in views:
        if best is None or _weight(sizes) > _weight(best):
            best = sizes
        if sizes.well_seen:
            break
    if best is None or not len(best.heard):
        return None
    return _estimate(best)


def contradicting(sizes: Sizes) -> GsdEstimate | None:
    """Another ground sampling that explains what was found far better than the one assumed."""
    if len(sizes.heard) < ENOUGH:
        return None
    samplings, share = _shares(sizes)
    near = np.abs(np.log(samplings / sizes.gsd)) <= np.log(NEAR)
    return _estimate(sizes) if share[near].sum() < UNLIKELY else None


def _estimate(sizes: Sizes) -> GsdEstimate:
    samplings, share = _shares(sizes)
    low, high = np.exp(np.interp([0.05, 0.95], np.cumsum(share), np.log(samplings))).tolist()
    # The mean of the logarithm: between two kinds of objects that would fit, not at one of them.
    value, count = float(np.exp(share @ np.log(samplings))), len(sizes.heard)
    near = np.abs(np.log(samplings / value)) <= np.log(WITHIN)
    sure = count >= ENOUGH and bool(share[near].sum() >= SURE)
    return GsdEstimate(_rounded(value), _rounded(low), _rounded(high), sure, count)


def _shares(sizes: Sizes) -> tuple[Floats, Floats]:
    """(m,) samplings and how likely each is."""
    low, high = REACH
    samplings = np.geomspace(low, high, ceil(np.log(high / low) / np.log(STEP)))
    each = sizes.likelihood(sizes.heard, samplings / sizes.gsd)
    each = np.logaddexp(each - each.max(axis=1, keepdims=True), -ODD_ONE)
    log = _independence(sizes) @ each
    apart = np.log(samplings[:, None] / samplings)
    share = np.exp(-0.5 * (apart / SPREAD) ** 2) @ np.exp(log - log.max())
    return np.asarray(samplings, np.float64), np.asarray(share / share.sum(), np.float64)


def _independence(sizes: Sizes) -> Floats:
    """(heard,) as how many independent objects each counts."""
    sides = np.log(sizes.side_px[sizes.heard])
    alike = (np.abs(sides[:, None] - sides) < ALIKE).all(axis=2).sum(axis=1)
    weight = alike.astype(np.float64) ** -WITNESS
    return np.asarray(weight * min(1.0, WITNESSES / weight.sum()), np.float64)


def _weight(sizes: Sizes) -> float:
    return float(sizes.score[sizes.heard].sum())


def _rounded(value: float) -> float:
    """Two digits: no estimate knows a third."""
    return float(f"{value:.2g}")
