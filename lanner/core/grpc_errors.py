"""Errors as they cross the wire: the richer error model of gRPC, both directions.

A failure is a status code, a message, and a `google.rpc.Status` with a `google.rpc.ErrorInfo`
in the trailing metadata (https://grpc.io/docs/guides/error/, https://google.aip.dev/193).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from lanner.core.errors import (
    TABLE,
    Argument,
    BusyError,
    Cancelled,
    DeviceMemoryError,
    LannerError,
    ServerError,
    error_status,
)

DOMAIN = "lanner"
DETAILS_KEY = "grpc-status-details-bin"
FIELDS = {"gsd": "gsd_m"}
"""Fields of a request whose name is not the Python keyword, by that keyword."""

# Trailing metadata above 8 KB is refused by default. Base64 adds a third to the details and
# percent-encoding may triple the message; with these limits, in UTF-8 bytes, all stays below.
_LIMITS = {"argument": 100, "value": 600, "problem": 900, "remedy": 500}
_MESSAGE_LIMIT = 600
_DETAIL_LIMIT = 300

RETRY_S: dict[type[LannerError], int] = {BusyError: 5, ServerError: 2, DeviceMemoryError: 10}
"""Seconds after which the same request may succeed."""


@dataclass(frozen=True)
class Failure:
    """How an RPC ends: `details` is a serialised google.rpc.Status."""

    code: grpc.StatusCode
    message: str
    details: bytes


def reason(kind: type[LannerError]) -> str:
    """The class name in the spelling of ErrorInfo: SceneError becomes SCENE_ERROR."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).upper()


_KINDS: dict[str, type[LannerError]] = {reason(kind): kind for kind in TABLE}


def encode(
    error: LannerError,
    *,
    code: grpc.StatusCode | None = None,
    hide: Callable[[str], str] = str,
) -> Failure:
    """The failure that tells of `error`, under `code` or else the code of its class.

    Arguments go by the names of the request's fields. `hide` is applied to all that it says.
    """
    kind = next(k for k in type(error).__mro__ if k in _KINDS.values())
    status_code = code or grpc.StatusCode[error_status(error).grpc]
    if isinstance(error, Cancelled):
        error = Cancelled("send the request again; it begins anew")
    public_error = error.spelled(FIELDS)
    texts = {
        "argument": public_error.argument,
        "value": str(public_error.value),
        "problem": public_error.problem,
        "remedy": public_error.remedy,
    }
    # Before they become a message, which escapes and shortens what it shows.
    fields = {key: hide(text) for key, text in texts.items()}
    info = error_details_pb2.ErrorInfo(
        reason=reason(kind),
        domain=DOMAIN,
        metadata={key: _clip(text, _LIMITS[key]) for key, text in fields.items()},
    )
    info.metadata["class"] = type(error).__name__
    message = _clip(str(LannerError(**fields)), _MESSAGE_LIMIT)
    status = status_pb2.Status(code=status_code.value[0], message=message)
    for detail in (info, *_more(kind, status_code, info.metadata)):
        status.details.add().Pack(detail)
    return Failure(status_code, message, status.SerializeToString())


def _more(
    kind: type[LannerError], code: grpc.StatusCode, fields: Mapping[str, str]
) -> Iterator[Message]:
    """What general clients understand: the field at fault, the quota, when to ask again."""
    if code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=fields["argument"], description=_clip(fields["problem"], _DETAIL_LIMIT)
        )
        yield error_details_pb2.BadRequest(field_violations=[violation])
    if kind is BusyError:
        quota = error_details_pb2.QuotaFailure.Violation(
            subject=fields["argument"], description=_clip(fields["problem"], _DETAIL_LIMIT)
        )
        yield error_details_pb2.QuotaFailure(violations=[quota])
    if kind in RETRY_S:
        yield error_details_pb2.RetryInfo(retry_delay=Duration(seconds=RETRY_S[kind]))


def internal(number: str) -> Failure:
    """The failure that tells of a defect under `number`, which the log knows it by, and no more."""
    error = ServerError(
        "server",
        number,
        "failed inside; this is the id of the failure",
        "give it to whoever runs the server",
    )
    return encode(error, code=grpc.StatusCode.INTERNAL)


def decode(metadata: Iterable[tuple[str, str | bytes]]) -> LannerError | None:
    """The error that `encode` put into trailing metadata, of the same class; in the words of
    the Python client, which calls the fields of a request by its keywords.

    A class that this release does not know comes back as its nearest known one. None where
    the metadata tells of no error of Lanner's (the status came from gRPC or a proxy).
    """
    for detail in _details(metadata):
        info = error_details_pb2.ErrorInfo()
        if not detail.Unpack(info) or info.domain != DOMAIN:
            continue
        kind = _KINDS.get(info.reason, LannerError)
        fields = info.metadata
        if kind is Cancelled:
            return Cancelled(fields["remedy"])
        argument = Argument(fields["argument"])
        error = kind(argument, fields["value"], fields["problem"], fields["remedy"])
        return error.spelled({field: keyword for keyword, field in FIELDS.items()})
    return None


def retry_delay(metadata: Iterable[tuple[str, str | bytes]]) -> float | None:
    """Seconds after which a server says that the same request may succeed; None: it says none."""
    for detail in _details(metadata):
        info = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            return float(info.retry_delay.ToTimedelta().total_seconds())
    return None


def _details(metadata: Iterable[tuple[str, str | bytes]]) -> Sequence[AnyMessage]:
    """The parts of the `google.rpc.Status` in trailing metadata; none where there is none."""
    details = next((value for key, value in metadata if key == DETAILS_KEY), b"")
    if not isinstance(details, bytes):
        return ()
    try:
        return tuple(status_pb2.Status.FromString(details).details)
    except DecodeError:
        return ()


def _clip(text: str, limit: int) -> str:
    """At most `limit` bytes of UTF-8, an ellipsis where something was cut."""
    raw = text.encode("utf-8", "replace")  # a file name may hold what UTF-8 cannot
    if len(raw) <= limit:
        return raw.decode()
    return raw[: limit - 3].decode("utf-8", "ignore") + "…"
