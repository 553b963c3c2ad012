"""Where work is done: one after the other, side by side, or on other machines.

A package offers an executor by an entry point in the group `lanner.executors` that names a module
with a pydantic model `Params` and a function `run(params, needs)`, a context manager that gives a
`Pool`. When it ends, nothing that was submitted is begun any more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import ValidationError

from lanner.core.errors import Argument, ConfigError
from lanner.core.job import Cancel
from lanner.core.plugins import Plugins

BUILTIN = {
    "serial": "lanner.archives.executors.serial",
    "local": "lanner.archives.executors.local",
    "ray": "lanner.archives.executors.cluster",
}
"""Name to module."""

_ON = Argument("on")

PLUGINS = Plugins("lanner.executors", BUILTIN, "executor", _ON, "docs/batch.md", ConfigError)

Work = Callable[[Cancel], Any]
"""What a worker does. Functions of modules and `functools.partial` of them reach other machines."""


@dataclass(frozen=True)
class Needs:
    """What workers must have.

    Attributes:
        device: that networks run on, as of `DetectRequest`; None where no networks run.
        number_format: `Compute.identity` that results must be of; None: whatever most have.
    """

    device: str | None = None
    number_format: str | None = None


@dataclass(frozen=True)
class Answer:
    """What became of one piece of work: its value, what it raised, or that its worker is gone."""

    number: int
    value: Any = None
    error: BaseException | None = None
    lost: bool = False


class Pool(Protocol):
    """Workers."""

    @property
    def cuts(self) -> bool:
        """Whether workers share no networks, so that a large scene is better cut for several."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on workers that are not used."""

    def room(self) -> int:
        """How many pieces of work can be in hand at once, now."""

    def submit(self, number: int, work: Work) -> None:
        """Take a piece of work in hand; `number` names it."""

    def wait(self, cancel: Cancel) -> Answer:
        """The next piece of work that is done.

        Raises:
            Cancelled: the caller asked to stop.
            LannerError: no worker is left.
        """


ATTEMPTS = 3
"""Workers that one piece of work may lose: it is what kills them then."""


class PatientPool:
    """A pool that has work done again whose worker is gone, `ATTEMPTS` times in all."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._in_hand: dict[int, tuple[Work, int]] = {}

    @property
    def cuts(self) -> bool:
        """As of the pool."""
        return self._pool.cuts

    @property
    def notes(self) -> tuple[str, ...]:
        """As of the pool."""
        return self._pool.notes

    def room(self) -> int:
        """As of the pool."""
        return self._pool.room()

    def submit(self, number: int, work: Work) -> None:
        """Take a piece of work in hand; `number` names it."""
        self._in_hand[number] = work, 1
        self._pool.submit(number, work)

    def wait(self, cancel: Cancel) -> Answer:
        """The next piece of work that is done, or has lost its last worker."""
        while True:
            answer = self._pool.wait(cancel)
            work, attempts = self._in_hand.pop(answer.number)
            if not answer.lost or attempts == ATTEMPTS:
                return answer
            self._in_hand[answer.number] = work, attempts + 1
            self._pool.submit(answer.number, work)


def in_order(pool: Pool, works: Sequence[Work], cancel: Cancel) -> Iterator[Answer]:
    """What became of pieces of work, in their order, each as soon as it and those before it are
    done; errors as of `Pool.wait`.
    """
    waiting, answers, in_hand = deque(enumerate(works)), dict[int, Answer](), 0
    for number in range(len(works)):
        while number not in answers:
            while waiting and in_hand < pool.room():
                pool.submit(*waiting.popleft())
                in_hand += 1
            answer = pool.wait(cancel)
            in_hand -= 1
            answers[answer.number] = answer
        yield answers.pop(number)


Opener = Callable[[Needs], AbstractContextManager[Pool]]
"""Gives the workers of an executor until a block ends; raises LannerError where it has none."""


def opener(on: str, options: Mapping[str, int] | None = None) -> Opener:
    """What opens the workers of an executor.

    Args:
        on: name of an executor, with the address of a cluster where it takes one
            (`ray://host:10001`).
        options: its parameters, such as `workers`.

    Raises:
        ConfigError: no such executor, or it has not these parameters.
    """
    name, _, address = on.partition("://")
    plugin = PLUGINS.find(name)
    given: dict[str, Any] = dict(options or {})
    if address:
        given["address"] = on
    try:
        params = plugin.params.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        wrong = str(first["loc"][0]) if first["loc"] else "on"
        unknown = first["type"] == "extra_forbidden"
        if wrong == "address":
            raise ConfigError(
                _ON, on, "takes no address", f"say {name}, or name a cluster: ray://HOST:10001"
            ) from error
        raise ConfigError(
            Argument(wrong),
            given.get(wrong),
            f"is no option of the executor {name}" if unknown else first["msg"],
            "leave it out, or choose another executor",
        ) from error

    @contextmanager
    def opened(needs: Needs) -> Iterator[Pool]:
        with plugin.run(params, needs) as pool:
            yield PatientPool(pool)

    return opened
