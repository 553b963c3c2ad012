"""Why two runs may differ, from what is recorded of them."""

import pytest

from lanner.archives.causes import Cause, RunFacts, brief, causes, flat, together

CONFIG = {
    "gsd": 1.0,
    "fusion": {"iou": 0.5},
    "classes": ["thing"],
    "members": [{"name": "boxes", "threshold": 0.3}, {"name": "masks", "threshold": 0.5}],
    "chain": [{"step": "merge_seams"}, {"step": "triage", "floor": 0.1}],
}


def test_a_configuration_has_a_value_a_key():
    keys = flat(CONFIG)
    assert keys["fusion.iou"] == 0.5
    assert keys["members.masks.threshold"] == 0.5
    assert keys["chain.triage.floor"] == 0.1
    assert keys["chain"] == ["merge_seams", "triage"]
    assert keys["classes"] == ["thing"]


def test_steps_of_one_name_are_told_apart():
    keys = flat({"chain": [{"step": "a", "x": 1}, {"step": "a", "x": 2}]})
    assert (keys["chain.a.x"], keys["chain.a[2].x"]) == (1, 2)


def test_each_key_that_differs_is_a_cause():
    other = {**CONFIG, "chain": [{"step": "triage", "floor": 0.2, "sure": 0.9}]}
    one, two = (RunFacts({"configuration": name}, None, part) for name, part in
                (("a", CONFIG), ("b", other)))  # fmt: skip
    assert {one.what: (one.first, one.second) for one in causes(one, two)} == {
        "configuration chain.merge_seams.step": ("merge_seams", None),
        "configuration chain.triage.floor": (0.1, 0.2),
        "configuration chain.triage.sure": (None, 0.9),
        "configuration chain": (["merge_seams", "triage"], ["triage"]),
    }


def test_where_one_configuration_is_not_known_its_checksum_is_compared():
    one, two = RunFacts({"configuration": "a"}, None, CONFIG), RunFacts({"configuration": "b"})
    assert causes(one, two) == (Cause("configuration", "a", "b"),)
    assert causes(one, RunFacts({"configuration": "a"})) == ()


def test_weights_are_told_by_file_where_files_are_known():
    one = RunFacts({"weights": "1"}, {"weights a": "x", "weights b": "y"})
    two = RunFacts({"weights": "2"}, {"weights a": "x", "weights b": "z"})
    assert causes(one, two, "scene") == (Cause("weights b", "y", "z", ("scene",)),)
    assert causes(one, RunFacts({"weights": "2"})) == (Cause("weights", "1", "2"),)


def test_what_one_does_not_record_is_no_cause():
    assert causes(RunFacts({"tile": 512}), RunFacts({})) == ()
    assert causes(RunFacts({}), RunFacts({"tile": 512})) == ()


def test_causes_of_many_scenes_are_told_once():
    found = [Cause("tile", 1, 2, ("a",)), Cause("tile", 1, 3, ("b",)), Cause("tile", 1, 2, ("c",))]
    assert together(found) == (Cause("tile", 1, 2, ("a", "c")), Cause("tile", 1, 3, ("b",)))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a" * 64, "a" * 12),
        ("1.9.0", "1.9.0"),
        (None, "none"),
        ([0.5, 0.5], "0.5, 0.5"),
        (512, "512"),
    ],
)
def test_values_are_short(value, text):
    assert brief(value) == text
