"""Files of users keep working when a key gets another name."""

import warnings

import pytest
import yaml

from lanner.core.config import DetectorConfig, config_sha256, load_config
from lanner.core.errors import ConfigError
from lanner.core.renamed import RenamedKeyWarning
from lanner.factory.config import FactoryConfig
from lanner.factory.steps.search.edit import edited
from tests.fixtures_process import ROOT

TODAY = {
    "override_above": "heard_from",
    "panchromatic_detector": "one_band",
    "cross_member_iou": "lone_iou",
    "missing_vote_penalty": "missing",
}


def rewritten(text: str) -> str:
    for today, former in TODAY.items():
        text = text.replace(f"{today}:", f"{former}:")
    return text


@pytest.mark.parametrize("name", ["aircraft", "roads"])
def test_a_detector_in_former_words_is_the_same_detector(tmp_path, name):
    text = (ROOT / "configs" / f"{name}.yaml").read_text()
    former = rewritten(text)
    assert former != text
    (tmp_path / "former.yaml").write_text(former)
    with pytest.warns(RenamedKeyWarning):
        config = load_config(tmp_path / "former.yaml")
    today = load_config(ROOT / "configs" / f"{name}.yaml")
    assert config == today
    assert config_sha256(config) == config_sha256(today)
    assert not set(TODAY.values()) & set(yaml.safe_dump(config.model_dump(mode="json")).split())


def test_todays_words_say_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_config(ROOT / "configs" / "roads.yaml")


def test_a_key_under_both_names_is_refused(tmp_path):
    text = (ROOT / "configs" / "aircraft.yaml").read_text()
    both = text.replace("cross_member_iou: 0.3", "cross_member_iou: 0.3, lone_iou: 0.3")
    assert both != text
    (tmp_path / "both.yaml").write_text(both)
    with pytest.warns(RenamedKeyWarning), pytest.raises(ConfigError):
        load_config(tmp_path / "both.yaml")


def test_operations_and_paths_of_a_search_in_former_words():
    raw = {
        "version": 1,
        "factory": "roads",
        "detector": "roads.yaml",
        "data": ".",
        "sources": [{"name": "a", "format": "masks", "root": "."}],
        "process": [{"op": "hand_over", "source": "a"}, {"op": "unsure_lines"}],
        "search": {"space": {"members.streets.heard_from": [0.1, 0.9], "fusion.missing": [0, 1]}},
        "train": {"members": {"streets": {"one_band": True}}},
    }
    with pytest.warns(RenamedKeyWarning):
        config = FactoryConfig.model_validate(raw)
    assert [one.op for one in config.process] == ["reassign_split", "ignore_unseen_lines"]
    assert list(config.search.space) == [
        "members.streets.override_above",
        "fusion.missing_vote_penalty",
    ]
    assert config.train.members["streets"].single_band


def test_a_value_under_a_former_key_is_changed_where_it_stands():
    text = rewritten((ROOT / "configs" / "roads.yaml").read_text())
    changed = edited(text, {"members.streets.override_above": 0.8})
    assert "heard_from" not in changed
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config = DetectorConfig.model_validate(yaml.safe_load(changed))
    assert config.members[1].override_above == 0.8
