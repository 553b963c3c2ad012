"""PATCH and HEAD of an upload: bytes are no JSON, and go past the transcoder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from lanner.core.errors import Argument, ConfigError
from server.call import Calls
from server.context import AbortedCall
from server.http.answers import context_of, failed
from server.http.openapi import ERROR
from server.upload_service import UploadService
from server.uploads import PREFIX, Upload

_OFFSET = {"type": "integer", "minimum": 0}
_OPERATION: dict[str, Any] = {
    "tags": ["UploadService"],
    "parameters": [
        {"name": "upload", "in": "path", "required": True, "schema": {"type": "string"}}
    ],
    "responses": {
        "204": {
            "description": "How many bytes are there, and of how many.",
            "headers": {
                "Upload-Offset": {"required": True, "schema": _OFFSET},
                "Upload-Length": {"required": True, "schema": _OFFSET},
                "Upload-Complete": {
                    "required": True,
                    "schema": {"type": "string", "enum": ["?0", "?1"]},
                },
            },
        },
        "default": ERROR,
    },
}

OPERATIONS = {
    "/v1/uploads/{upload}": {
        "head": {**_OPERATION, "operationId": "UploadOffset"},
        "patch": {
            **_OPERATION,
            "operationId": "WriteUpload",
            "parameters": [
                *_OPERATION["parameters"],
                {"name": "Upload-Offset", "in": "header", "required": True, "schema": _OFFSET},
            ],
            "requestBody": {"content": {"application/octet-stream": {}}},
        },
    }
}
"""The route as OpenAPI describes it."""


def upload_route(service: UploadService, calls: Calls, threads: ThreadPoolExecutor) -> Route:
    """The route; headers are those of the IETF's draft of resumable uploads."""

    async def answer(request: Request) -> Response:
        name = PREFIX + request.path_params["id"]
        context = context_of(request)
        try:
            if request.method == "HEAD":
                loop = asyncio.get_running_loop()
                return _found(await loop.run_in_executor(threads, service.status, name, context))
            async with calls.begin("WriteUpload", context, "run", is_stream=True) as call:
                offset = _offset(request)
                return _found(await service.write(name, offset, _parts(request), call))
        except AbortedCall as error:
            return failed(error)
        except ClientDisconnect:
            return Response(status_code=499)
        finally:
            context.end()

    return Route("/v1/uploads/{id}", answer, methods=["PATCH", "HEAD"])


async def _parts(request: Request) -> AsyncIterator[bytes]:
    async for part in request.stream():
        if part:
            yield part


def _offset(request: Request) -> int:
    text = request.headers.get("upload-offset", "")
    if not (text.isdecimal() and len(text) < 20):
        raise ConfigError(
            Argument("Upload-Offset"),
            text[:50],
            "is no number of bytes",
            "send the header; HEAD of the upload says where to go on",
        )
    return int(text)


def _found(upload: Upload) -> Response:
    return Response(
        status_code=204,
        headers={
            "Upload-Offset": str(upload.offset),
            "Upload-Length": str(upload.size),
            "Upload-Complete": "?1" if upload.complete else "?0",
            "Cache-Control": "no-store",
        },
    )
