"""`lanner doctor`: whether this machine can do what is asked of it, and what to do where not."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from lanner.cli.reporting import AsJson, Debug, reporting
from lanner.cli.settings import Config, merged, with_settings
from lanner.cli.state import state_folder
from lanner.core.errors import AddressError, LannerError

State = Literal["good", "note", "bad"]

_LITTLE_BYTES = 5 << 30
_CLOCK_S = 60.0
"""How far the database's clock may be from this machine's: leases and tokens go by it."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: State
    text: str
    remedy: str = ""


Check = Callable[[], Iterator[Finding]]


@with_settings(("data", "database"))
def doctor(
    given: dict[str, Any],
    config: Config = None,
    port: Annotated[
        list[int] | None,
        typer.Option(
            "--port",
            "-p",
            show_default="those of the settings",
            help="Ports that it is to listen on.",
        ),
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Look at this machine: device, libraries, detectors, disk, ports, clock and database.

    Exits with 1 where something is bad.

        lanner doctor --database postgresql+psycopg://lanner@db/lanner
    """
    with reporting(debug):
        settings = merged(given, config).settings
        named = (settings.port, settings.http_port, settings.metrics_port)
        ports = port or [one for one in named if one is not None]
        folder = settings.data or state_folder(ports[0])
        checks: Sequence[Check] = (
            _libraries,
            _devices,
            _detectors,
            lambda: _disk(folder),
            lambda: _ports(ports),
            lambda: _database(folder, settings.database),
        )
        found = [one for check in checks for one in _safely(check)]
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], indent=2))
    else:
        _show(found)
    if any(one.state == "bad" for one in found):
        raise typer.Exit(1)


def _safely(check: Check) -> Iterator[Finding]:
    """What a check finds, or the error that it ends with."""
    try:
        yield from check()
    except LannerError as error:
        yield Finding(str(error.argument), "bad", f"{error.value}: {error.problem}", error.remedy)


def _libraries() -> Iterator[Finding]:
    from importlib.metadata import version

    import rasterio

    import lanner

    names = ("torch", "grpcio", "geopandas")
    text = ", ".join(f"{name} {version(name)}" for name in names)
    yield Finding(
        "versions", "good", f"lanner {lanner.__version__}, {text}, GDAL {rasterio.__gdal_version__}"
    )


def _devices() -> Iterator[Finding]:
    from detectors.device import compute

    chosen = compute("auto")
    yield Finding("device", "good", f"auto is {chosen.device}: {chosen.identity}")
    import torch

    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(number)
            name = torch.cuda.get_device_name(number)
            yield Finding(
                f"cuda:{number}",
                "good",
                f"{name}, {free / 2**30:.1f} of {total / 2**30:.1f} GB free",
            )
    elif shutil.which("nvidia-smi"):
        yield Finding(
            "cuda",
            "bad",
            "the machine has NVIDIA's driver, and torch sees no device",
            "see that nvidia-smi lists one and that CUDA_VISIBLE_DEVICES does not hide it",
        )
    else:
        from lanner.core.machine import cores

        yield Finding("cuda", "note", f"no GPU: the {cores()} cores compute")


def _detectors() -> Iterator[Finding]:
    from detectors.catalog import check_release
    from lanner.inference.registry import find, list_detectors

    for one in list_detectors():
        if one.problem is not None:
            yield Finding(one.name, "bad", one.problem, "fetch the release again")
            continue
        check_release(find(one.name))
        yield Finding(one.name, "good", f"release {one.release}, its files are as its card says")


def _disk(folder: Path | None) -> Iterator[Finding]:
    import tempfile

    for what, path in (("--data", folder), ("temporary files", Path(tempfile.gettempdir()))):
        if path is None:
            continue
        nearest = path
        while not nearest.exists():
            nearest = nearest.parent
        free = shutil.disk_usage(nearest).free
        text = f"{path}: {free / 2**30:.1f} GB free"
        if not os.access(nearest, os.W_OK):
            yield Finding(what, "bad", f"{nearest} cannot be written to", "name another folder")
        elif free < _LITTLE_BYTES:
            yield Finding(what, "bad", text, "free space: results and uploads go there")
        else:
            yield Finding(what, "good", text)


def _ports(ports: Sequence[int]) -> Iterator[Finding]:
    from server.address import bound

    for port in ports:
        try:
            bound("127.0.0.1", port, "port").close()
        except AddressError as error:
            yield Finding(f"port {port}", "note", error.problem, error.remedy)
        else:
            yield Finding(f"port {port}", "good", "is free")


def _database(folder: Path | None, url: str | None) -> Iterator[Finding]:
    from server.database.engine import Database, default_url
    from server.jobs.store import JobStore

    if url is None:
        if folder is None or not (folder / "jobs.sqlite").exists():
            yield Finding("database", "note", "none yet: a server makes it")
            return
        url = default_url(folder)
    before = time.time()
    opened = Database(url)
    try:
        with opened.reading() as db:
            there = opened.now(db)
        counts = JobStore(opened).counts()
    finally:
        opened.close()
    text = ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "no jobs"
    yield Finding("database", "good", f"answers in {(time.time() - before) * 1000:.0f} ms; {text}")
    if abs(there - before) > _CLOCK_S:
        yield Finding(
            "clock",
            "bad",
            f"the database's is {there - before:+.0f} s from this machine's",
            "set both by NTP: leases and tokens go by them",
        )
    else:
        yield Finding("clock", "good", "agrees with the database's")


def _show(found: Sequence[Finding]) -> None:
    console = Console(highlight=False)
    marks = {"good": "[green]good[/]", "note": "[yellow]note[/]", "bad": "[red]bad [/]"}
    for one in found:
        console.print(f"{marks[one.state]}  [bold]{one.what}[/]: ", end="")
        console.print(one.text, markup=False)
        if one.remedy:
            console.print(f"      {one.remedy}", markup=False)
