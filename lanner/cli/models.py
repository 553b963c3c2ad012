"""`lanner models`: releases of detectors side by side, and which is the default."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from lanner.cli.progress import cancel_on_signal
from lanner.cli.reporting import AsJson, Debug, reporting
from lanner.core.errors import ConfigError, LannerError, ServerError, WeightsError

if TYPE_CHECKING:
    from detectors.install import Added
    from lanner.core.job import Cancel

models = typer.Typer(
    no_args_is_help=True,
    help="Keep several releases of a detector side by side: NAME@RELEASE names one, NAME the "
    "default.",
)

Release = Annotated[
    str, typer.Argument(metavar="NAME@RELEASE", help="A release, as `list` has it.")
]


@models.command("list")
def listing(as_json: AsJson = False, debug: Debug = False) -> None:
    """List the releases that are there; each is compared with its card.

    A star marks the default of each detector.
    """
    with reporting(debug):
        from detectors.install import list_releases
        from lanner.cli.tables import releases_table
        from lanner.core.home import home

        found = list_releases(home())
        if as_json:
            typer.echo(json.dumps([asdict(one) for one in found], indent=2))
        else:
            Console().print(releases_table(found))


@models.command()
def default(release: Release, debug: Debug = False) -> None:
    """Make a release the default: what its detector's name means from the next request on.

    Its files are compared with its card first. Servers that run need no restart.

        lanner models default aircraft@1.9.0
    """
    with reporting(debug):
        from detectors.install import set_default
        from lanner.core.home import home

        _check_chain(release)
        change = set_default(home(), release)
        if change.before == change.after:
            typer.echo(f"{change.name} is {change.after} already", err=True)
        else:
            was = f"; it was {change.before}" if change.before else ""
            typer.echo(f"{change.name} is {change.after} from now on{was}", err=True)


@models.command()
def rollback(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A detector.")], debug: Debug = False
) -> None:
    """Go back to the default that the present one took the place of; again goes back further."""
    with reporting(debug):
        from detectors.install import roll_back
        from lanner.core.home import home

        change = roll_back(home(), name)
        typer.echo(f"{change.name} is {change.after} again; it was {change.before}", err=True)


@models.command()
def add(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A release folder, a .zip or .tar.gz of one, or the https address of such a file.",
        ),
    ],
    sha256: Annotated[
        str | None,
        typer.Option(
            "--sha256",
            metavar="SUM",
            show_default=False,
            help="What the archive must have; an http address needs it.",
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Put a release beside the others, once its files are compared with its card.

    The default stays what it is; of a new detector it is the first release.

        lanner models add https://models.example.org/aircraft-1.10.0.tar.gz
    """
    from lanner.core.job import Cancel

    cancel = Cancel()
    with (
        reporting(debug),
        cancel_on_signal(cancel, Console(stderr=True)),
        _local(source, sha256, cancel) as path,
    ):
        from detectors.install import add as add_release
        from lanner.core.home import home

        _tell_added(add_release(home(), path))


@models.command()
def remove(release: Release, debug: Debug = False) -> None:
    """Remove a release that is not the default."""
    with reporting(debug):
        from detectors.install import remove as remove_release
        from lanner.core.home import home

        typer.echo(f"removed {remove_release(home(), release)}", err=True)


def _tell_added(done: Added) -> None:
    """Where it is, and what is left to do."""
    name = f"{done.name}@{done.release}"
    typer.echo(f"{name} {'is' if done.new else 'was already'} in {done.folder}", err=True)
    try:
        _check_chain(name)
    except LannerError as error:
        typer.echo(f"note: it cannot run yet: {error}", err=True)
    if not done.default:
        typer.echo(f"to make it the default: lanner models default {name}", err=True)


def _check_chain(release: str) -> None:
    """Whether this installation has the steps of a release's chain.

    Raises:
        LannerError: it has not, or there is no such release.
    """
    from lanner.inference.registry import properties_schema

    properties_schema(release)


@contextmanager
def _local(source: str, sha256: str | None, cancel: Cancel) -> Iterator[Path]:
    """A source as a file or folder here; what is fetched is removed afterwards.

    Raises:
        ConfigError: an address that nobody vouches for, or a checksum of a folder.
        WeightsError: the archive has another checksum.
        LannerError: the address cannot be read.
    """
    if "://" not in source:
        path = Path(source)
        if sha256 is not None and path.is_file():
            with path.open("rb") as file:
                _check_sum(source, hashlib.file_digest(file, "sha256").hexdigest(), sha256)
        elif sha256 is not None:
            raise ConfigError("--sha256", sha256, f"{source} is no file", "leave it out")
        yield path
        return
    from tiling.names import beginning, display_name

    scheme = beginning(source)
    if scheme not in ("https://", "http://") or (scheme == "http://" and sha256 is None):
        raise ConfigError(
            "release",
            display_name(source),
            "is no https address",
            "give one, or an http address with --sha256",
        )
    folder = Path(tempfile.mkdtemp(prefix="lanner-"))
    try:
        path = folder / "release"
        path.write_bytes(_fetched(source, sha256, cancel))
        yield path
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fetched(address: str, sha256: str | None, cancel: Cancel) -> bytes:
    from detectors.unpack import MOST_BYTES
    from lanner.archives.sources.unread import UnreadError
    from lanner.archives.sources.web import fetch
    from tiling.names import display_name

    try:
        body = fetch(address, cancel, most=MOST_BYTES).body
    except UnreadError as error:
        kind = ServerError if error.later else ConfigError
        where = display_name(error.address)
        raise kind("release", where, error.problem, error.remedy) from error
    if sha256 is not None:
        _check_sum(display_name(address), hashlib.sha256(body).hexdigest(), sha256)
    return body


def _check_sum(source: str, found: str, wanted: str) -> None:
    if found != wanted.strip().lower():
        raise WeightsError(
            "--sha256",
            wanted,
            f"{source} has {found}",
            "ask who made it which is right; nothing was put in place",
        )
