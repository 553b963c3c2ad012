"""google.longrunning.Operations over jobs: get, list, wait, cancel, delete."""

from __future__ import annotations

import time

import grpc
from google.longrunning import operations_pb2 as pb
from google.longrunning import operations_pb2_grpc as pb_grpc
from google.protobuf.empty_pb2 import Empty

from server.call import Call
from server.detections import Detections
from server.operations import CLIENT, id_of, operation_of
from server.private import Private

_PAGE, _LARGEST_PAGE = 100, 1000
_LONGEST_WAIT_S = 300.0
"""What a caller without a deadline waits for; it may ask again."""


class OperationsService(pb_grpc.OperationsServicer):  # type: ignore[misc]  # without types
    """google.longrunning.Operations.

    Args:
        jobs: the jobs that are operations.
        private: what callers are not told of this machine.
    """

    def __init__(self, jobs: Detections, private: Private) -> None:
        self._jobs = jobs
        self._private = private

    def GetOperation(  # noqa: N802  the generated code names it
        self, request: pb.GetOperationRequest, context: grpc.ServicerContext
    ) -> pb.Operation:
        """An operation as it is now."""
        with self._call("GetOperation", request.name, context):
            return operation_of(self._jobs.get(id_of(request.name), CLIENT))

    def ListOperations(  # noqa: N802  the generated code names it
        self, request: pb.ListOperationsRequest, context: grpc.ServicerContext
    ) -> pb.ListOperationsResponse:
        """A page of operations, the oldest first."""
        with self._call("ListOperations", request.name, context):
            most = min(request.page_size or _PAGE, _LARGEST_PAGE)
            found = self._jobs.list(CLIENT, request.page_token or None, most + 1)
            return pb.ListOperationsResponse(
                operations=[operation_of(one) for one in found[:most]],
                next_page_token=found[most - 1].id if len(found) > most else "",
            )

    def WaitOperation(  # noqa: N802  the generated code names it
        self, request: pb.WaitOperationRequest, context: grpc.ServicerContext
    ) -> pb.Operation:
        """An operation once it is done, or as it is when the time is over."""
        with self._call("WaitOperation", request.name, context):
            wait_s = _LONGEST_WAIT_S
            if request.HasField("timeout"):
                wait_s = min(wait_s, request.timeout.ToTimedelta().total_seconds())
            until = time.monotonic() + wait_s
            job = self._jobs.wait(
                id_of(request.name), CLIENT, until, lambda: not context.is_active()
            )
            return operation_of(job)

    def CancelOperation(  # noqa: N802  the generated code names it
        self, request: pb.CancelOperationRequest, context: grpc.ServicerContext
    ) -> Empty:
        """Ask for an operation's end; one that is done stays as it is."""
        with self._call("CancelOperation", request.name, context):
            self._jobs.cancel(id_of(request.name), CLIENT)
            return Empty()

    def DeleteOperation(  # noqa: N802  the generated code names it
        self, request: pb.DeleteOperationRequest, context: grpc.ServicerContext
    ) -> Empty:
        """Forget an operation and its result; work on it stops."""
        with self._call("DeleteOperation", request.name, context):
            self._jobs.delete(id_of(request.name), CLIENT)
            return Empty()

    def _call(self, method: str, name: str, context: grpc.ServicerContext) -> Call:
        call = Call(method, context, self._private.hide)
        call.fields.update(job=name[:200])
        context.add_callback(call.finish)
        return call
