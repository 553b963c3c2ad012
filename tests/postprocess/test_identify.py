"""Types, families and triage: what measures of known aircraft lead to."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from lanner.core.errors import ConfigError
from postprocess import triage
from postprocess.aircraft import evidence, identify
from postprocess.aircraft.catalogue import read_catalogue
from postprocess.frame import candidates, column
from tests.fixtures_aircraft import (
    CATALOGUE,
    CONFIGS,
    WHERE,
    codes,
    identified,
    measures,
    objects,
    share,
)

# --- catalogue ----------------------------------------------------------------------------------


def test_the_catalogue_is_large_sorted_and_sound():
    assert len(CATALOGUE.types) >= 900
    listed = [facts.icao for facts in CATALOGUE.types]
    assert listed == sorted(set(listed))
    ratio = CATALOGUE.spans[:, 0] / CATALOGUE.length
    assert CATALOGUE.length.min() > 3.5 and CATALOGUE.length.max() < 90
    assert ratio.min() > 0.2 and ratio.max() < 4
    attribution = (CONFIGS / "types.yaml").read_text(encoding="utf-8")[:600]
    assert "mrciolino/AllPlanes" in attribution and "Apache-2.0" in attribution


@pytest.mark.parametrize(
    ("icao", "length", "span", "family"),
    [
        ("K35R", 41.53, 39.88, "tanker"),
        ("B738", 39.47, 34.31, "narrow_body"),
        ("B738", 39.47, 35.79, "narrow_body"),
        ("A320", 37.57, 35.80, "narrow_body"),
        ("A320", 37.57, 34.10, "narrow_body"),
        ("B77W", 73.86, 64.80, "wide_body"),
        ("A388", 72.72, 79.75, "wide_body"),
        ("C130", 29.79, 40.41, "military_transport"),
        ("F16", 15.03, 9.45, "fighter"),
        ("E3TF", 46.61, 44.42, "surveillance"),
        ("B52", 48.5, 56.4, "bomber"),
        ("C17", 53.0, 51.75, "military_transport"),
        ("C172", 8.28, 11.0, "light_single"),
        ("GLF5", 29.4, 28.5, "business_jet"),
        ("DH8D", 32.8, 28.4, "propeller_airliner"),
        ("IL76", 46.6, 50.5, "military_transport"),
        ("T160", 54.1, 35.6, "bomber"),
        ("L39", 12.13, 9.46, "jet_trainer"),
        ("E190", 36.24, 28.72, "regional_jet"),
        ("A124", 69.1, 73.3, "military_transport"),
        ("V22", 17.5, 15.5, "tiltrotor"),
        ("BE20", 13.34, 16.61, "light_twin"),
    ],
)
def test_known_aircraft_have_their_published_sizes(icao, length, span, family):
    facts = next(facts for facts in CATALOGUE.types if facts.icao == icao)
    assert facts.length == pytest.approx(length, rel=0.015)
    assert min(abs(s - span) for s in facts.spans) < 0.02 * span
    assert facts.family == family


def test_every_family_leads_to_the_root_and_every_type_has_one():
    for name in CATALOGUE.families:
        assert CATALOGUE.path(name)[0] == "aircraft"
    assert CATALOGUE.within["aircraft"].all()
    used = {facts.family for facts in CATALOGUE.types}
    parents = {family.parent for family in CATALOGUE.families.values()}
    assert used == set(CATALOGUE.families) - parents


@pytest.mark.parametrize(
    ("types", "taxonomy", "message"),
    [
        ("version: 1\ntypes: []", "version: 1\nfamilies: {aircraft: {name: a}}", "malformed"),
        ("version: 1\ntypes: [", "version: 1\nfamilies: {}", "malformed"),
        ("TYPE TYPE", "version: 1\nfamilies: {aircraft: {name: a}}", "'X1': is twice"),
        ("TYPE", "version: 1\nfamilies: {other: {name: a}}", "has no parent"),
        (
            "TYPE",
            "version: 1\nfamilies: {a: {name: a, parent: b}, b: {name: b, parent: a}}",
            "leads nowhere",
        ),
        ("TYPE", "version: 1\nfamilies: {aircraft: {name: a}}", "family 'jet': is not in"),
    ],
)
def test_a_bad_catalogue_is_refused_in_words(tmp_path, types, taxonomy, message):
    one = (
        "  - {icao: X1, name: x, family: jet, length: 9, spans: [9], wing: swept, engines: 1, "
        "engines_at: nose, built: 1, retired: false}\n"
    )
    if types.startswith("TYPE"):
        types = "version: 1\ntypes:\n" + one * len(types.split())
    (tmp_path / "types.yaml").write_text(types)
    (tmp_path / "taxonomy.yaml").write_text(taxonomy)
    with pytest.raises(ConfigError, match=message):
        read_catalogue(tmp_path / "types.yaml", tmp_path / "taxonomy.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_catalogue(tmp_path / "none.yaml", tmp_path / "taxonomy.yaml")


def test_a_catalogue_of_a_newer_version_is_refused_in_one_line(tmp_path):
    text = (CONFIGS / "types.yaml").read_text(encoding="utf-8")
    (tmp_path / "types.yaml").write_text(text.replace('"wing":', '"tail": 1, "wing":'))
    with pytest.raises(ConfigError) as refused:
        read_catalogue(tmp_path / "types.yaml", CONFIGS / "taxonomy.yaml")
    assert "types.0.tail" in str(refused.value) and len(str(refused.value)) < 300


# --- posterior ----------------------------------------------------------------------------------


def test_a_tanker_is_among_the_first_five():
    assert "K35R" in codes(identified((41.5, 39.9, 1.0, 1.0)))
    assert "K35R" in codes(identified((41.5, 39.9, 1.0, 1.0, 35.0, 6.0, 0.53)))
    for length in (40.5, 42.5):
        for span in (38.9, 40.9):
            assert "K35R" in codes(identified((length, span, 1.0, 1.0)))


def test_every_common_type_is_found_from_its_own_measures():
    common = [facts for facts in CATALOGUE.types if facts.built >= 300 and not facts.retired]
    assert len(common) > 250
    rows = [(f.length, f.spans[-1], 0.4, 0.4) for f in common]
    found = identified(*rows)
    hit = [facts.icao in codes(found, row, 10) for row, facts in enumerate(common)]
    assert np.mean(hit) > 0.85
    large = [ok for ok, facts in zip(hit, common, strict=True) if facts.length > 25]
    assert len(large) > 40 and np.mean(large) >= 0.97


def test_an_unsure_type_still_is_a_sure_family():
    found = identified(
        (39.5, 35.8, 0.8, 0.8, 28.0, 5.0, 0.53),
        (73.9, 64.8, 1.3, 1.2, 33.0, 5.0, 0.55),
        (29.8, 40.4, 0.8, 0.8, 3.0, 5.0, 0.44),
        (8.3, 11.0, 0.6, 0.6, 2.0, 8.0, 0.38),
        (17.3, 11.3, 0.8, 0.8, 42.0, 8.0, 0.69),
    )
    level = [row["name"] for row in found["taxonomy"]]
    assert level == [
        "narrow-body airliner",
        "wide-body airliner",
        "C-130 Hercules",
        level[3],
        level[4],
    ]
    assert "light aircraft" in found["taxonomy"].iloc[3]["path"]
    assert found["taxonomy"].iloc[4]["path"][:4] == [
        "aircraft",
        "fixed-wing aircraft",
        "military aircraft",
        "combat or training jet",
    ]
    assert all(row["probability"] >= 0.8 for row in found["taxonomy"])
    assert found["taxonomy"].iloc[2]["path"][-2:] == ["military transport", "C-130 Hercules"]


def test_shape_tells_apart_what_size_does_not():
    # As long and wide as an ATR 72: a straight wing ahead of the middle, or a swept one behind.
    straight = identified((27.2, 27.0, 0.8, 0.8, 2.0, 5.0, 0.44))["types"].iloc[0]
    swept = identified((27.2, 27.0, 0.8, 0.8, 33.0, 5.0, 0.59))["types"].iloc[0]
    assert straight[0]["icao"] == "AT72"
    chance = {entry["icao"]: entry["probability"] for entry in swept}
    assert chance.get("AT72", 0) < straight[0]["probability"] / 4


def test_pods_tell_apart_engines():
    # A 767-300 and an A340-200 hull alike would do; so would a 757 and a 707.
    plain = identified((46.6, 43.9, 1.0, 1.0))["types"].iloc[0]
    four = identified((46.6, 43.9, 1.0, 1.0, np.nan, np.nan, np.nan, 2))["types"].iloc[0]
    engines = {facts.icao: (facts.engines, facts.engines_at) for facts in CATALOGUE.types}

    def share(types):
        return sum(t["probability"] for t in types if engines[t["icao"]] == (4, "wings"))

    assert share(four) > share(plain) + 0.05
    none = identified((45.0, 32.9, 1.0, 1.0, np.nan, np.nan, np.nan, 0))
    assert codes(none)[0] == "MD80"


def test_a_filled_plan_is_a_fighter_and_a_slender_one_is_not():
    # As long and wide as a Learjet 60 and nearly a MiG-29: half as much again is filled.
    unseen = (np.nan,) * 4
    slender, filled = identified(
        (17.5, 12.6, 0.8, 0.8, *unseen, 0.22, 0.03), (17.5, 12.6, 0.8, 0.8, *unseen, 0.36, 0.03)
    )["types"]
    assert share(filled, "fighter") > 2 * share(slender, "fighter")
    assert share(slender, "business_jet") > 2 * share(filled, "business_jet")


def explained(rows):
    """Log likelihood of sizes and wings by every type."""
    seen = measures(rows)
    return evidence.size_and_shape(CATALOGUE, seen, evidence.wing_shapes(CATALOGUE, seen))


def test_a_swing_wing_looks_as_its_span_says():
    at = [facts.icao for facts in CATALOGUE.types].index("T22M")
    back, out = (42.5, 23.3, 1.0, 1.0), (42.5, 34.3, 1.0, 1.0)
    folded, spread = (65.0, 6.0, 0.72, 0.34, 0.03), (20.0, 6.0, 0.64, 0.22, 0.03)
    rows = np.array([(*back, *folded), (*back, *spread), (*out, *spread), (*out, *folded)])
    log = explained(rows)[:, at]
    assert log[0] > log[1] + 2 and log[2] > log[3] + 2
    assert codes(identified((*back, 65.0, 6.0, 0.72, np.nan, 0.34, 0.03)))[0] == "T22M"


def test_one_bad_measure_rules_no_type_out():
    # A shadow at the wing tip: eight times the error that the outline admits to.
    good, bad = (73.86, 64.8, 1.0, 1.0, 33.0, 5.0, 0.53), (73.86, 72.8, 1.0, 1.0, 33.0, 5.0, 0.53)
    assert codes(identified(good))[0] == "B77W"
    assert "B77W" in codes(identified(bad), top=10)


def test_a_probe_is_not_seen():
    at = [facts.icao for facts in CATALOGUE.types].index("MG29")
    probed, whole = 17.2 * evidence.PROBE[0], 17.2
    rows = np.array([(length, 11.5, 0.2, 0.2, *[np.nan] * 5) for length in (probed, whole)])
    log = explained(rows)
    assert log[0, at] > log[1, at]
    assert log[1, at] > log[0, at] - 1.5


def test_less_is_known_from_a_box():
    sharp, wide = identified((39.5, 35.8, 0.8, 0.8), (39.5, 35.8, 6.0, 6.0))["types"]
    assert wide[0]["probability"] < sharp[0]["probability"] / 2
    found = identified((39.5, 35.8, 6.0, 6.0))["taxonomy"].iloc[0]
    assert len(found["path"]) <= 3


def test_winglets_and_folded_wings_are_spans_of_one_type():
    for span in (34.3, 35.8):
        assert codes(identified((39.5, span, 0.5, 0.5)))[0] == "B738"
    assert codes(identified((54.1, 35.6, 1.0, 1.0)))[0] == "T160"
    assert codes(identified((54.1, 55.7, 1.0, 1.0, 20.0, 6.0, 0.57)))[0] == "T160"


@settings(max_examples=60, deadline=None)
@given(
    st.floats(3, 95),
    st.floats(3, 95),
    st.floats(0.2, 12),
    st.floats(0.2, 12),
    st.one_of(st.just(np.nan), st.floats(-30, 80)),
    st.integers(1, 30),
)
def test_probabilities_are_probabilities(length, span, length_sd, span_sd, sweep, top):
    place = np.nan if np.isnan(sweep) else 0.5
    found = identified((length, span, length_sd, span_sd, sweep, 6.0, place), top=top)
    chances = [entry["probability"] for entry in found["types"].iloc[0]]
    assert 1 <= len(chances) <= top
    assert chances == sorted(chances, reverse=True)
    assert all(0 <= p <= 1 for p in chances) and sum(chances) <= 1 + 1e-3 * len(chances)
    level = found["taxonomy"].iloc[0]
    assert 0.8 <= level["probability"] <= 1
    assert level["path"][0] == "aircraft" and level["path"][-1] == level["name"]
    # Never surer of a part than of the whole.
    weights = evidence.prior(CATALOGUE, 0.35, 0.2)
    assert np.isclose(np.exp(weights).sum(), 1)


def test_chunks_and_order_do_not_matter(monkeypatch):
    rng = np.random.default_rng(0)
    rows = [
        (f.length, f.spans[0], 0.8, 0.8, 20.0, 8.0, 0.5)
        for f in rng.choice(np.array(CATALOGUE.types, object), 40)
    ]
    whole = identified(*rows)
    monkeypatch.setattr(identify, "CHUNK", 7)
    parts = identified(*rows[::-1])
    assert whole["types"].tolist() == parts["types"].tolist()[::-1]
    assert whole["taxonomy"].tolist() == parts["taxonomy"].tolist()[::-1]


def test_rare_and_retired_types_need_more_evidence():
    level = evidence.prior(CATALOGUE, 0.35, 0.2)
    at = {facts.icao: i for i, facts in enumerate(CATALOGUE.types)}
    assert level[at["B738"]] > level[at["A388"]] > level[at["CONC"]]
    flat = evidence.prior(CATALOGUE, 0.0, 1.0)
    assert np.ptp(flat) == 0


# --- triage -------------------------------------------------------------------------------------


def triaged(scores, **more):
    n = len(scores)
    frame = candidates(
        [[0, 0, 9, 9]] * n,
        scores=scores,
        votes=[{"a": 0.5, "b": 0.6}] * n,
        tiles=[0] * n,
        cuts=[0] * n,
        labels=["x"] * n,
    )
    for name, values in more.items():
        frame[name] = values
    return frame


def test_triage_by_confidence():
    found = triage.run(triaged([0.79996, 0.79994, 0.95, 0.1]), WHERE, triage.Params(accept_at=0.8))
    assert found["decision"].tolist() == ["accept", "review", "accept", "review"]
    assert found["confidence"].tolist() == [0.8, 0.7999, 0.95, 0.1]
    assert found["review_reasons"].tolist() == [
        [],
        ["confidence below 0.8"],
        [],
        ["confidence below 0.8"],
    ]


def test_triage_has_reasons_besides():
    frame = triaged(
        [0.9] * 6,
        outline_source=column(["mask", "box", *["mask"] * 4]),
        length_m=[40.0] * 6,
        length_sd_m=[1.0, 1, 9, 1, 1, 1],
        wingspan_m=[40.0] * 6,
        wingspan_sd_m=[1.0] * 6,
    )
    frame.loc[3, "cut"] = 4
    frame["votes"] = column([*[{"a": 1.0, "b": 1.0}] * 4, {"a": 1.0}, {"a": 1.0, "b": 0.2}])
    found = triage.run(frame, WHERE, triage.Params(accept_at=0.8, least_votes=2))
    assert found["review_reasons"].tolist() == [
        [],
        ["no outline"],
        ["length is uncertain"],
        ["its end was not seen"],
        ["seen by fewer than 2 members"],
        [],
    ]
    relaxed = triage.Params(
        accept_at=0.8,
        review_box_only=False,
        review_cut=False,
        largest_relative_sd=1.0,
        least_votes=0,
    )
    assert (triage.run(frame, WHERE, relaxed)["decision"] == "accept").all()


def test_triage_serves_lines_and_nothing_and_missing_scores():
    road = triaged([0.9])
    road["geometry"] = gpd.GeoSeries([shapely.LineString([(0, 0), (5, 5)])])
    assert triage.run(road, WHERE, triage.Params(accept_at=0.5))["decision"].tolist() == ["accept"]
    lost = triage.run(triaged([np.nan]), WHERE, triage.Params(accept_at=0.0))
    assert lost["decision"].tolist() == ["review"]
    assert len(triage.run(triaged([]), WHERE, triage.Params(accept_at=0.5))) == 0


def test_a_type_that_is_sure_is_told_beside_its_family_each_with_its_own_probability():
    frame = objects((46.36, 72.75, 0.2, 0.3, 3.0, 1.0))  # long wings for its length
    found = identify.run(frame, WHERE, identify.Params(temperature=0.05)).iloc[0]
    level, best = found["taxonomy"], found["types"][0]
    assert level["name"] == best["name"] == found["type_name"]
    assert level["probability"] == best["probability"] == found["type_probability"]
    assert found["family"] == level["path"][-2] != found["type_name"]
    assert found["family_probability"] >= found["type_probability"]
