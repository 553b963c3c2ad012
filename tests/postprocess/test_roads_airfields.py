"""Taxiways and runways are no roads; freeways are."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import shapely

from postprocess.frame import column, empty
from postprocess.roads import airfields
from postprocess.roads.network import in_order, network, road_frame, to_frame

SIZE = 2000
WHERE = SimpleNamespace(grid=SimpleNamespace(width=SIZE, height=SIZE, gsd=1.0))
TAXIWAY = [((400, 500), (900, 500), 22, 0.95), ((900, 500), (1500, 500), 22, 0.95)]
APRON = [((900, 500), (900, 700), 7, 0.6), ((900, 700), (1300, 700), 7, 0.6)]
PAINT = [((950, 620), (1250, 620), 5, 0.9)]
TOWN = [((100, 1500), (1900, 1500), 7, 0.97), ((700, 1500), (700, 1990), 7, 0.97)]


def order(*rows) -> np.ndarray:
    """The place of each of the frame's rows among those given: a frame sorts its lines."""
    lines = np.array([shapely.LineString(row[:2]) for row in rows], object)
    return in_order(network(lines)).row


def frame(*rows):
    """Rows of first and last point in pixels, width in metres, score."""
    lines = np.array([shapely.LineString(row[:2]) for row in rows], object)
    made = to_frame(road_frame(lines), network(lines))
    widths, scores = (np.array([row[k] for row in rows], float) for k in (2, 3))
    made["length_m"] = shapely.length(np.asarray(made.geometry.values, object))
    made["width_m"] = widths[order(*rows)]
    made["score"] = scores[order(*rows)]
    return made


def out(*rows, **params) -> list[int]:
    found = airfields.run(frame(*rows), WHERE, airfields.Params(**params))
    assert len(found) == len(rows), "a step marks, the chain takes out"
    gone = found["rejected"].notna().to_numpy()
    return sorted(order(*rows)[gone].tolist())


def test_an_airfield_goes_and_the_town_stays():
    rows = [*TAXIWAY, *APRON, *PAINT, *TOWN]
    assert out(*rows) == [0, 1, 2, 3, 4]


def test_a_freeway_through_the_scene_stays():
    assert out(((0, 500), (1000, 500), 22, 0.95), ((1000, 500), (SIZE, 500), 22, 0.95)) == []


def test_a_freeway_that_roads_lead_to_stays():
    """Although it is not seen to its end."""
    ramps = [((900, 500), (900, 900), 7, 0.95), ((900, 900), (1500, 900), 7, 0.95)]
    assert out(*TAXIWAY, *ramps) == []


def test_what_is_hardly_seen_is_left_to_review():
    unsure = [(*row[:3], 0.6) for row in TAXIWAY]
    assert out(*unsure, *APRON) == []


def test_a_short_wide_piece_is_a_yard():
    assert out(((400, 500), (600, 500), 22, 0.95)) == []


def test_what_is_near_belongs_to_it_and_what_leaves_does_not():
    through = ((900, 100), (900, 1900), 7, 0.9)
    assert out(*TAXIWAY, through) == [0, 1], "it crosses and does not lie within"
    assert out(*TAXIWAY, ((600, 560), (800, 560), 5, 0.9)) == [0, 1, 2]
    assert out(*TAXIWAY, ((600, 560), (800, 560), 5, 0.9), around_m=10) == [0, 1]


def test_nothing_is_nothing():
    found = airfields.run(empty(), WHERE, airfields.Params())
    assert len(found) == 0


def test_why_is_told_and_what_was_rejected_stays_so():
    made = frame(*TAXIWAY, *TOWN)
    made["rejected"] = column([None, "before", None, None])
    found = airfields.run(made, WHERE, airfields.Params())
    assert found["rejected"].tolist()[1] == "before"
    assert found["rejected"].tolist()[0] == found["note"].tolist()[0] == airfields.PART
    assert found["note"].tolist()[2:] == [airfields.NOTHING] * 2


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_turned_scenes_say_the_same(turn):
    angle = np.radians(turn)
    way = np.round([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    half = SIZE / 2

    def turned(row):
        points = [tuple(way @ (np.array(p) - half) + half) for p in row[:2]]
        return (*points, *row[2:])

    assert out(*(turned(row) for row in [*TAXIWAY, *APRON, *PAINT, *TOWN])) == [0, 1, 2, 3, 4]
