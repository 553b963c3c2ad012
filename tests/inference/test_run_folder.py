"""Which folders a run is let into: new, empty, or left by a run."""

import json
import os
import tempfile
from pathlib import Path

import pytest

from lanner.core.errors import OutputError
from lanner.inference.manifest import FILE
from lanner.inference.run_folder import LEDGER, LOOKS, check_run_dir, run_folder

SCENE = "elsewhere/scene.tif"


def filled(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def refused(folder: Path, scene: str = SCENE) -> str:
    with pytest.raises(OutputError) as caught:
        check_run_dir(folder, scene)
    assert "name a new folder" in str(caught.value)
    return str(caught.value)


def test_it_may_be_new_but_not_below_a_file(tmp_path, monkeypatch):
    check_run_dir(tmp_path / "not" / "yet", SCENE)
    assert not (tmp_path / "not").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        check_run_dir(tmp_path / "file" / "run", SCENE)
    monkeypatch.chdir(tmp_path)
    check_run_dir(Path("run"), SCENE)


def test_a_name_that_sqlite_does_not_open(tmp_path):
    with pytest.raises(OutputError, match="no valid Unicode"):
        check_run_dir(tmp_path / os.fsdecode(b"l\xe4ufe"), SCENE)


def test_no_place_for_temporary_files_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(OutputError, match=r"TMPDIR.*gone"), run_folder(None):
        pass


def test_it_may_be_empty_or_what_a_killed_run_left(tmp_path):
    check_run_dir(filled(tmp_path / "empty", **{".DS_Store": ""}), SCENE)
    begun = {LEDGER: "", f"{LEDGER}-wal": "", f".{FILE[:-5]}.7.json": "{"}
    check_run_dir(filled(tmp_path / "early", **begun), SCENE)
    files = {LEDGER: "", LOOKS: "", f"{LOOKS}-wal": ""}
    check_run_dir(filled(tmp_path / "looked", **files), SCENE)
    manifest = json.dumps({"lanner": "1", "key": "k"})
    check_run_dir(filled(tmp_path / "manifest", **{FILE: manifest}), SCENE)
    check_run_dir(filled(tmp_path / "run", **{FILE: manifest, "clean.tif": ""}), SCENE)


@pytest.mark.parametrize("manifest", [None, "no JSON", "[]", '{"name": "a dataset of mine"}'])
def test_files_of_others_are_not_written_over(tmp_path, manifest):
    mine = filled(tmp_path / "mine", **{"clean.tif": "mine", LEDGER: ""})
    if manifest is not None:
        (mine / FILE).write_text(manifest)
    assert f"no {FILE} of a run" in refused(mine)


def test_the_folder_of_the_scene_is_no_run_folder(tmp_path, monkeypatch):
    manifest = json.dumps({"lanner": "1", "key": "k"})
    folder = filled(tmp_path / "run", **{FILE: manifest, "clean.tif": "a scene"})
    scene = folder / "clean.tif"
    assert "holds the scene itself" in refused(folder, str(scene))
    os.symlink(scene, tmp_path / "link.tif")
    assert "holds the scene itself" in refused(folder, str(tmp_path / "link.tif"))
    monkeypatch.chdir(folder)
    assert "holds the scene itself" in refused(Path(), "clean.tif")
    # A link in the folder would be taken for a raster of ours as well.
    os.rename(scene, tmp_path / "far.tif")
    os.symlink(tmp_path / "far.tif", scene)
    assert "holds the scene itself" in refused(Path(), "clean.tif")
    check_run_dir(Path(), str(tmp_path / "far.tif"))
    check_run_dir(Path(), "https://example.org/" + "a" * 5000)
