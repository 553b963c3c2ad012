"""Methods of services, run for gRPC and HTTP: in threads where they block, else in the loop."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor

from server.context import CallContext

Method = Callable[[Any, CallContext], Any]
"""A handler: request and context in; a message out, or an iterator of them, or either of these
as coroutine and asynchronous iterator.
"""

_END = object()


def methods_of(services: Iterable[tuple[ServiceDescriptor, object]]) -> Mapping[str, Method]:
    """Handlers by the full names of their methods."""
    return {
        method.full_name: getattr(servicer, method.name)
        for service, servicer in services
        for method in service.methods
    }


async def answer(
    method: Method, request: Any, context: CallContext, threads: ThreadPoolExecutor
) -> Any:
    """The one message that a method answers with."""
    if inspect.iscoroutinefunction(method):
        return await method(request, context)
    return await asyncio.get_running_loop().run_in_executor(threads, method, request, context)


async def answers(
    method: Method, request: Any, context: CallContext, threads: ThreadPoolExecutor
) -> AsyncGenerator[Any, None]:
    """All messages that a method answers with, each made when it is asked for."""
    found = method(request, context)
    if isinstance(found, AsyncGenerator):
        async with aclosing(found):
            async for one in found:
                yield one
        return
    loop = asyncio.get_running_loop()
    try:
        while (one := await loop.run_in_executor(threads, next, found, _END)) is not _END:
            yield one
    finally:
        # Where it is at work, it sees by its context that nobody waits, and ends by itself.
        context.end()
        with suppress(ValueError):
            found.close()
