"""Names of scenes: safe, and each used once, whatever scenes are called."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from lanner.archives.scenes import SceneFilter
from lanner.archives.sources import find_scenes
from lanner.archives.sources.names import LONGEST, safe_name, unique_names
from lanner.core.job import Cancel

TEXTS = st.text() | st.sampled_from(["a", "A", "a-0", "..", "scene", "é", "e", "x" * 99, "x" * 150])


def digits(uri: str) -> str:
    return hashlib.sha256(uri.encode()).hexdigest()[:8]


@given(TEXTS)
def test_a_name_is_safe(text):
    name = safe_name(text)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name)
    assert len(name) <= LONGEST
    assert safe_name(name) == name


@given(st.lists(TEXTS, max_size=12), st.data())
def test_no_two_names_are_alike_and_the_order_changes_nothing(texts, data):
    scenes = [(text, f"s3://bucket/{k}") for k, text in enumerate(texts)]
    # Somebody calls a scene what another becomes.
    scenes += [(f"{safe_name(t)[:91]}-{digits(u)}", f"{u}/again") for t, u in scenes[:3]]
    names = unique_names(scenes)
    assert len({name.lower() for name in names}) == len(scenes)
    assert all(safe_name(name) == name for name in names)
    order = data.draw(st.permutations(range(len(scenes))))
    assert unique_names([scenes[k] for k in order]) == tuple(names[k] for k in order)


def test_only_those_of_one_name_get_digits():
    scenes = [("a", "s3://b/1"), ("A", "s3://b/2"), ("c", "s3://b/3")]
    expected = (f"a-{digits('s3://b/1')}", f"A-{digits('s3://b/2')}", "c")
    assert unique_names(scenes) == expected


def test_files_of_one_name_in_several_folders(tmp_path: Path):
    files = [tmp_path / folder / "B04.tif" for folder in ("one", "two")]
    for file in [*files, tmp_path / "two" / "other.tif"]:
        file.parent.mkdir(exist_ok=True)
        file.touch()
    found = find_scenes([str(tmp_path)], SceneFilter(), Cancel())
    named = {scene.uri: scene.name for scene in found.scenes}
    assert named[str(tmp_path / "two" / "other.tif")] == "other"
    assert [named[str(file)] for file in files] == [f"B04-{digits(str(file))}" for file in files]
    assert len(found.notes) == 1


def test_names_are_unique_over_all_sources(tmp_path: Path):
    for folder, name in (("one", "SceneA"), ("two", "Scenea")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.tif").touch()
    sources = [str(tmp_path / "two"), str(tmp_path / "one")]
    found = find_scenes(sources, SceneFilter(), Cancel())
    assert [Path(scene.uri).parent.name for scene in found.scenes] == ["two", "one"]
    assert all(re.fullmatch(r"Scene[aA]-[0-9a-f]{8}", scene.name) for scene in found.scenes)
