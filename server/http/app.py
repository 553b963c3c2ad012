"""The Starlette application: each route is a method of a gRPC service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
from google.api import httpbody_pb2
from google.protobuf.message import Message
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from lanner.core.errors import Argument, ConfigError, LannerError
from server.context import AbortedCall, CallContext
from server.http.answers import JSON, context_of, error_answer, failed, refused, status_message
from server.http.rules import Rule
from server.http.transcode import request_message, to_json
from server.methods import Method, answer, answers

EVENTS = "text/event-stream"

LARGEST_BODY = 4 << 20
"""Bytes of a request's JSON, as gRPC takes in a message."""


@dataclass(frozen=True)
class Api:
    """What the application serves.

    Attributes:
        rules: as `server.http.rules.rules_of` gives them.
        methods: handlers by the full name of their method.
        threads: run the handlers.
        pages: routes that are no methods, such as /openapi.json.
    """

    rules: Sequence[Rule]
    methods: Mapping[str, Method]
    threads: ThreadPoolExecutor
    pages: Sequence[Route] = ()


def application(api: Api) -> Starlette:
    """The application; `api.threads` stays the caller's to shut down."""

    async def call(request: Request) -> Response:
        return await _answer(request, api)

    def nothing(request: Request, _: Exception) -> Response:
        return _nothing(request, api)

    verbs = sorted({rule.verb for rule in api.rules})
    return Starlette(
        routes=[*api.pages, Route("/{path:path}", call, methods=verbs)],
        exception_handlers={404: nothing, 405: nothing},
    )


async def _answer(request: Request, api: Api) -> Response:
    matching = _matching(_path(request), api)
    chosen = next(((r, f) for r, f in matching if r.verb == request.method), None)
    if chosen is None and request.method == "HEAD":
        chosen = next(((r, f) for r, f in matching if r.verb == "GET"), None)
    if chosen is None:
        return _nothing(request, api)
    rule, fields = chosen
    try:
        message = request_message(
            rule, fields, request.query_params.multi_items(), await _body(request)
        )
    except LannerError as error:
        return refused(error)
    except ClientDisconnect:
        return Response(status_code=499)
    _resume(message, request)
    return await _called(api, rule, message, context_of(request), request)


def _resume(message: Message, request: Request) -> None:
    """Let a stream go on after the last event that a browser had: it repeats its own request."""
    last = request.headers.get("last-event-id")
    if last and "cursor" in message.DESCRIPTOR.fields_by_name:
        setattr(message, "cursor", last)  # noqa: B010  not every message has it


async def _called(
    api: Api, rule: Rule, message: Message, context: CallContext, request: Request
) -> Response:
    method = api.methods[rule.method.full_name]
    gone = asyncio.create_task(_gone(request, context))
    try:
        if not rule.method.server_streaming:
            found = await answer(method, message, context, api.threads)
            return Response(to_json(found), media_type=JSON)
        stream = answers(method, message, context, api.threads)
        # Errors that come before the first message are the status of the answer.
        first = await anext(stream, None)
    except AbortedCall as error:
        context.end()
        return failed(error)
    finally:
        gone.cancel()
        if not rule.method.server_streaming:
            context.end()
    rest = _rest(first, stream, context)
    if isinstance(first, httpbody_pb2.HttpBody):
        parts = (part async for one in rest if (part := one.data))
        return StreamingResponse(parts, media_type=first.content_type)
    return StreamingResponse(
        _events(rest), media_type=EVENTS, headers={"Cache-Control": "no-store"}
    )


async def _rest(
    first: Message | None, stream: AsyncGenerator[Any, None], context: CallContext
) -> AsyncIterator[Any]:
    """All messages of a stream; its handler ends when nobody asks for more."""
    try:
        if first is not None:
            yield first
            async for one in stream:
                yield one
    finally:
        context.end()
        await stream.aclose()


async def _events(messages: AsyncIterator[Message]) -> AsyncIterator[bytes]:
    """Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""
    try:
        async for one in messages:
            cursor = getattr(one, "cursor", "")
            name = f"id: {cursor}\n".encode() if cursor else b""
            yield name + b"data: " + to_json(one) + b"\n\n"
    except AbortedCall as error:
        text = to_json(status_message(error.code, error.message, error.details))
        yield b"event: error\ndata: " + text + b"\n\n"


async def _gone(request: Request, context: CallContext) -> None:
    """End a call whose client goes away before its answer."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    context.end()


async def _body(request: Request) -> bytes:
    """The body, which is no larger than gRPC's messages are.

    Raises:
        ConfigError: it is.
    """
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > LARGEST_BODY:
            raise ConfigError(
                Argument("body"), f"{size} bytes", "is too long", f"send up to {LARGEST_BODY}"
            )
        parts.append(part)
    return b"".join(parts)


def _path(request: Request) -> str:
    """The path as it was sent, percent-encoded."""
    raw: bytes = request.scope["raw_path"]
    return raw.partition(b"?")[0].decode("latin-1")


def _matching(path: str, api: Api) -> Sequence[tuple[Rule, Mapping[str, str]]]:
    """Rules for a path, whatever their verb, and the fields in it: only the most particular, for
    `operations/a:wait` is no operation of the name `a:wait`.
    """
    found = [
        (rule, fields) for rule in api.rules if (fields := rule.template.match(path)) is not None
    ]
    return [one for one in found if one[0].template.rank == found[0][0].template.rank]


def _nothing(request: Request, api: Api) -> Response:
    """The answer where the path is none, or takes other verbs."""
    path = _path(request)
    verbs = {rule.verb for rule, _ in _matching(path, api)}
    for page in api.pages:
        if page.path_regex.match(request.url.path):
            verbs |= page.methods or set()
    if verbs:
        allowed = ", ".join(sorted(verbs))
        response = error_answer(grpc.StatusCode.UNIMPLEMENTED, f"{path} takes {allowed}", b"")
        response.status_code, response.headers["Allow"] = 405, allowed
        return response
    return JSONResponse(
        {
            "code": grpc.StatusCode.NOT_FOUND.value[0],
            "message": f"{request.method} {request.url.path} is nothing here; see /openapi.json",
        },
        404,
    )
