"""Jobs as google.longrunning.Operation (https://google.aip.dev/151)."""

from __future__ import annotations

from datetime import UTC, datetime

from google.longrunning import operations_pb2
from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import code_pb2, status_pb2

from lanner.core.errors import Argument, ConfigError, UnknownOperationError
from lanner.v1 import detection_pb2 as pb
from lanner.v1 import detection_service_pb2 as service_pb
from server.jobs.model import Job
from server.messages import summary_message
from server.results import FORMATS

PREFIX = "operations/"

_LOGGED = 200
"""Characters of a name that a caller sent; a request may hold 4 MB."""

_STATES = {
    "queued": service_pb.OPERATION_STATE_QUEUED,
    "running": service_pb.OPERATION_STATE_RUNNING,
    "succeeded": service_pb.OPERATION_STATE_SUCCEEDED,
    "failed": service_pb.OPERATION_STATE_FAILED,
    "cancelled": service_pb.OPERATION_STATE_CANCELLED,
}


def operation_of(job: Job) -> operations_pb2.Operation:
    """A job as it travels: its metadata is a DetectionMetadata, its response a DetectionResult."""
    operation = operations_pb2.Operation(name=name_of(job.id), done=job.is_ended)
    operation.metadata.Pack(_metadata(job))
    if job.state == "failed":
        operation.error.ParseFromString(job.error or b"")
    elif job.state == "cancelled":
        operation.error.CopyFrom(
            status_pb2.Status(code=code_pb2.CANCELLED, message="cancelled by its client")
        )
    elif job.result is not None:
        summary = summary_message(job.result["features"], job.result["summary"])
        operation.response.Pack(service_pb.DetectionResult(summary=summary, formats=list(FORMATS)))
    return operation


def logged_id(name: str) -> str:
    """The job as the log names it, be its name right or wrong."""
    return name.removeprefix(PREFIX)[:_LOGGED]


def id_of(name: str) -> str:
    """The job that the name of an operation means.

    Raises:
        ConfigError: it is no such name.
    """
    if not name.startswith(PREFIX) or len(name) <= len(PREFIX):
        raise ConfigError(
            Argument("name"),
            name,
            "is no name of an operation",
            f"give the one that the request was answered with: {PREFIX} and an id",
        )
    return name.removeprefix(PREFIX)


def name_of(job: str) -> str:
    """The name of the operation that a job is."""
    return PREFIX + job


def unknown(job: str) -> UnknownOperationError:
    """What to raise where there is no such job, or it is another client's."""
    return UnknownOperationError(
        Argument("name"),
        name_of(job),
        "is no operation here",
        "it may have been deleted, or be on another server; ask for the list of operations",
    )


def _metadata(job: Job) -> service_pb.DetectionMetadata:
    return service_pb.DetectionMetadata(
        spec=json_format.ParseDict(dict(job.spec), pb.DetectionSpec(), ignore_unknown_fields=True),
        state=_STATES[job.state],
        progress=pb.Progress(
            stage=job.progress.stage, done=job.progress.done, total=job.progress.total
        ),
        create_time=_time(job.created),
        start_time=_time(job.started),
        end_time=_time(job.ended),
        attempts=job.attempts,
        cancel_requested=job.cancelling,
        client=job.client,
    )


def _time(seconds: float | None) -> Timestamp | None:
    if seconds is None:
        return None
    found = Timestamp()
    found.FromDatetime(datetime.fromtimestamp(seconds, UTC))
    return found
