"""The bars that Lanner sets itself, judged from rows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lanner.cli.bench.rows import Row

LARGE = 8192
"""Side of the scene, in pixels, that the bars of speed are meant for."""

ALONE, TOGETHER = 1.10, 1.15
"""Seconds of a run over those of its bare networks: one network, several."""

FASTER = 4.0
SAME_SHARE = 0.99
TILES = (100, 10_000)
TILE_SPREAD = 0.10
SIDES = (4096, 32_768)
MEMORY_SPREAD = 0.15
BEYOND_MB = 2000.0


@dataclass(frozen=True)
class Bar:
    """One bar: `held` is None where the figures do not reach far enough to tell, see `why`."""

    name: str
    limit: str
    value: float | None
    held: bool | None
    why: str = ""


def near_bare(row: Row) -> Bar:
    """Is a run nearly as fast as its networks alone?"""
    limit = ALONE if len(row.members) == 1 else TOGETHER
    name = f"{row.detector} {' + '.join(row.members)}: end to end over bare networks"
    if row.ratio is None:
        return Bar(name, f"<= {limit:.2f}", None, None, "the networks were not timed alone")
    return _at_most(name, row.ratio, limit, _too_small(row))


def faster(name: str, ours: float, theirs: float, small: str = "") -> Bar:
    """Are we `FASTER` times as fast, given both seconds? `small` says why that cannot be told."""
    return _at_least(f"times as fast as {name}", theirs / ours, FASTER, small)


def same_objects(name: str, share: float, small: str = "") -> Bar:
    """Does the peer see what we see? `share` is the smaller of both directions."""
    return _at_least(f"share of objects alike, {name}", share, SAME_SHARE, small)


def flat_time(rows: Sequence[Row]) -> Bar:
    """Does a tile take as long in a large scene as in a small one?"""
    name, limit = "seconds a tile, most over least - 1", f"<= {TILE_SPREAD:.2f}"
    far = [row for row in rows if row.tiles >= TILES[0]]
    if len(far) < 2:
        return Bar(name, limit, None, None, f"needs two scenes of {TILES[0]} tiles or more")
    short = "" if max(row.tiles for row in far) >= TILES[1] else f"needs {TILES[1]} tiles"
    return _bounded(name, _spread([row.s_per_tile for row in far]), TILE_SPREAD, short)


def flat_memory(rows: Sequence[Row]) -> Bar:
    """Does a large scene need as little memory as a small one?"""
    name, limit = "resident memory, most over least - 1", f"<= {MEMORY_SPREAD:.2f}"
    far = [row for row in rows if _side(row) >= SIDES[0]]
    if len(far) < 2:
        return Bar(name, limit, None, None, f"needs two scenes of {SIDES[0]} pixels or more")
    short = "" if max(map(_side, far)) >= SIDES[1] else f"needs a scene of {SIDES[1]} pixels"
    return _bounded(name, _spread([row.peak_mb for row in far]), MEMORY_SPREAD, short)


def beyond_model(rows: Sequence[Row]) -> Bar:
    """Is what a run needs beyond libraries and networks bounded?"""
    most = max(row.peak_mb - row.model_mb for row in rows)
    short = "" if max(map(_side, rows)) >= SIDES[1] else f"needs a scene of {SIDES[1]} pixels"
    return _bounded("megabytes beyond the model", most, BEYOND_MB, short)


def judge(rows: Sequence[Row], scaling: bool) -> list[Bar]:
    """The bars that these rows speak of; those of scaling are judged for one thread count."""
    if not scaling:
        return [near_bare(row) for row in rows]
    # With the most threads a tile is quickest and what is not the network shows most.
    most = max(row.threads for row in rows)
    line = [row for row in rows if row.threads == most]
    return [flat_time(line), flat_memory(line), beyond_model(line)]


def _side(row: Row) -> int:
    return min(row.width, row.height)


def _too_small(row: Row) -> str:
    return "" if _side(row) >= LARGE else f"meant for scenes of {LARGE} pixels"


def _spread(values: Sequence[float]) -> float:
    return max(values) / min(values) - 1


def _at_most(name: str, value: float, limit: float, short: str) -> Bar:
    return Bar(name, f"<= {limit:.5g}", value, None if short else value <= limit, short)


def _bounded(name: str, value: float, limit: float, short: str) -> Bar:
    """As `_at_most`, of a value that only grows with the scenes: beyond the limit it stays so."""
    return _at_most(name, value, limit, short if value <= limit else "")


def _at_least(name: str, value: float, limit: float, short: str) -> Bar:
    return Bar(name, f">= {limit:.5g}", value, None if short else value >= limit, short)
