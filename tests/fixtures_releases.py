"""A home with two releases of the detector `tiny` side by side."""

import shutil
from pathlib import Path

import pytest
import yaml

from detectors.card import seal
from tests.fixtures_home import FACTS, OBJECTS


def release_beside(home: Path, number: str, **changes: object) -> Path:
    """A release of `tiny` beside 1.0.0, whole with its `detector.yaml`."""
    old, folder = home / "weights" / "tiny" / "1.0.0", home / "weights" / "tiny" / number
    shutil.copytree(old, folder)
    (folder / "card.yaml").unlink()
    # Other bytes of the same meaning, so that releases have other checksums.
    calibration = '{"curve": {"kind": "identity"}}' + "\n" * int(number.split(".")[1])
    (folder / "calibration.json").write_text(calibration)
    config = {**OBJECTS, "release": number, **changes}
    (folder / "detector.yaml").write_text(yaml.safe_dump(config))
    seal(folder, {"detector": config["name"], "release": number, **FACTS})
    return folder


@pytest.fixture
def two_releases(tiny_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`LANNER_HOME` with tiny 1.0.0, which `configs/` names, and 1.1.0, which finds less."""
    home = tmp_path / "home"
    shutil.copytree(tiny_home, home)
    release_beside(home, "1.1.0", fusion={"min_score": 0.4})
    monkeypatch.setenv("LANNER_HOME", str(home))
    return home
