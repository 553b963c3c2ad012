"""Tables of earlier versions become those of this one (alembic; `migrations/`)."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from lanner.core.errors import Argument, ServerError

_LOCK = 0x6C616E6E
"""Of PostgreSQL's advisory locks: servers that start at once take turns."""


def migrate(db: sa.Connection) -> None:
    """Bring the tables of a database to this version, within its transaction.

    Raises:
        ServerError: they are of a later version.
    """
    if db.dialect.name == "postgresql":
        db.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = db
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        head = ScriptDirectory.from_config(config).get_current_head()
        raise ServerError(
            Argument("database"),
            db.engine.url.render_as_string(hide_password=True),
            f"has tables of a later version of Lanner than {head} ({error})",
            "run that version, or name another database",
        ) from error
