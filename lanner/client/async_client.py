"""Lanner on another machine for programs that await: `lanner.AsyncClient`."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from functools import cached_property
from pathlib import Path

import grpc

from lanner.client.async_calls import AsyncCalls
from lanner.client.async_operation import AsyncOperation
from lanner.client.collecting import Collector
from lanner.client.connection import Connection
from lanner.client.messages import Scene, plan_of, spec_of, submission_of
from lanner.client.uploads import Sending, Upload
from lanner.core.job import DetectionPlan, Progress
from lanner.core.offers import DetectorOffer, from_message
from lanner.inference.detections import Detections
from lanner.v1 import detection_service_pb2 as service_pb


class AsyncClient:
    """A connection to one server, for one event loop.

    Use it by `async with`, or await `close`. Methods, arguments and errors are those of
    `lanner.Client`; a call is ended by cancelling its task. What is passed as `on_progress` is
    called by the event loop, while a file is sent by another thread.

    Args:
        address: host:port.
        timeout: as of `lanner.Client`.
        keepalive_s: as of `lanner.Client`.
        patience: as of `lanner.Client`.
        credentials: as of `lanner.Client`.
        token: as of `lanner.Client`.
    """

    def __init__(
        self,
        address: str = "127.0.0.1:50051",
        *,
        timeout: float = 10.0,
        keepalive_s: float = 20.0,
        patience: float = 60.0,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | None = None,
    ) -> None:
        self.address = address
        self._credentials = credentials
        self._connection = Connection(
            address, timeout=timeout, keepalive_s=keepalive_s, patience=patience, token=token
        )

    @cached_property
    def _channel(self) -> grpc.aio.Channel:
        """Made by the first call: it belongs to the event loop that runs then."""
        options = self._connection.options
        if self._credentials is None:
            return grpc.aio.insecure_channel(self.address, options)
        return grpc.aio.secure_channel(self.address, self._credentials, options)

    @cached_property
    def _calls(self) -> AsyncCalls:
        return AsyncCalls(self._channel, self._connection)

    async def detectors(self) -> tuple[DetectorOffer, ...]:
        """The detectors on offer, by name."""
        answer = await self._calls.list_detectors()
        return tuple(from_message(one) for one in answer.detectors)

    async def detect(
        self,
        scene: Scene,
        detector: str,
        *,
        gsd: float | None = None,
        device: str = "auto",
        tile: int | None = None,
        members: str | Sequence[str] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        timeout: float | None = None,
    ) -> Detections:
        """Run one detection on the server and return when it is done."""
        spec = spec_of(scene, detector, device, gsd=gsd, tile=tile, members=members)
        request, collector = service_pb.DetectRequest(spec=spec), Collector()
        async with aclosing(self._calls.detect(request, timeout)) as events:
            async for event in events:
                progress = collector.take(event)
                if progress is not None and on_progress is not None:
                    on_progress(progress)
        return collector.result(self.address)

    async def submit(
        self,
        scene: Scene,
        detector: str,
        *,
        gsd: float | None = None,
        device: str = "auto",
        tile: int | None = None,
        members: str | Sequence[str] | None = None,
        request_id: str | None = None,
        priority: int = 0,
        queue_timeout: float | None = None,
    ) -> AsyncOperation:
        """Have one detection done that goes on without this client, and return at once."""
        spec = spec_of(scene, detector, device, gsd=gsd, tile=tile, members=members)
        request = submission_of(spec, request_id, priority, queue_timeout)
        return AsyncOperation(self._calls, await self._calls.submit(request))

    async def plan(
        self,
        scene: Scene,
        detector: str,
        *,
        gsd: float | None = None,
        device: str = "auto",
        tile: int | None = None,
        members: str | Sequence[str] | None = None,
    ) -> DetectionPlan:
        """Say what a detection would take, without running it."""
        spec = spec_of(scene, detector, device, gsd=gsd, tile=tile, members=members)
        return plan_of(await self._calls.plan(service_pb.PlanDetectionRequest(spec=spec)))

    async def upload(
        self,
        path: str | os.PathLike[str],
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Upload:
        """Send a scene to a server that cannot reach it; `detect`, `submit` and `plan` take it."""
        return await self._calls.upload(Sending(Path(path), on_progress or (lambda _: None)))

    async def has_upload(self, upload: Upload) -> bool:
        """Whether all bytes of a scene that was sent are still there."""
        return (await self._calls.get_upload(upload.name)).complete

    async def delete_upload(self, upload: Upload) -> None:
        """Have the server forget a scene that was sent, and its bytes."""
        await self._calls.delete_upload(upload.name)

    async def operation(self, name: str) -> AsyncOperation:
        """A submitted detection by its name."""
        return AsyncOperation(self._calls, await self._calls.get_operation(name))

    async def operations(self) -> AsyncGenerator[AsyncOperation, None]:
        """Submitted detections, the oldest first."""
        async for message in self._calls.operations():
            yield AsyncOperation(self._calls, message)

    async def close(self) -> None:
        """Close the connection; what still runs is cancelled."""
        self._connection.closed = True
        if "_channel" in self.__dict__:
            await self._channel.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()
