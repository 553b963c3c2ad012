"""Noses and tails that an outline lacks and its box has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postprocess.aircraft.missed import FINE_PX, SLACK, SLACK_PX, missed

LENGTH, SPAN = 80.0, 70.0


def cross(heading, cut=0.0):
    """Ends (4, 1, 2), ways (4, 1, 2) and bounds (1, 4) of a cross whose nose is `cut` short."""
    turn = np.radians(heading)
    ahead = np.array([np.cos(turn), np.sin(turn)])
    aside = np.array([-ahead[1], ahead[0]])
    ways = np.stack([ahead, -ahead, -aside, aside])
    far = np.array([LENGTH / 2 - cut, LENGTH / 2, SPAN / 2, SPAN / 2])
    ends = ways * far[:, None]
    return ends[:, None], ways[:, None], np.concatenate([ends.min(0), ends.max(0)])[None]


def lacking(heading, cut, pixel=0.25):
    ends, ways, drawn = cross(heading, cut)
    whole = cross(heading)[2] * pixel
    return missed(ends, ways, drawn, whole, np.array([pixel]))[:, 0]


@pytest.mark.parametrize("heading", [0, 20, 90, 160, 180, 270, 345])
def test_a_lost_nose_is_found_at_the_side_that_it_should_reach(heading):
    found = lacking(heading, 20.0)
    # What a box errs by may be missing for another reason.
    slack = max(SLACK * (LENGTH + SPAN), SLACK_PX / 0.25) / np.cos(np.radians(30))
    assert 20.0 - slack <= found[0] <= 20.0 + 1e-9
    assert found[0] > 5.0
    assert not found[1:].any()


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 360), st.floats(0.05, FINE_PX))
def test_a_whole_outline_lacks_nothing(heading, pixel):
    assert not lacking(heading, 0.0, pixel).any()


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 360), st.floats(0, 60), st.floats(0.05, 1.0))
def test_never_more_is_missing_than_was_cut(heading, cut, pixel):
    found = lacking(heading, cut, pixel)
    assert (found >= 0).all()
    assert found[0] <= cut + 1e-6


def test_outlines_of_coarse_pixels_are_not_faulted():
    assert lacking(0, 30.0, FINE_PX)[0] > 0
    assert not lacking(0, 30.0, FINE_PX * 1.01).any()
