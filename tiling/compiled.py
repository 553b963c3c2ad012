"""Machine code for inner loops, kept between runs where it can be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile at the first call for each type (about a second) and keep the machine code.

    Without fast-math: sums keep their order and are not fused.
    """
    try:
        return cast(Callable[..., Any], numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:  # neither the package nor a home can be written to: compile each time
        return cast(Callable[..., Any], numba.njit(nogil=True)(function))
