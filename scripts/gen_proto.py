"""Regenerate `lanner/v1/` from `proto/`, or check that the committed code is current.

    python scripts/gen_proto.py            write the generated files
    python scripts/gen_proto.py --check    exit 1 and name the files that differ

Needs grpcio-tools and mypy-protobuf (development dependencies).
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import google.api
import google.longrunning
import google.rpc
import grpc_tools  # type: ignore[import-untyped]  # ships no types
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
PACKAGE = Path("lanner") / "v1"

# What differs between two releases of the generators that write the same code.
_VERSIONS = re.compile(
    r"# Protobuf Python Version: .*|GRPC_GENERATED_VERSION = '.*'"
    r"|Domain\.PUBLIC,\s+\d+,\s+\d+,\s+\d+,\s+'[^']*'"
)


def generate(target: Path) -> dict[str, str]:
    """Compile every .proto under `proto/` into `target` and return name -> text, sorted.

    Raises:
        SystemExit: the compiler refused a file (it has said why on stderr).
    """
    sources = sorted(path.relative_to(PROTO).as_posix() for path in PROTO.rglob("*.proto"))
    # The plug-ins sit beside the interpreter that runs this script, on PATH or not.
    plugins = [
        f"--plugin=protoc-gen-{name}={Path(sys.executable).parent / f'protoc-gen-{name}'}"
        for name in ("mypy", "mypy_grpc")
    ]
    outputs = [
        f"--{kind}_out={option}{target}"
        for kind, option in (
            ("python", ""),
            ("grpc_python", ""),
            ("mypy", "quiet:"),
            ("mypy_grpc", "quiet:"),
        )
    ]
    with tempfile.TemporaryDirectory() as scratch:
        others = _google(Path(scratch))
        includes = [f"-I{PROTO}", f"-I{others}"]
        code = protoc.main(["protoc", *includes, *plugins, *outputs, *sources])
    if code:
        raise SystemExit(code)
    # A file without a service yields stubs with nothing in them: left out.
    return {
        path.name: path.read_text(encoding="utf-8")
        for path in sorted((target / PACKAGE).iterdir())
        if "_pb2_grpc" not in path.name or "Stub" in path.read_text(encoding="utf-8")
    }


def _google(folder: Path) -> Path:
    """The .proto files of Google that ours import, each under its own name.

    They come with googleapis-common-protos (which has another name for one of them) and
    grpcio-tools.
    """
    for package in (google.api, google.longrunning, google.rpc):
        for path in Path(package.__path__[0]).glob("*.proto"):
            name = path.name.replace("operations_proto.proto", "operations.proto")
            target = folder / Path(*package.__name__.split(".")) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    shutil.copytree(
        Path(grpc_tools.__file__).parent / "_proto" / "google" / "protobuf",
        folder / "google" / "protobuf",
    )
    return folder


def differing(fresh: dict[str, str], folder: Path) -> list[str]:
    """Names of the generated files in `folder` that are missing, stale or left over."""
    present = {p.name: p.read_text(encoding="utf-8") for p in folder.glob("*_pb2*.py*")}
    return sorted(
        name
        for name in fresh.keys() | present.keys()
        if _VERSIONS.sub("", fresh.get(name, "missing"))
        != _VERSIONS.sub("", present.get(name, "missing"))
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="change nothing, report differences")
    parser.add_argument("--folder", type=Path, default=ROOT / PACKAGE, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        fresh = generate(Path(scratch))
    stale = differing(fresh, options.folder)
    if options.check:
        for name in stale:
            sys.stderr.write(f"{PACKAGE / name} is not what proto/ makes; run gen_proto.py\n")
        return 1 if stale else 0
    for name in stale:
        if name in fresh:
            (options.folder / name).write_text(fresh[name], encoding="utf-8")
        else:
            (options.folder / name).unlink()
    sys.stdout.write(f"{len(stale)} of {len(fresh)} files written\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
