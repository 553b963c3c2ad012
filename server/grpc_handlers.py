"""Methods of services as handlers of a grpc.aio server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from lanner.core.errors import Argument, ConfigError
from lanner.core.grpc_errors import DETAILS_KEY, encode
from server.context import REQUEST_ID, AbortedCall, CallContext
from server.methods import Method, answer, answers


def add_services(
    server: grpc.aio.Server,
    services: Iterable[ServiceDescriptor],
    methods: Mapping[str, Method],
    threads: ThreadPoolExecutor,
) -> None:
    """Let a server answer for services by `methods`, whose keys are full names."""
    for service in services:
        handlers = {
            one.name: _handler(one, methods[one.full_name], threads) for one in service.methods
        }
        generic = grpc.method_handlers_generic_handler(service.full_name, handlers)
        server.add_generic_rpc_handlers((generic,))


def _handler(
    descriptor: MethodDescriptor, method: Method, threads: ThreadPoolExecutor
) -> grpc.RpcMethodHandler[Any, Any]:
    read = GetMessageClass(descriptor.input_type).FromString

    async def single(raw: Any, grpc_context: Any) -> Any:
        async with _called(grpc_context) as context:
            request = _each(raw, read) if descriptor.client_streaming else _read(raw, read)
            return await answer(method, request, context, threads)

    async def stream(raw: bytes, grpc_context: Any) -> AsyncIterator[Any]:
        async with (
            _called(grpc_context) as context,
            aclosing(answers(method, _read(raw, read), context, threads)) as found,
        ):
            async for one in found:
                yield one

    make: Any = {
        (False, False): (grpc.unary_unary_rpc_method_handler, single),
        (False, True): (grpc.unary_stream_rpc_method_handler, stream),
        (True, False): (grpc.stream_unary_rpc_method_handler, single),
    }[descriptor.client_streaming, descriptor.server_streaming]
    kind, behaviour = make
    handler: grpc.RpcMethodHandler[Any, Any] = kind(
        behaviour,
        response_serializer=GetMessageClass(descriptor.output_type).SerializeToString,
    )
    return handler


def _read(raw: bytes, read: Callable[[bytes], Message]) -> Message:
    """A request. gRPC itself would call what is none an error of the server.

    Raises:
        ConfigError: it is none.
    """
    try:
        return read(raw)
    except DecodeError as error:
        raise ConfigError(
            Argument("request"), f"{len(raw)} bytes", f"is no message ({error})", "send one"
        ) from error


async def _each(
    raw: AsyncIterator[bytes], read: Callable[[bytes], Message]
) -> AsyncIterator[Message]:
    async for one in raw:
        yield _read(one, read)


def _context(grpc_context: Any) -> CallContext:
    metadata = [
        (key, value)
        for key, value in grpc_context.invocation_metadata() or ()
        if isinstance(value, str)
    ]
    return CallContext(grpc_context.peer(), metadata, grpc_context.time_remaining())


@asynccontextmanager
async def _called(grpc_context: Any) -> AsyncIterator[CallContext]:
    """The call as handlers know it; it ends with the status that they, or its bytes, bring."""
    context = _context(grpc_context)
    grpc_context.set_trailing_metadata(((REQUEST_ID, context.request_id),))
    try:
        yield context
    except AbortedCall as error:
        await _abort(grpc_context, context, error)
    except ConfigError as error:  # of a request that no handler saw
        failure = encode(error)
        aborted = AbortedCall(failure.code, failure.message, failure.details)
        await _abort(grpc_context, context, aborted)
    finally:
        context.end()


async def _abort(grpc_context: Any, context: CallContext, error: AbortedCall) -> None:
    grpc_context.set_trailing_metadata(
        ((REQUEST_ID, context.request_id), (DETAILS_KEY, error.details))
    )
    await grpc_context.abort(error.code, error.message)
