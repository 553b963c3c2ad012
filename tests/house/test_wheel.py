"""The wheel alone: built, installed into a fresh environment, used from any folder."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import numpy as np
import lanner

rng = np.random.default_rng(0)
found = lanner.detect(rng.integers(0, 255, (3, 160, 160), np.uint8), "aircraft", gsd=0.8)
print(lanner.__file__, len(found), found.summary["detector"]["release"])
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The interpreter of an environment that holds the wheel and what Lanner depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
    interpreter = folder / "env" / "bin" / "python"
    uv = [sys.executable, "-m", "uv", "--no-config", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*uv, "--offline", "--python", interpreter, wheel], check=True)
    # Its dependencies are ours, by path; our own editable install of Lanner is not among them.
    site = next((folder / "env" / "lib").glob("python*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return interpreter


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A folder whose files have the names of ours."""
    folder = tmp_path_factory.mktemp("mine")
    for name in ("detectors", "tiling", "postprocess"):
        (folder / f"{name}.py").write_text("raise SystemExit('the wrong module')\n")
    (folder / "server").mkdir()
    (folder / "server" / "__init__.py").write_text("raise SystemExit('the wrong package')\n")
    (folder / "configs").mkdir()
    (folder / "configs" / "aircraft.yaml").write_text("name: not-ours\n")
    return folder


def run(python: Path, folder: Path, *words: str) -> str:
    names = ("PYTHONPATH", "LANNER_HOME", "VIRTUAL_ENV")
    environment = {key: value for key, value in os.environ.items() if key not in names}
    done = subprocess.run(
        [python, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_command_line_works_among_files_of_our_names(python, elsewhere):
    listed = json.loads(run(python, elsewhere, "-m", "lanner", "detectors", "--json"))
    assert {one["name"]: one["problem"] for one in listed} == {"aircraft": None, "roads": None}


def test_python_works_among_files_of_our_names(python, elsewhere):
    (elsewhere / "script.py").write_text(SCRIPT)
    place, count, release = run(python, elsewhere, "script.py").split()
    assert Path(place).is_relative_to(python.parents[1])
    assert int(count) >= 0
    assert (ROOT / "weights" / "aircraft" / release).is_dir()


def test_types_and_licence_are_in_the_wheel(python, elsewhere):
    code = (
        "from importlib import metadata, resources;"
        "print(metadata.metadata('lanner')['License-Expression']);"
        "print(resources.files('lanner').joinpath('py.typed').is_file());"
        "print(any(str(p).endswith('licenses/LICENSE') for p in metadata.files('lanner')))"
    )
    assert run(python, elsewhere, "-c", code).split() == ["Apache-2.0", "True", "True"]


def test_a_module_of_our_name_that_came_first_is_told(python, elsewhere, tmp_path):
    (tmp_path / "detectors.py").write_text("")
    code = "import sys; sys.path.insert(0, '.'); import detectors\ntry: import lanner\n"
    code += "except ImportError as error: print('detectors' in str(error))"
    assert run(python, tmp_path, "-c", code).strip() == "True"
