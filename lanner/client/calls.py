"""Calls about submitted detections, each repeated while the server is away."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import grpc
from google.longrunning import operations_pb2 as operations
from google.longrunning import operations_pb2_grpc
from google.protobuf.duration_pb2 import Duration

from lanner.core.errors import ServerError
from lanner.v1 import detection_service_pb2 as service_pb
from lanner.v1 import detection_service_pb2_grpc as pb_grpc
from lanner.v1 import upload_service_pb2 as upload_pb
from lanner.v1 import upload_service_pb2_grpc as upload_pb_grpc

T = TypeVar("T")
Errors = Callable[[], AbstractContextManager[None]]
"""Raises Lanner's errors for gRPC's."""

_FIRST_S, _LAST_S = 0.1, 5.0
"""Pauses between repetitions, which double from one to the other."""


class Calls:
    """What a client asks of its server about submitted detections.

    All of them may be repeated without harm: a submission has a `request_id`.

    Args:
        channel: to the server.
        errors: raises Lanner's errors for gRPC's.
        timeout: seconds that one answer may take.
        patience_s: seconds for which a server that is away is asked again.
    """

    def __init__(
        self, channel: grpc.Channel, errors: Errors, timeout: float, patience_s: float
    ) -> None:
        self._detections = pb_grpc.DetectionServiceStub(channel)
        self._operations = operations_pb2_grpc.OperationsStub(channel)
        self._uploads = upload_pb_grpc.UploadServiceStub(channel)
        self._errors = errors
        self._timeout = timeout
        self._patience_s = patience_s

    def submit(self, request: service_pb.SubmitDetectionRequest) -> operations.Operation:
        """The operation of a request."""
        return self._asked(self._detections.SubmitDetection, request)

    def get_operation(self, name: str) -> operations.Operation:
        """How an operation stands."""
        request = operations.GetOperationRequest(name=name)
        return self._asked(self._operations.GetOperation, request)

    def wait_operation(self, name: str, wait: Duration) -> operations.Operation:
        """The same once it is done, or the time is over."""
        request = operations.WaitOperationRequest(name=name, timeout=wait)
        return self._asked(self._operations.WaitOperation, request, wait.ToTimedelta().seconds + 1)

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

    def create_upload(self, request: upload_pb.CreateUploadRequest) -> upload_pb.Upload:
        """An upload to write to. One that nobody writes to is forgotten."""
        return self._asked(self._uploads.CreateUpload, request)

    def write_upload(
        self, name: str, parts: Callable[[int], Iterator[upload_pb.WriteUploadRequest]]
    ) -> upload_pb.Upload:
        """Write an upload to its end; `parts` gives what is to be sent from an offset on."""
        patience = _Patience(self._patience_s)
        offset = 0
        while True:
            try:
                with self._errors():
                    return self._uploads.WriteUpload(parts(offset))
            except ServerError as error:
                patience.failed(error)
            # The call that broke off may still hold the upload for a moment.
            found = self._asked(self._uploads.GetUpload, upload_pb.GetUploadRequest(name=name))
            offset = found.offset

    def watch(self, name: str, previews: bool, cursor: str) -> Iterator[service_pb.WatchEvent]:
        """The events of an operation; a call that breaks off goes on where it was."""
        patience = _Patience(self._patience_s)
        while True:
            request = service_pb.WatchRequest(name=name, cursor=cursor, previews=previews)
            try:
                with self._errors():
                    for event in self._detections.Watch(request):
                        cursor = event.cursor or cursor
                        patience = _Patience(self._patience_s)
                        yield event
                return
            except ServerError as error:
                patience.failed(error)

    def result(self, name: str, form: str) -> Iterator[bytes]:
        """The bytes of a result, in pieces; one that breaks off is taken up where it was."""
        taken = 0
        request = service_pb.GetResultRequest(name=name, format=form)
        patience = _Patience(self._patience_s)
        while True:
            passed = 0
            try:
                with self._errors():
                    for one in self._detections.GetResult(request):
                        # Results do not change: what was taken before is the same now.
                        part = one.data[max(0, taken - passed) :]
                        passed += len(one.data)
                        if part:
                            taken += len(part)
                            yield part
                return
            except ServerError as error:
                patience.failed(error)

    def _asked(self, call: Callable[..., T], request: Any, extra_s: float = 0.0) -> T:
        patience = _Patience(self._patience_s)
        while True:
            try:
                with self._errors():
                    return call(request, timeout=self._timeout + extra_s)
            except ServerError as error:
                patience.failed(error)


class _Patience:
    """Pauses between repetitions, until a server was away for too long."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._pause = _FIRST_S

    def failed(self, error: ServerError) -> None:
        """Pause before the next try.

        Raises:
            ServerError: `error`, where its server is not away or was so for too long.
        """
        code = getattr(error.__cause__, "code", None)  # of the RpcError that it was made of
        away = code is not None and code() is grpc.StatusCode.UNAVAILABLE
        if not away or time.monotonic() + self._pause > self._end:
            raise error
        # Clients that lost one server at once do not come back at once.
        time.sleep(self._pause * random.uniform(0.5, 1.0))
        self._pause = min(2 * self._pause, _LAST_S)
