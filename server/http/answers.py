"""Answers over HTTP that are no result, and what handlers are told of a request."""

from __future__ import annotations

import grpc
from google.rpc import status_pb2
from starlette.requests import Request
from starlette.responses import Response

from lanner.core.errors import LannerError, error_status
from lanner.core.grpc_errors import DETAILS_KEY, RETRY_S, decode, encode
from server.context import AbortedCall, CallContext
from server.http.transcode import to_json

JSON = "application/json"

_STATUS = {
    "OK": 200,
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}
"""HTTP statuses of gRPC's codes (google/rpc/code.proto), where no error of ours says another."""


def context_of(request: Request) -> CallContext:
    """What a handler is told of a request."""
    peer = "http"
    if request.client is not None:
        peer = f"http:{request.client.host}:{request.client.port}"
    return CallContext(peer, [(key.lower(), value) for key, value in request.headers.items()])


def refused(error: LannerError) -> Response:
    """The answer to a request that is none."""
    failure = encode(error)
    return error_answer(failure.code, failure.message, failure.details)


def failed(error: AbortedCall) -> Response:
    """The answer of a call that its handler ended."""
    return error_answer(error.code, error.message, error.details)


def error_answer(code: grpc.StatusCode, message: str, details: bytes) -> Response:
    """An error as Envoy's transcoder writes it: google.rpc.Status as JSON."""
    status = _STATUS[code.name]
    error = decode([(DETAILS_KEY, details)]) if details else None
    if error is not None and error_status(error).grpc == code.name:
        status = error_status(error).http
    headers = {}
    if error is not None and type(error) in RETRY_S:
        headers["Retry-After"] = str(RETRY_S[type(error)])
    if code is grpc.StatusCode.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = "Bearer"
    text = to_json(status_message(code, message, details))
    return Response(text, status, headers, media_type=JSON)


def status_message(code: grpc.StatusCode, message: str, details: bytes) -> status_pb2.Status:
    """google.rpc.Status of an error."""
    if details:
        return status_pb2.Status.FromString(details)
    return status_pb2.Status(code=code.value[0], message=message)
