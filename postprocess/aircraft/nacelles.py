"""Engines under the wing, counted as bumps on its leading edge.

Seen from above an engine pod stands out ahead of the wing. A line is fitted to the leading edge
of each wing, what stands out ahead of it is left out and the line fitted again; the bumps that
remain are counted. Kinks and strakes of a fighter look like one pod, which the likelihood in
`evidence` allows for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from postprocess.shapes import Bools, Floats

LEAST_PX = 1.2
"""Least a bump stands out, in pixels of the imagery, and as a share of the view below."""
LEAST_SHARE = 0.018
INNER, OUTER = 0.16, 0.93
"""Part of the half span that is wing and no fuselage or tip."""
ROUNDS = 4
LEAST_SPAN_PX = 24.0
"""Wingspan under which neither pods nor the fuselage can be told."""


def nacelles(view: Bools, span: Floats, pixel: Floats, span_px: Floats) -> Floats:
    """(n,) pods a wing, NaN where the two wings disagree or the aircraft is too small to tell.

    `view` (n, bins, bins) upright silhouettes with the nose at row 0, `span` wingspan and `pixel`
    one image pixel, both in halves of the view's side, `span_px` wingspan in image pixels.
    """
    bins = view.shape[1]
    need = np.maximum(LEAST_PX * pixel * bins / 2, LEAST_SHARE * bins)
    left, right = (_bumps(view, span, need, side) for side in (-1, 1))
    valid = (left == right) & (span_px >= LEAST_SPAN_PX)
    return np.where(valid, left, np.nan).astype(np.float64)


def _bumps(filled: Bools, span: Floats, need: Floats, side: int) -> NDArray[np.int64]:
    bins = filled.shape[1]
    at = (np.arange(bins) + 0.5) / bins * 2 - 1
    aside = np.abs(at)[None] / np.maximum(span[:, None] / 2, 1e-9)
    wing: Bools = (aside > INNER) & (aside < OUTER) & (np.sign(at)[None] == side)
    wing = wing & np.asarray(filled.any(axis=1), np.bool_)
    lead = np.where(wing, filled.argmax(axis=1), 0).astype(np.float64)
    x = np.repeat(np.abs(at)[None], len(filled), axis=0)
    keep = wing
    ahead = np.zeros_like(lead)
    for _ in range(ROUNDS):
        ahead = _line(x, lead, keep) - lead
        close = wing & (ahead > -1.5 * need[:, None]) & (ahead < 0.6 * need[:, None])
        # A fit that loses nearly all of its wing has lost its way: begin with all again.
        keep = np.where((close.sum(axis=1) >= 4)[:, None], close, wing)
    bump = wing & (ahead >= need[:, None])
    outward = bump if side > 0 else bump[:, ::-1]
    starts = outward[:, 1:] & ~outward[:, :-1]
    return np.asarray(starts.sum(axis=1) + outward[:, 0], np.int64)


def _line(x: Floats, y: Floats, use: Bools) -> Floats:
    """Values at x of the least-squares line through the points in use, row by row."""
    weight = use.astype(np.float64)
    total = np.maximum(weight.sum(axis=1, keepdims=True), 1e-9)
    mx = (weight * x).sum(axis=1, keepdims=True) / total
    my = (weight * y).sum(axis=1, keepdims=True) / total
    spread = (weight * (x - mx) ** 2).sum(axis=1, keepdims=True)
    slope = (weight * (x - mx) * (y - my)).sum(axis=1, keepdims=True) / np.maximum(spread, 1e-9)
    return np.asarray(my + slope * (x - mx), np.float64)
