"""How wide a fuselage is, what stands out behind its wing, and what that says of the type."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from tests.fixtures_aircraft import (
    CATALOGUE,
    KINDS,
    codes,
    context,
    contour,
    flight,
    identified,
    measured,
    share,
    silhouette,
    turned,
)

UNSEEN = (np.nan,) * 6


@pytest.mark.parametrize("gsd", [0.3, 0.5, 0.75])
@pytest.mark.parametrize("kind", ["airliner", "transport", "business"])
def test_the_fuselage_is_as_wide_as_it_is(kind, gsd):
    length, _, body = KINDS[kind][:3]
    found, _ = flight(kind, gsd, contour)
    misses = (found["fuselage_m"] - body * length) / found["fuselage_sd_m"]
    assert misses.notna().all()
    assert abs(found["fuselage_m"].median() / (body * length) - 1) < max(0.06, 0.25 * gsd)
    assert (misses.abs() <= 1).mean() >= 0.68
    assert found["fuselage_sd_m"].median() < max(0.15 * body * length, 1.5 * gsd)


@pytest.mark.parametrize("gsd", [0.3, 0.6])
def test_a_rotodome_stands_out_behind_the_wing(gsd):
    plain = silhouette("airliner")
    disc = shapely.union(plain, shapely.Point(-9.5, 0).buffer(4.5))  # on the fuselage, in metres
    rng = np.random.default_rng(3)
    views = [
        [contour(turned(shape, gsd, h, 200 + rng.uniform(0, 1, 2))) for h in range(0, 360, 9)]
        for shape in (plain, disc)
    ]
    without, with_disc = (measured(shapes, context(gsd))["aft_width"] for shapes in views)
    assert (without < 1.4).mean() > 0.9
    assert (with_disc > 1.6).mean() > 0.9


def test_what_is_too_small_has_no_fuselage():
    found, _ = flight("light", 0.5, contour)
    assert found[["fuselage_m", "fuselage_sd_m", "aft_width"]].isna().all(axis=None)


def test_a_slender_fuselage_is_a_bombers():
    # As long and wide as a 787-8 and a Tu-160: 5.8 metres wide, or half of that.
    size = (54.8, 57.5, 1.5, 1.5, *UNSEEN)
    stout, slender = identified((*size, 5.7, 0.4), (*size, 2.8, 0.4))["types"]
    assert slender[0]["icao"] == "T160"
    assert "T160" not in [one["icao"] for one in stout[:5]]
    assert share(slender, "bomber") > 0.6 and share(stout, "wide_body") > 0.5
    # A width that is known too badly says nothing.
    rough, plain = identified((*size, 2.8, 9.0), size)["types"]
    assert share(rough, "bomber") == pytest.approx(share(plain, "bomber"), abs=0.05)


def test_a_rotodome_makes_a_surveillance_aircraft_of_a_transport():
    size = (46.6, 50.4, 1.0, 1.0, *UNSEEN, 4.8, 0.4)
    assert codes(identified((*size, 2.0)))[0] == "A50"
    assert codes(identified((*size, 1.1)))[0] == "IL76"
    first = identified((46.6, 44.4, 1.0, 1.0, *UNSEEN, 3.8, 0.4, 2.4))["types"].iloc[0]
    assert first[0]["icao"] == "E3TF"
    # On a fighter what is wide there is its engines.
    jets = [(21.9, 14.7, 0.7, 0.7, *UNSEEN, 1.7, 0.2, aft) for aft in (np.nan, 2.0)]
    assert codes(identified(*jets)) == codes(identified(*jets), row=1)


def test_known_widths_are_those_of_the_aircraft():
    width = {facts.icao: facts.fuselage for facts in CATALOGUE.types}
    assert (width["A320"], width["B738"], width["B77W"], width["K35R"]) == (3.95, 3.76, 6.2, 3.66)
    types = [facts for facts in CATALOGUE.types if facts.fuselage is not None]
    assert len(types) > 100
    assert all(0.04 < facts.fuselage / facts.length < 0.15 for facts in types)
    assert all(facts.family in ("surveillance",) for facts in CATALOGUE.types if facts.rotodome)
