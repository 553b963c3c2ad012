"""The gRPC service: requests in, events out. It is handed the work and imports no pipeline."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc
from google.api import httpbody_pb2
from google.longrunning import operations_pb2

from lanner.core.errors import BusyError, Cancelled, ServerError
from lanner.core.job import Cancel, DetectFn, DetectRequest, Progress
from lanner.core.offers import ListDetectors, to_message
from lanner.v1 import detection_service_pb2 as pb
from lanner.v1 import detection_service_pb2_grpc as pb_grpc
from server.call import Call
from server.detections import Checked, Detections
from server.mailbox import Mailbox
from server.messages import feature_events, progress_event, summary_event
from server.operations import CLIENT, id_of, operation_of
from server.private import Private
from server.results import FORMATS
from server.slots import Slots, Ticket

_Outcome = tuple[Sequence[str], Mapping[str, Any], float]
# Feature texts, summary, seconds of work.
_LOGGED = 500
# Characters of what a caller sends that go into the log; a request may hold 4 MB.

_PART_BYTES = 1 << 20
# Of a result in one message.

QUEUED = "queued"
"""Stage of a detection that waits for its device."""


class _Run:
    """One detection between its caller and the thread that works on it."""

    def __init__(self) -> None:
        self.cancel = Cancel()
        self.reports = Mailbox()
        self.shut_down = False

    def stop(self) -> None:
        """Stop the work and let go of whoever reads its progress."""
        self.cancel.set()
        self.reports.close()


class DetectionService(pb_grpc.DetectionServiceServicer):
    """lanner.v1.DetectionService.

    Args:
        detect: runs one detection; looks at its `Cancel` often.
        list_detectors: what is on offer.
        checked: from a spec to what is run here.
        slots: who may compute when.
        jobs: detections that go on without their callers.
        private: what callers are not told of this machine.
        max_streams: detections open at once, be they waiting, computing or being read.
    """

    def __init__(
        self,
        detect: DetectFn,
        list_detectors: ListDetectors,
        checked: Checked,
        slots: Slots,
        *,
        jobs: Detections,
        private: Private,
        max_streams: int = 64,
    ) -> None:
        self._detect = detect
        self._list_detectors = list_detectors
        self._checked = checked
        self._slots = slots
        self._jobs = jobs
        self._private = private
        self._max_streams = max_streams
        self._workers = ThreadPoolExecutor(max_streams, thread_name_prefix="detect")
        self._open: set[_Run] = set()
        self._changed = threading.Condition()

    def ListDetectors(  # noqa: N802  the generated code names it
        self, request: pb.ListDetectorsRequest, context: grpc.ServicerContext
    ) -> pb.ListDetectorsResponse:
        """See proto/lanner/v1/detection_service.proto."""
        call = Call("ListDetectors", context, self._private.hide)
        context.add_callback(call.finish)
        with call:
            offers = sorted(self._list_detectors(), key=lambda one: one.name)
            messages = [to_message(one) for one in offers]
            for one in messages:
                one.problem = self._private.hide(one.problem)
            return pb.ListDetectorsResponse(detectors=messages)

    def Detect(  # noqa: N802  the generated code names it
        self, request: pb.DetectRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.DetectResponse]:
        """See proto/lanner/v1/detection_service.proto."""
        uri = request.spec.scene.uri
        call, run = Call("Detect", context, partial(self._private.hide, asked=uri)), _Run()

        def over() -> None:
            run.stop()
            with self._changed:
                self._open.discard(run)
                self._changed.notify_all()
            call.finish()

        with call:
            if not context.add_callback(over):  # gone before it began
                over()
                return
            self._admit(run)
            yield from self._events(request, run, call)

    def SubmitDetection(  # noqa: N802  the generated code names it
        self, request: pb.SubmitDetectionRequest, context: grpc.ServicerContext
    ) -> operations_pb2.Operation:
        """See proto/lanner/v1/detection_service.proto."""
        asked = request.spec.scene.uri
        call = Call("SubmitDetection", context, partial(self._private.hide, asked=asked))
        context.add_callback(call.finish)
        with call:
            queue = request.queue_timeout if request.HasField("queue_timeout") else None
            job = self._jobs.submit(
                request.spec,
                CLIENT,
                request_id=request.request_id,
                priority=request.priority,
                queue_s=None if queue is None else queue.ToTimedelta().total_seconds(),
            )
            call.fields.update(job=job.id)
            return operation_of(job)

    def GetResult(  # noqa: N802  the generated code names it
        self, request: pb.GetResultRequest, context: grpc.ServicerContext
    ) -> Iterator[httpbody_pb2.HttpBody]:
        """See proto/lanner/v1/detection_service.proto."""
        call = Call("GetResult", context, self._private.hide)
        context.add_callback(call.finish)
        with call:
            form = request.format or "geojson"
            path = self._jobs.result_file(id_of(request.name), CLIENT, form)
            call.fields.update(job=request.name, bytes=path.stat().st_size)
            kind = FORMATS[form]
            with path.open("rb") as file:
                while (part := file.read(_PART_BYTES)) or kind:
                    yield httpbody_pb2.HttpBody(content_type=kind, data=part)
                    kind = ""

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no detection is open; whether that came true within `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, timeout)

    def shut_down(self) -> None:
        """Stop every open detection and tell its caller why."""
        with self._changed:
            for run in self._open:
                run.shut_down = True
                run.cancel.set()  # the worker ends, which closes the mailbox

    def close(self) -> None:
        """Let the worker threads go as they finish."""
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _admit(self, run: _Run) -> None:
        with self._changed:
            if len(self._open) >= self._max_streams:
                raise BusyError(
                    "streams",
                    len(self._open),
                    "as many detections are open as this server allows",
                    "try again later",
                )
            run.cancel.check()  # `over` came first and will not come again to take it out
            self._open.add(run)

    def _events(
        self, request: pb.DetectRequest, run: _Run, call: Call
    ) -> Iterator[pb.DetectResponse]:
        spec = request.spec
        uri = spec.scene.uri
        # What a URL asks for may be a signature that opens it.
        named = uri.partition("?")[0] if "://" in uri else uri
        call.fields.update(scene=named[:_LOGGED], detector=spec.detector.name[:_LOGGED])
        job = self._checked(spec)
        call.hide = partial(self._private.hide, opened=job.scene, asked=uri)
        ticket = self._slots.enter(job.device)
        future = self._workers.submit(self._work, ticket, job, run)
        future.add_done_callback(partial(_finished, run, call))
        for progress in run.reports:
            yield progress_event(progress)
        if run.cancel.is_set() and not run.shut_down:
            return  # nobody is left to read; the worker stops by itself
        try:
            features, summary, seconds = future.result()
        except Cancelled:
            if not run.shut_down:
                raise
            raise ServerError(
                "server",
                "detection",
                "stopped because the server shuts down",
                "send the request again when it is back",
            ) from None
        del future
        call.fields.update(features=len(features), work_seconds=seconds)
        yield from feature_events(features)
        yield summary_event(len(features), summary)

    def _work(self, ticket: Ticket, job: DetectRequest, run: _Run) -> _Outcome:
        """Wait for the device and compute; the frame of the result is let go at once."""
        with ticket:
            ticket.wait(run.cancel, lambda: run.reports.put(Progress(QUEUED, 0, 0)))
            started = time.monotonic()
            result = self._detect(job, run.cancel, run.reports.put)
            return result.features, result.summary, round(time.monotonic() - started, 3)


def _finished(run: _Run, call: Call, future: Future[_Outcome]) -> None:
    """End the reading of progress; log a failure that no caller is left to hear of."""
    deserted = run.cancel.is_set() and not run.shut_down
    error = None if future.cancelled() else future.exception()
    if deserted and error is not None and not isinstance(error, Cancelled):
        call.log_failure(error)
    run.reports.close()
