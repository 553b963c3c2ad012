"""What a start costs: what is imported for an answer, told by the modules that are there."""

import os
import subprocess
import sys

import pytest

SHOW = """
import sys
from lanner.__main__ import main
try:
    main()
except SystemExit as ended:
    code = ended.code or 0
print()
print(code, *sorted(sys.modules))
"""


def modules(*words: object) -> tuple[int, set[str]]:
    """Exit code of the program, and what it imported."""
    done = subprocess.run(
        [sys.executable, "-c", SHOW, *map(str, words)],
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
    )
    code, *names = done.stdout.splitlines()[-1].split()
    return int(code), set(names)


def test_help_loads_no_library_of_science():
    code, names = modules("--help")
    assert code == 0
    assert not names & {"numpy", "pydantic", "rasterio", "rich.progress", "ssl", "torch"}


def test_a_misspelt_path_is_told_before_any_library_is_loaded(tmp_path):
    code, names = modules("detect", tmp_path / "none.tif", "-d", "aircraft", "-o", "a.json")
    assert code == 10
    assert not names & {"numpy", "rasterio", "torch"}


@pytest.mark.parametrize("size", [0, 4000])
def test_a_damaged_scene_is_told_before_the_networks_are_loaded(tmp_path, size):
    scene = tmp_path / "scene.tif"
    assert modules("render", scene, "--size", "300x300", "-q")[0] == 0
    scene.write_bytes(scene.read_bytes()[:size])
    code, names = modules("detect", scene, "-d", "aircraft", "-o", tmp_path / "a.json")
    assert code == 10
    assert "rasterio" in names
    assert not names & {"torch", "geopandas", "scipy.ndimage"}


def test_a_detection_loads_no_compiler_and_no_second_gdal(tmp_path):
    scene = tmp_path / "scene.tif"
    assert modules("render", scene, "--size", "300x300", "-q")[0] == 0
    code, names = modules("detect", scene, "-d", "aircraft", "-o", tmp_path / "a.json", "-q")
    assert code == 0
    assert {"torch", "torchvision", "segmentation_models_pytorch", "geopandas"} <= names
    assert not names & {"torch._dynamo", "sympy", "pyogrio", "pyarrow.dataset", "grpc"}
