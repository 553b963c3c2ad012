"""Accept, review, leave out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postprocess import triage
from postprocess.frame import candidates, column


def frame(scores):
    n = len(scores)
    return candidates(
        [[10 * k, 0, 10 * k + 9, 9] for k in range(n)],
        scores=scores,
        votes=[{"m": 1.0}] * n,
        tiles=[0] * n,
        cuts=[0] * n,
        labels=["thing"] * n,
    )


def run(scores, **params):
    return triage.run(frame(scores), None, triage.Params(**params))


def test_three_ways():
    found = run([0.9, 0.5, 0.1], accept_at=0.8, floor=0.2)
    assert found["decision"].tolist() == ["accept", "review", "review"]
    assert found["rejected"].isna().tolist() == [True, True, False]
    assert found["reason"].tolist()[0] is None
    assert found["reason"].tolist()[1] == found["review_reasons"].tolist()[1][0]


def test_without_a_floor_nothing_is_left_out():
    assert run([0.9, 0.01], accept_at=0.8)["rejected"].isna().all()


def test_what_was_rejected_before_keeps_its_reason():
    objects = frame([0.1, 0.9])
    objects["rejected"] = column(["before", None])
    found = triage.run(objects, None, triage.Params(accept_at=0.8, floor=0.5))
    assert found["rejected"].tolist() == ["before", None]


@given(st.lists(st.floats(0, 1), max_size=20), st.floats(0, 1), st.floats(0, 1))
def test_the_floor_keeps_what_reaches_it(scores, accept_at, floor):
    found = run(scores, accept_at=accept_at, floor=floor)
    confidence = found["confidence"].to_numpy(np.float64)
    assert (found["rejected"].isna().to_numpy() == (confidence >= floor)).all()


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_a_floor_is_a_confidence(value):
    with pytest.raises(ValueError, match="floor"):
        triage.Params(accept_at=0.5, floor=value)
