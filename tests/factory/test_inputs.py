"""Which files a step is made from: those that parameters declare to name, and no others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from lanner.core.config import Strict
from lanner.factory.config import FactoryConfig
from lanner.factory.ops.paths import DataPath, FactoryPath, Names, named_paths
from lanner.factory.ops.registry import BUILTIN, op
from lanner.factory.project import Project
from lanner.factory.runner import step_key
from tests.fixtures_process import FIRST, ROOT


def project_of(tmp_path: Path, process=(), members=None) -> Project:
    (tmp_path / "data").mkdir(exist_ok=True)
    (tmp_path / "configs").mkdir(exist_ok=True)
    config = FactoryConfig.model_validate({
        "factory": "t", "detector": str(ROOT / "configs" / "aircraft.yaml"),
        "data": str(tmp_path / "data"), "sources": [FIRST], "process": list(process),
        "train": {"members": members or {}},
    })  # fmt: skip
    return Project(config, tmp_path / "configs" / "t.factory.yaml", tmp_path / "work")


def fill(folder: Path, text: str = "x") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.bin").write_text(text)


PLAIN = [
    {"op": "render", "kind": "aircraft", "label": "plane", "source": "rendered"},
    {"op": "reassign_split", "source": "first", "split": "test", "to": "valid"},
    {"op": "select", "sources": ["first"], "drop": ["first"], "splits": ["train"]},
    {"op": "tile", "empty": "keep"},
    {"op": "pseudo_labels", "model": "aircraft", "sources": ["first"]},
    {"op": "bands", "bands": ["red", "green", "blue"]},
    {"op": "masks_from_boxes", "shadow": "keep", "guess_from": "release"},
]


@pytest.mark.parametrize("spec", PLAIN, ids=lambda one: one["op"])
def test_a_word_that_a_folder_is_called_like_names_no_folder(tmp_path, spec):
    project = project_of(tmp_path, [spec])
    before = step_key(project, "process")
    words = [
        one for value in spec.values() for one in ([value] if isinstance(value, str) else value)
    ]
    for word in words:
        for base in ("data", "configs"):
            fill(tmp_path / base / word)
    assert step_key(project, "process") == before


def test_files_that_an_operation_names_count(tmp_path):
    spec = {"op": "composites", "cutouts": "cut", "photographs": "whole", "backgrounds": ["first"]}
    project = project_of(tmp_path, [spec, {"op": "masks_from_boxes", "guess_from": "w/a.bin"}])
    keys = [step_key(project, "process")]
    for folder in ("data/cut", "data/whole", "configs/w"):
        fill(tmp_path / folder)
        keys.append(step_key(project, "process"))
    fill(tmp_path / "configs/w", "y")
    keys.append(step_key(project, "process"))
    assert len(set(keys)) == len(keys)
    # Relative to what they are read from, and not to what else there is.
    for folder in ("configs/cut", "configs/whole", "data/w"):
        fill(tmp_path / folder)
        assert step_key(project, "process") == keys[-1]
    # A file counts by content, a folder by its listing.
    os.utime(tmp_path / "configs/w/a.bin", (1, 1))
    assert step_key(project, "process") == keys[-1]
    os.utime(tmp_path / "data/cut/a.bin", (1, 1))
    assert step_key(project, "process") != keys[-1]


def test_members_name_weights_and_other_members(tmp_path):
    members = {
        "retinanet": {"start": "release"},
        "resunet": {"encoder_from": "retinanet", "start": "mine/a.bin"},
    }
    project = project_of(tmp_path, members=members)
    before = step_key(project, "train")
    for word in ("release", "retinanet"):
        fill(tmp_path / "configs" / word)
        fill(tmp_path / "data" / word)
    assert step_key(project, "train") == before
    fill(tmp_path / "data/mine")
    assert step_key(project, "train") == before
    fill(tmp_path / "configs/mine")
    assert step_key(project, "train") != before


def test_an_unknown_operation_is_for_explore_to_tell(tmp_path):
    process = [{"op": "rendre"}, {"op": "render", "kind": "boats"}]
    assert step_key(project_of(tmp_path, process), "process")


class Inner(Strict):
    weights: FactoryPath
    note: str = "n"


class Params(Strict):
    many: tuple[DataPath, ...] = ()
    named: dict[str, DataPath] = Field(default_factory=dict)
    maybe: Annotated[str, Names("factory", but=("release",))] | None = None
    inner: tuple[Inner, ...] = ()
    plain: str = "p"
    default: DataPath = "always"


def test_where_paths_may_stand_in_parameters():
    params = Params(
        many=("b", "a"), named={"y": "2", "x": "1"}, maybe="w",
        inner=({"weights": "deep"},), plain="q",
    )  # fmt: skip
    assert list(named_paths(params)) == [
        ("data", "always"), ("factory", "deep"), ("data", "b"), ("data", "a"), ("factory", "w"),
        ("data", "1"), ("data", "2"),
    ]  # fmt: skip
    assert list(named_paths(Params(maybe="release"))) == [("data", "always")]


def test_operations_that_name_files_say_so():
    """One that reads a file and does not declare it would be skipped when the file changes."""
    declared = {
        name: {base for base, _ in named_paths(op(name).params.model_construct(**filled(name)))}
        for name in BUILTIN
    }
    assert {name for name, bases in declared.items() if bases} == {"composites", "masks_from_boxes"}
    assert declared["composites"] == {"data"}
    assert declared["masks_from_boxes"] == {"factory"}


def filled(name: str) -> dict[str, str]:
    """Something in each parameter of text."""
    return dict.fromkeys(op(name).params.model_fields, "x")
