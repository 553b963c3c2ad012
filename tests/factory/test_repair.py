"""Repair: rules of geometry and of explore's word, copies, and the record of what was changed."""

from pathlib import Path

import numpy as np
import pytest

from lanner.core.errors import DatasetError
from lanner.factory.images import read_mask, write_png
from lanner.factory.ops import repair
from lanner.factory.ops.explored import copies, strength
from lanner.factory.samples import IDS_UNKNOWN, Label, Sample
from lanner.factory.steps.explore import duplicates
from lanner.factory.steps.explore.findings import Finding
from lanner.factory.steps.explore.measure import measure
from lanner.factory.steps.process import run
from tests.fixtures_process import after, changes, cross, plane, project_of, stored


def plan(labels, findings=(), originals=None, levels=None, **rules):
    one = Sample("a", "first", "train", Path("a.png"), 200, 100, labels=tuple(labels))
    levels = {"": 0.5} if levels is None else levels
    known = {"a": one if originals is None else one.but(labels=tuple(originals))}
    return repair.plan_of(one, findings, known, repair.Params(**rules), levels)


def test_rules_of_geometry():
    labels = [
        plane(10, 10, 30, 30), plane(190, 10, 206, 30), plane(5, 5, 5, 9), plane(300, 5, 320, 9),
        plane(10.3, 10, 30, 30), plane(60, 60, 62, 80),
    ]  # fmt: skip
    usual = plan(labels)
    assert set(usual.drop) == {2, 3, 4}
    assert "label 0 again" in usual.drop[4]
    assert set(plan(labels, out_of_image="drop").drop) == {1, 2, 3, 4}
    kept = plan(labels, out_of_image="keep", zero_size="keep", duplicate_labels="keep")
    assert kept.drop == {}
    assert plan(labels, tiny="ignore").weigh[5][0] == 0
    assert 5 in plan(labels, tiny="drop").drop


def test_rules_on_a_models_word():
    labels = [plane(10, 10, 30, 30), plane(60, 60, 80, 80)]
    shifted = Finding("shifted", "a", "", 0, 0.9, (14, 10, 34, 30), "aircraft")
    missing = Finding("missing", "a", "", None, 0.7, (100, 10, 120, 30), "aircraft")
    lone = Finding("spurious", "a", "", 1, 0.3, (60, 60, 80, 80), "aircraft")
    found = [shifted, missing, lone]
    nothing = plan(labels, found)
    assert (nothing.drop, nothing.weigh, nothing.move, nothing.add) == ({}, {}, {}, [])
    softer = plan(labels, found, shifted="reweight", missing="pseudo-label", spurious="drop")
    assert softer.weigh[0][0] == pytest.approx(0.1)
    assert set(softer.drop) == {1}
    [(new, _)] = softer.add
    assert (new.box, new.weight, new.label) == ((100, 10, 120, 30), 0.7, "aircraft")
    assert plan(labels, found, shifted="move").move == {0: (14, 10, 34, 30)}
    assert plan(labels, found, missing="ignore").add[0][0].weight == 0
    confident = plan(
        labels, found, levels={"": 1.0, "aircraft": 0.8}, missing="ignore", shifted="drop"
    )
    assert (set(confident.drop), confident.add) == ({0}, [])


def test_findings_find_their_label_after_others_went():
    labels = [plane(10, 10, 30, 30), plane(60, 60, 80, 80)]
    found = [Finding("shifted", "a", "", 1, 0.9, (64, 60, 84, 80), "aircraft")]
    assert set(plan(labels[1:], found, originals=labels, shifted="drop").drop) == {0}
    assert plan(labels[:1], found, originals=labels, shifted="drop").drop == {}


def test_of_two_copies_the_one_in_train_goes():
    def one(name, split):
        return Sample(name, "first", split, Path("a.png"), 9, 9)

    samples = [one("a", "train"), one("b", "test"), one("c", "train"), one("d", "train")]
    pair = [
        Finding("duplicates_across_splits", "b", "", other="a"),
        Finding("duplicates", "d", "", other="c"),
    ]
    rules = repair.Params(duplicates="drop")
    assert set(copies(samples, pair, rules)) == {"a", "d"}
    assert copies(samples, pair, repair.Params()) == {}


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 0, 4, 1, 3)])
def test_of_many_copies_one_stays(order):
    splits = ["train", "valid", "test", "test", None]
    rgb = cross()[0]
    drawn = [Sample(f"{k}", "first", split, Path("a"), 9, 9) for k, split in enumerate(splits)]
    samples = [drawn[k] for k in order]
    facts = {one.id: measure(rgb) for one in samples}
    found = duplicates.exact(samples, facts)
    gone = copies(samples, found, repair.Params(duplicates="drop"))
    [left] = {one.id for one in samples} - set(gone)
    assert left == next(one.id for one in samples if one.split == "test")
    assert set(gone.values()) == {f"the same as {left} (test)"}
    # The one that the others were held against may be gone before.
    rest = [one for one in samples if one.id not in ("0", left)]
    [left] = {one.id for one in rest} - set(copies(rest, found, repair.Params(duplicates="drop")))
    assert drawn[int(left)].split == "test"


def test_what_one_finding_ignores_no_other_brings_back():
    labels = [plane(10, 10, 30, 30)]
    giant = Finding("giant", "a", "", 0, 1.0)
    shifted = Finding("shifted", "a", "", 0, 0.6, (14, 10, 34, 30), "aircraft")
    lone = Finding("spurious", "a", "", 0, 0.45, (10, 10, 30, 30), "aircraft")
    for found in ([giant, shifted, lone], [lone, shifted, giant]):
        assert plan(labels, found, shifted="reweight").weigh[0] == (0, "giant (1.00)")
        factors = plan(labels, found[:2], giant="keep", shifted="reweight").weigh
        assert factors[0][0] == pytest.approx(0.4)
        both = plan(labels, found, giant="keep", shifted="reweight", spurious="reweight")
        assert both.weigh[0][0] == pytest.approx(min(0.4, 1 - strength(lone)))


CUT = [
    {"op": "tile", "side": 96},
    {"op": "resample", "gsd": 0.25},
    {"op": "mosaic", "sources": ["first"], "across": 2},
]


@pytest.mark.parametrize("before", CUT)
@pytest.mark.parametrize("kind", ["giant", "duplicates_across_splits"])
def test_what_was_cut_before_is_refused_where_explore_found_something(tmp_path, before, kind):
    samples = [
        stored(tmp_path, f"first/{k}", gsd=0.5, labels=(plane(10, 10, 30, 30),)) for k in range(4)
    ]
    samples.append(stored(tmp_path, "first/4", gsd=0.5, split="test"))
    found = Finding(kind, "first/3", "", other="first/4")
    if kind == "giant":
        found = Finding(kind, "first/3", "", 0)
    repaired = {"op": "repair", "duplicates": "drop"}
    if (before["op"], kind) == ("resample", "duplicates_across_splits"):
        # A scaled copy is the same copy.
        run(project_of(tmp_path, [before, repaired], samples, [found]))
        return
    with pytest.raises(DatasetError, match=r"first/3.* put repair before tile"):
        run(project_of(tmp_path, [before, repaired], samples, [found]))
    kept = {"op": "repair", "giant": "keep"}
    for ops in ([repaired, before], [before, kept]):
        run(project_of(tmp_path, ops[:1] if before["op"] == "mosaic" else ops, samples, [found]))


def test_what_was_left_out_before_needs_no_repair(tmp_path):
    samples = [stored(tmp_path, f"{name}/0") for name in ("first", "roads")]
    ops = [{"op": "select", "drop": ["roads"]}, CUT[0], {"op": "repair"}]
    found = [Finding("giant", "roads/0", "", 0), Finding("skipped", "first/x", "")]
    project = project_of(tmp_path, ops, samples, found)
    run(project)
    assert after(project)
    assert not any(op == "repair" for op, _, _ in changes(project))


def test_repair_records_every_change_and_keeps_masks_right(tmp_path):
    rgb, boxes, masks = cross(at=((30, 40), (70, 100)))
    ids = tmp_path / "ids.png"
    write_png((masks[0] + 2 * masks[1]).astype(np.uint16), ids)
    one = stored(
        tmp_path, "first/a", rgb, ids=ids,
        labels=(plane(*boxes[0]), plane(*boxes[1]), plane(150, 10, 175, 30)),
    )  # fmt: skip
    found = [
        Finding("spurious", "first/a", "", 0, 0.4, boxes[0], "aircraft"),
        Finding("missing", "first/a", "", None, 0.9, (10, 80, 30, 100), "aircraft"),
    ]
    ops = [{"op": "repair", "spurious": "drop", "missing": "pseudo-label"}]
    with pytest.raises(DatasetError, match="explore asked none"):
        run(project_of(tmp_path, ops, [one], found))
    project = project_of(tmp_path, ops, [one], found, explore={"model": "aircraft"})
    run(project)
    new = after(project)["first/a"]
    assert [label.box for label in new.labels] == [boxes[1], (150, 10, 160, 30), (10, 80, 30, 100)]
    assert [label.weight for label in new.labels] == [1, 0, 0.9]
    numbers = read_mask(new.ids)
    assert (numbers[masks[1]] == 1).all()
    assert (numbers[masks[0]] == IDS_UNKNOWN).all()
    assert (numbers[80:100, 10:30] == IDS_UNKNOWN).all()
    notes = [note for _, _, note in changes(project)]
    assert len(notes) == 3
    assert new.history == tuple(f"repair: {note}" for note in notes)


def test_a_road_that_leaves_its_image_keeps_the_piece_that_comes_back(tmp_path):
    road = Label("road", (10, 10, 190, 30), line=((10, 10), (190, 10), (190, 30), (10, 30)))
    one = stored(tmp_path, "roads/a", labels=(road,))
    project = project_of(tmp_path, [{"op": "repair"}], [one])
    run(project)
    found = after(project)["roads/a"].labels
    assert [one.line for one in found] == [((10, 10), (160, 10)), ((160, 30), (10, 30))]
    assert any("clipped to 10.0" in note and " and " in note for _, _, note in changes(project))
