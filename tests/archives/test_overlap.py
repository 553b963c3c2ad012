"""Objects of overlapping scenes come out once: parked aircraft and roads of a known ground."""

from __future__ import annotations

import json
import tracemalloc
import weakref
from dataclasses import replace
from functools import partial
from itertools import pairwise, permutations
from time import perf_counter

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import affinity

from lanner.archives.ground import located, plane_at
from lanner.archives.overlap import (
    SAME_PASS,
    SceneFeatures,
    overlapping_groups,
    same_acquisition,
)
from lanner.archives.overlap import merged as merged_by_scene

GEOD = pyproj.Geod(ellps="WGS84")
NOON = "2024-05-01T12:00:00Z"
PLACES = [(11.9, 48.0), (25.0, 70.0), (-61.0, -33.0), (2.999, 0.5), (179.9995, -17.0), (151, 82)]
"""Longitude and latitude: of temperate, arctic and equatorial airfields, beside the edge of a UTM
zone, on the antimeridian, and about as far north as satellites look."""


class Site:
    """A place with metres around it, in which the truth is laid out."""

    def __init__(self, lon: float, lat: float):
        self.lon = lon
        self.crs = pyproj.CRS.from_proj4(f"+proj=aeqd +lat_0={lat} +lon_0={lon} +datum=WGS84")
        self._way = pyproj.Transformer.from_crs(self.crs, "OGC:CRS84", always_xy=True)

    def lonlat(self, shape):
        return warped(shape, self._way)

    def utm(self, zone_off: int):
        """From metres of the site to a UTM zone beside it, and from there to the Earth."""
        zone = (int((self.lon + 180) // 6) + zone_off) % 60 + 1
        crs = pyproj.CRS.from_epsg(32600 + zone)
        return (
            pyproj.Transformer.from_crs(self.crs, crs, always_xy=True),
            pyproj.Transformer.from_crs(crs, "OGC:CRS84", always_xy=True),
        )


def warped(shape, way):
    return shapely.transform(shape, lambda xy: np.stack(way.transform(*xy.T), axis=1))


def scene(name, site, window, rows, acquired=NOON):
    """A scene in metres of a site: rows of id, shape, and optionally confidence and label."""
    ids, shapes = [row[0] for row in rows], [site.lonlat(row[1]) for row in rows]
    sure = [row[2] if len(row) > 2 else 0.5 for row in rows]
    labels = [row[3] if len(row) > 3 else "aircraft" for row in rows]
    return SceneFeatures(
        name,
        acquired,
        site.lonlat(shapely.segmentize(window, 100)),
        partial(frame, ids, shapes, sure, labels),
    )


def frame(ids, shapes, sure, labels) -> gpd.GeoDataFrame:
    columns = {
        "id": pd.Series(ids, dtype=object),
        "label": pd.Series(labels, dtype=object),
        "confidence": np.array(sure, float),
        "decision": pd.Series(["accept"] * len(ids), dtype=object),
        "length_m": [GEOD.geometry_length(one) for one in shapes],
    }
    return gpd.GeoDataFrame(columns, geometry=gpd.GeoSeries(shapes, crs="EPSG:4326"))


def merged(scenes, **params) -> gpd.GeoDataFrame:
    """All frames one below the other."""
    frames = list(merged_by_scene(scenes, **params))
    full = [one for one in frames if len(one)] or frames[:1]
    return pd.concat(full, ignore_index=True)


def sightings(found: gpd.GeoDataFrame) -> list[list[str]]:
    """The ids of each row's sightings, the one that is shown first."""
    return [[one["id"] for one in json.loads(text)] for text in found["sightings"]]


def together(*scenes, **params) -> list[list[str]]:
    """The ids that came out as one, in order."""
    return sorted(sorted(ids) for ids in sightings(merged(scenes, **params)))


# What stands on the ground.


def cross(length: float, span: float = 1.0) -> shapely.Geometry:
    """An aircraft that heads east."""
    half, body, wing = length / 2, max(0.9, 0.05 * length), 0.09 * length
    tail = shapely.box(-half, -length * span / 6, -0.4 * length, length * span / 6)
    wings = shapely.box(-wing, -half * span, wing, half * span)
    return shapely.union_all([shapely.box(-half, -body, half, body), wings, tail])


def aircraft(rng: np.random.Generator) -> shapely.Geometry:
    length = rng.uniform(9, 60)
    kind = rng.integers(6)
    if kind == 0:  # an outline that is but a box
        half = rng.uniform(0.35, 0.5) * length
        return shapely.box(-length / 2, -half, length / 2, half)
    if kind == 1:  # a hull without wings
        return shapely.box(-length / 2, -2.5, length / 2, 2.5)
    return cross(length, rng.uniform(0.8, 1.1))


def apron(rng: np.random.Generator, number: int, rows: int) -> list[shapely.Geometry]:
    """Rows of aircraft, mostly one way, that leave 2 m between them or more."""
    standing: list[shapely.Geometry] = []
    for row in range(rows):
        heading, x = rng.uniform(0, 360), -150.0
        for _ in range(number):
            turned = heading + rng.choice([0, 0, 180, rng.uniform(0, 360)])
            shape = affinity.rotate(aircraft(rng), turned, origin=(0, 0))
            gap = rng.choice([2.0, 2.0, rng.uniform(2, 15)])
            y = 75 * row + rng.uniform(-3, 3)
            while True:
                placed = affinity.translate(shape, x, y)
                free = min((placed.distance(one) for one in standing), default=1e9) - gap
                if free >= 0:
                    break
                x += max(-free, 0.1)
            standing.append(placed)
    return standing


def jittered(rng: np.random.Generator, shape, metres: float):
    xy = shapely.get_coordinates(shape)[:-1]
    angle, far = rng.uniform(0, 2 * np.pi, len(xy)), rng.uniform(0, metres, len(xy))
    return shapely.Polygon(xy + np.stack([far * np.cos(angle), far * np.sin(angle)], axis=1))


def observed(rng, site, truth, scenes: int, overlap: float, miss: float = 0.15):
    """What scenes see of parked aircraft, each in a UTM zone of its own and off by up to 1.5 m.

    An aircraft is seen where a quarter of it is in the scene, unless it is missed.

    Returns:
        The scenes, and the ids under which each aircraft was seen.
    """
    bounds = np.array([one.bounds for one in truth])
    west, east = bounds[:, 0].min(), bounds[:, 2].max()
    # Of three scenes the outer two have as much in common, or no object between them.
    first = rng.uniform(west, east)
    next_ = rng.choice([rng.uniform(0, overlap - 20), rng.uniform(overlap + 80, overlap + 200)])
    at = np.array([first, first + next_])[: scenes - 1]
    lefts = [west - 300, *(at - overlap / 2)]
    rights = [*(at + overlap / 2), max(east, at[-1]) + 300]
    seen: dict[int, list[str]] = {}
    found = []
    for k in range(scenes):
        to_utm, to_lonlat = site.utm(int(rng.integers(-1, 2)))
        (x, y), scale = to_utm.transform((lefts[k] + rights[k]) / 2, 40), 1.0
        ends = np.array(to_utm.transform([lefts[k], rights[k]], [40, 40]))
        scale = np.hypot(*(ends[:, 1] - ends[:, 0])) / (rights[k] - lefts[k])
        half = (rights[k] - lefts[k]) / 2 * scale
        window = shapely.box(x - half, y - 250 * scale, x + half, y + 250 * scale)
        angle, off = rng.uniform(0, 2 * np.pi), rng.uniform(0, 1.5) * scale
        ids, shapes = [], []
        for i in rng.permutation(len(truth)).tolist():
            there = affinity.translate(
                warped(truth[i], to_utm), off * np.cos(angle), off * np.sin(angle)
            )
            parts = shapely.get_parts(shapely.intersection(there, window))
            part = max(parts, key=lambda one: one.area, default=shapely.Polygon())
            if part.area < 0.25 * there.area or rng.random() < miss:
                continue
            ids.append(f"{k}-{i}")
            shapes.append(warped(jittered(rng, part, 0.5), to_lonlat))
            seen.setdefault(i, []).append(ids[-1])
        footprint = warped(shapely.segmentize(window, half), to_lonlat)
        sure = rng.uniform(0.3, 1, len(ids)).round(3)
        labels = ["aircraft"] * len(ids)
        read = partial(frame, ids, shapes, sure, labels)
        found.append(SceneFeatures(f"s{k}", NOON, footprint, read))
    return found, list(seen.values())


@given(
    seed=st.integers(0, 2**32 - 1),
    place=st.sampled_from(PLACES),
    scenes=st.integers(2, 3),
    number=st.sampled_from([1, 2, 3, 5, 8]),
    rows=st.integers(1, 2),
    overlap=st.floats(20, 160),
)
@settings(max_examples=70, deadline=None)
def test_every_parked_aircraft_comes_out_once(seed, place, scenes, number, rows, overlap):
    rng = np.random.default_rng(seed)
    truth = apron(rng, number, rows)
    found, seen = observed(rng, Site(*place), truth, scenes, overlap)
    result = merged(found)
    assert sorted(map(sorted, sightings(result))) == sorted(map(sorted, seen))
    assert result["id"].tolist() == [ids[0] for ids in sightings(result)]
    assert result["id"].tolist() == sorted(result["id"], key=lambda name: name[0])
    assert result["track_id"].isna().all()
    other = [found[k] for k in rng.permutation(scenes)]
    pd.testing.assert_frame_equal(result, merged(other))
    again = merged([replace(found[0], name="archive", read=lambda: result)])
    names = [name for name in result.columns if name != "sightings"]
    pd.testing.assert_frame_equal(result[names], again[names])


# Rules, one by one.

SITE = Site(25.0, 70.0)
WEST, EAST = shapely.box(-500, -200, 60, 200), shapely.box(-60, -200, 500, 200)
KINDS = {
    "cross": cross(30),
    "turned": affinity.rotate(cross(30), 33, origin=(0, 0)),
    "box": shapely.box(-5, -5, 5, 5),
    "slender": shapely.box(-1.5, -20, 1.5, 20),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shift", [(0, 0), (-1.5, 0), (-3, 0), (-2, 2), (0, -3)])
def test_neighbours_that_one_scene_each_saw_stay_two(kind, shift):
    one = KINDS[kind]
    x = np.arange(0, 100, 0.1)
    two = affinity.translate(
        one, next(x for x in x if one.distance(affinity.translate(one, x)) >= 2)
    )
    found = together(
        scene("a", SITE, WEST, [("one", one)]),
        scene("b", SITE, EAST, [("two", affinity.translate(two, *shift))]),
    )
    assert found == [["one"], ["two"]]


@pytest.mark.parametrize("kind", ["cross", "turned", "box"])
@pytest.mark.parametrize("shift", [(0, 0), (3, 0), (-2, 2), (0, -3)])
@pytest.mark.parametrize("cut", [False, True])
def test_an_object_alone_is_found_again_under_a_shift_whole_or_cut(kind, shift, cut):
    # So that three tenths of its length are beyond the border.
    one = affinity.translate(KINDS[kind], -60 + 0.4 * KINDS[kind].bounds[2] if cut else 0)
    other = shapely.intersection(affinity.translate(one, *shift), EAST)
    found = together(
        scene("a", SITE, WEST, [("one", one)]), scene("b", SITE, EAST, [("two", other)])
    )
    assert found == [["one", "two"]]


def test_the_whole_one_is_shown_though_the_part_is_surer():
    one = affinity.translate(cross(30), -60, 0)
    part = shapely.intersection(one, EAST)
    found = merged(
        [scene("b", SITE, EAST, [("part", part, 0.9)]), scene("c", SITE, WEST, [("one", one, 0.4)])]
    )
    assert sightings(found) == [["one", "part"]]
    assert found.geometry[0].equals(SITE.lonlat(one))
    assert json.loads(found["sightings"][0])[1] == {"scene": "b", "id": "part", "confidence": 0.9}


def test_of_whole_ones_the_surest_is_shown_and_then_that_of_the_first_scene():
    shape = cross(30)
    sure = {"a": 0.5, "b": 0.9, "c": 0.9}
    scenes = [scene(name, SITE, WEST, [(name, shape, sure[name])]) for name in sure]
    assert sightings(merged(scenes)) == [["b", "a", "c"]]


def test_a_piece_that_shows_little_of_its_form_is_part_of_what_holds_it():
    one = affinity.translate(cross(60), -60, 0)
    tip = shapely.intersection(one, shapely.box(-60, 5, 500, 200)).buffer(-0.3)
    assert tip.area < 0.2 * one.area
    scenes = scene("a", SITE, WEST, [("one", one)]), scene("b", SITE, EAST, [("tip", tip)])
    assert together(*scenes) == [["one", "tip"]]
    inland = affinity.translate(tip, 30, 0), affinity.translate(one, 30, 0)
    scenes = (
        scene("a", SITE, WEST, [("one", inland[1])]),
        scene("b", SITE, EAST, [("tip", inland[0])]),
    )
    assert together(*scenes) == [["one"], ["tip"]], "no border cut it"


def test_two_objects_of_one_scene_never_become_one():
    shape = cross(30)
    twice = [("b1", shape, 0.9), ("b2", affinity.translate(shape, 1, 0), 0.8)]
    third = scene("c", SITE, EAST, [("c1", shape), ("c2", affinity.translate(shape, 1, 0))])
    found = together(scene("a", SITE, WEST, [("a", shape)]), scene("b", SITE, EAST, twice))
    assert found == [["a", "b1"], ["b2"]]
    found = together(scene("a", SITE, WEST, [("a", shape)]), scene("b", SITE, EAST, twice), third)
    assert found == [["a", "b1", "c1"], ["b2", "c2"]]


def test_a_box_and_an_outline_of_one_size_are_one_object():
    shape = affinity.rotate(cross(30), 20, origin=(0, 0))
    box = shapely.box(*shape.bounds)
    scenes = scene("a", SITE, WEST, [("a", shape)]), scene("b", SITE, EAST, [("b", box)])
    assert together(*scenes) == [["a", "b"]]


def test_many_matches_tell_the_shift_of_scenes_whose_slender_objects_it_would_confuse():
    truth = [affinity.translate(shapely.box(-1.5, -10, 1.5, 10), 7.5 * k - 30) for k in range(8)]
    moved = [affinity.translate(one, 2.9, 0) for one in truth]
    mine = [(f"a{k}", one) for k, one in enumerate(truth) if k != 4]
    other = [(f"b{k}", one) for k, one in enumerate(moved) if k != 3]
    scenes = scene("a", SITE, WEST, mine), scene("b", SITE, EAST, other)
    both = [[f"a{k}", f"b{k}"] for k in (0, 1, 2, 5, 6, 7)]
    assert together(*scenes) == sorted([*both, ["a3"], ["b4"]])


def test_other_labels_dates_and_places_are_other_objects():
    shape = cross(30)
    first = scene("a", SITE, WEST, [("a", shape)])
    label = scene("b", SITE, EAST, [("b", shape, 0.5, "helicopter")])
    date = scene("b", SITE, EAST, [("b", shape)], acquired="2024-05-02T12:00:00Z")
    nowhere = replace(scene("b", SITE, EAST, [("b", shape)]), footprint=None)
    for other in (label, date, nowhere):
        assert together(first, other) == [["a"], ["b"]]


def test_a_scene_without_objects_has_the_same_columns():
    full = scene("a", SITE, WEST, [("a", cross(30))])
    bare = [scene(name, SITE, EAST, []) for name in "bc"]
    names = [*full.read().columns, "sightings", "track_id"]
    for some in ([full, *bare], bare):
        frames = list(merged_by_scene(some))
        assert [len(one) for one in frames] == [len(one.read()) for one in some]
        for one in frames:
            assert one.columns.tolist() == names
            assert one.crs == "EPSG:4326"
            assert one["confidence"].dtype == np.float64


def test_a_missing_shape_and_confidence_stay_what_they_are():
    one = scene("a", SITE, WEST, [("a", cross(30)), ("b", shapely.Polygon(), float("nan"))])
    found = merged([one, scene("b", SITE, EAST, [("c", cross(30))])])
    assert sightings(found) == [["a", "c"], ["b"]]
    assert json.loads(found["sightings"][1]) == [{"scene": "a", "id": "b", "confidence": None}]


def test_objects_that_the_antimeridian_cut_in_two_are_one_as_others():
    site, shape = Site(180.0, 65.0), affinity.translate(cross(40), 0.3, 0)

    def halves(one):
        there = shapely.transform(site.lonlat(one), lambda xy: xy + 360 * (xy[:, :1] < 0) * (1, 0))
        west = shapely.intersection(there, shapely.box(170, -90, 180, 90))
        east = shapely.intersection(there, shapely.box(180, -90, 190, 90))
        return shapely.MultiPolygon([west, affinity.translate(east, -360)])

    for cut in ([0], [1], [0, 1]):
        scenes = [scene(n, site, w, [(n, shape)]) for n, w in (("a", WEST), ("b", EAST))]
        for k in cut:
            parts = gpd.GeoSeries([halves(shape)], crs="EPSG:4326")
            window = halves(shapely.segmentize((WEST, EAST)[k], 20))
            read = partial(scenes[k].read().set_geometry, parts)
            scenes[k] = replace(scenes[k], footprint=window, read=read)
        assert together(*scenes) == [["a", "b"]]
        assert overlapping_groups([(s.name, s.acquired, s.footprint) for s in scenes]) == [[0, 1]]


@pytest.mark.parametrize(("lon", "lat"), [*PLACES, (0.0, 90.0), (10.0, -89.9)])
def test_metres_on_the_ground_are_metres(lon, lat):
    rng = np.random.default_rng(0)
    site = Site(lon, lat)
    line = site.lonlat(shapely.LineString(rng.uniform(-20_000, 20_000, (50, 2))))
    there = located([line])
    flat = there.flat(np.array([0]), plane_at(there.centres[0]))[0]
    assert flat.length == pytest.approx(GEOD.geometry_length(line), rel=3e-5)


# Roads.


def road(rng: np.random.Generator) -> shapely.LineString:
    """Some 3 km that turn little by little."""
    angle = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.08, 75))
    way = np.cumsum(40 * np.stack([np.cos(angle), np.sin(angle)], axis=1), axis=0)
    return shapely.LineString(way + rng.uniform((-1000, -400), (1000, 400)))


def mapped(rng, site, truth, scenes: int, overlap: float):
    """What scenes see of roads: off by up to 1 m, wobbling by 1 m, split at places of their own."""
    width, found, windows = 3000 / scenes, [], []
    for k in range(scenes):
        left = -1500 + width * k
        window = shapely.box(left - overlap / 2, -1000, left + width + overlap / 2, 1000)
        windows.append(affinity.rotate(window, rng.uniform(-3, 3)))
        angle, off = rng.uniform(0, 2 * np.pi), rng.uniform(0, 1)
        rows = []
        for line in truth:
            xy = shapely.get_coordinates(shapely.segmentize(line, rng.uniform(8, 20)))
            at, phase = np.arange(len(xy)), rng.uniform(0, 6, 2)
            wobble = np.stack([np.sin(at / 9 + phase[0]), np.cos(at / 11 + phase[1])], axis=1)
            there = shapely.LineString(xy + wobble + (off * np.cos(angle), off * np.sin(angle)))
            for part in shapely.get_parts(shapely.intersection(there, windows[-1])):
                if part.is_empty:
                    continue
                points = shapely.get_coordinates(part)
                breaks = sorted({0, len(points) - 1, *rng.integers(0, len(points), 2).tolist()})
                for low, high in pairwise(breaks):
                    piece = shapely.LineString(points[low : high + 1])
                    rows.append((f"{k}-{len(rows)}", piece, 0.5, "road"))
        found.append(scene(f"s{k}", site, windows[-1], rows, acquired=None))
    area = shapely.union_all(windows)
    return found, sum(shapely.intersection(one, area).length for one in truth)


def length(found: gpd.GeoDataFrame) -> float:
    return sum(GEOD.geometry_length(one) for one in found.geometry)


@given(
    seed=st.integers(0, 2**32 - 1),
    place=st.sampled_from(PLACES[:4]),
    scenes=st.integers(2, 3),
    number=st.sampled_from([1, 4, 10]),
    overlap=st.sampled_from([50.0, 200.0, 600.0, 1500.0]),
)
@settings(max_examples=40, deadline=None)
def test_roads_across_the_overlap_come_out_once(seed, place, scenes, number, overlap):
    rng = np.random.default_rng(seed)
    truth = [line for line in (road(rng) for _ in range(4 * number)) if line.is_simple][:number]
    found, total = mapped(rng, Site(*place), truth, scenes, overlap)
    if not any(len(one.read()) for one in found):
        return
    result = merged(found)
    assert abs(length(result) - total) <= max(0.02 * total, 15)
    assert result["length_m"].to_numpy() == pytest.approx(
        [GEOD.geometry_length(one) for one in result.geometry]
    )
    assert result["id"].is_unique
    every = {one for other in found for one in other.read()["id"]}
    assert {one for ids in sightings(result) for one in ids} == every, "no line is forgotten"
    assert [ids[0] for ids in sightings(result)] == [one.split("/")[0] for one in result["id"]]
    other = [found[k] for k in rng.permutation(scenes)]
    pd.testing.assert_frame_equal(result, merged(other))
    first = merged(found[:1])
    pd.testing.assert_frame_equal(first[found[0].read().columns], found[0].read())


def line(*points):
    return shapely.LineString(points)


def roads(*mine, other=(), **params):
    """What comes of roads of a western and an eastern scene."""
    one = [(f"a{k}", shape, 0.5, "road") for k, shape in enumerate(mine)]
    two = [(f"b{k}", shape, 0.5, "road") for k, shape in enumerate(other)]
    return merged([scene("a", SITE, WEST, one), scene("b", SITE, EAST, two)], **params)


def test_a_road_that_leaves_the_overlap_is_cut_at_the_border():
    found = roads(line((-400, 0), (60, 0)), other=[line((-60, 2), (0, 2), (400, 2), (410, 30))])
    assert found["id"].tolist() == ["a0", "b0/1"]
    assert sightings(found) == [["a0", "b0"], ["b0"]]
    begin, *rest = found.geometry[1].coords
    assert rest == SITE.lonlat(line((400, 2), (410, 30))).coords[:], "corners stay to the bit"
    border = SITE.lonlat(shapely.Point(60, 2))
    assert GEOD.inv(*begin, border.x, border.y)[2] < 1
    assert found["length_m"][1] == pytest.approx(340 + np.hypot(10, 28), abs=1)


def test_roads_of_the_second_scene_alone_stay_whole():
    mine = [line((-400, 0), (60, 0))]
    crossing, beside = line((10, -150), (10, 150)), line((-50, 12), (300, 12))
    found = roads(*mine, other=[crossing, beside, line((200, 0), (300, 0))])
    assert found["id"].tolist() == ["a0", "b0", "b1", "b2"]
    assert sightings(found) == [["a0"], ["b0"], ["b1"], ["b2"]]
    assert roads(*mine, other=[beside], along_m=15.0)["id"].tolist() == ["a0", "b0/1"]


def test_what_the_first_scene_missed_of_a_road_stays():
    found = roads(line((-40, -190), (-40, 40)), other=[line((-40, -190), (-40, 190))])
    assert found["id"].tolist() == ["a0", "b0/1"]
    assert length(found) == pytest.approx(380, abs=6)
    short = roads(line((-40, -190), (-40, 170)), other=[line((-40, -190), (-40, 190))])
    assert short["id"].tolist() == ["a0"], "a few metres are no road"


def test_a_line_counts_as_seen_on_every_line_that_it_runs_along():
    mine = line((-400, 0), (-20, 0)), line((-20, 0), (60, 0)), line((-20, 0), (-20, 150))
    found = roads(*mine, other=[line((-60, 1), (60, 1))])
    assert sightings(found) == [["a0", "b0"], ["a1", "b0"], ["a2"]]


def test_a_road_along_the_border_is_one_though_the_scenes_put_it_on_either_side():
    found = roads(line((59, -190), (59, 190)), other=[line((61, -190), (61, 190))])
    assert sightings(found) == [["a0", "b0"]]


def test_a_road_of_three_scenes_is_shown_by_the_first_that_saw_it():
    boxes = [shapely.box(200 * k, -100, 200 * k + 500, 100) for k in range(3)]
    rows = [line((200 * k, k), (200 * k + 500, k)) for k in range(3)]
    scenes = [
        scene(n, SITE, w, [(n, r, 0.5, "road")]) for n, w, r in zip("abc", boxes, rows, strict=True)
    ]
    for some in permutations(scenes):
        found = merged(some)
        assert found["id"].tolist() == ["a", "b/1", "c/1"]
        assert sightings(found) == [["a", "b", "c"], ["b", "c"], ["c"]]
        assert length(found) == pytest.approx(900, abs=3)


def test_lines_and_polygons_of_one_frame_go_their_own_ways():
    rows = [("p", cross(30)), ("l", line((-40, 100), (40, 100)))]
    scenes = [
        scene(name, SITE, window, [(f"{name}{i}", s) for i, s in rows])
        for name, window in (("a", WEST), ("b", EAST))
    ]
    assert together(*scenes) == [["al", "bl"], ["ap", "bp"]]


# Chains of scenes.


def chain_of(number: int, kind: str):
    """Scenes one beside the other, each of which overlaps the next."""
    for k in range(number):
        left = 400 * k
        window = shapely.box(left, -200, left + 500, 200)
        if kind == "road":
            rows = [("r", line((left, 0), (left + 500, 0)), 0.5, "road")]
        else:
            rows = [(f"{x}", affinity.translate(cross(30), x, 0)) for x in (left + 50, left + 450)]
        yield scene(f"s{k:04}", SITE, window, [(f"{k}-{name}", *rest) for name, *rest in rows])


@pytest.mark.parametrize("kind", ["aircraft", "road"])
def test_of_a_long_chain_few_scenes_are_in_memory(kind):
    number, peaks = 60, []
    scenes = list(chain_of(number, kind))
    for some in (scenes[:12], scenes):
        alive: list[weakref.ref] = []
        most = 0

        def read(one, alive=alive):
            nonlocal most
            found = one.read()
            # Many points, so that what is held shows.
            found["geometry"] = found.geometry.segmentize(1e-6)
            alive.append(weakref.ref(found))
            most = max(most, sum(ref() is not None for ref in alive))
            return found

        watched = [replace(one, read=partial(read, one)) for one in some]
        tracemalloc.start()
        frames = sum(len(frame) for frame in merged_by_scene(watched))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert frames == (len(some) if kind == "road" else len(some) + 1)
        assert len(alive) == 2 * len(some)
        assert most <= 3
    assert peaks[1] < 2 * peaks[0]


# Which scenes belong together.


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (NOON, NOON, True),
        (NOON, "2024-05-01T14:00:03+02:00", True),
        (NOON, "2024-05-01T12:00:03", True),
        (NOON, "2024-05-01T12:10:00Z", True),
        (NOON, "2024-05-01T12:10:01Z", False),
        (NOON, "2024-05-02T12:00:00Z", False),
        (None, None, True),
        (None, NOON, False),
        ("2024-05-01", NOON, False),
        ("2024-05-01", "2024-05-01", True),
        ("2024-05-01", "2024-05-02", False),
        ("2024-05", "2024-05", True),
        ("spring", "spring", True),
        ("spring", "autumn", False),
    ],
)
def test_times_of_one_acquisition(a, b, same):
    assert SAME_PASS == 10
    assert same_acquisition(a, b) is same
    assert same_acquisition(b, a) is same


TIMES = [None, "2024-05-01", *(f"2024-05-01T12:{minute:02}:00Z" for minute in (0, 8, 16, 40))]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 9),
            st.integers(0, 9),
            st.sampled_from(TIMES),
            st.booleans(),
            st.booleans(),
        ),
        max_size=24,
    ),
    st.randoms(use_true_random=False),
)
@settings(max_examples=80, deadline=None)
def test_groups_are_what_hangs_together(drawn, random):
    scenes = []
    for k, (x, y, time, split, known) in enumerate(drawn):
        shape = shapely.box(x, y, x + 1.5, y + 1)
        if split:  # the same ground, in two parts
            shape = shapely.union(
                shapely.box(x, y, x + 0.5, y + 1), shapely.box(x + 1, y, x + 1.5, y + 1)
            )
        scenes.append((f"{k:02}", time, shape if known else None))
    reached = np.eye(len(scenes), dtype=bool)
    for i, (_, one, mine) in enumerate(scenes):
        for j, (_, two, other) in enumerate(scenes):
            if mine is not None and other is not None and same_acquisition(one, two):
                reached[i, j] |= shapely.intersection(mine, other).area > 0
    for k in range(len(scenes)):
        reached |= reached[:, [k]] & reached[[k]]
    want = sorted({tuple(np.flatnonzero(row).tolist()) for row in reached})
    assert overlapping_groups(scenes) == [list(one) for one in want]
    mixed = random.sample(scenes, len(scenes))
    names = [[mixed[k][0] for k in group] for group in overlapping_groups(mixed)]
    assert names == [[scenes[k][0] for k in group] for group in want]


def test_scenes_across_the_antimeridian_hang_together():
    def ring(*lons):
        west, east = lons
        return shapely.Polygon([(west, 0), (east, 0), (east, 1), (west, 1)])

    scenes = [
        ("jumped", None, ring(179.5, -179.5)),
        ("west", None, ring(179, 179.6)),
        ("east", None, ring(-179.6, -179)),
        ("beyond", None, ring(180.8, 182)),
        ("touches", None, ring(178, 179)),
        ("elsewhere", None, ring(-1, 1)),
    ]
    assert overlapping_groups(scenes) == [[3, 2, 0, 1], [5], [4]]


@pytest.mark.parametrize("kind", ["strip", "stack", "dates"])
def test_ten_thousand_scenes_are_grouped_quickly(kind):
    def place(k):
        return (k % 100 * 0.1, k // 100 * 0.1) if kind == "strip" else (k % 97 * 1e-3, 0)

    def time(k):
        days, hours = divmod(k, 24)
        day = np.datetime64("2000-01-01") + days
        return f"{day}T{hours:02}:00:00Z" if kind == "dates" else None

    scenes = []
    for k in range(10_000):
        x, y = place(k)
        scenes.append(
            (f"{k:05}", time(k), shapely.segmentize(shapely.box(x, y, x + 0.12, y + 0.12), 0.02))
        )
    before = perf_counter()
    groups = overlapping_groups(scenes)
    assert perf_counter() - before < 10
    assert len(groups) == (10_000 if kind == "dates" else 1)
