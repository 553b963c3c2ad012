"""The road network as a value: lines that meet only where their end points are equal.

End points are compared exactly: a network read back from a snapshot is the same network, and no
step needs a table of nodes besides the lines.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from lanner.core.machine import trim_heap
from postprocess.frame import MANY, column, empty, tidy
from postprocess.roads.chains import Chains, laid, string

Index = NDArray[np.int64]
Xy = NDArray[np.float64]
Lines = NDArray[np.object_]

FEW = 10_000
"""Lines whose points are looked at at once."""


@dataclass(frozen=True)
class Network:
    """n lines.

    `lines` (n,) LineStrings in grid pixels; `row` (n,) the row of the step's input frame that a
    line descends from (the longest, where several were joined; -1 for none); `note` (n,) what the
    step did to it, str or None.
    """

    lines: Lines
    row: Index
    note: NDArray[np.object_]

    @cached_property
    def points(self) -> Xy:
        """(p, 2) coordinates of all lines end to end."""
        return np.asarray(shapely.get_coordinates(self.lines), np.float64)

    @cached_property
    def start(self) -> Index:
        """(n + 1,) first point of each line in `points`."""
        counts = shapely.get_num_coordinates(self.lines)
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    @cached_property
    def corners(self) -> Xy:
        """(n, 4, 2) first, second, last but one and last point of each line."""
        found = np.empty((len(self), 4, 2))
        for low in range(0, len(self), FEW):
            some = self.lines[low : low + FEW]
            points = shapely.get_coordinates(some)
            stop = np.cumsum(shapely.get_num_coordinates(some))
            first = np.concatenate([[0], stop[:-1]])
            found[low : low + FEW] = points[
                np.stack([first, first + 1, stop - 2, stop - 1], axis=1)
            ]
        return found

    @cached_property
    def _nodes(self) -> tuple[Xy, Index]:
        # Sorted by y, then x: numbers follow the raster's order.
        every = self.corners[:, [0, 3]].reshape(-1, 2)
        order = np.lexsort((every[:, 0], every[:, 1]))
        known = every[order]
        fresh = np.ones(len(every), np.bool_)
        fresh[1:] = (known[1:] != known[:-1]).any(axis=1)
        number = np.empty(len(every), np.int64)
        number[order] = np.cumsum(fresh) - 1
        return known[fresh], number.reshape(-1, 2)

    @property
    def nodes(self) -> Xy:
        """(k, 2) node coordinates, sorted by y, then x."""
        return self._nodes[0]

    @property
    def ends(self) -> Index:
        """(n, 2) node numbers of each line's first and last point."""
        return self._nodes[1]

    @cached_property
    def degree(self) -> Index:
        """(k,) line ends at each node."""
        return np.bincount(self.ends.ravel(), minlength=len(self.nodes))

    @cached_property
    def length(self) -> NDArray[np.float64]:
        """(n,) grid pixels."""
        return np.asarray(shapely.length(self.lines), np.float64)

    def along(self, distance: NDArray[np.float64]) -> Xy:
        """(n, k, 2) places at (n, k) distances from each line's start, grid pixels."""
        found = np.empty((*distance.shape, 2))
        for low in range(0, len(self), FEW):
            some = slice(low, low + FEW)
            points = shapely.line_interpolate_point(self.lines[some, None], distance[some])
            found[some] = shapely.get_coordinates(points).reshape(found[some].shape)
        return found

    def __len__(self) -> int:
        return len(self.lines)

    def take(self, which: NDArray[Any]) -> Network:
        """The lines at those places, or where True."""
        return Network(self.lines[which], self.row[which], self.note[which])

    def with_lines(self, lines: Lines) -> Network:
        """The same rows with other lines."""
        return replace(self, lines=lines)


def network(lines: Lines, row: Index | None = None) -> Network:
    """A network of lines, each its own row unless told otherwise."""
    held = np.empty(len(lines), dtype=object)
    held[:] = lines
    rows = np.arange(len(lines)) if row is None else row
    return Network(held, rows.astype(np.int64), np.full(len(lines), None, dtype=object))


def merged(parts: list[Network]) -> Network:
    """All lines of several networks that share one input frame."""
    return Network(
        np.concatenate([part.lines for part in parts]),
        np.concatenate([part.row for part in parts]),
        np.concatenate([part.note for part in parts]),
    )


def from_frame(objects: gpd.GeoDataFrame) -> Network:
    """The network whose lines are the rows of a frame."""
    return network(np.asarray(objects.geometry.array, dtype=object))


def parted(objects: gpd.GeoDataFrame) -> tuple[pd.DataFrame, Network]:
    """What a frame says besides its lines, and the network of these.

    A step that asks for both and lets go of the frame need not hold the lines to its end: the
    chain does not.
    """
    rest = pd.DataFrame(objects.drop(columns="geometry"))
    rest.insert(objects.columns.get_loc("geometry"), "geometry", None)
    return rest, from_frame(objects)


def to_frame(objects: pd.DataFrame, kept: Network, gone: Network | None = None) -> gpd.GeoDataFrame:
    """The frame of a network: rows of the input frame with new lines, in the lines' own order.

    Args:
        objects: the frame that `row` counts in.
        kept: lines that stay; `from_node` and `to_node` are numbered among these.
        gone: lines rejected, with the reason in `note`.
    """
    if len(kept) >= MANY:
        trim_heap()  # the lines that these were drawn from are mostly gone by now
    kept = in_order(kept)
    every = kept if gone is None or not len(gone) else merged([kept, in_order(gone)])
    frame = pd.DataFrame(_rows(objects, every))
    frame["geometry"] = gpd.GeoSeries(every.lines, index=frame.index)
    nodes = np.full((len(every), 2), -1, np.int64)
    nodes[: len(kept)] = kept.ends
    frame["from_node"], frame["to_node"] = nodes.T.copy()
    frame["note"] = column(list(every.note))
    frame["rejected"] = column([None] * len(kept) + list(every.note[len(kept) :]))
    return gpd.GeoDataFrame(frame, geometry="geometry")


def in_order(found: Network) -> Network:
    """Lines sorted by first, last and second point (y, x), then length; ends turned to rise."""
    if not len(found):
        return found
    first, last = found.corners[:, 0], found.corners[:, 3]
    turn = (last[:, 1] < first[:, 1]) | ((last[:, 1] == first[:, 1]) & (last[:, 0] < first[:, 0]))
    lines = found.lines.copy()
    lines[turn] = shapely.reverse(lines[turn])
    first, second, _, last = np.where(
        turn[:, None, None], found.corners[:, ::-1], found.corners
    ).transpose(1, 0, 2)
    keys = (second, last, first)
    order = np.lexsort((found.length, *(key[:, axis] for key in keys for axis in (0, 1))))
    return found.with_lines(lines).take(order)


def dissolve(found: Network) -> Network:
    """Lines joined through every node where just two ends meet; rings keep one node.

    A joined line takes the row of its longest part and says what was done to any part.
    """
    if not len(found):
        return found
    chains = string(found.ends[:, 0], found.ends[:, 1], found.degree == 2)
    size = np.diff(chains.start)
    chain = np.repeat(np.arange(len(size)), size)
    longest = np.lexsort((chains.edge, -found.length[chains.edge], chain))
    row = found.row[chains.edge][longest][chains.start[:-1]]
    notes = found.note[chains.edge]
    summaries = np.full(len(size), None, dtype=object)
    for i in np.unique(chain[notes != None]):  # noqa: E711 - element by element
        parts = notes[chains.start[i] : chains.start[i + 1]]
        summaries[i] = "; ".join(dict.fromkeys(part for part in parts if part))
    return Network(_strung(found, chains), row, summaries)


def _strung(found: Network, chains: Chains) -> Lines:
    """The line of each chain; where that is one line it is not drawn again."""
    opening = chains.start[:-1]
    lines, turn = found.lines[chains.edge[opening]], chains.reverse[opening]
    lines[turn] = shapely.reverse(lines[turn])
    size = np.diff(chains.start)
    several = np.repeat(size > 1, size)
    parts = found.take(chains.edge[several])
    start = np.concatenate([[0], np.cumsum(size[size > 1])])
    take, begin = laid(parts.start, Chains(np.arange(len(parts)), chains.reverse[several], start))
    owner = np.repeat(np.arange(len(start) - 1), np.diff(begin))
    lines[size > 1] = shapely.linestrings(parts.points[take], indices=owner)
    return lines


def road_frame(lines: Lines) -> gpd.GeoDataFrame:
    """A new frame of roads with every column of the contract; score 0 until measured."""
    size = len(lines)
    if not size:
        frame = empty()
    else:
        frame = gpd.GeoDataFrame(
            {
                "geometry": gpd.GeoSeries(lines),
                "label": column(["road"] * size),
                "score": np.zeros(size),
                "votes": column([{} for _ in range(size)]),
            },
            geometry="geometry",
        )
    frame = tidy(frame, "trace")
    frame["from_node"] = frame["to_node"] = pd.Series(np.full(size, -1, np.int64))
    return frame


def _rows(objects: pd.DataFrame, every: Network) -> pd.DataFrame:
    if not len(every):
        return objects.iloc[:0].copy()
    return objects.iloc[every.row].reset_index(drop=True)
