"""YAML edited in place: whatever way it is written, one value changes or the file is refused."""

from __future__ import annotations

import pytest
import yaml

from lanner.core.errors import ConfigError
from lanner.factory.steps.search.edit import edited

WRITTEN = {
    "a comment before the brace": "fusion: {min_score: 0.1,  # low\n  note: x  # here\n  }\n",
    "a comma before the brace": "fusion: {min_score: 0.1,}\n",
    "no value yet": "fusion:\n  iou:\n  min_score: 0.1\n",
    "no value yet, in braces": "fusion: {iou: , min_score: 0.1}\n",
    "no value yet, at the end": "fusion:\n  min_score: 0.1\n  iou:",
    "a text of several lines": "fusion:\n  note: |\n    some\n    text\n\nother:\n  iou: 1\n",
    "a folded text at the end": "fusion:\n  note: >\n    some\n    text\n\n\n",
    "a text that goes on": "fusion:\n  note: some\n    text\nother: 1\n",
    "a comment after all": "fusion:\n  note: some  # why\n\n  # more\nother: 1\n",
    "an empty mapping": "fusion: {}\nother: 1\n",
    "nothing of it": "other: 1\n",
}


@pytest.mark.parametrize("name", WRITTEN)
def test_one_value_changes_however_it_is_written(name):
    before = yaml.safe_load(WRITTEN[name])
    after = yaml.safe_load(edited(WRITTEN[name], {"fusion.iou": 0.5}))
    wanted = {**before, "fusion": {**before.get("fusion", {}), "iou": 0.5}}
    assert after == wanted


def test_the_member_that_is_meant_gets_the_value():
    text = (
        "members:\n  - name: boxes\n    note: |\n      some\n      text\n\n"
        "  - name: masks\n    weight: 1\n"
    )
    after = yaml.safe_load(edited(text, {"members.boxes.weight": 0.5}))
    assert [one["weight"] for one in after["members"]] == [0.5, 1]


@pytest.mark.parametrize(
    "text",
    [
        "fusion:\n  iou: &low 0.2\n  min_score: *low\n",
        "fusion:\n  min_score: &low 0.2\n  iou: *low\n",
        "base: &base {iou: 0.2}\nfusion: *base\n",
        "base: &base {iou: 0.2}\nfusion:\n  <<: *base\n  note: x\n  note: y\n",
    ],
)
def test_a_file_whose_values_hang_together_is_refused_or_right(text):
    before = yaml.safe_load(text)
    try:
        after = yaml.safe_load(edited(text, {"fusion.iou": 0.5}))
    except ConfigError as error:
        assert "fusion.iou" in str(error) and "anchors" in str(error)
    else:
        assert after == {**before, "fusion": {**before["fusion"], "iou": 0.5}}
