"""Several raster members as one: who votes, who is heard, and that nothing jumps."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from detectors.rasters import fuse_rasters
from lanner.core.config import DetectorConfig, Member, config_sha256, load_config
from lanner.core.errors import ConfigError
from tests.fixtures_process import ROOT

CHANCE = st.floats(0, 1, width=32)
LEVELS = arrays(np.float32, (2, 3, 4), elements=CHANCE)


def member(name: str, **facts: object) -> Member:
    return Member(name=name, kind="resunet", weights=f"{name}.safetensors", **facts)


VOTER, SECOND = member("a"), member("b", weight=3.0)
OVERRIDER = member("c", override_above=0.8)


@given(LEVELS, LEVELS)
def test_voters_are_averaged_by_their_weights(a, b):
    fused = fuse_rasters([VOTER, SECOND], [a, b])
    assert np.allclose(fused, 0.25 * a + 0.75 * b, atol=1e-6)
    assert fused.dtype == np.float32


def test_a_lone_voter_is_taken_as_it_is():
    a = np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 3, 4)
    assert np.array_equal(fuse_rasters([VOTER], [a]), a)


@given(LEVELS, LEVELS)
def test_who_is_heard_takes_nothing_away_and_stays_below_its_own_word(a, c):
    fused = fuse_rasters([VOTER, OVERRIDER], [a, c])
    assert (fused >= a).all()
    assert (fused <= np.maximum(a, c) + 1e-6).all()
    unsure = np.broadcast_to(c[:1] <= 0.8, a.shape)
    assert np.array_equal(fused[unsure], a[unsure])


def test_who_is_certain_is_believed_and_its_first_channel_decides():
    a = np.full((2, 1, 2), 0.1, np.float32)
    c = np.array([[[1.0, 0.9]], [[0.6, 0.6]]], np.float32)
    fused = fuse_rasters([VOTER, OVERRIDER], [a, c])
    assert np.allclose(fused[:, 0, 0], [1.0, 0.6], atol=1e-6)
    assert np.allclose(fused[:, 0, 1], [0.5, 0.35], atol=1e-5)


@given(LEVELS, LEVELS, st.floats(-0.01, 0.01))
def test_a_small_change_stays_small(a, c, step):
    """Six times at most with `override_above` of 0.8: (b - f) / (1 - f) and the word itself."""
    near = np.clip(c + np.float32(step), 0, 1)
    change = np.abs(
        fuse_rasters([VOTER, OVERRIDER], [a, c]) - fuse_rasters([VOTER, OVERRIDER], [a, near])
    )
    assert change.max() <= 6 * abs(step) + 1e-5


def test_the_order_of_members_does_not_silence_one():
    a, c = np.full((1, 1, 1), 0.1, np.float32), np.full((1, 1, 1), 1.0, np.float32)
    assert (
        fuse_rasters([OVERRIDER, VOTER], [c, a]) == fuse_rasters([VOTER, OVERRIDER], [a, c]) == 1.0
    )


def test_asked_alone_who_is_heard_votes():
    c = np.full((2, 1, 1), 0.3, np.float32)
    assert np.array_equal(fuse_rasters([OVERRIDER], [c]), c)


def roads(*members: Member) -> dict[str, object]:
    """The roads detector with other members, as plain data."""
    facts = load_config(ROOT / "configs" / "roads.yaml").model_dump(mode="json")
    return {**facts, "members": [one.model_dump(mode="json") for one in members]}


def test_somebody_has_to_vote():
    with pytest.raises(ValueError, match="others that vote"):
        DetectorConfig.model_validate(roads(OVERRIDER))
    DetectorConfig.model_validate(roads(VOTER, OVERRIDER))


def test_what_is_no_probability_is_refused_by_name(tmp_path):
    facts = roads(VOTER, OVERRIDER)
    facts["members"][1]["override_above"] = 1.5
    path = tmp_path / "roads.yaml"
    path.write_text(yaml.safe_dump(facts), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"members\.1\.override_above"):
        load_config(path)


def test_detectors_of_objects_have_no_one_to_hear():
    facts = load_config(ROOT / "configs" / "aircraft.yaml").model_dump()
    facts["members"][0]["override_above"] = 0.5
    with pytest.raises(ValueError, match="needs output raster"):
        DetectorConfig.model_validate(facts)


def test_a_detector_in_which_all_vote_keeps_its_checksum():
    config = load_config(ROOT / "configs" / "aircraft.yaml")
    assert not any(
        "override_above" in one for one in (*config.facts["members"], config.facts["closer"])
    )
    overriding = DetectorConfig.model_validate(roads(VOTER, OVERRIDER))
    voting = DetectorConfig.model_validate(roads(VOTER, member("c")))
    assert [one.get("override_above") for one in overriding.facts["members"]] == [None, 0.8]
    assert config_sha256(voting) != config_sha256(overriding)
