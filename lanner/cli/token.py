"""`lanner token`: who may call a server that other machines reach."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lanner.cli.reporting import AsJson, Debug, reporting
from lanner.cli.settings import Config, merged, with_settings
from lanner.cli.state import state_folder
from lanner.core.errors import ConfigError

if TYPE_CHECKING:
    from server.tokens import TokenStore

token = typer.Typer(
    no_args_is_help=True,
    help="Make, list and revoke the tokens that a server asks its callers for.",
)

_PLACE = ("data", "database", "port")
"""Settings that say where a server keeps its tokens; from where its own come, so do these."""


class RoleName(StrEnum):
    """What a token may do."""

    READ = "read"
    RUN = "run"
    REVIEW = "review"
    ADMIN = "admin"


@token.command()
@with_settings(_PLACE)
def new(
    given: dict[str, Any],
    client: Annotated[
        str, typer.Argument(help="Whose it is; tokens of one client see the same jobs.")
    ],
    role: Annotated[
        RoleName,
        typer.Option(
            "--role",
            help="read: detectors and results; run: detections and uploads, too; review: decide "
            "on features, too; admin: everything.",
        ),
    ] = RoleName.RUN,
    days: Annotated[
        float | None,
        typer.Option(
            "--days", min=0.0, show_default="it does not expire", help="How long it lasts."
        ),
    ] = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Make a token and print it: it is kept nowhere, so keep it now.

    lanner token new qgis-anna --role run --days 90
    """
    with reporting(debug), _store(given, config) as store:
        made, text = store.new(client, role.value, None if days is None else days * 86400)
        typer.echo(text)
        until = "until it is revoked" if made.expires is None else f"until {_day(made.expires)}"
        typer.echo(f"token {made.id} of {client}, role {role.value}, {until}", err=True)


@token.command("list")
@with_settings(_PLACE)
def listing(
    given: dict[str, Any],
    as_json: AsJson = False,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """List tokens: their ids, whose they are, and until when."""
    import json
    from dataclasses import asdict

    with reporting(debug), _store(given, config) as store:
        found = store.list()
        if as_json:
            typer.echo(json.dumps([asdict(one) for one in found]))
            return
        for one in found:
            state = "revoked" if one.revoked is not None else "valid"
            if one.expires is not None and one.revoked is None:
                over = one.expires <= time.time()
                state = f"{'expired' if over else 'until'} {_day(one.expires)}"
            typer.echo(f"{one.id}  {one.role:6}  {_day(one.created)}  {state:16}  {one.client}")


@token.command()
@with_settings(_PLACE)
def revoke(
    given: dict[str, Any],
    identity: Annotated[str, typer.Argument(metavar="ID", help="Of the token, as `list` has it.")],
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Refuse a token from now on; running servers notice within five seconds."""
    with reporting(debug), _store(given, config) as store:
        if not store.revoke(identity):
            raise ConfigError(
                "token", identity, "is no token that is valid", "see `lanner token list`"
            )
        typer.echo(f"revoked {identity}", err=True)


@contextmanager
def _store(given: dict[str, Any], config: Path | None) -> Iterator[TokenStore]:
    settings = merged(given, config).settings
    from server.database.engine import Database, default_url
    from server.tokens import TokenStore

    folder = settings.data or state_folder(settings.port)
    if settings.database is None and folder is None:
        raise ConfigError("--port", settings.port, "names no folder", "give --data or --database")
    url = settings.database or default_url(folder or Path())
    opened = Database(url)
    try:
        yield TokenStore(opened)
    finally:
        opened.close()


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
