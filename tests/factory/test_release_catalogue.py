"""A release holds the files that its chain reads: edits elsewhere change nothing that it says."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from detectors.card import load_card, seal
from lanner.cli.app import app
from lanner.core.config import load_config
from lanner.core.errors import ConfigError, WeightsError
from lanner.core.job import Cancel, DetectRequest
from lanner.inference.manifest import FILE
from lanner.inference.pipeline import detect
from lanner.inference.registry import list_detectors
from lanner.synth.scene import render
from lanner.synth.spec import RenderSpec

ROOT = Path(__file__).resolve().parents[2]
RELEASE = load_config(ROOT / "configs" / "aircraft.yaml").release
CATALOGUE = ("types.yaml", "taxonomy.yaml")


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("scene") / "field.tif"
    render(path, RenderSpec(width=224, height=224, gsd=0.8, seed=3, aircraft=4, roads=False))
    return str(path)


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A home with the released aircraft detector, whose files may be changed."""
    home = tmp_path / "home"
    folder = home / "weights" / "aircraft" / RELEASE
    folder.mkdir(parents=True)
    (home / "configs").mkdir()
    for name in ("aircraft.yaml", *CATALOGUE):
        shutil.copy(ROOT / "configs" / name, home / "configs")
    for path in (ROOT / "weights" / "aircraft" / RELEASE).iterdir():
        if path.suffix == ".safetensors":
            os.symlink(path, folder / path.name)
        else:
            shutil.copy(path, folder)
    monkeypatch.setenv("LANNER_HOME", str(home))
    return home


def released(home: Path) -> Path:
    return home / "weights" / "aircraft" / RELEASE


def found(scene: str, detector: str = "aircraft", run_dir: Path | None = None):
    return detect(DetectRequest(scene, detector, run_dir=run_dir), Cancel(), lambda _: None)


def best(result) -> list[str]:
    return [json.loads(text)["properties"]["types"][0]["icao"] for text in result.features]


def renamed(path: Path, mark: str = "Z") -> Path:
    """A catalogue in which every designator is another one."""
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"icao": "', f'"icao": "{mark}'), encoding="utf-8")
    return path


def test_every_release_brings_the_files_that_its_chain_reads():
    card = load_card(ROOT / "weights" / "aircraft" / RELEASE)
    assert set(card.chain_files) == set(CATALOGUE)
    for name in CATALOGUE:
        # What the next release takes may be ahead of it, and then wants another number.
        assert (ROOT / "weights" / "aircraft" / RELEASE / name).is_file()
        assert name in card.files


def test_a_release_says_the_same_whatever_lies_in_configs(home, scene):
    before = found(scene)
    assert len(before.features) > 1
    renamed(home / "configs" / "types.yaml")
    (home / "configs" / "taxonomy.yaml").unlink()
    after = found(scene)
    assert list(after.features) == list(before.features)
    held = {name: load_card(released(home)).files[name] for name in CATALOGUE}
    assert after.summary["detector"]["chain_files"] == held


@pytest.mark.parametrize("how", ["changed", "gone"])
@pytest.mark.parametrize("name", CATALOGUE)
def test_a_released_catalogue_is_refused_like_weights(home, scene, name, how):
    path = released(home) / name
    if how == "changed":
        path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    else:
        path.unlink()
    with pytest.raises(WeightsError, match=name):
        found(scene)
    (listed,) = list_detectors()
    assert name in (listed.problem or "")
    checked = CliRunner().invoke(app, ["detectors", "--check"])
    assert (checked.exit_code, name in checked.stderr) == (16, True)


def test_a_card_that_lists_no_such_file_is_refused(home, scene):
    path = released(home) / "card.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("types.yaml: types.yaml", "types.yaml: kinds.yaml"))
    with pytest.raises(WeightsError, match=r"chain_files has kinds\.yaml"):
        found(scene)


def test_a_detector_of_ones_own_may_name_another_catalogue(home, scene, tmp_path):
    mine = renamed(Path(shutil.copy(home / "configs" / "types.yaml", tmp_path / "mine.yaml")))
    own = tmp_path / "own.yaml"
    text = (home / "configs" / "aircraft.yaml").read_text(encoding="utf-8")
    own.write_text(text.replace("- step: identify", f"- step: identify\n    catalogue: {mine}"))
    run = tmp_path / "run"
    first, one = found(scene, str(own), run), json.loads((run / FILE).read_text())
    assert all(code.startswith("Z") for code in best(first))
    # Changed meanwhile: the tiles are those that were seen, every type is of the new catalogue.
    tiles = (run / "tiles.sqlite").read_bytes()
    renamed(mine, "Y")
    second, two = found(scene, str(own), run), json.loads((run / FILE).read_text())
    assert [code[:2] for code in best(second)] == ["YZ"] * len(best(first))
    assert (run / "tiles.sqlite").read_bytes() == tiles
    assert one["key"] == two["key"]
    files = [one["detector"]["chain_files"], two["detector"]["chain_files"]]
    assert files[0][str(mine)] != files[1][str(mine)]
    assert files[0]["taxonomy.yaml"] == files[1]["taxonomy.yaml"]
    mine.unlink()
    with pytest.raises(ConfigError, match=r"mine\.yaml"):
        found(scene, str(own), run)


def test_an_older_release_without_a_catalogue_reads_the_one_in_configs(home, scene):
    facts = load_card(released(home)).model_dump(mode="json")
    for name in CATALOGUE:
        (released(home) / name).unlink()
    seal(released(home), {k: v for k, v in facts.items() if k not in ("files", "chain_files")})
    renamed(home / "configs" / "types.yaml")
    assert all(code.startswith("Z") for code in best(found(scene)))
    checked = CliRunner().invoke(app, ["detectors", "--check"])
    assert checked.exit_code == 0
    for name in CATALOGUE:
        assert f"reads {home / 'configs' / name}, which is not part" in checked.stdout
