"""What a silhouette with its axis upright tells: which end is the nose, how the wing is swept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from postprocess.shapes import Bools, Floats

BINS = 64


@dataclass(frozen=True)
class Profile:
    """Per object, (n,) each.

    `nose_first`: log odds that row 0 is the nose. `sweep_deg`: sweep of the leading edge from
    the nose backwards, and `wing_at`: place of the wing's middle along the fuselage, 0 nose to
    1 tail, both as seen with row 0 as the nose.
    """

    nose_first: Floats
    sweep_deg: Floats
    wing_at: Floats

    def where(self, which: Bools, other: Profile) -> Profile:
        """The same with the rows of `which` taken from `other`, which holds those alone."""
        mine = [self.nose_first.copy(), self.sweep_deg.copy(), self.wing_at.copy()]
        for held, theirs in zip(
            mine, (other.nose_first, other.sweep_deg, other.wing_at), strict=True
        ):
            held[which] = theirs
        return Profile(*mine)


def profile(view: Bools, length: Floats, span: Floats) -> Profile:
    """Read (n, BINS, BINS) silhouettes whose rows and columns span -1..1 of the same length.

    `length` and `span` are the extents along rows and columns in the units of which the raster's
    half side is 1.
    """
    heavy, sweep, middle = _towards(view, length, span)
    other_heavy, other_sweep, other_middle = _towards(view[:, ::-1], length, span)
    # A straight wing stands ahead of the middle; where a swept one does says nothing.
    straight = np.clip(1 - np.maximum(np.abs(sweep), np.abs(other_sweep)) / 0.4, 0, 1)
    odds = heavy - other_heavy + 2 * (np.clip(sweep, -1, 1) - np.clip(other_sweep, -1, 1))
    odds -= 2 * straight * (middle - other_middle)
    return Profile(odds, np.degrees(np.arctan(sweep)), middle)


def _towards(filled: Bools, length: Floats, span: Floats) -> tuple[Floats, Floats, Floats]:
    """With row 0 as the nose: how tail-heavy (log ratio of areas), tangent of the leading edge's
    sweep, middle of the outer wing along the fuselage (0..1).
    """
    n = len(filled)
    at = (np.arange(BINS) + 0.5) / BINS * 2 - 1
    rows_any: NDArray[np.bool_] = np.asarray(filled.any(axis=2), np.bool_)
    top = np.where(rows_any.any(axis=1), rows_any.argmax(axis=1), 0)
    along = (np.arange(BINS)[None] - top[:, None]) / np.maximum(length[:, None] * BINS / 2, 1)
    width = filled.sum(axis=2) * (2 / BINS)
    area = np.maximum(width.sum(axis=1), 1e-9)
    # The tailplane makes the tail end heavy; a nose is a cone.
    tail = np.where((along > 0.82) & (along <= 1.05), width, 0).sum(axis=1) / area
    nose = np.where((along >= -0.02) & (along < 0.18), width, 0).sum(axis=1) / area
    heavy = np.log((tail + 0.01) / (nose + 0.01))
    # Wings carry their tips behind their roots: the outer wing, free of fuselage and tail.
    aside = np.abs(at)[None] / np.maximum(span[:, None] / 2, 1e-9)
    out = (aside > 0.45) & (aside < 0.92)
    column_any = filled.any(axis=1) & out
    lead = np.where(column_any, filled.argmax(axis=1), 0) * (2 / BINS)
    sweep = _slope(np.abs(at)[None].repeat(n, 0), lead, column_any)
    wing = (filled & out[:, None, :]).sum(axis=2)
    count = np.maximum(wing.sum(axis=1), 1)
    middle = (wing @ np.arange(BINS) / count - top) / np.maximum(length * BINS / 2, 1)
    return heavy, sweep, np.clip(middle, 0.0, 1.0)


def _slope(x: Floats, y: Floats, use: Bools) -> Floats:
    """(n,) least-squares slope of y over x where `use`; 0 where fewer than three points are."""
    weight = use.astype(np.float64)
    total = np.maximum(weight.sum(axis=1), 1e-9)
    mx = (weight * x).sum(axis=1) / total
    my = (weight * y).sum(axis=1) / total
    dx = (x - mx[:, None]) * weight
    spread = (dx * (x - mx[:, None])).sum(axis=1)
    slope = (dx * (y - my[:, None])).sum(axis=1) / np.maximum(spread, 1e-9)
    return np.asarray(np.where(weight.sum(axis=1) >= 3, slope, 0.0), np.float64)
