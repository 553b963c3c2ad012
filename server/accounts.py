"""Who calls, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from lanner.core.errors import AccessError, Argument, AuthenticationError
from server.context import CallContext

Role = Literal["read", "run", "review", "admin"]
"""Each may do what those before it may: see detectors and results; run detections and send scenes;
decide on features; see and change everybody's."""

ROLES: tuple[Role, ...] = get_args(Role)

ANYONE = ""
"""The client that all callers are where nobody is asked who they are."""


@dataclass(frozen=True)
class Caller:
    """One who was let in: `client` owns jobs and uploads, whichever of its connections asks."""

    client: str
    role: Role

    @property
    def owner(self) -> str | None:
        """Whose jobs and uploads it sees and changes: its own; None: everybody's."""
        return None if self.role == "admin" else self.client


class Tokens(Protocol):
    """Knows tokens."""

    def caller(self, token: str) -> Caller | None:
        """Whose token it is; None: nobody's, expired or revoked.

        Raises:
            ServerError: that cannot be looked up at this moment.
        """


@dataclass(frozen=True)
class Guard:
    """Lets callers in.

    Attributes:
        tokens: those that are known.
        is_open: whether one without a token may do everything, as on a loopback address.
    """

    tokens: Tokens | None = None
    is_open: bool = True

    def admit(self, role: Role, context: CallContext) -> Caller:
        """Who calls, if they may do what a role may.

        Raises:
            AuthenticationError: no token, or none that is known.
            AccessError: the token's role is too small.
        """
        token = _bearer(context)
        if token is None:
            if self.is_open:
                return Caller(ANYONE, "admin")
            raise AuthenticationError(
                Argument("token"),
                "none",
                "is needed here",
                "send the header `authorization: Bearer TOKEN`; who runs the server makes one "
                "with `lanner token new`",
            )
        caller = None if self.tokens is None else self.tokens.caller(token)
        if caller is None:
            raise AuthenticationError(
                Argument("token"),
                "the one sent",
                "is unknown, expired or revoked",
                "ask who runs the server for a new one",
            )
        if ROLES.index(caller.role) < ROLES.index(role):
            raise AccessError(
                Argument("token"),
                f"role {caller.role}",
                f"may not do this, which needs the role {role}",
                "ask who runs the server for a token of that role",
            )
        return caller


def _bearer(context: CallContext) -> str | None:
    """The token of a call; one of an unknown scheme is a wrong one."""
    for name, value in context.metadata:
        if name == "authorization":
            scheme, _, token = value.partition(" ")
            return token.strip() if scheme.lower() == "bearer" else ""
    return None
