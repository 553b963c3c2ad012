"""Parallel thinning on the foreground alone, a fixed number of iterations at a time.

Guo & Hall (1989), "Parallel thinning with two-subiteration algorithms", algorithm A1: it keeps
8-connectivity and end points, and leaves lines one pixel wide. An iteration looks two pixels far,
so a window with a halo of `2 * iterations` pixels computes its core exactly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from postprocess.roads.raster import Mask

Flat = NDArray[np.int64]


def _table(second: bool) -> NDArray[np.bool_]:
    """For each of 256 neighbourhoods (bit 0 north, then clockwise): whether the pixel goes."""
    code = np.arange(256)
    n, ne, e, se, s, sw, w, nw = (((code >> bit) & 1).astype(bool) for bit in range(8))
    runs = (~n & (ne | e)).astype(int) + (~e & (se | s)) + (~s & (sw | w)) + (~w & (nw | n))
    one = (nw | n).astype(int) + (ne | e) + (se | s) + (sw | w)
    two = (n | ne).astype(int) + (e | se) + (s | sw) + (w | nw)
    few = np.minimum(one, two)
    side = ((s | sw | ~nw) & w) if second else ((n | ne | ~se) & e)
    goes: NDArray[np.bool_] = (runs == 1) & (few >= 2) & (few <= 3) & ~side
    return goes


_TABLES = (_table(False), _table(True))


WHOLE = (slice(None), slice(None))


def thin(mask: Mask, iterations: int, inner: tuple[slice, slice] = WHOLE) -> tuple[Mask, bool]:
    """Thin `mask` by at most `iterations` iterations of two subiterations each.

    Args:
        mask: (h, w) bool; what lies outside counts as background.
        iterations: at least 1.
        inner: rows and columns where it matters whether thinning is done. What a window's border
            cuts off goes on wearing away from there, and says nothing.

    Returns:
        The thinner mask, and whether the last iteration changed nothing in `inner`.
    """
    state = np.pad(mask, 1)
    width = state.shape[1]
    flat = state.ravel()
    around = np.array([-width, 1 - width, 1, width + 1, width, width - 1, -1, -width - 1])
    fresh: Flat = np.flatnonzero(flat)
    # Only a pixel whose surroundings changed since the same subiteration last saw it can change.
    waiting: list[Flat] = [fresh, fresh]
    slot = np.zeros(len(flat), np.int32)
    for _ in range(iterations):
        still, worn = True, [fresh[:0]]
        for half in (0, 1):
            candidates = waiting[half]
            candidates = candidates[flat[candidates]]
            gone = candidates[_TABLES[half][_codes(flat, candidates, around)]]
            flat[gone] = False
            near = (gone[:, None] + around).ravel()
            near = _once(near[flat[near]], slot)
            waiting[half] = near
            waiting[1 - half] = _once(np.concatenate([waiting[1 - half], near]), slot)
            worn.append(gone)
            still &= not len(gone)
        if still:
            return state[1:-1, 1:-1], True
    last = np.zeros(state.shape, np.bool_)
    last.ravel()[np.concatenate(worn)] = True
    return state[1:-1, 1:-1], not last[1:-1, 1:-1][inner].any()


def _once(pixels: Flat, slot: NDArray[np.int32]) -> Flat:
    """Each pixel once, in no order that matters; `slot` is room to write in."""
    places = np.arange(len(pixels), dtype=np.int32)
    slot[pixels] = places
    once: Flat = pixels[slot[pixels] == places]
    return once


def _codes(flat: Mask, pixels: Flat, around: Flat) -> NDArray[np.uint8]:
    code = np.zeros(len(pixels), np.uint8)
    for bit, step in enumerate(around):
        code |= flat[pixels + step].astype(np.uint8) << np.uint8(bit)
    return code
