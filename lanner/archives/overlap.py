"""Objects that overlapping scenes of one acquisition saw: each once, with all its sightings."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import isnan
from typing import Any, TypeAlias

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely

from lanner.archives.ground import mended, moved, usable
from lanner.archives.same_lines import Lines, Piece, SceneLines
from lanner.archives.same_objects import Objects, leaving
from lanner.archives.sources.times import period
from postprocess.frame import column
from postprocess.shapes import Bools, Floats, Ints, Shapes

Footprint: TypeAlias = "shapely.Polygon | shapely.MultiPolygon"
"""In longitude and latitude; its corners so close that the sides between them are straight."""

SAME_PASS = 10.0
"""Minutes between scenes of one pass: a satellite that turns to look at a place again from the
same orbit does so within a few, and is back from another orbit after ninety at the earliest."""

_TURN = 360.0
_WESTWARD = np.array([-_TURN, 0.0])
"""Degrees around the Earth, back to the same place."""
_FEW = 64
"""Parts of footprints whose neighbours are looked for at once."""
_WHOLE = (Piece(-1, 0, None, []),)
"""What is shown of an object that one scene alone shows."""


@dataclass(frozen=True)
class SceneFeatures:
    """What one detector found in one scene.

    Attributes:
        name: the scene's name in the batch.
        acquired: ISO 8601 time.
        footprint: where the scene lies; None where that is not known: nothing overlaps it.
        read: gives the same features whenever it is called: EPSG:4326; the columns of
            `docs/features.md`, polygons or lines.
    """

    name: str
    acquired: str | None
    footprint: Footprint | None
    read: Callable[[], gpd.GeoDataFrame]


def same_acquisition(a: str | None, b: str | None) -> bool:
    """Whether two times are of one pass: at most `SAME_PASS` minutes apart.

    A time that is unknown, or a whole day, goes with its like alone. An archive without times is
    mostly one order cut into scenes, whose borders would double every object. But such a scene
    among dated ones could be of any of their dates: it would tie them all together, and aircraft
    that stood on one stand on different dates would become one.
    """
    one, two = _when(a), _when(b)
    return one[0] == two[0] and abs(one[1] - two[1]) <= SAME_PASS * 60


def overlapping_groups(
    scenes: Sequence[tuple[str, str | None, Footprint | None]],
) -> list[list[int]]:
    """The scenes that hang together: by overlaps of scenes of one acquisition.

    Args:
        scenes: name, ISO 8601 time and footprint of each.

    Returns:
        Their numbers, each in one group; in order of their names, as the groups are by the first.
    """
    order = sorted(range(len(scenes)), key=lambda i: (scenes[i][0], i))
    keys, seconds = _times([scenes[i][1] for i in order])
    shapes = np.array([scenes[i][2] for i in order], object)
    root = np.arange(len(order))
    by_time = np.lexsort((seconds, keys))
    later = np.diff(seconds[by_time]) > SAME_PASS * 60
    breaks = np.flatnonzero(later | (np.diff(keys[by_time]) != 0)) + 1
    at_once = np.empty(len(order), np.int64)
    for number, bunch in enumerate(np.split(by_time, breaks)):
        at_once[bunch] = number
    parts, owner = _parts(shapes)
    by_owner = np.lexsort((owner, at_once[owner]))
    parts, owner = parts[by_owner], owner[by_owner]
    for some in np.split(np.arange(len(parts)), np.flatnonzero(np.diff(at_once[owner])) + 1):
        for bunch in _connected(parts[some], owner[some], seconds):
            root[bunch] = bunch.min()
    groups: dict[int, list[int]] = {}
    for place, first in enumerate(root.tolist()):
        groups.setdefault(first, []).append(order[place])
    return list(groups.values())


def merged(
    scenes: Sequence[SceneFeatures],
    *,
    border_m: float = 2.0,
    shift_m: float = 3.0,
    along_m: float = 5.0,
) -> Iterator[gpd.GeoDataFrame]:
    """The features of scenes that overlap, each object once: one frame a scene, by their names.

    Of the polygons that are one object, the one stays that no border cuts, then the surest, then
    that of the first scene; of lines what the first scene has of them. A line of which a later
    scene adds a part becomes pieces with `/1`, `/2` after its id.

    Every scene that overlaps another is read twice. In memory are together the scenes that one
    still to come overlaps, by the order of names, and a few numbers of each object that several
    scenes show.

    Args:
        scenes: in any order; of one detector, with names of their own.
        border_m: metres from a scene's border within which an outline is cut by it.
        shift_m: metres that two scenes may lie off each other.
        along_m: metres within which lines of two scenes are one.

    Yields:
        Rows in the order of the scene's frame, with the columns `sightings` (JSON text: scene, id
        and confidence of each, the one that is shown first) and `track_id` (all None: room for
        the same object on other dates).
    """
    scenes = sorted(scenes, key=lambda one: one.name)
    shared = _shared(scenes, border_m, shift_m, along_m)
    first = 0
    for scene in scenes:
        frame = scene.read()
        yield _with_sightings(frame, scene.name, first, shared)
        first += len(frame)


@dataclass(frozen=True)
class _Shared:
    """What is known of the objects that several scenes show.

    Attributes:
        pieces: what is shown of each such row, be it nothing; all others are shown whole.
        texts: the sighting of each such row.
    """

    pieces: dict[int, list[Piece]]
    texts: dict[int, str]


@dataclass(frozen=True)
class _SceneIds:
    """What sightings say of one scene's rows.

    Attributes:
        name: of the scene.
        first: number of the first row among the objects of all scenes.
        ids: (n,) of the rows.
        sure: (n,) their confidences; NaN where there is none.
    """

    name: str
    first: int
    ids: list[Any]
    sure: list[float]


def _shared(
    scenes: Sequence[SceneFeatures], border_m: float, shift_m: float, along_m: float
) -> _Shared:
    """What several scenes show, of scenes in the order of their names."""
    earlier: list[list[int]] = [[] for _ in scenes]
    for one, two in _pairs(scenes):
        earlier[two].append(one)
    overlapping = {*chain.from_iterable(earlier), *(k for k, some in enumerate(earlier) if some)}
    if not overlapping:
        return _Shared({}, {})
    objects, lines = Objects(earlier, border_m, shift_m), Lines(earlier, along_m)
    numbers: dict[Any, int] = {}
    held: dict[int, _SceneIds] = {}
    sure: dict[int, float] = {}
    texts: dict[int, str] = {}
    first = 0
    for k, (scene, gone) in enumerate(zip(scenes, leaving(earlier), strict=True)):
        frame = scene.read()
        if k in overlapping:
            assert scene.footprint is not None
            shapes, labels = _shapes(frame), _labels(frame, numbers)
            held[k] = _SceneIds(
                scene.name, first, frame["id"].tolist(), _confidences(frame).tolist()
            )
            areas, ways = (np.flatnonzero(usable(shapes, dimension)) for dimension in (2, 1))
            found = [
                objects.add(k, first + areas, shapes[areas], labels[areas], scene.footprint),
                lines.add(k, SceneLines(first + ways, shapes[ways], labels[ways], scene.footprint)),
            ]
            for row in np.concatenate(found).tolist():
                if row not in texts:
                    texts[row], sure[row] = _sighting(held, row)
            for other in gone:
                del held[other]
        first += len(frame)
    pieces = lines.pieces()
    for members in objects.clusters():
        # Of equals the first stays, which is that of the first scene.
        best = min(members, key=lambda row: (objects.cut(row), -sure[row], row))
        others = [row for row in members if row != best]
        pieces |= {best: [Piece(best, 0, None, others)], **{row: [] for row in others}}
    return _Shared(pieces, texts)


def _with_sightings(
    frame: gpd.GeoDataFrame, scene: str, first: int, shared: _Shared
) -> gpd.GeoDataFrame:
    """The rows of a scene that are shown, with who saw each.

    Args:
        frame: of the scene.
        scene: its name.
        first: number of the frame's first row among the objects of all scenes.
        shared: what several scenes show.
    """
    rows: list[int] = []
    cut: dict[int, Piece] = {}
    others: dict[int, list[int]] = {}
    for row in range(len(frame)):
        for piece in shared.pieces.get(first + row, _WHOLE):
            if piece.part:
                cut[len(rows)] = piece
            if piece.others:
                others[len(rows)] = sorted(set(piece.others))
            rows.append(row)
    result = frame.iloc[rows].reset_index(drop=True)
    ids = _SceneIds(scene, 0, result["id"].tolist(), _confidences(result).tolist())
    texts = [_text(ids, place) for place in range(len(rows))]
    for place, some in others.items():
        texts[place] = ",".join([texts[place], *(shared.texts[row] for row in some)])
    if cut:
        places = list(cut)
        shapes = _shapes(result).copy()
        shapes[places] = [piece.shape for piece in cut.values()]
        names = list(ids.ids)
        for place, piece in cut.items():
            names[place] = f"{names[place]}/{piece.part}"
        result[result.geometry.name] = gpd.GeoSeries(shapes, crs=frame.crs)
        result["id"] = pd.Series(names, dtype=frame["id"].dtype)
        if "length_m" in result.columns:
            earth = pyproj.Geod(ellps="WGS84")
            metres = result["length_m"].to_numpy(np.float64, copy=True)
            metres[places] = [earth.geometry_length(shapes[place]) for place in places]
            result["length_m"] = metres
    result["sightings"] = column([f"[{text}]" for text in texts])
    result["track_id"] = column([None] * len(result))
    return result


def _sighting(held: Mapping[int, _SceneIds], row: int) -> tuple[str, float]:
    """The text of a row of a scene that is held, and its confidence; -1 where it has none."""
    scene = next(one for one in held.values() if 0 <= row - one.first < len(one.ids))
    sure = scene.sure[row - scene.first]
    return _text(scene, row - scene.first), -1.0 if isnan(sure) else sure


def _text(scene: _SceneIds, place: int) -> str:
    """The sighting of a row, as JSON."""
    confidence = scene.sure[place]
    facts = {
        "scene": scene.name,
        "id": scene.ids[place],
        "confidence": None if isnan(confidence) else confidence,
    }
    return json.dumps(facts, ensure_ascii=False, separators=(",", ":"))


def _shapes(frame: gpd.GeoDataFrame) -> Shapes:
    return np.asarray(frame.geometry.values, object)


def _labels(frame: gpd.GeoDataFrame, numbers: dict[Any, int]) -> Ints:
    """(n,) numbers of the labels; new ones are put to those that are known."""
    labels = frame["label"].astype(object).where(frame["label"].notna(), None).tolist()
    return np.array([numbers.setdefault(label, len(numbers)) for label in labels], np.int64)


def _confidences(frame: gpd.GeoDataFrame) -> Floats:
    """(n,) calibrated confidences; NaN where there is none."""
    return np.asarray(pd.to_numeric(frame["confidence"]).to_numpy(np.float64, na_value=np.nan))


def _when(text: str | None) -> tuple[str, float]:
    """A kind of time, which goes with its like alone, and for a moment its seconds."""
    known = None if text is None else period(text)
    if known is None:
        return f"unknown {text or ''}", 0.0
    begin, end = known
    if (end - begin).total_seconds() > SAME_PASS * 60:
        return f"{begin}/{end}", 0.0
    return "moment", begin.timestamp()


def _times(texts: Sequence[str | None]) -> tuple[Ints, Floats]:
    """(n,) numbers of the kinds of times, and (n,) seconds."""
    every = [_when(text) for text in texts]
    kinds = np.unique(np.array([one[0] for one in every], str), return_inverse=True)[1]
    return kinds.astype(np.int64), np.array([one[1] for one in every], np.float64)


def _connected(parts: Shapes, owner: Ints, seconds: Floats) -> Iterator[Ints]:
    """The numbers of the scenes that hang together, bunch by bunch.

    Args:
        parts: (p,) of the footprints of scenes whose times are all of a kind.
        owner: (p,) number of the scene that each is of, ascending.
        seconds: times of the scenes by their numbers.
    """
    unseen, left = np.ones(len(parts), bool), np.arange(len(parts))
    tree = shapely.STRtree(parts)
    for seed in np.unique(owner).tolist():
        waiting = _of(owner, np.array([seed]))
        if not unseen[waiting[0]]:
            continue
        unseen[waiting] = False
        bunch = [np.array([seed])]
        while len(waiting):
            some, waiting = waiting[:_FEW], waiting[_FEW:]
            i, j = tree.query(parts[some])
            one, two = some[i], left[j]
            new = unseen[two]
            new &= np.abs(seconds[owner[one]] - seconds[owner[two]]) <= SAME_PASS * 60
            one, two = one[new], two[new]
            bunch.append(np.unique(owner[two[_overlap(parts[one], parts[two])]]))
            more = _of(owner, bunch[-1])
            unseen[more] = False
            waiting = np.concatenate([waiting, more])
            # A place that was taken a thousand times would be found a thousand times a thousand.
            if 2 * np.count_nonzero(unseen) < len(left):
                left = np.flatnonzero(unseen)
                tree = shapely.STRtree(parts[left])
        yield np.concatenate(bunch)


def _of(owner: Ints, scenes: Ints) -> Ints:
    """Numbers of the parts of some scenes, of ascending owners."""
    low, high = np.searchsorted(owner, scenes), np.searchsorted(owner, scenes, side="right")
    return np.concatenate([np.empty(0, np.int64), *map(np.arange, low, high)])


def _pairs(scenes: Sequence[SceneFeatures]) -> list[tuple[int, int]]:
    """The pairs i < j of scenes of one acquisition that overlap, in order."""
    keys, seconds = _times([one.acquired for one in scenes])
    parts, owner = _parts(np.array([one.footprint for one in scenes], object))
    i, j = shapely.STRtree(parts).query(parts)
    one, two = owner[i], owner[j]
    same = (one < two) & (keys[one] == keys[two])
    same &= np.abs(seconds[one] - seconds[two]) <= SAME_PASS * 60
    i, j = i[same], j[same]
    meet = _overlap(parts[i], parts[j])
    return sorted(set(zip(owner[i[meet]].tolist(), owner[j[meet]].tolist(), strict=True)))


def _overlap(one: Shapes, two: Shapes) -> Bools:
    """Whether pairs of footprints have ground in common, not merely a border."""
    result = np.asarray(shapely.intersects(one, two), bool)
    result[result] = ~shapely.touches(one[result], two[result])
    return result


def _parts(shapes: Shapes) -> tuple[Shapes, Ints]:
    """The parts of footprints, and whose each is.

    What reaches over the antimeridian is there twice, once from either side of it.
    """
    known = np.flatnonzero(~shapely.is_missing(shapes) & ~shapely.is_empty(shapes))
    parts, place = shapely.get_parts(shapely.force_2d(shapes[known]), return_index=True)
    owner = known[place].astype(np.int64)
    box = shapely.bounds(parts).reshape(-1, 4)
    # No scene spans half the Earth: one that seems to has jumped over the antimeridian.
    wide = box[:, 2] - box[:, 0] > _TURN / 2
    parts[wide] = shapely.transform(parts[wide], lambda xy: xy + _TURN * (xy < 0) * (1, 0))
    parts = mended(parts)
    box = shapely.bounds(parts).reshape(-1, 4)
    east, west = box[:, 2] > _TURN / 2, box[:, 0] < -_TURN / 2
    once_more = [moved(parts[east], _WESTWARD), moved(parts[west], -_WESTWARD)]
    return np.concatenate([parts, *once_more]), np.concatenate([owner, owner[east], owner[west]])
