"""Calls to a server that are awaited, each repeated while it is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import grpc
from google.longrunning import operations_pb2 as operations
from google.longrunning import operations_pb2_grpc

from lanner.client.connection import Connection
from lanner.client.messages import duration
from lanner.client.resuming import ResultPosition, WatchCursor
from lanner.client.retry import Retries
from lanner.client.uploads import Sending, Upload
from lanner.core.errors import LannerError
from lanner.v1 import detection_service_pb2 as service_pb
from lanner.v1 import detection_service_pb2_grpc as pb_grpc
from lanner.v1 import upload_service_pb2 as upload_pb
from lanner.v1 import upload_service_pb2_grpc as upload_pb_grpc


class AsyncCalls:
    """As `lanner.client.calls.Calls`, for one event loop.

    Args:
        channel: to the server.
        connection: what all calls have in common.
    """

    def __init__(self, channel: grpc.aio.Channel, connection: Connection) -> None:
        self._detections: Any = pb_grpc.DetectionServiceStub(channel)
        self._operations: Any = operations_pb2_grpc.OperationsStub(channel)  # type: ignore[no-untyped-call, unused-ignore]
        self._uploads: Any = upload_pb_grpc.UploadServiceStub(channel)
        self._connection = connection
        self._metadata = connection.metadata

    async def list_detectors(self) -> service_pb.ListDetectorsResponse:
        """What is on offer; asked once, so that a wrong address is told at once."""
        timeout, request = self._connection.timeout, service_pb.ListDetectorsRequest()
        with self._connection.errors(timeout):
            answer: service_pb.ListDetectorsResponse = await self._detections.ListDetectors(
                request, timeout=timeout, metadata=self._metadata
            )
            return answer

    async def detect(
        self, request: service_pb.DetectRequest, timeout: float | None
    ) -> AsyncGenerator[service_pb.DetectResponse, None]:
        """The events of a detection that ends with its call; never repeated."""
        with self._connection.errors(timeout):
            call = self._detections.Detect(request, timeout=timeout, metadata=self._metadata)
            try:
                async for event in call:
                    yield event
            finally:
                call.cancel()

    async def submit(self, request: service_pb.SubmitDetectionRequest) -> operations.Operation:
        """The operation of a request."""
        found: operations.Operation = await self._asked(self._detections.SubmitDetection, request)
        return found

    async def get_operation(self, name: str) -> operations.Operation:
        """How an operation stands."""
        request = operations.GetOperationRequest(name=name)
        found: operations.Operation = await self._asked(self._operations.GetOperation, request)
        return found

    async def wait_operation(self, name: str, seconds: float) -> operations.Operation:
        """The same once it is done, or the time is over."""
        request = operations.WaitOperationRequest(name=name, timeout=duration(seconds))
        found: operations.Operation = await self._asked(
            self._operations.WaitOperation, request, seconds
        )
        return found

    async def operations(self) -> AsyncGenerator[operations.Operation, None]:
        """All, the oldest first."""
        token = ""
        while True:
            request = operations.ListOperationsRequest(page_token=token)
            page = await self._asked(self._operations.ListOperations, request)
            for one in page.operations:
                yield one
            token = page.next_page_token
            if not token:
                return

    async def cancel_operation(self, name: str) -> None:
        """Ask for an operation's end."""
        request = operations.CancelOperationRequest(name=name)
        await self._asked(self._operations.CancelOperation, request)

    async def delete_operation(self, name: str) -> None:
        """Have an operation forgotten."""
        request = operations.DeleteOperationRequest(name=name)
        await self._asked(self._operations.DeleteOperation, request)

    async def plan(self, request: service_pb.PlanDetectionRequest) -> service_pb.DetectionPlan:
        """What a detection would take."""
        found: service_pb.DetectionPlan = await self._asked(self._detections.PlanDetection, request)
        return found

    async def upload(self, sending: Sending) -> Upload:
        """Send a file; what breaks off goes on where it was."""
        announced = await asyncio.to_thread(sending.announced)
        sending.name = (await self._asked(self._uploads.CreateUpload, announced)).name
        retries = Retries(self._connection.patience)
        with sending.errors():
            while True:
                try:
                    with self._connection.errors(None):
                        found = await self._uploads.WriteUpload(
                            _read_by_thread(sending), metadata=self._metadata
                        )
                    sending.raise_failure()
                    return sending.sent(found)
                except LannerError as error:
                    sending.raise_failure()
                    await asyncio.sleep(retries.pause(error))
                there = (await self.get_upload(sending.name)).offset
                if there > sending.offset:
                    retries.moved()
                sending.offset = there

    async def get_upload(self, name: str) -> upload_pb.Upload:
        """How much of an upload is there."""
        request = upload_pb.GetUploadRequest(name=name)
        found: upload_pb.Upload = await self._asked(self._uploads.GetUpload, request)
        return found

    async def delete_upload(self, name: str) -> None:
        """Have an upload forgotten."""
        await self._asked(self._uploads.DeleteUpload, upload_pb.DeleteUploadRequest(name=name))

    async def watch(self, place: WatchCursor) -> AsyncGenerator[service_pb.WatchEvent, None]:
        """The events of an operation; a call that breaks off goes on where it was."""
        retries = Retries(self._connection.patience)
        while True:
            try:
                with self._connection.errors(None):
                    call = self._detections.Watch(place.request(), metadata=self._metadata)
                    try:
                        async for event in call:
                            retries.moved()
                            yield place.take(event)
                    finally:
                        call.cancel()
                return
            except LannerError as error:
                await asyncio.sleep(retries.pause(error))

    async def result(self, place: ResultPosition) -> AsyncGenerator[bytes, None]:
        """The bytes of a result, in pieces; one that breaks off is taken up where it was."""
        retries = Retries(self._connection.patience)
        while True:
            try:
                with self._connection.errors(None):
                    call = self._detections.GetResult(place.request(), metadata=self._metadata)
                    try:
                        async for one in call:
                            if part := place.take(one.data):
                                retries.moved()
                                yield part
                    finally:
                        call.cancel()
                return
            except LannerError as error:
                await asyncio.sleep(retries.pause(error))

    async def _asked(self, call: Callable[..., Any], request: Any, extra_s: float = 0.0) -> Any:
        retries, timeout = Retries(self._connection.patience), self._connection.timeout + extra_s
        while True:
            try:
                with self._connection.errors(timeout):
                    return await call(request, timeout=timeout, metadata=self._metadata)
            except LannerError as error:
                await asyncio.sleep(retries.pause(error))


async def _read_by_thread(sending: Sending) -> AsyncGenerator[upload_pb.WriteUploadRequest, None]:
    """The messages of an upload; the file is read by a thread, while the loop goes on."""
    parts = sending.parts()
    while (part := await asyncio.to_thread(next, parts, None)) is not None:
        yield part
