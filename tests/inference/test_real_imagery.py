"""Real labelled airfields, where they are at hand: what an eye sees is found and measured."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from lanner.core.job import Cancel, DetectRequest
from lanner.inference.pipeline import detect

DATA = Path(os.environ.get("LANNER_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
AIRFIELDS = sorted((DATA / "scenes" / "airfields").glob("*.tif"))
SIDE = 640

pytestmark = pytest.mark.skipif(
    not AIRFIELDS, reason="the labelled imagery is not here; LANNER_DATA names its folder"
)


@pytest.fixture(scope="module")
def pairs() -> list[tuple[dict, dict | None]]:
    """Each labelled aircraft with the accepted feature whose centre is nearest, if any is near."""
    out: list[tuple[dict, dict | None]] = []
    for path in AIRFIELDS:
        truth = json.loads(path.with_suffix(".geojson").read_text())["features"]
        result = detect(
            DetectRequest(str(path), "aircraft", device="cpu"), Cancel(), lambda _: None
        )
        found = [json.loads(text)["properties"] for text in result.features]
        sure = [f for f in found if f["confidence"] >= 0.5]
        for label in (one["properties"] for one in truth):
            reach = 0.25 * (label["box_px"][2] - label["box_px"][0])
            near = [f for f in sure if _apart(f["box_px"], label["box_px"]) < reach]
            near.sort(key=lambda f: _apart(f["box_px"], label["box_px"]))
            out.append((label, near[0] if near else None))
    return out


def _apart(one: list[float], two: list[float]) -> float:
    a, b = np.reshape(one, (2, 2)).mean(0), np.reshape(two, (2, 2)).mean(0)
    return float(np.hypot(*(a - b)))


def test_every_aircraft_is_found(pairs: list[tuple[dict, dict | None]]) -> None:
    assert len(pairs) >= 14
    assert all(found is not None for _, found in pairs)


def test_a_tanker_measures_what_it_is(pairs: list[tuple[dict, dict | None]]) -> None:
    """KC-135R: 41.5 m long, 39.9 m across; every whole view within 10 %."""
    whole = [
        found
        for label, found in pairs
        if found is not None and min(label["box_px"]) > 3 and max(label["box_px"]) < SIDE - 3
    ]
    assert len(whole) >= 12
    for found in whole:
        assert abs(found["length_m"] / 41.53 - 1) < 0.1
        assert abs(found["wingspan_m"] / 39.88 - 1) < 0.1


def test_a_tanker_is_among_the_five_likeliest_types(
    pairs: list[tuple[dict, dict | None]],
) -> None:
    guesses = [
        [one["icao"] for one in found["types"][:5]] for _, found in pairs if found is not None
    ]
    assert all("K35R" in five for five in guesses)
    assert np.mean([five[0] == "K35R" for five in guesses]) >= 0.6
