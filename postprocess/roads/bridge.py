"""Gaps closed: roads go on under trees and bridges.

From a dead end the cheapest path over the probability raster (Dijkstra on 8-connected pixels, a
pixel costing the inverse of its probability) leads to another dead end or to a line ahead. It
becomes road when it turns plausibly and either the raster speaks for it, or it is short and
straight between two ends that face each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage
from skimage.graph import route_through_array

from lanner.core.config import Strict
from lanner.core.machine import trim_heap
from postprocess.context import Context
from postprocess.roads.gaps import Gaps, Tips, gaps, tips
from postprocess.roads.network import Lines, Network, Xy, dissolve, merged, parted, to_frame
from postprocess.roads.raster import at_points, read_valid
from postprocess.roads.sample import valid_probability
from postprocess.roads.topology import node_crossings, split

FEW_BLOCKS = 8
"""Blocks of a raster that are looked at before memory is given back."""


class Params(Strict):
    """Metres, degrees and probabilities."""

    reach_m: float = Field(60.0, gt=0, description="longest gap between two dead ends")
    side_m: float = Field(30.0, gt=0, description="longest gap from a dead end to a line")
    turn_deg: float = Field(45.0, gt=0, lt=90)
    probability: float = Field(0.15, ge=0, le=1, description="least mean between dead ends")
    side_probability: float = Field(0.25, ge=0, le=1, description="least mean to a line")
    facing_m: float = Field(36.0, ge=0, description="two ends that face each other this near")
    facing_deg: float = Field(18.0, ge=0, le=90, description="need no probability")
    detour: float = Field(1.35, ge=1, description="longest path, in spans of the gap")
    direction_m: float = Field(18.0, gt=0, description="a dead end's direction is taken over this")


@dataclass(frozen=True)
class Path:
    """A way over a gap: its line, and the mean probability along it."""

    line: shapely.LineString
    probability: float


def run(objects: gpd.GeoDataFrame, context: Context, params: Params) -> gpd.GeoDataFrame:
    """Close gaps; a line that a bridge made longer says how wide the gap was and how sure."""
    objects, found = parted(objects)
    gsd = context.grid.gsd
    ends = tips(found, 3.0 / gsd, params.direction_m / gsd)
    open_gaps = gaps(found, ends, params.reach_m / gsd, params.side_m / gsd, params.turn_deg)
    paths = _paths(open_gaps, ends, context, params)
    chosen = _choose(found, ends, open_gaps, paths, context, params)
    if not chosen:
        return to_frame(objects, found)
    met = np.array([i for i in chosen if open_gaps.other[i] < 0], np.int64)
    found_split = split(found, open_gaps.line[met], open_gaps.to[met])
    lines = np.empty(len(chosen), dtype=object)
    lines[:] = [paths[i].line for i in chosen]
    notes = np.empty(len(chosen), dtype=object)
    notes[:] = [
        f"gap of {open_gaps.span[i] * gsd:.1f} m closed, mean probability "
        f"{paths[i].probability:.2f}, turn {open_gaps.turn[i]:.0f} degrees"
        for i in chosen
    ]
    rows = found.row[ends.line[open_gaps.tip[chosen]]]
    held = [merged([found_split, Network(lines, rows, notes)])]
    del found, found_split  # on a lattice all lines are drawn anew
    return to_frame(objects, dissolve(node_crossings(held.pop())))


def _paths(open_gaps: Gaps, ends: Tips, context: Context, params: Params) -> list[Path]:
    """The cheapest path over every gap, in the gaps' order."""
    paths: dict[int, Path] = {}
    margin = 8
    halo = int(max(params.reach_m, params.side_m) / context.grid.gsd) + margin + 2
    places = ends.xy[open_gaps.tip]
    for count, (dataset, block, part) in enumerate(at_points(context, "probability", places, halo)):
        if count % FEW_BLOCKS == FEW_BLOCKS - 1:
            trim_heap()  # paths come to lie between images, and no other image fits there
        image = valid_probability(dataset, block.window)
        valid = read_valid(dataset, block.window)
        for i in part:
            start, stop = ends.xy[open_gaps.tip[i]], open_gaps.to[i]
            low = np.floor(np.minimum(start, stop)).astype(int) - margin
            high = np.ceil(np.maximum(start, stop)).astype(int) + margin
            rows = slice(low[1] - block.window.y0, high[1] - block.window.y0)
            cols = slice(low[0] - block.window.x0, high[0] - block.window.x0)
            path = _path(image[rows, cols], valid[rows, cols], start - low, stop - low, low)
            if path.probability < params.probability and valid[rows, cols].all():
                # Nothing to follow: if this is closed at all, then straight.
                path = Path(shapely.linestrings([start, stop]), path.probability)
            paths[int(i)] = path
    return [paths[i] for i in range(len(open_gaps.tip))]


def _path(
    image: NDArray[np.float32],
    valid: NDArray[np.bool_],
    start: Xy,
    stop: Xy,
    corner: NDArray[np.int64],
) -> Path:
    """The cheapest path between two places of a small window; probability -1 where it cannot be."""
    # Smoothed, so that the path follows a faint road and not the noise about it.
    cost = np.where(valid, 1 / (ndimage.gaussian_filter(image, 1.5) + 0.1), 1e6)
    ends = [
        tuple(int(v) for v in np.minimum(p[::-1], np.array(cost.shape) - 1)) for p in (start, stop)
    ]
    steps, _ = route_through_array(cost, ends[0], ends[1])  # type: ignore[no-untyped-call] # no types
    rows, cols = np.array(steps).T
    mean = float(image[rows, cols].mean()) if valid[rows, cols].all() else -1.0
    inner = np.stack([cols, rows], axis=1)[1:-1] + 0.5
    line = shapely.linestrings(np.concatenate([start[None], inner, stop[None]]) + corner)
    return Path(shapely.simplify(line, 1.0), mean)


def _choose(
    found: Network,
    ends: Tips,
    open_gaps: Gaps,
    paths: list[Path],
    context: Context,
    params: Params,
) -> list[int]:
    """Gaps to close, best first: a dead end is used once, and no bridge crosses anything."""
    good = [i for i, path in enumerate(paths) if _plausible(open_gaps, i, path, context, params)]
    lines = np.array([paths[i].line for i in good], dtype=object)
    near, crossed = (_met(lines, others) for others in (found.lines, lines))
    used: set[int] = set()
    chosen: list[int] = []
    taken = np.zeros(len(good), np.bool_)
    for place, i in enumerate(good):
        tip, other = int(open_gaps.tip[i]), int(open_gaps.other[i])
        if tip in used or other in used:
            continue
        others = crossed[place]
        laid = lines[others[taken[others]]]
        if not _clear(lines[place], found.lines[near[place]]) or not _clear(lines[place], laid):
            continue
        chosen.append(i)
        taken[place] = True
        used.update({tip, other} - {-1})
    return chosen


def _met(lines: Lines, others: Lines) -> list[NDArray[np.int64]]:
    """For each line the numbers of the others that it touches, rising."""
    line, other = shapely.STRtree(others).query(lines, predicate="intersects")
    order = np.lexsort((other, line))
    return np.split(other[order], np.cumsum(np.bincount(line, minlength=len(lines)))[:-1])


def _plausible(open_gaps: Gaps, i: int, path: Path, context: Context, params: Params) -> bool:
    gsd = context.grid.gsd
    span, turn = float(open_gaps.span[i]), float(open_gaps.turn[i])
    if path.probability < 0 or path.line.length > params.detour * span + 2:
        return False
    if open_gaps.other[i] < 0:
        return path.probability >= params.side_probability
    facing = span * gsd <= params.facing_m and turn <= params.facing_deg
    return facing or path.probability >= params.probability


def _clear(line: shapely.LineString, others: Lines) -> bool:
    """Whether a line touches others with its two end points alone."""
    common = shapely.intersection(line, others)
    places = shapely.get_coordinates(common)
    tips = np.array([line.coords[0], line.coords[-1]])
    off = np.abs(places[:, None] - tips).max(axis=2).min(axis=1) if len(places) else np.zeros(0)
    return bool((off < 1e-6).all())
