"""Every error a user can meet, and what it becomes at each door.

This module imports nothing of ours: every floor of the house may raise these.
A message names the argument, the value and the remedy, in one line.
"""

from __future__ import annotations

from dataclasses import dataclass

LONGEST = 300
"""Characters of a value that a message shows; a whole file is no help in one line."""


class LannerError(Exception):
    """Root of everything Lanner raises on purpose."""

    def __init__(self, argument: str, value: object, problem: str, remedy: str) -> None:
        self.argument = argument
        self.value = value
        self.problem = problem
        self.remedy = remedy
        shown = " ".join(str(value).split())
        if len(shown) > LONGEST:
            shown = shown[: LONGEST - 1] + "\u2026"
        text = f"{argument} {shown!r}: {problem}; {remedy}"
        super().__init__(" ".join(text.split()))

    def __reduce__(self) -> tuple[type[LannerError], tuple[str, object, str, str]]:
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


class WeightsError(LannerError):
    """Weights are missing, unreadable or fail their checksum."""


class StepError(LannerError):
    """A post-processing step failed or is unknown."""


class OutputError(LannerError):
    """The output cannot be written (folder missing, unknown format, disk full)."""


class DeviceError(LannerError):
    """The compute device asked for is not there or ran out of memory."""


class ServerError(LannerError):
    """The server cannot be reached, went away or failed inside."""


class BusyError(ServerError):
    """The server has as much work as it accepts (the same request may succeed later)."""


class DatasetError(LannerError):
    """Training images or labels are missing, damaged, contradictory or too bad to use."""


class TrainingError(LannerError):
    """Training cannot go on (it diverged, or there is nothing to learn from)."""


class GateError(LannerError):
    """A release or a comparison was refused: a figure is worse than it may be."""


class Cancelled(LannerError):
    """The caller cancelled or went away."""

    def __init__(self) -> None:
        super().__init__("request", "cancel", "stopped by the caller", "run it again to resume")


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
    DeviceError: ErrorStatus("UNAVAILABLE", 503, 19),
    ServerError: ErrorStatus("UNAVAILABLE", 503, 20),
    BusyError: ErrorStatus("RESOURCE_EXHAUSTED", 429, 21),
    DatasetError: ErrorStatus("INVALID_ARGUMENT", 422, 22),
    TrainingError: ErrorStatus("ABORTED", 500, 23),
    GateError: ErrorStatus("FAILED_PRECONDITION", 409, 24),
    Cancelled: ErrorStatus("CANCELLED", 499, 130),
    LannerError: ErrorStatus("INTERNAL", 500, 1),
}
"""The one table: exit code 2 stays with the command line's own usage errors."""


def error_status(error: LannerError) -> ErrorStatus:
    """The row of `TABLE` for an error, by its nearest class."""
    for kind in type(error).__mro__:
        if kind in TABLE:
            return TABLE[kind]
    raise AssertionError("LannerError itself is in the table")
