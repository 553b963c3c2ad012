"""Packed columns give back what was put in, however a frame is cut and joined."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from postprocess import provenance
from postprocess.frame import candidates, column, joined, packed
from postprocess.provenance import ProvenanceArray
from postprocess.snapshots import read_snapshot, write_snapshot

A, B, C = ({"step": "a", "did": "kept"}, {"step": "b", "did": "ü 1"}, {"step": "b", "did": "ü 2"})
ROWS = [[A, B], None, [A], [A, C], [A, B]]


def test_values_are_those_put_in() -> None:
    held = ProvenanceArray.of(ROWS)
    assert list(held) == [held[i] for i in range(5)] == ROWS
    assert held[-1] == [A, B]
    assert held.texts() == [None if row is None else json.dumps(row) for row in ROWS]
    assert len(held.words) == 3
    assert held.isna().tolist() == [False, True, False, False, False]
    assert (list(ProvenanceArray.of([])), ProvenanceArray.of([]).texts()) == ([], [])


def test_a_step_is_added_and_new_objects_begin_with_the_notes() -> None:
    held = ProvenanceArray.of(ROWS).longer("c", ["x", None, "y", "x", "z"], [A, A])
    entries = [{"step": "c", "did": note} for note in ("x", "kept", "y", "x", "z")]
    assert list(held) == [
        [*([A, A] if row is None else row), last] for row, last in zip(ROWS, entries, strict=True)
    ]
    assert list(ProvenanceArray.of([None]).longer("c", ["x"], [])) == [[{"step": "c", "did": "x"}]]
    assert list(ProvenanceArray.of([]).longer("c", [], [A])) == []


def test_a_frame_may_be_cut_and_joined() -> None:
    frame = pd.DataFrame({"steps": pd.Series(ProvenanceArray.of(ROWS)), "n": range(5)})
    some = frame[frame["n"] > 1].reset_index(drop=True)
    assert list(some["steps"]) == ROWS[2:]
    assert list(frame.iloc[[3, 0, 3]]["steps"]) == [ROWS[3], ROWS[0], ROWS[3]]
    more = pd.DataFrame({"steps": pd.Series(ProvenanceArray.of([[C], [A, B, C]])), "n": [7, 8]})
    both = pd.concat([some, more], ignore_index=True)["steps"]
    assert isinstance(both.array, ProvenanceArray)
    assert list(both) == [*ROWS[2:], [C], [A, B, C]]
    assert both.tolist() == list(both.astype(object)) == list(both.copy())
    mixed = pd.concat([frame["steps"], pd.Series([[A], [B]])], ignore_index=True)
    assert list(mixed) == [*ROWS, [A], [B]]
    assert list(frame["steps"].reindex([0, 9])) == [ROWS[0], None]


@pytest.mark.parametrize("few", [0, 3])
def test_many_that_differ_are_held_part_by_part(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "FEW", few)
    monkeypatch.setattr(provenance, "PART", 2)
    rows = [[A, {"step": "b", "did": str(i)}] for i in range(9)]
    held = ProvenanceArray.of(rows)
    assert list(held) == [held[i] for i in range(9)] == rows
    rng = np.random.default_rng(1)
    order = rng.permutation(9)
    assert [held[int(i)] for i in order] == [rows[i] for i in order]


@pytest.mark.parametrize(
    ("values", "held"),
    [
        ([{"a": 0.1, "b": 2.0}, {"a": 1 / 3, "b": -0.0}], True),
        ([[1.5, 2.0, 3.0], [0.1]], True),
        ([{"a": 0.1, "b": 2.0}, {"b": 2.0, "a": 0.1}], False),  # in another order: another text
        ([{"a": 1.0}, None], False),
        ([[1.0], [1]], False),
        ([{"a": "x"}, {"a": "y"}], False),
        ([{}, {}], False),
        ([[], []], False),
        (["a", "b"], False),
        ([], False),
    ],
)
def test_values_that_are_alike_are_held_as_numbers(values: list[Any], held: bool) -> None:
    found = packed(values)
    assert (found.dtype != object) == held
    assert list(found) == found.tolist() == [found[i] for i in range(len(values))] == values
    assert json.dumps(list(found)) == json.dumps(values)
    assert joined([found, packed([None, {"c": 1.0}])]).tolist() == [*values, None, {"c": 1.0}]
    assert joined([found, found]).dtype == found.dtype


def test_a_snapshot_says_the_same_however_its_values_are_held(tmp_path: Path) -> None:
    votes = [{"a": i / 7, "b": 0.5} for i in range(5)]
    boxes = np.arange(20.0).reshape(5, 4)
    frame = candidates(
        boxes, scores=[1] * 5, votes=votes, tiles=[0] * 5, cuts=[0] * 5, labels=["x"] * 5
    )
    for name, held in (("one", column(votes)), ("other", packed(votes))):
        write_snapshot(frame.assign(votes=held), tmp_path / name)
        write_snapshot(frame.assign(votes=held)[:0], tmp_path / f"no {name}")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    assert (tmp_path / "no one").read_bytes() == (tmp_path / "no other").read_bytes()
    assert read_snapshot(tmp_path / "other")["votes"].tolist() == votes


@pytest.mark.parametrize(
    ("values", "back"),
    [
        ([None, 1, 2.5, None, 3], [None, 1.0, 2.5, None, 3.0]),
        ([None, None, "a", "b", None], [None, None, "a", "b", None]),
        ([None] * 5, [None] * 5),
        ([True, None, False, None, True], [True, None, False, None, True]),
    ],
)
def test_a_private_column_is_what_all_of_its_values_are(
    tmp_path: Path, values: list[Any], back: list[Any]
) -> None:
    boxes = np.arange(20.0).reshape(5, 4)
    frame = candidates(
        boxes, scores=[1] * 5, votes=[{}] * 5, tiles=[0] * 5, cuts=[0] * 5, labels=["x"] * 5
    )
    write_snapshot(frame.assign(mine=column(values)), tmp_path / "a")
    found = read_snapshot(tmp_path / "a")["mine"]
    assert [None if pd.isna(one) else one for one in found] == back
