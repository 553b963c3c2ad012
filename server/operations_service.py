"""google.longrunning.Operations over jobs: get, list, wait, cancel, delete."""

from __future__ import annotations

import time

from google.longrunning import operations_pb2 as pb
from google.protobuf.empty_pb2 import Empty

from server.accounts import Role
from server.call import Call, Calls
from server.context import CallContext
from server.detections import Detections
from server.following import Follower
from server.operations import id_of, logged_id, operation_of

_PAGE, _LARGEST_PAGE = 100, 1000
_LONGEST_WAIT_S = 300.0
"""What a caller without a deadline waits for; it may ask again."""


class OperationsService:
    """google.longrunning.Operations.

    Args:
        jobs: the jobs that are operations.
        follower: waits for them.
        calls: makes the calls of its methods.
    """

    def __init__(self, jobs: Detections, follower: Follower, calls: Calls) -> None:
        self._jobs = jobs
        self._follower = follower
        self._calls = calls

    def GetOperation(  # noqa: N802  the generated code names it
        self, request: pb.GetOperationRequest, context: CallContext
    ) -> pb.Operation:
        """An operation as it is now."""
        with self._call("GetOperation", request.name, context, "read") as call:
            return operation_of(self._jobs.get(id_of(request.name), call.owner))

    def ListOperations(  # noqa: N802  the generated code names it
        self, request: pb.ListOperationsRequest, context: CallContext
    ) -> pb.ListOperationsResponse:
        """A page of operations, the oldest first."""
        with self._call("ListOperations", request.name, context, "read") as call:
            most = min(max(request.page_size, 0) or _PAGE, _LARGEST_PAGE)
            found = self._jobs.list(call.owner, request.page_token or None, most + 1)
            return pb.ListOperationsResponse(
                operations=[operation_of(one) for one in found[:most]],
                next_page_token=found[most - 1].id if len(found) > most else "",
            )

    async def WaitOperation(  # noqa: N802  the generated code names it
        self, request: pb.WaitOperationRequest, context: CallContext
    ) -> pb.Operation:
        """An operation once it is done, or as it is when the time is over."""
        async with self._call("WaitOperation", request.name, context, "read") as call:
            wait_s = _LONGEST_WAIT_S
            if request.HasField("timeout"):
                wait_s = min(wait_s, request.timeout.ToTimedelta().total_seconds())
            until = time.monotonic() + wait_s
            job = await self._follower.ended(id_of(request.name), call.owner, until, context)
            return operation_of(job)

    def CancelOperation(  # noqa: N802  the generated code names it
        self, request: pb.CancelOperationRequest, context: CallContext
    ) -> Empty:
        """Ask for an operation's end; one that is done stays as it is."""
        with self._call("CancelOperation", request.name, context, "run") as call:
            self._jobs.cancel(id_of(request.name), call.owner)
            return Empty()

    def DeleteOperation(  # noqa: N802  the generated code names it
        self, request: pb.DeleteOperationRequest, context: CallContext
    ) -> Empty:
        """Forget an operation and its result; work on it stops."""
        with self._call("DeleteOperation", request.name, context, "run") as call:
            self._jobs.delete(id_of(request.name), call.owner)
            return Empty()

    def _call(self, method: str, name: str, context: CallContext, role: Role) -> Call:
        call = self._calls.begin(method, context, role)
        if method != "ListOperations":
            call.fields.update(job=logged_id(name))
        return call
