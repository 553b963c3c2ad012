"""Release: thresholds, versions, and a folder that is swapped whole or not at all."""

import json
import shutil

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.calibration import Calibration
from detectors.card import load_card, seal
from detectors.releases import DefaultChange, releases, version_key, write_default
from lanner.core.config import DetectorConfig
from lanner.core.errors import ConfigError, DatasetError, GateError, OutputError
from lanner.factory.config import FactoryConfig
from lanner.factory.evaluated import open_evaluated, verdict
from lanner.factory.project import Project
from lanner.factory.releases import other_default, released, weights_home
from lanner.factory.reproduce import Reproduced, reproduce_run, unlike
from lanner.factory.steps import release
from lanner.factory.steps.release import credits
from lanner.factory.steps.release import folder as folder_module
from lanner.factory.steps.release.accept import choose, curve_of, draw_curve, floor_of
from lanner.factory.steps.release.folder import Target, recover, stage, swap
from lanner.factory.steps.release.versions import weights_files


def confidences(n=2000, seed=0):
    """Calibrated ones: right as often as they say."""
    rng = np.random.default_rng(seed)
    score = rng.uniform(0, 1, n).round(4)
    return score, (rng.uniform(0, 1, n) < score).astype(float)


def test_the_threshold_reaches_its_target_with_the_bound():
    score, right = confidences()
    curve = curve_of(score, right, len(score))
    chosen = choose(curve, 0.95)
    assert chosen.by == "lower bound"
    taken = score >= chosen.at
    assert chosen.accepted == taken.sum()
    assert chosen.precision == pytest.approx(right[taken].mean())
    assert chosen.lower >= 0.95
    assert chosen.share == pytest.approx(taken.mean())
    # The lowest such: one step below it the bound is missed.
    below = curve.lower[np.searchsorted(curve.at, chosen.at) - 1]
    assert below < 0.95
    assert choose(curve, 0.8).at < chosen.at


def test_a_small_set_goes_by_the_bare_share():
    score = np.linspace(0.5, 0.99, 30)
    chosen = choose(curve_of(score, np.ones(30), 30), 0.95)
    assert chosen.by == "share"
    assert chosen.precision == 1.0
    assert chosen.lower < 0.95


def test_a_touch_of_the_target_by_luck_is_passed_over():
    # The bare share touches the target well before it stays above it.
    score = np.arange(1, 101) / 101
    right = np.ones(100)
    right[[10, 20, 30, 40, 49]] = 0
    curve = curve_of(score, right, 100)
    reached = curve.at[np.nan_to_num(curve.precision) >= 0.95]
    chosen = choose(curve, 0.95)
    assert chosen.by == "share" and chosen.lower < 0.95
    assert chosen.at > reached[0] + 0.1
    later = (curve.at >= chosen.at) & (curve.accepted >= 10)
    best = np.flatnonzero(later)[np.argmax(curve.lower[later])]
    assert chosen.lower >= curve.lower[best] - 1 / curve.accepted[best]


def test_too_few_accepted_to_judge_a_precision_is_said_so():
    # All nine are right: it is not the detector that falls short.
    score = np.linspace(0.9, 0.99, 9)
    with pytest.raises(GateError, match=r"at most 9 objects .*10 are the least; give that split"):
        choose(curve_of(score, np.ones(9), 30), 0.9)


def test_no_threshold_is_said_with_the_best_there_is():
    score, _ = confidences()
    with pytest.raises(GateError, match=r"the best is 0\.\d+"):
        choose(curve_of(score, np.zeros(len(score)) + (score > 2), len(score)), 0.9)
    with pytest.raises(GateError):
        choose(curve_of(np.empty(0), np.empty(0), 0), 0.9)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10_000), st.booleans()), max_size=60))
def test_a_curve_counts_what_triage_would_accept(rows):
    score = np.asarray([s / 10_000 for s, _ in rows])
    right = np.asarray([float(r) for _, r in rows])
    curve = curve_of(score, right, 100)
    for k in (0, 49, 499, 998):
        taken = score >= curve.at[k]
        assert curve.accepted[k] == taken.sum()
        assert curve.right[k] == right[taken].sum()
    known = curve.accepted > 0
    assert (curve.lower[known] <= curve.precision[known] + 1e-9).all()


def test_the_curve_is_drawn(tmp_path):
    score, right = confidences()
    curve = curve_of(score, right, len(score))
    draw_curve(curve, choose(curve, 0.9), 0.9, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_versions_go_by_number():
    names = ["1.10.0", "1.9.0", "1.9.0-rc1", "0.99", "2"]
    ordered = ["0.99", "1.9.0-rc1", "1.9.0", "1.10.0", "2"]
    assert sorted(names, key=version_key) == ordered


def config(release="1.1.0"):
    return DetectorConfig.model_validate(
        {
            "name": "tanks",
            "release": release,
            "description": "Tanks.",
            "classes": ["tank"],
            "output": "objects",
            "gsd": 0.5,
            "gsd_range": [0.3, 1.0],
            "members": [{"name": "boxes", "kind": "retinanet", "weights": "b.safetensors"}],
            "chain": [{"step": "merge_seams"}],
        }
    )


CARD = {
    "detector": "tanks",
    "data": [],
    "training": {"command": "x", "commit": "y"},
    "metrics": {},
}


def make_release(folder, text):
    folder.mkdir(parents=True)
    (folder / "b.safetensors").write_text(text)
    seal(folder, {**CARD, "release": folder.name})
    return folder


def test_a_new_release_lies_beside_others_and_changes_no_default_that_was_set(tmp_path):
    weights = tmp_path / "weights"
    other = make_release(weights / "tanks" / "1.0.0", "old")
    target, path = Target(weights / "tanks" / "1.1.0"), tmp_path / "tanks.yaml"
    make_release(target.part, "new")
    swap(target, path, "", "name: tanks\n")
    assert releases(tmp_path, "tanks") == ("1.1.0", "1.0.0")
    assert (other / "b.safetensors").read_text() == "old"
    assert other_default(weights, config()) is None
    write_default(tmp_path, DefaultChange("tanks", None, "1.0.0"), (), "default")
    assert other_default(weights, config()) == "1.0.0"
    write_default(tmp_path, DefaultChange("tanks", "1.0.0", "1.1.0"), ("1.0.0",), "default")
    assert other_default(weights, config()) is None


def test_what_a_new_release_is_measured_against(tmp_path):
    home = tmp_path / "weights"
    assert released(home, config()) is None
    old = make_release(home / "tanks" / "1.9.0", "old")
    newest = make_release(home / "tanks" / "1.10.0", "new")
    make_release(home / "tanks" / ".2.0.0.part", "half")
    (home / "tanks" / "3.0.0").mkdir()  # no card: no release
    assert released(home, config()) == newest
    assert released(home, config("1.9.0")) == old
    assert weights_home(tmp_path / "configs" / "a.yaml") == tmp_path / "weights"
    assert weights_home(tmp_path / "mine" / "a.yaml") == tmp_path / "mine" / "weights"


@pytest.fixture
def staged(tmp_path):
    """A release, a newer one made beside it, and the detector's file."""
    target = Target(make_release(tmp_path / "weights" / "tanks" / "1.1.0", "old"))
    weights = tmp_path / "new.safetensors"
    weights.write_text("new")
    stage(target, config(), {"boxes": weights}, Calibration(), {"factory.yaml": "f"}, {})
    seal(target.part, {**CARD, "release": "1.1.0"})
    detector = tmp_path / "tanks.yaml"
    detector.write_text("before")
    return target, detector


def test_a_release_is_swapped_whole(staged):
    target, detector = staged
    assert (target.folder / "b.safetensors").read_text() == "old"
    swap(target, detector, "before", "after")
    assert (target.folder / "b.safetensors").read_text() == "new"
    assert detector.read_text() == "after"
    assert set(load_card(target.folder).files) == {
        "b.safetensors",
        "calibration.json",
        "factory.yaml",
    }
    assert [path.name for path in target.folder.parent.iterdir()] == ["1.1.0"]


def test_a_failed_swap_leaves_the_old_release_whole(staged):
    target, detector = staged
    detector.unlink()
    detector.mkdir()  # a file cannot take the place of a folder
    with pytest.raises(OutputError, match="the old release is as it was"):
        swap(target, detector, "before", "after")
    assert (target.folder / "b.safetensors").read_text() == "old"
    assert load_card(target.folder).release == "1.1.0"
    assert (target.part / "b.safetensors").read_text() == "new"


def test_a_detector_edited_while_it_is_released_keeps_what_was_written(staged):
    target, detector = staged
    detector.write_text("edited")
    with pytest.raises(OutputError, match="was changed while it was being released"):
        swap(target, detector, "before", "after")
    assert detector.read_text() == "edited"
    assert (target.folder / "b.safetensors").read_text() == "old"


def test_a_first_release_that_cannot_be_told_is_not_there(staged):
    target, detector = staged
    shutil.rmtree(target.folder)
    detector.unlink()
    detector.mkdir()  # a file cannot take the place of a folder
    with pytest.raises(OutputError, match="cannot be put in place"):
        swap(target, detector, "before", "after")
    assert not target.folder.exists()
    assert (target.part / "b.safetensors").read_text() == "new"
    assert [path.name for path in detector.parent.glob(".*")] == []


def test_a_kill_between_the_two_moves_is_mended(staged):
    target, _ = staged
    target.folder.rename(target.old)
    recover(target)
    assert (target.folder / "b.safetensors").read_text() == "old"
    assert not target.old.exists()


def test_files_that_are_no_release_are_not_written_over(tmp_path):
    folder = tmp_path / "weights" / "tanks" / "1.1.0"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    weights = tmp_path / "b.safetensors"
    weights.write_text("new")
    with pytest.raises(OutputError, match=r"holds files and no card\.yaml; move them away"):
        stage(Target(folder), config(), {"boxes": weights}, Calibration(), {}, {})
    assert (folder / "notes.txt").read_text() == "mine"
    assert [path.name for path in folder.parent.iterdir()] == ["1.1.0"]


def test_too_large_a_file_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_module, "LARGEST", 10)
    big = tmp_path / "big.safetensors"
    big.write_bytes(b"x" * 10)
    target = Target(tmp_path / "weights" / "tanks" / "1.1.0")
    with pytest.raises(OutputError, match=r"member boxes has 0\.0 MB"):
        stage(target, config(), {"boxes": big}, Calibration(), {}, {})
    assert not (tmp_path / "weights").exists()


def two_networks(first, second):
    facts = config().model_dump(mode="json")
    facts["members"] += [{"name": "masks", "kind": "resunet", "weights": second}]
    facts["members"][0]["weights"] = first
    return DetectorConfig.model_validate(facts)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a.safetensors", "a.safetensors"), r"members\.masks\.weights .*such as masks\."),
        (("a.safetensors", "nets/b.safetensors"), r"members\.masks\.weights .*leave its folder"),
    ],
)
def test_no_network_is_released_with_the_weights_of_another(tmp_path, names, message):
    files = {name: tmp_path / name for name in ("boxes", "masks")}
    for name, path in files.items():
        path.write_text(name)
    target = Target(tmp_path / "weights" / "tanks" / "1.1.0")
    with pytest.raises(ConfigError, match=message):
        stage(target, two_networks(*names), files, Calibration(), {}, {})
    assert not target.part.exists()
    # The same network twice, say at two thresholds, is one file.
    same = {name: files["boxes"] for name in files}
    stage(target, two_networks("a.safetensors", "a.safetensors"), same, Calibration(), {}, {})
    assert (target.part / "a.safetensors").read_text() == "boxes"


@pytest.fixture
def project(tmp_path):
    """A factory of `config` beside the folder of its releases; nothing was run yet."""
    (tmp_path / "tanks.yaml").write_text(config().model_dump_json())
    source = {"name": "new", "format": "images", "root": "."}
    facts = {"factory": "tanks", "detector": "tanks.yaml", "sources": [source]}
    return Project(
        FactoryConfig.model_validate(facts), tmp_path / "tanks.factory.yaml", tmp_path / "run"
    )


def test_weights_are_not_taken_from_a_release_that_was_stopped(project):
    home = project.path.parent / "weights" / "tanks"
    whole = make_release(home / "1.0.0", "same")
    make_release(home / ".1.1.0.part", "same")
    wanted = {"boxes": load_card(whole).files["b.safetensors"]}
    assert weights_files(project, wanted) == {"boxes": whole / "b.safetensors"}


def test_a_release_moved_aside_is_there_again_before_anything_is_measured(project):
    home = project.path.parent / "weights" / "tanks"
    make_release(home / ".1.1.0.old", "old")
    with pytest.raises(DatasetError, match="was not predicted"):
        release.run(project)
    assert (home / "1.1.0" / "b.safetensors").read_text() == "old"


def test_verdicts():
    assert verdict("f1", 0.01, 0.02) == "better"
    assert verdict("f1", -0.02, -0.01) == "worse"
    assert verdict("f1", -0.01, 0.01) == "same"
    assert verdict("f1", None, None) == "same"
    assert verdict("ece", 0.01, 0.02) == "worse"
    assert verdict("review", -0.02, -0.01) == "better"


def test_differences_of_figures_are_named():
    old = {"test": {"f1": {"value": 0.9}, "curve": [1, 2], "gone": 1}}
    new = {"test": {"f1": {"value": 0.91}, "curve": [1, 3], "new": None}}
    assert unlike(old, old) == []
    assert unlike(old, new) == [
        "test.f1.value: 0.9 before, 0.91 now",
        "test.curve[1]: 2 before, 3 now",
        'test.gone: 1 before, "nothing" now',
        'test.new: "nothing" before, null now',
    ]
    Reproduced(None, 3, ()).refuse()
    with pytest.raises(GateError, match="2 differences"):
        Reproduced(None, 3, ("a", "b")).refuse()


def test_a_fresh_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "raw").mkdir()
    for name in ("step.json", "figures.json"):
        (tmp_path / name).write_text("{}")
    out = tmp_path / "out"
    out.write_text("mine")
    with pytest.raises(OutputError, match="name a fresh folder"):
        reproduce_run(tmp_path, out=out)
    assert out.read_text() == "mine"


@pytest.mark.parametrize("record", [{}, {"config": {"old": 1}, "detector": {}}])
def test_a_run_of_a_lanner_with_other_words_is_told(tmp_path, record):
    (tmp_path / "raw").mkdir()
    (tmp_path / "step.json").write_text(json.dumps(record))
    (tmp_path / "figures.json").write_text("{}")
    for reader in (reproduce_run, lambda run: open_evaluated("A", run, "test")):
        with pytest.raises(DatasetError, match="recorded by an earlier Lanner"):
            reader(tmp_path)


def test_a_card_holds_plain_data_alone(staged):
    target, _ = staged
    assert yaml.safe_load((target.part / "card.yaml").read_text())["release"] == "1.1.0"


def test_what_earlier_releases_learned_from_is_credited_once(tmp_path):
    (tmp_path / "configs").mkdir()
    detector = tmp_path / "configs" / "tanks.yaml"
    detector.write_text(config("1.2.0").model_dump_json())
    old = tmp_path / "weights" / "tanks" / "1.1.0"
    old.mkdir(parents=True)
    (old / "b.safetensors").write_text("old")
    data = [
        {"name": "farms", "source": "a", "licence": "b", "attribution": "The farmers"},
        {"name": "ports", "source": "a", "licence": "b", "attribution": "The sailors"},
        {"name": "sheds", "source": "a", "licence": "b", "attribution": ""},
    ]
    seal(old, {**CARD, "data": data, "release": "1.1.0"})

    def named(name="new", words="The farmers", **training):
        source = {"name": name, "format": "images", "root": ".", "attribution": words}
        facts = {
            "factory": "tanks",
            "detector": "tanks.yaml",
            "sources": [source],
            "train": {"members": {"boxes": training}},
        }
        project = Project(
            FactoryConfig.model_validate(facts),
            tmp_path / "configs" / "tanks.factory.yaml",
            tmp_path / "run",
        )
        trained = project.step_dir("train") / "boxes.safetensors"
        return [row["name"] for row in credits(project, [], {"boxes": trained})]

    file = "../weights/tanks/1.1.0/b.safetensors"
    assert named() == ["new"]
    for key in ("start", "encoder_from"):
        assert named(**{key: "release"}) == named(**{key: file}) == ["new", "ports", "sheds"]
    # Data without words of its owner is another's all the same, unless it has the same name.
    assert named(words="", start=file) == ["new", "farms", "ports", "sheds"]
    assert named("sheds", "", start=file) == ["sheds", "farms", "ports"]
    assert named(start="imagenet") == ["new", "imagenet"]
    # What is called alike may be another's.
    assert named("ports", "The divers", start=file) == ["ports", "farms", "ports", "sheds"]


def test_the_floor_is_the_lowest_at_which_enough_of_the_review_list_is_right():
    score = np.array([0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    right = np.array([1.0, 0.0, 1.0, 0.0, 0.0, 0.0])
    found = floor_of(score, right, np.ones(6), 0.5)
    assert (found.at, found.precision, found.kept) == (0.3, 0.5, 1.0)
    assert floor_of(score, right, np.ones(6), 0.6).at == 0.4
    assert floor_of(score, right, np.ones(6), 0.0).at == 0.1


def test_equal_confidences_are_above_a_floor_together():
    score, right = np.full(4, 0.3), np.array([1.0, 0.0, 0.0, 0.0])
    found = floor_of(score, right, np.ones(4), 0.5)
    assert (found.at, found.kept) == (1.0, 0.0), "one of four is too few, whichever comes first"
    assert floor_of(score, right, np.ones(4), 0.25).at == 0.3


def test_lines_count_by_their_length():
    score, right = np.array([0.6, 0.5]), np.array([1.0, 0.0])
    assert floor_of(score, right, np.array([1.0, 9.0]), 0.5).at == 0.6
    assert floor_of(score, right, np.array([9.0, 1.0]), 0.5).at == 0.5


def test_a_review_list_of_nothing_has_a_floor_and_no_precision():
    nothing = np.empty(0)
    found = floor_of(nothing, nothing, nothing, 0.5)
    assert found.at == 1.0 and found.facts()["review_precision"] is None


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40),
    st.floats(0.05, 1),
)
def test_what_is_above_the_floor_is_right_often_enough(rows, target):
    score = np.array([row[0] for row in rows])
    right = np.array([row[1] for row in rows], float)
    found = floor_of(score, right, np.ones(len(rows)), target)
    above = score >= found.at
    if found.kept > 0:
        assert right[above].mean() >= target
        assert right[above].mean() == pytest.approx(found.precision)
