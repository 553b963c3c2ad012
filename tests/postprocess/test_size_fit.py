"""How well sizes of aircraft fit at other ground samplings."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postprocess.aircraft import identify
from tests.fixtures_aircraft import WHERE, objects

FACTORS = np.geomspace(0.25, 4, 65)
METRES = ["length_m", "wingspan_m", "length_sd_m", "wingspan_sd_m", "fuselage_m", "fuselage_sd_m"]
# length and span with their errors, sweep with its error, wing's place: airliners of two sizes
NARROW = (37.6, 35.8, 0.5, 0.5, 27.0, 4.0, 0.47)
WIDE = (63.7, 60.9, 0.8, 0.8, 33.0, 4.0, 0.5)


def fit(*rows, factors=FACTORS, params=None):
    return identify.size_likelihood(
        objects(*rows), WHERE, params or identify.Params(), np.asarray(factors)
    )


def test_both_kinds_of_airliners_together_leave_one_sampling():
    together = fit(NARROW, WIDE).sum(axis=0)
    assert FACTORS[together.argmax()] == pytest.approx(1, abs=0.1)
    # A wide body alone would be a narrow one at 0.6 of the sampling about as well.
    alone = fit(WIDE)[0]
    ratio = np.abs(FACTORS - 0.6).argmin()
    assert alone.max() - alone[ratio] < together.max() - together[ratio]


@given(st.floats(0.3, 3))
@settings(max_examples=20, deadline=None)
def test_what_is_measured_in_larger_metres_fits_at_smaller_factors(scale):
    frame = objects(NARROW, WIDE)
    larger = frame.copy()
    for name in METRES:
        larger[name] = frame[name] * scale
    params = identify.Params()
    one = identify.size_likelihood(frame, WHERE, params, FACTORS * scale)
    two = identify.size_likelihood(larger, WHERE, params, FACTORS)
    # The same pixels: but for a constant of the object, the same likelihood.
    apart = one - two
    np.testing.assert_allclose(apart, apart[:, :1].repeat(len(FACTORS), 1), atol=1e-6)


def test_no_aircraft_is_that_large_or_small():
    log = fit(NARROW, factors=[0.02, 1, 20])[0]
    assert log[1] > log[0] + 3 and log[1] > log[2] + 3
