"""A detection that goes on without its client, for one who awaits it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path

from google.longrunning import operations_pb2

from lanner.client.async_calls import AsyncCalls
from lanner.client.events import EventReader, WatchEvent
from lanner.client.operation_status import OperationStatus, Waiting, form_of
from lanner.client.resuming import ResultPosition, WatchCursor
from lanner.core.errors import Argument
from lanner.core.files import replacing
from lanner.core.job import Progress
from lanner.inference.detections import Detections


class AsyncOperation(OperationStatus):
    """A submitted detection. What it says is as of the last answer: `refresh` and `wait` ask anew.

    Methods, arguments and errors are those of `lanner.client.operation.Operation`.

    Args:
        server: where it is.
        message: as the server gave it.
    """

    def __init__(self, server: AsyncCalls, message: operations_pb2.Operation) -> None:
        super().__init__(message)
        self._server = server

    async def refresh(self) -> AsyncOperation:
        """Ask how it stands."""
        return self._take(await self._server.get_operation(self.name))

    async def watch(
        self, previews: bool = True, cursor: str = ""
    ) -> AsyncGenerator[WatchEvent, None]:
        """Follow it: progress, what is found so far, and at its end the features."""
        reader = EventReader()
        async with aclosing(self._server.watch(WatchCursor(self.name, previews, cursor))) as events:
            async for message in events:
                if (event := reader.take(message)) is not None:
                    yield event

    async def poll(self, seconds: float) -> AsyncOperation:
        """Wait for its end for so many seconds at most, and say how it stands then."""
        return self._take(await self._server.wait_operation(self.name, seconds))

    async def wait(
        self,
        timeout: float | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> AsyncOperation:
        """Wait until it is done, however it ends; `on_progress` is called by the event loop."""
        waiting = Waiting(timeout, on_progress is not None)
        while not self.done:
            self._take(await self._server.wait_operation(self.name, waiting.seconds()))
            if on_progress is not None and waiting.is_news(self.progress):
                on_progress(self.progress)
        return self

    async def result(
        self,
        timeout: float | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Detections:
        """What was found; waits for it."""
        await self.wait(timeout, on_progress)
        self._result()
        place = ResultPosition(self.name, "geojson")
        parts = [part async for part in self._server.result(place)]
        return await asyncio.to_thread(self._detections, b"".join(parts))

    async def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the result to a file by its ending, as the server made it; waits for it."""
        target = Path(path)
        await self.wait()
        self._result()
        place = ResultPosition(self.name, form_of(target))
        with replacing(target, Argument("path")) as beside, beside.open("wb") as file:
            async with aclosing(self._server.result(place)) as parts:
                async for part in parts:
                    await asyncio.to_thread(file.write, part)
        return target

    async def cancel(self) -> None:
        """Ask for its end; one that is done stays as it is."""
        await self._server.cancel_operation(self.name)

    async def delete(self) -> None:
        """Have the server forget it and its result; work on it stops."""
        await self._server.delete_operation(self.name)
