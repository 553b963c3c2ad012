"""Who may compute: so many detections on a device at once, the others in line, first come first."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from lanner.core.errors import BusyError
from lanner.core.job import Cancel

_POLL_S = 0.2
# How soon a detection in line notices that it was cancelled.


class Slots:
    """The line of each device.

    The first `per_device` tickets of a line run; `max_waiting` bounds the others, over all
    devices together.
    """

    def __init__(self, per_device: int = 1, max_waiting: int = 16) -> None:
        self._per_device = per_device
        self._max_waiting = max_waiting
        self._lines: dict[str, list[Ticket]] = {}
        self._changed = threading.Condition()

    def enter(self, device: str, *, always: bool = False) -> Ticket:
        """Take a place in the line of `device`; `always`, however many wait: jobs have waited in a
        line of their own.

        Raises:
            BusyError: the place would be one to wait in, and too many wait already.
        """
        with self._changed:
            line = self._lines.setdefault(device, [])
            waiting = sum(max(0, len(one) - self._per_device) for one in self._lines.values())
            full = len(line) >= self._per_device and waiting >= self._max_waiting
            if full and not always:
                raise BusyError(
                    "queue",
                    waiting,
                    "as many detections wait as this server accepts",
                    "try again later",
                )
            ticket = Ticket(self, device)
            line.append(ticket)
            return ticket

    def wait(
        self,
        ticket: Ticket,
        cancel: Cancel,
        queued: Callable[[], None],
        timeout_s: float | None = None,
    ) -> bool:
        """Return when it is the ticket's turn; `queued` is called once where it is not at once.

        Returns:
            Whether its turn came within `timeout_s`.

        Raises:
            Cancelled: `cancel` was set while in line.
        """
        end = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            if not self._turn(ticket):
                queued()
            while not self._turn(ticket):
                cancel.check()
                if end is not None and time.monotonic() >= end:
                    return False
                left = _POLL_S if end is None else end - time.monotonic()
                self._changed.wait(max(0.0, min(_POLL_S, left)))
        cancel.check()
        return True

    def leave(self, ticket: Ticket) -> None:
        """Give the place up."""
        with self._changed:
            line = self._lines[ticket.device]
            line.remove(ticket)
            if not line:
                del self._lines[ticket.device]
            self._changed.notify_all()

    def _turn(self, ticket: Ticket) -> bool:
        return ticket in self._lines[ticket.device][: self._per_device]


class Ticket:
    """A place in line; use it as a context manager to give it up whatever happens."""

    def __init__(self, slots: Slots, device: str) -> None:
        self.device = device
        self._slots = slots

    def wait(
        self, cancel: Cancel, queued: Callable[[], None], timeout_s: float | None = None
    ) -> bool:
        """See `Slots.wait`."""
        return self._slots.wait(self, cancel, queued, timeout_s)

    def __enter__(self) -> Ticket:
        return self

    def __exit__(self, *exception: object) -> None:
        self._slots.leave(self)
