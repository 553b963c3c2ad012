"""From what members saw to candidates on the mosaic: the ensemble's arithmetic on stored boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from detectors.calibration import AnyCurve, Calibration
from detectors.fusion import Fused, fuse
from detectors.results import PLACE, SCORE
from detectors.views import Floats, Ints, Views
from detectors.windows import BOTTOM, LEFT, NEAR_EDGE, RIGHT, TOP
from lanner.core.config import DetectorConfig, Member
from lanner.core.errors import ConfigError
from lanner.factory.steps.evaluate.mosaic import Layout
from lanner.factory.steps.evaluate.store import ImageViews

if TYPE_CHECKING:
    import geopandas as gpd

LOW = 0.02
"""Boxes are kept down to this score, so that thresholds can be moved later."""


@dataclass(frozen=True)
class Stack:
    """What was seen on all images, in rows by tile, then member.

    `tile` (n,) is numbered through all images, `member` (n,) by `names`, `boxes` (n, 4) in
    pixels of the tile. `windows` and `full` (tiles, 4): see `tiling.grid` and `ImageViews`.
    `shapes` (n,) are the outlines as polygons on the mosaic, None where there is none.
    """

    names: tuple[str, ...]
    tile: Ints
    member: Ints
    boxes: Floats
    scores: Floats
    labels: Ints
    rings: tuple[Floats | None, ...]
    shapes: NDArray[np.object_]
    windows: Ints
    full: Ints
    holes: Mapping[int, NDArray[np.bool_]]
    image: Ints
    ends: Floats
    sizes: Ints
    origins: Floats


@dataclass(frozen=True)
class FusedSet:
    """Objects of all tiles before calibration: as `Fused`, with tile and row of the outline."""

    tile: Ints
    boxes: Floats
    scores: Floats
    labels: Ints
    votes: Floats
    outline: Ints


def stacked(names: Sequence[str], every: Sequence[ImageViews], layout: Layout) -> Stack:
    """Put the images' rows together.

    Args:
        names: members, in the order of `ImageViews.member`.
        every: what was seen on each image of the layout.
        layout: where the images lie.
    """
    import shapely

    from lanner.inference.tiles import valid_polygons

    first = layout.first_tiles[:-1]
    tile = _joined([views.tile + at for views, at in zip(every, first.tolist(), strict=True)])
    windows = [
        (t.window.x0, t.window.y0, t.window.x1, t.window.y1)
        for picture in layout.pictures
        for t in picture.plan
    ]
    image = np.repeat(np.arange(len(every)), [len(p.plan) for p in layout.pictures])
    grids = [picture.plan.grid for picture in layout.pictures]
    ends = [g.from_scene(np.array([g.scene_width, g.scene_height], np.float64)) for g in grids]
    sizes = [(g.width, g.height) for g in grids]
    window = np.asarray(windows, np.int64).reshape(-1, 4)
    rings = [ring for views in every for ring in views.rings]
    origin = window[tile, :2].astype(np.float64)
    drawn = [i for i, ring in enumerate(rings) if ring is not None]
    moved = [
        np.round((ring + origin[i]) * PLACE) / PLACE
        for i, ring in enumerate(rings)
        if ring is not None
    ]
    shapes = np.full(len(rings), None, object)
    for i, shape in zip(drawn, valid_polygons(moved), strict=True):
        shapes[i] = shape
    there = np.flatnonzero(~shapely.is_missing(shapes))
    points, owner = shapely.get_coordinates(shapes[there], return_index=True)
    shift = layout.origins[image[tile[there]]]
    shapes[there] = shapely.set_coordinates(shapes[there], points + shift[owner])
    holes = {
        int(at) + index: valid
        for views, at in zip(every, first, strict=True)
        for index, valid in views.holes.items()
    }
    return Stack(
        tuple(names),
        tile,
        _joined([views.member for views in every]),
        np.concatenate([np.empty((0, 4)), *(views.boxes for views in every)]),
        np.concatenate([np.empty(0), *(views.scores for views in every)]),
        _joined([views.labels for views in every]),
        tuple(rings),
        shapes,
        window,
        np.concatenate([np.empty((0, 4), np.int64), *(views.full for views in every)]),
        holes,
        image,
        np.asarray(ends, np.float64).reshape(-1, 2),
        np.asarray(sizes, np.int64).reshape(-1, 2),
        layout.origins,
    )


def _joined(parts: Sequence[Ints]) -> Ints:
    return np.concatenate([np.empty(0, np.int64), *parts])


def check_variant(config: DetectorConfig, kept: DetectorConfig) -> None:
    """Refuse what cannot be told from stored predictions.

    Raises:
        ConfigError: another network, sampling, tile, suppression or instances, or a threshold
            below what was kept.
    """
    for name in ("output", "classes", "gsd", "bands", "tile", "halo", "normalise"):
        if getattr(config, name) != getattr(kept, name):
            raise ConfigError(
                name, getattr(config, name), "is not what was predicted with", "predict again"
            )
    known = {one.name: one for one in kept.members}
    for one in config.members:
        old = known.get(one.name)
        if old is None:
            raise ConfigError("members", one.name, "was not predicted", "predict again")
        free: dict[str, Any] = {
            "weight": old.weight,
            "weights": old.weights,
            "override_above": old.override_above,
        }
        if one.kind == "retinanet" or config.output == "raster":
            free["threshold"] = old.threshold
            if one.threshold < min(old.threshold, LOW):
                raise ConfigError(
                    f"members.{one.name}.threshold",
                    one.threshold,
                    f"is below {min(old.threshold, LOW)}, down to which boxes were kept",
                    "raise it",
                )
        if one.model_copy(update=free) != old:
            raise ConfigError(
                f"members.{one.name}",
                one.kind,
                "differs in more than its say and box threshold from what was predicted",
                "predict again with it",
            )


def fused_set(stack: Stack, config: DetectorConfig, calibration: Calibration) -> FusedSet:
    """Thresholds, vote calibration and fusion, tile by tile."""
    number = [stack.names.index(one.name) for one in config.members]
    order = np.full(len(stack.names), -1, np.int64)
    order[number] = np.arange(len(number))
    member = order[stack.member]
    keep, scores = np.zeros(len(member), bool), stack.scores.copy()
    for k, one in enumerate(config.members):
        rows = member == k
        scores[rows] = calibration.of_vote(one.name).apply(stack.scores[rows])
        keep |= rows & at_least(one, stack.scores)
    # Members come in the order of the configuration, as they do in the ensemble.
    rows = np.flatnonzero(keep)
    rows = rows[np.lexsort((rows, member[rows], stack.tile[rows]))]
    tile, member, scores = stack.tile[rows], member[rows], scores[rows]
    boxes, labels = stack.boxes[rows], stack.labels[rows]
    rings = [stack.rings[i] for i in rows.tolist()]
    weights = [one.weight for one in config.members]
    row_of = {id(ring): i for ring, i in zip(rings, rows.tolist(), strict=True) if ring is not None}
    changes = np.diff(tile, prepend=-1, append=-1) if len(tile) else tile
    edges = np.flatnonzero(changes).tolist()
    found: list[tuple[int, Fused]] = []
    for start, end in pairwise(edges):
        cut = (start + np.searchsorted(member[start:end], np.arange(len(weights) + 1))).tolist()
        views = [
            Views(boxes[a:b], scores[a:b], labels[a:b], tuple(rings[a:b])) for a, b in pairwise(cut)
        ]
        found.append((int(tile[start]), fuse(views, weights, config.fusion)))
    return FusedSet(
        np.repeat(np.asarray([at for at, _ in found], np.int64), [len(f) for _, f in found]),
        np.concatenate([np.empty((0, 4)), *(f.boxes for _, f in found)]),
        np.concatenate([np.empty(0), *(f.scores for _, f in found)]),
        _joined([f.labels for _, f in found]),
        np.concatenate([np.empty((0, len(weights))), *(f.votes for _, f in found)]),
        np.asarray(
            [-1 if ring is None else row_of[id(ring)] for _, f in found for ring in f.outlines],
            np.int64,
        ),
    )


def at_least(member: Member, scores: Floats) -> NDArray[np.bool_]:
    """Boxes of at least the member's threshold, compared as the network does, in float32."""
    if member.kind != "retinanet":
        return np.ones(len(scores), bool)
    return scores.astype(np.float32) >= np.float32(member.threshold)


def placed_frame(
    stack: Stack, fused: FusedSet, config: DetectorConfig, curve: AnyCurve
) -> gpd.GeoDataFrame:
    """The candidates of all images on the mosaic, as `detectors.windows.place` makes them."""
    from postprocess.frame import candidates

    window = stack.windows[fused.tile].astype(np.float64)
    image = stack.image[fused.tile]
    origin, end = window[:, :2], stack.ends[image]
    boxes = np.clip(fused.boxes + np.tile(origin, 2), 0, np.tile(end, 2))
    wide = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=-1)
    centre = np.floor((boxes[:, :2] + boxes[:, 2:]) / 2 - origin).astype(np.int64)
    full = stack.full[fused.tile]
    within = (centre >= full[:, :2]) & (centre < full[:, 2:])
    inside = np.asarray(wide & within.all(axis=1), np.bool_)
    if stack.holes:
        holed = np.isin(fused.tile, list(stack.holes))
        for row in np.flatnonzero(holed & inside).tolist():
            col, line = centre[row].tolist()
            inside[row] = stack.holes[int(fused.tile[row])][line, col]
    rows = np.flatnonzero(inside)
    boxes, image = boxes[rows], image[rows]
    cuts = _cuts(boxes, window[rows], stack.sizes[image])
    boxes = np.round(boxes * PLACE) / PLACE + np.tile(stack.origins[image], 2)
    names = [one.name for one in config.members]
    votes = np.round(fused.votes[rows] * SCORE) / SCORE
    outline = fused.outline[rows]
    return candidates(
        boxes,
        scores=np.round(curve.apply(fused.scores)[rows] * SCORE) / SCORE,
        votes=[
            {name: score for name, score in zip(names, row, strict=True) if not isnan(score)}
            for row in votes.tolist()
        ],
        tiles=fused.tile[rows],
        cuts=cuts,
        labels=[config.classes[i] for i in fused.labels[rows].tolist()],
        outlines=[None if i < 0 else stack.shapes[i] for i in outline.tolist()],
    )


def _cuts(boxes: Floats, window: Floats, size: Ints) -> Ints:
    """As `detectors.windows.cuts`, each box with its own window and grid."""
    sides = (
        (LEFT, boxes[:, 0] <= window[:, 0] + NEAR_EDGE, window[:, 0] > 0),
        (TOP, boxes[:, 1] <= window[:, 1] + NEAR_EDGE, window[:, 1] > 0),
        (RIGHT, boxes[:, 2] >= window[:, 2] - NEAR_EDGE, window[:, 2] < size[:, 0]),
        (BOTTOM, boxes[:, 3] >= window[:, 3] - NEAR_EDGE, window[:, 3] < size[:, 1]),
    )
    result = np.zeros(len(boxes), np.int64)
    for bit, touches, goes_on in sides:
        result |= bit * (touches & goes_on).astype(np.int64)
    return result
