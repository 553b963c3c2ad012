"""Imports run downward, and torch stays on its floor, as read and as run."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

LOADED = """
import importlib, pkgutil, sys
for name in sys.argv[1].split(","):
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(getattr(package, "__path__", []), name + "."):
        importlib.import_module(module.name)
print("\\n".join(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def loaded_by(names: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, names], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_contracts_hold():
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-logo", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("package", ["tiling", "postprocess", "server"])
def test_importing_a_floor_brings_no_torch_and_nothing_from_above(package):
    above = {
        "tiling": {"postprocess", "detectors", "server"},
        "postprocess": {"server", "detectors"},
        "server": {"detectors"},
    }[package]
    assert not loaded_by(package) & {"torch", "torchvision", *above}


def test_the_ground_floor_is_light():
    heavy = {"torch", "geopandas", "rasterio", "grpc", "tiling", "detectors", "postprocess"}
    assert (
        not loaded_by("lanner.core.errors,lanner.core.config,lanner.core.home,lanner.core.job")
        & heavy
    )


def test_the_command_line_starts_without_heavy_libraries():
    heavy = {"torch", "geopandas", "rasterio", "numpy", "grpc", "pydantic"}
    assert not loaded_by("lanner.cli.app") & heavy
