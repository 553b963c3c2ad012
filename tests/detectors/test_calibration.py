"""Calibration curves: what they keep, what they refuse, and that a fit makes scores true."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.calibration import (
    Calibration,
    Identity,
    Isotonic,
    Temperature,
    _groups,
    fit_isotonic,
    fit_platt,
    load_calibration,
)
from lanner.core.errors import WeightsError


def test_a_fit_makes_scores_mean_what_they_say():
    rng = np.random.default_rng(4)
    scores = rng.uniform(0, 1, 6000)
    truth = scores**3  # what the scores are really worth
    hits = rng.random(6000) < truth
    curve = fit_isotonic(scores, hits)
    fresh = np.linspace(0.05, 0.95, 50)
    assert np.abs(curve.apply(fresh) - fresh**3).mean() < 0.03
    assert np.abs(fresh - fresh**3).mean() > 0.2  # the test would notice a curve that does nothing


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(40, 400), st.integers(1, 20))
def test_a_fit_never_turns_the_order_around(seed, count, levels):
    rng = np.random.default_rng(seed)
    scores = np.round(rng.random(count) * levels) / levels  # many ties
    hits = rng.random(count) < 0.5
    curve = fit_isotonic(scores, hits)
    out = curve.apply(np.linspace(0, 1, 101))
    assert (np.diff(out) >= 0).all()
    assert out.min() >= 0
    assert out.max() <= 1


def test_ties_do_not_depend_on_their_order():
    scores = np.repeat([0.2, 0.5, 0.5, 0.9], 25)
    hits = np.tile([True, False, False, True, False], 20)
    turned = np.argsort(np.random.default_rng(1).random(100))
    assert fit_isotonic(scores, hits) == fit_isotonic(scores[turned], hits[turned])


def test_no_probability_rests_on_fewer_than_the_least_where_scores_tie():
    # The twenty-first to thirty-ninth of a group tie with the last of the group below.
    scores = np.concatenate([np.linspace(0.1, 0.3, 19), np.full(20, 0.5), [0.9]])
    hits = np.zeros(40, bool)
    hits[-1] = True  # the best is right: one of one is no probability of 1
    curve = fit_isotonic(scores, hits)
    assert curve.apply(np.array([0.9]))[0] <= 1 / 20 + 1e-6


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=40, max_size=150), st.integers(1, 20))
def test_no_group_is_smaller_than_the_least_and_none_splits_a_tie(values, least):
    rising = np.sort(np.asarray(values, float))
    groups = _groups(rising, least)
    assert np.bincount(groups).min() >= least
    assert np.diff(groups).min() >= 0
    assert not np.diff(groups)[np.diff(rising) == 0].any()


def test_a_fit_needs_enough():
    with pytest.raises(ValueError, match="at least 40"):
        fit_isotonic(np.zeros(39), np.zeros(39))


def test_temperature_one_is_identity_and_more_is_milder():
    scores = np.array([0.1, 0.5, 0.9])
    np.testing.assert_allclose(Temperature(temperature=1).apply(scores), scores, atol=1e-9)
    np.testing.assert_allclose(Temperature(temperature=2).apply(scores), [0.25, 0.5, 0.75])
    assert Identity().apply(scores) is scores


def test_a_part_of_the_ensemble_may_have_its_own_curve(tmp_path):
    path = tmp_path / "calibration.json"
    path.write_text(
        json.dumps(
            {
                "curve": {"kind": "isotonic", "knots": [[0, 0], [1, 0.5]]},
                "subsets": {"a+b": {"kind": "temperature", "temperature": 2}},
            }
        )
    )
    found = load_calibration(path)
    assert isinstance(found.of(("b", "a")), Temperature)
    assert found.of(("a",)).apply(np.array([0.5])).tolist() == [0.25]
    assert isinstance(Calibration().of(("a",)), Identity)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"curve": {"kind": "magic"}}',
        '{"curves": {}}',
        '{"curve": {"kind": "isotonic", "knots": [[0, 0.5], [1, 0.4]]}}',
        '{"curve": {"kind": "isotonic", "knots": [[0.5, 0], [0.5, 1]]}}',
        '{"curve": {"kind": "isotonic", "knots": [[0, 0], [1, 1.5]]}}',
        '{"curve": {"kind": "temperature", "temperature": 0}}',
    ],
)
def test_what_is_no_calibration_is_refused(tmp_path, text):
    path = tmp_path / "calibration.json"
    path.write_text(text)
    with pytest.raises(WeightsError, match=r"calibration\.json"):
        load_calibration(path)
    with pytest.raises(WeightsError):
        load_calibration(tmp_path / "missing.json")
    with pytest.raises(ValueError, match="rise"):
        Isotonic(knots=((0.0, 0.0), (0.0, 1.0)))


def test_platt_recovers_what_the_scores_are_worth():
    rng = np.random.default_rng(5)
    scores = rng.uniform(0.02, 0.98, 8000)
    worth = 1 / (1 + np.exp(-(2.5 * np.log(scores / (1 - scores)) - 1)))
    curve = fit_platt(scores, rng.random(8000) < worth)
    assert curve.slope == pytest.approx(2.5, rel=0.1)
    assert curve.intercept == pytest.approx(-1, abs=0.15)
    rising = curve.apply(np.linspace(0.01, 0.99, 200))
    assert (np.diff(rising) > 0).all()


def test_platt_takes_a_weight_for_so_many_candidates():
    rng = np.random.default_rng(6)
    scores, hits = rng.uniform(0.02, 0.98, 300), rng.random(300) < 0.6
    times = rng.integers(1, 5, 300)
    assert fit_platt(scores, hits, np.ones(300)) == fit_platt(scores, hits)
    one, many = fit_platt(scores, hits, times), fit_platt(scores.repeat(times), hits.repeat(times))
    assert one.slope == pytest.approx(many.slope, abs=1e-3)
    assert one.intercept == pytest.approx(many.intercept, abs=1e-3)


def test_platt_refuses_what_teaches_nothing():
    with pytest.raises(ValueError, match="hits and misses"):
        fit_platt(np.full(9, 0.5), np.ones(9, bool))
