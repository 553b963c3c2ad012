"""Search: paths into a detector, what they may be, points asked for, a YAML edited in place."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lanner.core.config import DetectorConfig, load_config
from lanner.core.errors import ConfigError, DatasetError, StepError
from lanner.factory.steps.search.draw import draw_front, draw_importance, importances
from lanner.factory.steps.search.edit import edited
from lanner.factory.steps.search.points import Measured
from lanner.factory.steps.search.space import at_point, known_paths, parse_space, size_of, value_at
from lanner.factory.steps.search.study import (
    Kept,
    Objective,
    pareto_front,
    parse_objectives,
    search_points,
)

TEXT = """\
# A detector of tanks.
version: 1
name: tanks
release: 1.0.0   # raise it
description: Tanks.
classes: [tank]
output: objects
gsd: 0.5
gsd_range: [0.3, 1]
members:
  - name: boxes
    kind: retinanet
    weights: boxes.safetensors
    threshold: 0.1   # low
  - {name: masks, kind: resunet, weights: masks.safetensors}
fusion: {iou: 0.5}
chain:
  - step: merge_seams   # first

  - step: outline
    rounds: 1
    # a remark
  - step: triage
    accept_at: 0.8      # set by release
"""


@pytest.fixture
def detector(tmp_path: Path) -> DetectorConfig:
    path = tmp_path / "tanks.yaml"
    path.write_text(TEXT)
    return load_config(path)


def factory_text(space: object) -> str:
    return "version: 1\nsearch:\n  space:\n" + "".join(
        f"    {path}: {json.dumps(given)}\n" for path, given in dict(space).items()
    )


def test_every_known_path_can_be_read_and_searched_as_it_is(detector):
    paths = known_paths(detector)
    assert "members.boxes.threshold" in paths
    assert "chain.triage.accept_at" in paths
    assert "fusion.missing_vote_penalty" in paths
    assert not [p for p in paths if p.endswith((".weights", ".arch", ".mirror", ".nms_iou"))]
    assert value_at(detector, "members.boxes.threshold") == 0.1
    assert value_at(detector, "chain.merge_seams.iou") == 0.5  # the step's default
    assert value_at(detector, "fusion.missing_vote_penalty") == 0.5


def test_ranges_are_read_in_every_form(detector):
    axes = parse_space(
        {
            "fusion.iou": [0.3, 0.7],
            "fusion.missing_vote_penalty": [0, 1, 0.25],
            "members.boxes.weight": {"log": [0.1, 10]},
            "chain.outline.rounds": {"int": [0, 3]},
            "chain.triage.review_cut": {"one_of": [True, False]},
        },
        detector,
    )
    assert [a.kind for a in axes] == ["float", "float", "log", "int", "one_of"]
    assert [a.levels for a in axes] == [20, 5, 20, 4, 2]
    size = size_of(axes)
    assert size["configurations"] == 20 * 5 * 20 * 4 * 2
    assert size["axes"]["chain.outline.rounds"]["counted"] == "exactly"
    assert "continuous" in size["axes"]["fusion.iou"]["counted"]


@pytest.mark.parametrize(
    ("path", "given", "message"),
    [
        ("fusion.iuo", [0.3, 0.7], "did you mean 'fusion.iou'?"),
        ("chain.triage.acept_at", [0.3, 0.7], "did you mean 'chain.triage.accept_at'?"),
        ("members.boxs.weight", [0.3, 0.7], "did you mean 'members.boxes.weight'?"),
        ("members.boxes.arch", [0.3, 0.7], "needs the networks to run again"),
        ("fusion.iou", [0.7, 0.3], "does not rise"),
        ("fusion.iou", [0.3, 1.7], "less than or equal to 1"),
        ("fusion.iou", [0.3], "no pair of numbers"),
        ("fusion.iou", 0.3, "is no range"),
        ("fusion.iou", {"lg": [1, 2]}, "is no range"),
        ("fusion.iou", {"log": [0, 1]}, "begin above 0"),
        ("fusion.iou", [0.3, 0.5, 0.4], "has no step of 0.4; give a step of at most 0.2, or name"),
        ("fusion.iou", [0.3, 0.5, -0.1], "has no step of -0.1"),
        ("fusion.iou", [True, False], "no pair of numbers"),
        ("chain.outline.rounds", [0, 3], "write it as {int: [low, high]}"),
        ("chain.outline.rounds", [0, 3, 0.5], "write it as {int: [low, high]}"),
        ("chain.outline.rounds", {"int": [0, 2.5]}, "use whole numbers"),
        ("chain.outline.rounds", {"int": [0, 9]}, "less than or equal to 3"),
        ("chain.triage.review_cut", {"one_of": [True, True]}, "each plain value once"),
    ],
)
def test_a_wrong_range_names_its_line_and_the_remedy(detector, path, given, message):
    space = {"fusion.min_score": [0.1, 0.2], path: given}
    with pytest.raises(ConfigError) as refused:
        parse_space(space, detector, factory_text(space))
    assert message in str(refused.value)
    assert "(line 5)" in str(refused.value)


def test_nothing_to_search_is_an_error(detector):
    with pytest.raises(ConfigError, match="names nothing"):
        parse_space({}, detector)


def test_a_point_changes_what_it_names_and_nothing_else(detector):
    point = {"members.masks.weight": 3.0, "chain.merge_seams.iou": 0.25, "fusion.iou": 0.6}
    changed = at_point(detector, point)
    assert {path: value_at(changed, path) for path in point} == point
    others = set(known_paths(detector)) - set(point)
    assert all(value_at(changed, path) == value_at(detector, path) for path in others)


def test_an_edit_keeps_comments_and_everything_else():
    new = edited(
        TEXT,
        {
            "members.boxes.threshold": 0.25,
            "members.boxes.weight": 2.0,
            "members.masks.weight": 3.0,
            "fusion.min_score": 0.07,
            "chain.merge_seams.iou": 0.4,
            "chain.outline.rounds": 2,
            "chain.triage.accept_at": 0.66,
            "release": "1.1.0",
        },
    )
    for remark in ("# A detector of tanks.", "# raise it", "# low", "# first", "# a remark"):
        assert new.count(remark) == 1
    raw = yaml.safe_load(new)
    assert raw["release"] == "1.1.0"
    assert raw["members"][0]["threshold"] == 0.25
    assert raw["members"][0]["weight"] == 2.0
    assert raw["members"][1]["weight"] == 3.0
    assert raw["fusion"] == {"iou": 0.5, "min_score": 0.07}
    assert raw["chain"][0] == {"step": "merge_seams", "iou": 0.4}
    assert raw["chain"][1] == {"step": "outline", "rounds": 2}
    assert raw["chain"][2] == {"step": "triage", "accept_at": 0.66}
    assert edited(TEXT, {}) == TEXT
    with pytest.raises(ConfigError, match="is not in the file"):
        edited(TEXT, {"chain.smooth.x": 1})


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "fusion.iou",
                "fusion.missing_vote_penalty",
                "members.boxes.weight",
                "members.masks.threshold",
                "chain.merge_seams.inside",
                "chain.outline.box_iou",
                "chain.triage.accept_at",
            ]
        ),
        st.floats(0.01, 0.99),
    )
)
def test_an_edited_file_means_the_point(changes):
    whole = DetectorConfig.model_validate(yaml.safe_load(TEXT))
    assert DetectorConfig.model_validate(yaml.safe_load(edited(TEXT, changes))) == at_point(
        whole, changes
    )


def test_objectives_are_read():
    assert parse_objectives(["f1", "-review"]) == (Objective("f1"), Objective("review", True))
    for wrong in ([], ["f1", "-f1"], ["-"]):
        with pytest.raises(ConfigError, match="once each"):
            parse_objectives(wrong)


def bowl(points):
    """A figure with its best at 0.6 and a load that falls with x."""
    return [
        Measured(p, {"f1": 1 - (p["fusion.iou"] - 0.6) ** 2, "review": 1 - p["fusion.iou"]})
        for p in points
    ]


@pytest.fixture
def axes(detector):
    return parse_space(
        {"fusion.iou": [0.1, 0.9], "chain.outline.rounds": {"int": [0, 3]}}, detector
    )


NOW = {"fusion.iou": 0.5, "chain.outline.rounds": 1}


def test_a_search_begins_with_what_is_and_finds_the_best(axes):
    found = search_points(axes, parse_objectives(["f1"]), bowl, points=60, seed=3, now=NOW)
    assert found.points[0].point == NOW
    assert len(found.points) == 60
    assert abs(found.points[found.best].point["fusion.iou"] - 0.6) < 0.05
    assert len(found.front) >= 1
    again = search_points(axes, parse_objectives(["f1"]), bowl, points=60, seed=3, now=NOW)
    assert again.points == found.points
    other = search_points(axes, parse_objectives(["f1"]), bowl, points=60, seed=4, now=NOW)
    assert other.points != found.points


def test_a_value_that_is_named_is_tried_to_its_last_digit(detector):
    """Choices, steps and the present value; what lies between is tried to four digits."""
    axes = parse_space(
        {
            "fusion.iou": {"one_of": [0.123456, 0.654321]},
            "members.masks.weight": [0.1, 1.0],
            "chain.outline.simplify_px": [100.25, 101.25, 0.25],
        },
        detector,
    )
    now = {
        "fusion.iou": 0.654321,
        "members.masks.weight": 0.333333,
        "chain.outline.simplify_px": 100.75,
    }
    found = search_points(axes, parse_objectives(["f1"]), bowl, points=30, seed=3, now=now)
    assert found.points[0].point == now
    points = [one.point for one in found.points]
    assert {one["fusion.iou"] for one in points} == {0.123456, 0.654321}
    assert {one["chain.outline.simplify_px"] for one in points} <= {
        100.25,
        100.5,
        100.75,
        101.0,
        101.25,
    }
    rest = [one["members.masks.weight"] for one in points[1:]]
    assert rest == [float(f"{value:.4g}") for value in rest]


def test_several_objectives_give_a_front(axes, tmp_path):
    objectives = parse_objectives(["f1", "-review"])
    found = search_points(axes, objectives, bowl, points=64, seed=1, now=NOW)
    front = [found.points[i].point["fusion.iou"] for i in found.front]
    assert len(front) >= 3
    assert min(front) >= 0.59  # below 0.6 both objectives lose
    chosen = found.points[found.best]
    top = max(one.figures["f1"] for one in found.points)
    assert chosen.figures["f1"] >= top - 0.001
    weight = importances(found.study, objectives)
    assert weight["f1"]["fusion.iou"] > weight["f1"]["chain.outline.rounds"]
    draw_front(found, objectives, bowl([NOW])[0], tmp_path / "a.png")
    draw_importance(weight, objectives, tmp_path / "b.png")
    for name in "ab":
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_pareto_front_by_hand():
    objectives = parse_objectives(["f1", "-review"])
    values = [(0.9, 0.5), (0.8, 0.2), (0.8, 0.3), None, (0.9, 0.5), (0.1, 0.9)]
    assert pareto_front(values, objectives) == (0, 1, 4)


def test_a_stopped_search_goes_on_to_the_same_points(axes, tmp_path):
    whole = search_points(axes, parse_objectives(["f1"]), bowl, points=48, seed=3)
    asked: list[int] = []

    def counting(points):
        asked.append(len(points))
        return bowl(points)

    def stopping(done):
        if done >= 32:
            raise KeyboardInterrupt

    path = tmp_path / "points.jsonl"
    rest = {"points": 48, "seed": 3}
    with pytest.raises(KeyboardInterrupt):
        search_points(
            axes, [Objective("f1")], counting, kept=Kept(path, "k"), tell=stopping, **rest
        )
    assert sum(asked) == 32
    found = search_points(axes, [Objective("f1")], counting, kept=Kept(path, "k"), **rest)
    assert found.points == whole.points
    assert sum(asked) == 48
    search_points(axes, [Objective("f1")], counting, kept=Kept(path, "other"), **rest)
    assert sum(asked) == 96


def test_points_that_the_chain_refuses_are_recorded_and_passed_over(axes):
    def half(points):
        return [
            Measured(one.point, {}, "step: failed") if one.point["fusion.iou"] > 0.5 else one
            for one in bowl(points)
        ]

    found = search_points(axes, [Objective("f1")], half, points=32, seed=1)
    assert any(one.error for one in found.points)
    assert found.points[found.best].point["fusion.iou"] <= 0.5

    def none(points):
        return [Measured(p, {}, str(StepError("a", 1, "b", "c"))) for p in points]

    with pytest.raises(DatasetError, match="none has figures"):
        search_points(axes, [Objective("f1")], none, points=4, seed=1)


def sparse(points):
    """As `bowl`, and a precision of which nothing can be said above 0.5."""
    found = bowl(points)
    for one in found:
        x = one.point["fusion.iou"]
        one.figures["precision"] = None if x > 0.5 else x
    return found


def test_a_point_of_which_an_objective_says_nothing_is_passed_over(axes, tmp_path):
    path, objectives = tmp_path / "points.jsonl", parse_objectives(["f1", "-precision"])
    rest = {"points": 32, "seed": 1, "now": {**NOW, "fusion.iou": 0.9}}
    found = search_points(axes, objectives, sparse, kept=Kept(path, "k"), **rest)
    without = [one for one in found.points if one.point["fusion.iou"] > 0.5]
    assert found.points[0] in without
    assert 0 < len(without) < 32
    assert {one.error for one in without} == {"nothing can be said of precision"}
    assert all(one.figures["f1"] > 0 for one in without)
    assert [value is None for value in found.values] == [one in without for one in found.points]
    assert found.points[found.best].point["fusion.iou"] <= 0.5
    draw_front(found, objectives, sparse([rest["now"]])[0], tmp_path / "a.png")
    # A restart finds them as they were, for these objectives and for others.
    again = search_points(axes, objectives, None, kept=Kept(path, "k"), **rest)
    assert again.points == found.points
    for text, message in (("precison", "did you mean 'precision'"), ("x", "f1, review, precision")):
        with pytest.raises(ConfigError, match=message):
            search_points(axes, parse_objectives([text]), sparse, kept=Kept(path, "k"), **rest)

    def never(points):
        return [Measured(one.point, {**one.figures, "precision": None}) for one in bowl(points)]

    none = search_points(axes, objectives, never, points=4, seed=1)
    assert (none.best, none.front, none.values) == (None, (), (None,) * 4)
    assert {one.error for one in none.points} == {"nothing can be said of precision"}
    draw_front(none, objectives, none.points[0], tmp_path / "none.png")
    draw_importance(importances(none.study, objectives), objectives, tmp_path / "bars.png")


def test_points_kept_without_the_name_of_a_figure_are_measured_anew(axes, tmp_path):
    path, objectives = tmp_path / "points.jsonl", parse_objectives(["f1", "-precision"])
    rest = {"points": 32, "seed": 1, "now": NOW}
    whole = search_points(axes, objectives, sparse, kept=Kept(path, "k"), **rest)
    first, *lines = map(json.loads, path.read_text().splitlines())
    for line in lines:
        line["figures"] = {k: v for k, v in line["figures"].items() if v is not None}
    path.write_text("".join(json.dumps(line) + "\n" for line in [first, *lines]))
    asked: list[object] = []

    def counting(points):
        asked.extend(points)
        return sparse(points)

    again = search_points(axes, objectives, counting, kept=Kept(path, "k"), **rest)
    assert again.points == whole.points
    assert {one["fusion.iou"] > 0.5 for one in asked} == {True}
    assert len(asked) == sum(bool(one.error) for one in whole.points)


def test_an_unknown_objective_names_the_nearest(axes):
    with pytest.raises(ConfigError, match="did you mean 'review'"):
        search_points(axes, parse_objectives(["-reviev"]), bowl, points=4, seed=1)
