"""Handing samples from one split to another."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanner.core.errors import ConfigError
from lanner.factory.ops.reassign_split import Params, run
from lanner.factory.samples import Sample


def work():
    notes = []
    return SimpleNamespace(
        require_sources=lambda *_: None, note=lambda *one: notes.append(one)
    ), notes


def sample(number, source="a", split="valid"):
    return Sample(f"{source}/{split}/{number:03d}", source, split, Path("x.png"), 8, 8)


@given(st.integers(1, 40), st.integers(2, 9), st.sampled_from(["every", "others"]))
def test_shares_and_order(count, every, move):
    before = tuple(sample(k) for k in reversed(range(count)))
    before = (*before, sample(0, "b"))
    place, notes = work()
    params = Params(source="a", split="valid", to="train", every=every, move=move)
    after = run(before, place, params)
    assert [one.id for one in after] == [one.id for one in before]
    chosen = {f"a/valid/{k:03d}" for k in range(0, count, every)}
    trained = {one.id for one in after if one.split == "train"}
    everyone = {one.id for one in before if one.source == "a"}
    assert trained == (chosen if move == "every" else everyone - chosen)
    assert after[-1].split == "valid"
    assert {one[0] for one in notes} == trained


def test_a_split_without_samples_is_an_error():
    with pytest.raises(ConfigError, match="no sample"):
        run((sample(1),), work()[0], Params(source="a", split="test", to="train"))
