"""One object a real object: joins what neighbouring tiles saw of the same thing.

Windows overlap by their halos, so an object near a seam is seen by two to four tiles, whole or
cut. Two views belong together when they agree on the part of the ground that both tiles saw:
a neighbour that only touches agrees on nothing there, so neighbours are never fused, however
close they stand.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from pydantic import Field

from lanner.core.config import Strict
from lanner.core.errors import StepError
from postprocess.aircraft.union import Clusters, join
from postprocess.context import Context
from postprocess.frame import BOTTOM, LEFT, RIGHT, TOP, column
from postprocess.shapes import (
    Bools,
    Floats,
    Ints,
    Shapes,
    area,
    bounds,
    iou,
    overlap,
    shape_iou,
    useful,
)
from tiling.grid import TilePlan


class Params(Strict):
    """`iou`: agreement that makes two views one object. `inside`: share of a cut fragment that
    a view beyond the seam must cover to own it, give or take `slack_px` grid pixels.
    `duplicate_iou`: overlap at which two whole objects left from different tiles are one.
    """

    iou: float = Field(0.5, gt=0, le=1)
    inside: float = Field(0.7, gt=0, le=1)
    slack_px: float = Field(5.0, ge=0)
    duplicate_iou: float = Field(0.6, gt=0, le=1)


@dataclass(frozen=True)
class _Views:
    """Candidates as arrays: (n, 4) boxes, windows and cores in grid pixels."""

    boxes: Floats
    windows: Floats
    cores: Floats
    outlines: Shapes
    drawn: Bools
    tiles: Ints
    cuts: Ints
    scores: Floats


def run(objects: gpd.GeoDataFrame, context: Context, params: Params) -> gpd.GeoDataFrame:
    """Join the views of each object; one row an object.

    A cluster never holds two views of one tile. Of whole views the one whose centre lies in its
    own tile's core speaks for the object; when every view is cut the object is their union. Votes
    are each member's best.

    Raises:
        StepError: no tile plan in the context, or a tile that is not in the plan.
    """
    if context.plan is None:
        raise StepError("plan", None, "merge_seams needs the tiles", "give the context its plan")
    if objects.empty:
        return objects.copy()
    frame = objects.iloc[_canonical(objects)].reset_index(drop=True)
    views = _views(frame, context.plan)
    one, two = _near(views.boxes, views.tiles, params.slack_px)
    clusters = _agreeing(views, one, two, params)
    owners = _fragments(views, one, two, clusters, params)
    keep = _resolve(frame, views, clusters, owners)
    return _without_duplicates(keep, params.duplicate_iou)


def _canonical(objects: gpd.GeoDataFrame) -> Ints:
    """An order that depends on the rows' content alone, coordinates first, then tile."""
    boxes = bounds(objects.geometry.values)
    keys = (
        objects["cut"].to_numpy(np.float64),
        -objects["score"].to_numpy(),
        objects["tile"].to_numpy(np.float64),
        *boxes[:, [2, 0, 3, 1]].T,
    )
    order = np.lexsort(keys)
    # What else they say decides between equals alone: to write it all out takes its time.
    sorted_keys = np.stack(keys)[:, order]
    one, two = sorted_keys[:, :-1], sorted_keys[:, 1:]
    equal = ((one == two) | (np.isnan(one) & np.isnan(two))).all(axis=0)
    tied = np.sort(order[np.append(equal, False) | np.insert(equal, 0, False)])
    if not len(tied):
        return np.asarray(order, np.int64)
    ranks = np.zeros(len(objects), np.int64)
    ranks[tied] = np.unique(np.asarray(_texts(objects.iloc[tied])), return_inverse=True)[1]
    return np.asarray(np.lexsort((ranks, *keys)), np.int64)


def _texts(objects: gpd.GeoDataFrame) -> list[str]:
    """Label, votes and outline of each row."""
    outlines = np.asarray(shapely.to_wkb(objects["outline"].values, hex=True), object)
    return [
        f"{label}|{json.dumps(votes, sort_keys=True)}|{outline}"
        for label, votes, outline in zip(objects["label"], objects["votes"], outlines, strict=True)
    ]


def _views(frame: gpd.GeoDataFrame, plan: TilePlan) -> _Views:
    tiles = frame["tile"].to_numpy(np.int64)
    wrong = tiles[(tiles < 0) | (tiles >= len(plan))]
    if len(wrong):
        raise StepError(
            "tile",
            int(wrong[0]),
            f"is not one of the plan's {len(plan)} tiles",
            "give the plan that the candidates were found with",
        )
    numbers, back = np.unique(tiles, return_inverse=True)
    squares = [(plan[int(i)].window, plan[int(i)].core) for i in numbers]
    sides = np.array([[(b.x0, b.y0, b.x1, b.y1) for b in pair] for pair in squares], np.float64)[
        back
    ]
    boxes = bounds(frame.geometry.values)
    outlines = np.asarray(frame["outline"].values, object)
    return _Views(
        boxes,
        sides[:, 0],
        sides[:, 1],
        outlines,
        useful(outlines, boxes),
        tiles,
        frame["cut"].to_numpy(np.int64),
        frame["score"].to_numpy(np.float64),
    )


def _near(boxes: Floats, tiles: Ints, slack: float) -> tuple[Ints, Ints]:
    """Pairs i < j of different tiles whose boxes come within `slack` of each other."""
    grown = shapely.box(*(boxes + np.array([-slack, -slack, slack, slack])).T)
    i, j = shapely.STRtree(shapely.box(*boxes.T)).query(grown)
    keep = (i < j) & (tiles[i] != tiles[j])
    i, j = np.asarray(i[keep], np.int64), np.asarray(j[keep], np.int64)
    order = np.lexsort((j, i))
    return i[order], j[order]


def _agreeing(views: _Views, one: Ints, two: Ints, params: Params) -> Clusters:
    """Clusters of views that agree on the ground that both their tiles saw."""
    shared = overlap(views.windows[one], views.windows[two])
    a, b = overlap(views.boxes[one], shared), overlap(views.boxes[two], shared)
    score = iou(a, b)
    touching = np.flatnonzero(score > 0)
    drawn = touching[views.drawn[one[touching]] & views.drawn[two[touching]]]
    if len(drawn):
        mine = _on(views.outlines[one[drawn]], shared[drawn])
        other = _on(views.outlines[two[drawn]], shared[drawn])
        # An outline that reaches into the shared ground by less than its own blur is no witness.
        witness = np.minimum(shapely.area(mine), shapely.area(other)) > 0
        score[drawn[witness]] = shape_iou(mine[witness], other[witness])
    whole = (views.cuts[one] == 0) & (views.cuts[two] == 0) & (score > 0)
    score[whole] = np.maximum(score[whole], iou(views.boxes[one[whole]], views.boxes[two[whole]]))
    edges = np.flatnonzero(score >= params.iou)
    # Best agreement first; of equals the one with more ground to agree on; then row order,
    # which is by coordinates.
    order = np.lexsort((two[edges], one[edges], -area(shared[edges]), -np.round(score[edges], 9)))
    return join(len(views.tiles), one[edges[order]], two[edges[order]], views.tiles)


def _on(outlines: Shapes, ground: Floats) -> Shapes:
    """The parts of outlines on (n, 4) boxes; most lie inside theirs whole."""
    parts = outlines.copy()
    box = bounds(outlines)
    out = (box[:, :2] < ground[:, :2]).any(axis=1) | (box[:, 2:] > ground[:, 2:]).any(axis=1)
    parts[out] = shapely.intersection(outlines[out], shapely.box(*ground[out].T))
    return parts


def _fragments(
    views: _Views, one: Ints, two: Ints, clusters: Clusters, params: Params
) -> dict[int, int]:
    """Clusters that are but a cut piece of another: piece -> owner.

    The box of a cut rotated aircraft is not its box cut, and a sliver wobbles by its own width,
    so such a piece need not agree. It is owned by a view that covers it and that goes on beyond
    the very window edge that cut it.
    """
    roots = clusters.roots
    whole = np.zeros(len(roots), bool)
    np.logical_or.at(whole, roots, views.cuts == 0)
    piece, owner = np.concatenate([one, two]), np.concatenate([two, one])
    keep = (views.cuts[piece] != 0) & ~whole[roots[piece]] & (roots[piece] != roots[owner])
    piece, owner = piece[keep], owner[keep]
    pad = np.array([-1.0, -1.0, 1.0, 1.0]) * params.slack_px
    reach, window = views.boxes[owner] + pad, views.windows[piece]
    beyond = np.zeros(len(piece), bool)
    for side, bit in enumerate((LEFT, TOP, RIGHT, BOTTOM)):
        past = reach[:, side] < window[:, side] if side < 2 else reach[:, side] > window[:, side]
        beyond |= past & ((views.cuts[piece] & bit) != 0)
    shared = overlap(window, views.windows[owner])
    mine = overlap(views.boxes[piece], shared)
    held = area(overlap(mine, reach)) / np.maximum(area(views.boxes[piece]), 1e-9)
    # All views of the piece together must be covered as well: an object too big for any tile has
    # only cut views, and a sliver of it may lie within the slack of its neighbour.
    least = np.concatenate([views.boxes[:, :2], -views.boxes[:, 2:]], axis=1)
    np.minimum.at(least, roots, least.copy())
    extent = np.concatenate([least[:, :2], -least[:, 2:]], axis=1)
    mine, reach = extent[roots[piece]], extent[roots[owner]] + pad
    held = np.minimum(held, area(overlap(mine, reach)) / np.maximum(area(mine), 1e-9))
    good = np.flatnonzero(beyond & (held >= params.inside))
    good = good[np.lexsort((owner[good], piece[good], ~whole[roots[owner[good]]], -held[good]))]
    owned: dict[int, int] = {}
    owners: set[int] = set()
    for p, o in zip(roots[piece[good]].tolist(), roots[owner[good]].tolist(), strict=True):
        # An owner that is itself owned would make a chain without a head.
        if p not in owned and o not in owned and p not in owners:
            owned[p] = o
            owners.add(o)
    return owned


def _resolve(
    frame: gpd.GeoDataFrame, views: _Views, clusters: Clusters, owned: dict[int, int]
) -> gpd.GeoDataFrame:
    """One row a cluster, in the order of the raster_members' rows."""
    groups = clusters.groups()
    for piece, owner in owned.items():
        groups[owner] = [*groups[owner], *groups.pop(piece)]
    centres = (views.boxes[:, :2] + views.boxes[:, 2:]) / 2
    at_home = np.all((centres >= views.cores[:, :2]) & (centres < views.cores[:, 2:]), axis=1)
    # Speaker of a cluster: whole before cut, at home before visiting, better score, row order.
    rank = np.empty(len(frame), np.int64)
    rank[np.lexsort((-views.scores, ~at_home, views.cuts != 0))] = np.arange(len(frame))
    ranks, votes = rank.tolist(), frame["votes"].tolist()
    shapes = np.asarray(frame.geometry.values, object)
    chosen, changes = [], {}
    for members in sorted(groups.values(), key=min):
        speaker = min(members, key=ranks.__getitem__)
        chosen.append(speaker)
        if len(members) > 1:
            change = _joined(shapes, votes, views, sorted(members), speaker)
            changes[len(chosen) - 1] = change
    result = frame.iloc[chosen].reset_index(drop=True)
    result["note"] = column(["seen by one tile"] * len(result))
    if changes:
        rows = list(changes)
        for name in changes[rows[0]]:
            values = np.asarray(result[name].array, object).copy()
            for row in rows:
                values[row] = changes[row][name]
            result[name] = (
                gpd.GeoSeries(values) if name in ("geometry", "outline") else column(list(values))
            )
    return result


def _joined(
    shapes: Shapes,
    voted: list[dict[str, float]],
    views: _Views,
    members: list[int],
    speaker: int,
) -> dict[str, Any]:
    """What the members of one cluster say together."""
    votes: dict[str, float] = {}
    for member in members:
        for name, score in voted[member].items():
            votes[name] = max(score, votes.get(name, 0.0))
    tile = int(views.tiles[speaker])
    values: dict[str, Any] = {
        "geometry": shapes[speaker],
        "outline": views.outlines[speaker],
        "votes": dict(sorted(votes.items())),
        "score": float(views.scores[speaker]),
        "cut": int(views.cuts[speaker]),
        "note": f"joined {len(members)} views, took the whole one of tile {tile}",
    }
    drawn = [i for i in members if views.drawn[i]]
    if values["cut"] == 0:
        better = [i for i in drawn if views.cuts[i] == 0]
        if better and not views.drawn[speaker]:
            best = max(better, key=lambda i: (views.scores[i], -i))
            values["outline"] = views.outlines[best]
        return values
    boxes = views.boxes[members]
    box = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
    union = shapely.union_all(views.outlines[drawn]) if drawn else None
    values["geometry"] = shapely.box(*box)
    values["outline"] = union if isinstance(union, shapely.Polygon) else None
    values["score"] = float(views.scores[members].max())
    values["cut"] = _still_cut(boxes, box, views.cuts[members])
    values["note"] = f"united {len(members)} cut views"
    return values


def _still_cut(boxes: Floats, box: Floats, cuts: Ints) -> int:
    """Sides of the union that no member saw the end of."""
    left = 0
    for side, bit in enumerate((LEFT, TOP, RIGHT, BOTTOM)):
        at_side = np.abs(boxes[:, side] - box[side]) < 1e-6
        left |= bit if bool(np.all(cuts[at_side] & bit)) else 0
    return left


def _without_duplicates(frame: gpd.GeoDataFrame, least: float) -> gpd.GeoDataFrame:
    """Drop the weaker of two whole objects of different tiles that all but coincide."""
    boxes, tiles = bounds(frame.geometry.values), frame["tile"].to_numpy(np.int64)
    one, two = _near(boxes, tiles, 0.0)
    whole = frame["cut"].to_numpy(np.int64) == 0
    same = whole[one] & whole[two] & (iou(boxes[one], boxes[two]) >= least)
    one, two = one[same], two[same]
    if not len(one):
        return frame
    place = np.empty(len(frame), np.int64)
    place[np.lexsort((np.arange(len(frame)), -frame["score"].to_numpy()))] = np.arange(len(frame))
    better = np.where(place[one] < place[two], one, two)
    worse = np.where(place[one] < place[two], two, one)
    gone = np.zeros(len(frame), bool)
    order = np.argsort(place[better], kind="stable")
    for winner, loser in zip(better[order].tolist(), worse[order].tolist(), strict=True):
        gone[loser] |= not gone[winner]
    return frame[~gone].reset_index(drop=True)
