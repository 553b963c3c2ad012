"""Every error a user can meet, and what it becomes at each door.

This module imports nothing of ours: every floor of the house may raise these.
A message names the argument, the value and the remedy, in one line.

An argument of a request goes by its Python keyword: as `Argument("gsd")` where a message begins
with it, and as `gsd` in backticks inside `problem` and `remedy`. The command line writes --gsd
for it and the server gsd_m (`LannerError.spelled`), so nobody is told of a name that they cannot
give. A key of a file is a plain string.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

LONGEST = 300
"""Characters of a value that a message shows; a whole file is no help in one line."""

FLAGS = {
    "anyway": "--anyway",
    "area": "--area",
    "bounds": "--bbox",
    "cloud": "--cloud",
    "config": "--config",
    "crs": "--crs",
    "detector": "--detector",
    "device": "--device",
    "end": "--until",
    "gsd": "--gsd",
    "host": "--host",
    "max_bands": "--max-bands",
    "max_expansion": "--max-expansion",
    "max_pixels": "--max-pixels",
    "members": "--members",
    "path": "--out",
    "port": "--port",
    "on": "--on",
    "roots": "--root",
    "run_dir": "--run",
    "scenes": "--scene",
    "start": "--since",
    "tile": "--tile",
}
"""How the command line writes the arguments of a request and of a server."""

_NAMED = re.compile(r"`(\w+)`")


class Argument(str):
    """Name of an argument of a request or a server, which each front end writes its own way."""

    __slots__ = ()


class LannerError(Exception):
    """Root of everything Lanner raises on purpose."""

    def __init__(self, argument: str, value: object, problem: str, remedy: str) -> None:
        super().__init__()
        self._say(argument, value, problem, remedy)

    def _say(self, argument: str, value: object, problem: str, remedy: str) -> None:
        self.argument = argument
        self.value = value
        self.problem = problem
        self.remedy = remedy
        value_text = " ".join(str(value).split())
        if len(value_text) > LONGEST:
            value_text = value_text[: LONGEST - 1] + "\u2026"
        text = f"{argument} {value_text!r}: {problem}; {remedy}"
        self.args = (" ".join(text.split()),)

    def spelled(self, names: Mapping[str, str]) -> LannerError:
        """This error as one front end writes it.

        Args:
            names: that front end's names by Python keyword, such as `FLAGS`; what is not among
                them keeps its own.
        """

        def named(found: re.Match[str]) -> str:
            name = names.get(found[1], found[1])
            return name if name.startswith("-") else f"`{name}`"  # an option marks itself

        def written(text: str) -> str:
            return _NAMED.sub(named, text)

        argument = self.argument
        if isinstance(argument, Argument):
            argument = names.get(argument, argument)
        other = copy(self)
        other._say(argument, self.value, written(self.problem), written(self.remedy))
        return other

    def __reduce__(self) -> tuple[type[LannerError], tuple[Any, ...]]:
        """Raised in a worker process, it arrives whole."""
        return type(self), (self.argument, self.value, self.problem, self.remedy)


class SceneError(LannerError):
    """The raster cannot be read as a scene (not a raster, truncated, empty, refused driver)."""


class PlaceError(LannerError):
    """The scene cannot be placed on the ground (no CRS, no affine, another planet)."""


class BandError(LannerError):
    """The bands a detector needs are not in the scene."""


class GsdError(LannerError):
    """The ground sampling distance is outside what the detector can use."""


class ConfigError(LannerError):
    """A detector or chain configuration is malformed."""


class UnknownDetectorError(LannerError):
    """No detector has that name."""


class UnknownOperationError(LannerError):
    """The server has no operation of that name (it never had, or it was deleted)."""


class UnknownUploadError(LannerError):
    """The server has no upload of that name (it never had, or it was forgotten)."""


class UploadError(LannerError):
    """Bytes of an upload do not follow those that are there, or are not those announced."""


class AuthenticationError(LannerError):
    """The server wants a token, or does not know the one that was sent."""


class AccessError(LannerError):
    """The token's role does not allow what was asked for."""


class WeightsError(LannerError):
    """Weights are missing, unreadable or fail their checksum."""


class StepError(LannerError):
    """A post-processing step failed or is unknown."""


class OutputError(LannerError):
    """The output cannot be written (folder missing, unknown format, disk full)."""


class DeviceError(LannerError):
    """The compute device asked for is not on this machine."""


class DeviceNameError(DeviceError):
    """What was given as a compute device is not the name of one."""


class DeviceMemoryError(DeviceError):
    """The compute device ran out of memory (the same request may succeed once others are done)."""


class ServerError(LannerError):
    """The server cannot be reached, went away or failed inside."""


class BusyError(ServerError):
    """The server has as much work as it accepts (the same request may succeed later)."""


class DeadlineError(LannerError):
    """What was asked for did not come about in the time that it was given."""


class AddressError(LannerError):
    """The server cannot listen where it was told to (the port is in use, or not its own)."""


class DatasetError(LannerError):
    """Training images or labels are missing, damaged, contradictory or too bad to use."""


class TrainingError(LannerError):
    """Training cannot go on (it diverged, or there is nothing to learn from)."""


class GateError(LannerError):
    """A release or a comparison was refused: a figure is worse than it may be."""


class ReplayError(LannerError):
    """A run cannot be done again as it was: what it was made from is gone or is not the same."""


class Cancelled(LannerError):
    """The caller cancelled or went away."""

    def __init__(
        self, remedy: str = "run it again; it resumes where `run_dir` was given, or begins anew"
    ) -> None:
        super().__init__("request", "cancel", "stopped by the caller", remedy)

    def __reduce__(self) -> tuple[type[LannerError], tuple[Any, ...]]:
        """Only the remedy differs from one to the next."""
        return type(self), (self.remedy,)


@dataclass(frozen=True)
class ErrorStatus:
    """What one error becomes: gRPC status name, HTTP status, process exit code."""

    grpc: str
    http: int
    exit: int


TABLE: dict[type[LannerError], ErrorStatus] = {
    SceneError: ErrorStatus("INVALID_ARGUMENT", 422, 10),
    PlaceError: ErrorStatus("INVALID_ARGUMENT", 422, 11),
    BandError: ErrorStatus("INVALID_ARGUMENT", 422, 12),
    GsdError: ErrorStatus("OUT_OF_RANGE", 422, 13),
    ConfigError: ErrorStatus("INVALID_ARGUMENT", 400, 14),
    UnknownDetectorError: ErrorStatus("NOT_FOUND", 404, 15),
    WeightsError: ErrorStatus("FAILED_PRECONDITION", 500, 16),
    StepError: ErrorStatus("INTERNAL", 500, 17),
    OutputError: ErrorStatus("RESOURCE_EXHAUSTED", 507, 18),
    DeviceError: ErrorStatus("FAILED_PRECONDITION", 422, 19),
    DeviceNameError: ErrorStatus("INVALID_ARGUMENT", 400, 19),
    DeviceMemoryError: ErrorStatus("RESOURCE_EXHAUSTED", 503, 19),
    ServerError: ErrorStatus("UNAVAILABLE", 503, 20),
    BusyError: ErrorStatus("RESOURCE_EXHAUSTED", 429, 21),
    DatasetError: ErrorStatus("INVALID_ARGUMENT", 422, 22),
    TrainingError: ErrorStatus("ABORTED", 500, 23),
    GateError: ErrorStatus("FAILED_PRECONDITION", 409, 24),
    AddressError: ErrorStatus("FAILED_PRECONDITION", 409, 25),
    ReplayError: ErrorStatus("FAILED_PRECONDITION", 409, 26),
    DeadlineError: ErrorStatus("DEADLINE_EXCEEDED", 504, 27),
    UnknownOperationError: ErrorStatus("NOT_FOUND", 404, 28),
    AuthenticationError: ErrorStatus("UNAUTHENTICATED", 401, 29),
    AccessError: ErrorStatus("PERMISSION_DENIED", 403, 30),
    UnknownUploadError: ErrorStatus("NOT_FOUND", 404, 31),
    UploadError: ErrorStatus("FAILED_PRECONDITION", 409, 32),
    Cancelled: ErrorStatus("CANCELLED", 499, 130),
    LannerError: ErrorStatus("INTERNAL", 500, 1),
}
"""The one table: exit code 2 stays with the command line's own usage errors. Kinds of
`DeviceError` share its exit code and differ in their status: UNAVAILABLE and RESOURCE_EXHAUSTED
are for what a client may simply ask again."""


def error_status(error: LannerError) -> ErrorStatus:
    """The row of `TABLE` for an error, by its nearest class."""
    for kind in type(error).__mro__:
        if kind in TABLE:
            return TABLE[kind]
    raise AssertionError("LannerError itself is in the table")
