"""How wide the fuselage is ahead of the wing, and what is wider behind it: a rotodome.

Bombers are slender and freighters stout for the same length and wingspan. An airborne radar looks
like the aircraft that carries it, but for a disc twice as wide as the fuselage.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from postprocess.aircraft.nacelles import LEAST_SPAN_PX
from postprocess.shapes import Bools, Floats
from tiling.compiled import compiled

AHEAD = (0.12, 0.24)
"""Part of the length, from the nose, between the cone of the nose and most wings."""
WING = 0.35
"""Share of the wingspan from which a row is wing."""
AFT = 0.82
"""Where the tailplane may begin."""
FEWEST = 4
"""Fewest rows that tell something, ahead of the wing or behind it."""
RANK = 3
"""Which of the widest rows behind the wing is taken: a disc is several rows long, what is left of
a flap is not."""
OFF_AXIS = 3
"""Rows may be this far off the axis: a fuselage leans in views aslant."""


@dataclass(frozen=True)
class Fuselage:
    """(n,) each: `width` ahead of the wing, `uneven` how much that varies along it, both in the
    units of the view, and `aft`, the widest behind the wing in such widths. NaN where unseen.
    """

    width: Floats
    uneven: Floats
    aft: Floats


def fuselage(view: Bools, nose: Floats, length: Floats, span: Floats, span_px: Floats) -> Fuselage:
    """Read (n, bins, bins) upright silhouettes with the nose at row 0.

    `length` is that of the aircraft and `nose` what the silhouette lacks of it ahead; these and
    `span` are in halves of the view's side, `span_px` is the wingspan in image pixels. Nothing is
    told of aircraft that are too small or whose axis leaves the silhouette, nor of what is behind
    the wing where that is the tail.
    """
    bins = view.shape[1]
    widths = np.zeros(view.shape[:2])
    _widths(view, widths)
    widths *= 2 / bins
    whole: Bools = np.asarray(view.any(axis=2), np.bool_)
    first = np.where(whole.any(axis=1), whole.argmax(axis=1), 0)
    rows = np.arange(bins)[None] - first[:, None] + 0.5
    along = (rows * (2 / bins) + nose[:, None]) / np.maximum(length[:, None], 1e-9)
    ahead = np.where((along >= AHEAD[0]) & (along < AHEAD[1]), widths, np.nan)
    width, uneven = _middle(ahead)
    wing = (widths >= WING * span[:, None]) & (along < AFT)
    last = np.where(wing.any(axis=1), bins - 1 - wing[:, ::-1].argmax(axis=1), bins)
    # The row after the last is half wing.
    behind = (np.arange(bins)[None] > last[:, None] + 1) & (along < AFT)
    ranked = -np.sort(-np.where(behind, widths, 0.0), axis=1)
    valid = (span_px >= LEAST_SPAN_PX) & (width > 0)
    ratio = ranked[:, RANK - 1] / np.maximum(width, 1e-9)
    enough = behind.sum(axis=1) >= FEWEST
    return Fuselage(
        np.where(valid, width, np.nan),
        np.where(valid, uneven, np.nan),
        np.where(valid & enough, ratio, np.nan),
    )


def _middle(values: Floats) -> tuple[Floats, Floats]:
    """(n,) mean of the middle half of each row without its NaNs, and half of what that spans;
    0 where there are fewer than `FEWEST`.
    """
    order = np.sort(values, axis=1)  # NaNs come last
    count = np.isfinite(order).sum(axis=1)
    low, high = count // 4, count - count // 4
    place = np.arange(values.shape[1])[None]
    middle = (place >= low[:, None]) & (place < high[:, None])
    total = np.where(middle, order, 0.0).sum(axis=1)
    rows, last = np.arange(len(values)), np.maximum(high - 1, 0)
    span = (order[rows, last] - order[rows, low]) / 2
    valid = count >= FEWEST
    return np.where(valid, total / np.maximum(high - low, 1), 0.0), np.where(valid, span, 0.0)


@compiled
def _widths(view: Bools, widths: Floats) -> None:
    """Bins that hang together with the axis in each row; 0 where none is near it."""
    bins = view.shape[1]
    for i in range(view.shape[0]):
        for row in range(bins):
            at = -1
            for step in range(OFF_AXIS + 1):
                if view[i, row, bins // 2 + step]:
                    at = bins // 2 + step
                    break
                if view[i, row, bins // 2 - 1 - step]:
                    at = bins // 2 - 1 - step
                    break
            if at < 0:
                continue
            low = at
            while low > 0 and view[i, row, low - 1]:
                low -= 1
            high = at
            while high < bins - 1 and view[i, row, high + 1]:
                high += 1
            widths[i, row] = high - low + 1
