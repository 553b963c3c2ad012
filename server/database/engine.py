"""A database by its URL: an SQLite file, or PostgreSQL for several servers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from lanner.core.errors import Argument, ConfigError, ServerError
from server.database.migrate import migrate

_DATABASE = Argument("database")
_URLS = "give sqlite:///FILE, or postgresql+psycopg://... with the extra `postgres`"
_WRITES = "lanner_writes"
_WAIT_S = 60.0
"""How long one writer of an SQLite file waits for another, and a caller for a free connection."""


def default_url(folder: Path) -> str:
    """That of a server which was told a folder alone."""
    return f"sqlite:///{folder.absolute()}/jobs.sqlite"


class Database:
    """Transactions on a database whose tables are those of this version.

    Args:
        url: as SQLAlchemy writes it, such as `sqlite:////data/jobs.sqlite` or
            `postgresql+psycopg://user@host/lanner`.

    Raises:
        ConfigError: no such kind of database, or its driver is not installed.
        ServerError: it cannot be reached, or its tables are those of a later version.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = sa.make_url(url)
        except (ArgumentError, ValueError):
            # What is no URL may be quoted in the error, and a password with it.
            raise ConfigError(_DATABASE, "(hidden)", "is no URL", _URLS) from None
        self._name = parsed.render_as_string(hide_password=True)
        try:
            self._lite = parsed.get_backend_name() == "sqlite"
            self._engine = self._open(parsed)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
            raise ConfigError(
                _DATABASE,
                parsed.drivername,
                f"is no database that can be used here ({error})",
                _URLS,
            ) from error
        with self.writing() as db:
            migrate(db)

    def _open(self, url: sa.URL) -> sa.Engine:
        if not self._lite:
            return sa.create_engine(
                url, pool_size=10, max_overflow=20, pool_timeout=_WAIT_S, pool_pre_ping=True
            )
        if url.database is not None:
            folder = Path(url.database).parent
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigError(
                    _DATABASE, folder, f"cannot be made ({error.strerror})", "name another folder"
                ) from error
        engine = sa.create_engine(
            url,
            pool_size=10,
            max_overflow=20,
            pool_timeout=_WAIT_S,
            connect_args={"timeout": _WAIT_S},
        )
        sa.event.listen(engine, "connect", _prepare)
        sa.event.listen(engine, "begin", _begin)
        return engine

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that changes nothing.

        Raises:
            ServerError: the database cannot be reached.
        """
        with self._errors(), self._engine.connect() as db:
            yield db

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that is kept whole, or not at all where something is raised in it.

        On SQLite there is one at a time; others wait for it.

        Raises:
            ServerError: the database cannot be reached, is full or is taken for too long.
        """
        with self._errors(), self._engine.connect() as plain:
            db = plain.execution_options(**{_WRITES: True})
            with db.begin():
                yield db

    def now(self, db: sa.Connection) -> float:
        """Seconds since 1970: one clock for all servers of a database."""
        if self._lite:
            return time.time()
        found: float = db.execute(
            sa.select(sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Double))
        ).scalar_one()
        return found

    def close(self) -> None:
        """Let the connections go."""
        self._engine.dispose()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, sa.exc.TimeoutError) as error:
            reason = " ".join(str(getattr(error, "orig", None) or error).split())
            raise ServerError(
                _DATABASE,
                self._name,
                f"cannot be used at this moment ({reason[:300]})",
                "ask again; whoever runs the server can see to its database",
            ) from error


def _prepare(connection: Any, _: Any) -> None:
    """Let transactions begin where they are said to, and not at the first write."""
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    # A job that was accepted is on the disk.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin(db: sa.Connection) -> None:
    # One that reads first and writes then would be refused where another wrote in between.
    writes = db.get_execution_options().get(_WRITES)
    db.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
