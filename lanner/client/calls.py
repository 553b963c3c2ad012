"""Calls to a server that block, each repeated while it is away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

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

T = TypeVar("T")


class Calls:
    """What a client asks of its server about submitted detections and uploads.

    All of them may be repeated without harm: a submission has a `request_id`.

    Args:
        channel: to the server.
        connection: what all calls have in common.
    """

    def __init__(self, channel: grpc.Channel, connection: Connection) -> None:
        self._detections = pb_grpc.DetectionServiceStub(channel)
        self._operations = operations_pb2_grpc.OperationsStub(channel)
        self._uploads = upload_pb_grpc.UploadServiceStub(channel)
        self._connection = connection
        self._metadata = connection.metadata

    def list_detectors(self) -> service_pb.ListDetectorsResponse:
        """What is on offer; asked once, so that a wrong address is told at once."""
        timeout = self._connection.timeout
        with self._connection.errors(timeout):
            return self._detections.ListDetectors(
                service_pb.ListDetectorsRequest(), timeout=timeout, metadata=self._metadata
            )

    def detect(self, request: service_pb.DetectRequest, timeout: float | None) -> Any:
        """The events of a detection that ends with its call, a `grpc.Call`; never repeated."""
        return self._detections.Detect(request, timeout=timeout, metadata=self._metadata)

    def submit(self, request: service_pb.SubmitDetectionRequest) -> operations.Operation:
        """The operation of a request."""
        return self._asked(self._detections.SubmitDetection, request)

    def get_operation(self, name: str) -> operations.Operation:
        """How an operation stands."""
        request = operations.GetOperationRequest(name=name)
        return self._asked(self._operations.GetOperation, request)

    def wait_operation(self, name: str, seconds: float) -> operations.Operation:
        """The same once it is done, or the time is over."""
        request = operations.WaitOperationRequest(name=name, timeout=duration(seconds))
        return self._asked(self._operations.WaitOperation, request, seconds)

    def operations(self) -> Iterator[operations.Operation]:
        """All, the oldest first."""
        token = ""
        while True:
            request = operations.ListOperationsRequest(page_token=token)
            page = self._asked(self._operations.ListOperations, request)
            yield from page.operations
            token = page.next_page_token
            if not token:
                return

    def cancel_operation(self, name: str) -> None:
        """Ask for an operation's end."""
        request = operations.CancelOperationRequest(name=name)
        self._asked(self._operations.CancelOperation, request)

    def delete_operation(self, name: str) -> None:
        """Have an operation forgotten."""
        request = operations.DeleteOperationRequest(name=name)
        self._asked(self._operations.DeleteOperation, request)

    def plan(self, request: service_pb.PlanDetectionRequest) -> service_pb.DetectionPlan:
        """What a detection would take."""
        return self._asked(self._detections.PlanDetection, request)

    def upload(self, sending: Sending) -> Upload:
        """Send a file; what breaks off goes on where it was."""
        announced = sending.announced()
        sending.name = self._asked(self._uploads.CreateUpload, announced).name
        retries = Retries(self._connection.patience)
        with sending.errors():
            while True:
                try:
                    with self._connection.errors(None):
                        found = self._uploads.WriteUpload(sending.parts(), metadata=self._metadata)
                    sending.raise_failure()
                    return sending.sent(found)
                except LannerError as error:
                    sending.raise_failure()
                    time.sleep(retries.pause(error))
                there = self.get_upload(sending.name).offset
                if there > sending.offset:
                    retries.moved()
                sending.offset = there

    def get_upload(self, name: str) -> upload_pb.Upload:
        """How much of an upload is there."""
        return self._asked(self._uploads.GetUpload, upload_pb.GetUploadRequest(name=name))

    def delete_upload(self, name: str) -> None:
        """Have an upload forgotten."""
        self._asked(self._uploads.DeleteUpload, upload_pb.DeleteUploadRequest(name=name))

    def watch(self, place: WatchCursor) -> Iterator[service_pb.WatchEvent]:
        """The events of an operation; a call that breaks off goes on where it was."""
        retries = Retries(self._connection.patience)
        while True:
            try:
                with self._connection.errors(None):
                    for event in self._detections.Watch(place.request(), metadata=self._metadata):
                        retries.moved()
                        yield place.take(event)
                return
            except LannerError as error:
                time.sleep(retries.pause(error))

    def result(self, place: ResultPosition) -> Iterator[bytes]:
        """The bytes of a result, in pieces; one that breaks off is taken up where it was."""
        retries = Retries(self._connection.patience)
        while True:
            try:
                with self._connection.errors(None):
                    request = place.request()
                    for one in self._detections.GetResult(request, metadata=self._metadata):
                        if part := place.take(one.data):
                            retries.moved()
                            yield part
                return
            except LannerError as error:
                time.sleep(retries.pause(error))

    def _asked(self, call: Callable[..., T], request: Any, extra_s: float = 0.0) -> T:
        retries, timeout = Retries(self._connection.patience), self._connection.timeout + extra_s
        while True:
            try:
                with self._connection.errors(timeout):
                    return call(request, timeout=timeout, metadata=self._metadata)
            except LannerError as error:
                time.sleep(retries.pause(error))
