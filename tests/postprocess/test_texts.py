"""Texts that are held compressed: a sequence like any other."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postprocess.texts import PART, Texts

LINES = st.text(st.characters(exclude_characters="\n", exclude_categories=("Cs",)))


@settings(max_examples=60, deadline=None)
@given(st.lists(LINES, max_size=30), st.slices(30), st.integers(1, 50))
def test_it_is_the_sequence_it_was_made_of(some: list[str], which: slice, times: int) -> None:
    wanted = (some * times)[: 3 * PART]
    held = Texts.of(iter(wanted))
    assert list(held) == wanted and len(held) == len(wanted)
    assert held[which] == tuple(wanted[which])
    assert held == Texts.of(wanted) and hash(held) == hash(Texts.of(wanted))


@pytest.mark.parametrize("place", [0, 1, PART - 1, PART, 2 * PART, -1, -PART - 1])
def test_single_ones_are_found_from_either_end(place: int) -> None:
    wanted = [f"number {i}" for i in range(2 * PART + 1)]
    held = Texts.of(wanted)
    assert held[place] == wanted[place]
    assert wanted[place] in held and "none such" not in held
    with pytest.raises(IndexError):
        held[len(wanted)]


def test_what_repeats_itself_is_small() -> None:
    line = '{"type":"Feature","properties":{"scene_id":"made","detector":"roads"},"id":'
    held = Texts.of(f"{line}{i}}}" for i in range(20_000))
    assert sum(map(len, held.parts)) < 20_000 * len(line) / 10
