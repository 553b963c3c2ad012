"""Tokens: made once, kept as checksums, looked up with every call."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from lanner.core.errors import Argument, ConfigError
from server.accounts import Caller, Role
from server.database.engine import Database
from server.database.tables import tokens

PREFIX = "lanner_"
"""So that one which is where it should not be is recognised."""

_KNOWN_S = 5.0
"""How long what the database said of a token holds: a revoked one works so much longer."""

_MOST_KNOWN = 10_000


@dataclass(frozen=True)
class Token:
    """What is kept of a token. Times are seconds since 1970, UTC."""

    id: str
    client: str
    role: Role
    created: float
    expires: float | None
    revoked: float | None


class TokenStore:
    """Tokens of one database. Threads share it.

    Every method raises `ServerError` where the database cannot be used.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, tuple[float, Caller | None]] = {}
        self._lock = threading.Lock()

    def new(self, client: str, role: Role, lasts_s: float | None) -> tuple[Token, str]:
        """Make a token of 256 random bits; its text is nowhere but in what is returned.

        Args:
            client: whose it is; tokens of one client see the same jobs.
            role: what it may do.
            lasts_s: seconds until it expires; None: never.

        Raises:
            ConfigError: no such name.
        """
        if not 0 < len(client) <= 200 or not client.isprintable():
            raise ConfigError("client", client[:80], "is no name", "give up to 200 characters")
        number, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
        with self._database.writing() as db:
            now = self._database.now(db)
            made = Token(number, client, role, now, lasts_s and now + lasts_s, None)
            db.execute(
                sa.insert(tokens).values(
                    id=number,
                    sha256=_digest(secret),
                    client=client,
                    role=role,
                    created=now,
                    expires=made.expires,
                )
            )
        return made, f"{PREFIX}{number}_{secret}"

    def list(self) -> Sequence[Token]:
        """All of them, the oldest first."""
        with self._database.reading() as db:
            rows = db.execute(sa.select(tokens).order_by(tokens.c.created, tokens.c.id)).all()
        return [
            Token(row.id, row.client, row.role, row.created, row.expires, row.revoked)
            for row in rows
        ]

    def revoke(self, token: str) -> bool:
        """Refuse a token from now on; whether there was one of that id that was not yet."""
        with self._database.writing() as db:
            changed = db.execute(
                sa.update(tokens)
                .where(tokens.c.id == token, tokens.c.revoked.is_(None))
                .values(revoked=self._database.now(db))
            )
        return changed.rowcount > 0

    def caller(self, token: str) -> Caller | None:
        """As of `server.accounts.Tokens`."""
        number, _, secret = token.removeprefix(PREFIX).partition("_")
        if not token.startswith(PREFIX) or len(token) > 200 or not secret:
            return None
        digest = _digest(secret)
        key = f"{number}_{digest}"
        with self._lock:
            until, known = self._known.get(key, (0.0, None))
            if time.monotonic() < until:
                return known
        found = self._look_up(number, digest)
        with self._lock:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = time.monotonic() + _KNOWN_S, found
        return found

    def _look_up(self, number: str, digest: str) -> Caller | None:
        with self._database.reading() as db:
            row = db.execute(sa.select(tokens).where(tokens.c.id == number)).one_or_none()
            now = self._database.now(db)
        # As long as the right one takes, whatever was sent.
        same = hmac.compare_digest(digest, row.sha256 if row is not None else "0" * 64)
        if row is None or not same or row.revoked is not None:
            return None
        if row.expires is not None and row.expires <= now:
            return None
        return Caller(row.client, row.role)


@dataclass(frozen=True)
class FileToken:
    """The one token of a file, which may do everything, and those of a store."""

    digest: str
    store: TokenStore

    def caller(self, token: str) -> Caller | None:
        """As of `server.accounts.Tokens`."""
        if hmac.compare_digest(_digest(token), self.digest):
            return Caller("", "admin")
        return self.store.caller(token)


def token_of(path: Path) -> str:
    """The token of a file that its owner alone can read; where there is no file, a new one.

    Raises:
        ConfigError: it cannot be read or made, is empty, or others can read it.
    """
    try:
        if not path.exists():
            text = secrets.token_urlsafe(32)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text + "\n")
            return text
        if path.stat().st_mode & 0o077:
            raise ConfigError(
                Argument("token_file"), path, "can be read by others", "chmod 600 the file"
            )
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            Argument("token_file"), path, f"cannot be used ({error})", "name another file"
        ) from error
    if len(text) < 16:
        raise ConfigError(
            Argument("token_file"), path, "has no token of 16 characters", "remove it; one is made"
        )
    return text


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
