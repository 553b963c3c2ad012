"""The service of detections: requests in, events out. It is handed the work and imports no
pipeline.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from google.api import httpbody_pb2
from google.longrunning import operations_pb2

from lanner.core.errors import BusyError, Cancelled, ServerError
from lanner.core.job import Cancel, DetectionPlan, DetectRequest, Progress
from lanner.core.offers import Offered, to_message
from lanner.v1 import detection_pb2 as words
from lanner.v1 import detection_service_pb2 as pb
from server.accounts import ANYONE
from server.call import Call, Calls
from server.context import CallContext
from server.detections import Checked, Detections
from server.following import Follower
from server.mailbox import Mailbox
from server.messages import feature_events, progress_message, summary_event
from server.operations import id_of, logged_id, operation_of
from server.request import named, offered
from server.results import FORMATS
from server.slots import Slots, Ticket
from server.streams import too_many
from server.work import Work
from tiling.names import display_name

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
        self.client = ANYONE
        self.cancel = Cancel()
        self.reports = Mailbox()
        self.shut_down = False

    def stop(self) -> None:
        """Stop the work and let go of whoever reads its progress."""
        self.cancel.set()
        self.reports.close()


class DetectionService:
    """lanner.v1.DetectionService.

    Args:
        work: what is done for clients.
        checked: from a spec to what is run here.
        slots: who may compute when.
        calls: makes the calls of its methods.
        jobs: detections that go on without their callers.
        follower: follows these.
        max_streams: detections open at once, be they waiting, computing or being read.
        of_client: those of one client, where clients are told apart.
    """

    def __init__(
        self,
        work: Work,
        checked: Checked,
        slots: Slots,
        *,
        calls: Calls,
        jobs: Detections,
        follower: Follower,
        max_streams: int = 64,
        of_client: int = 32,
    ) -> None:
        self._work = work
        self._checked = checked
        self._slots = slots
        self._calls = calls
        self._jobs = jobs
        self._follower = follower
        self._max_streams = max_streams
        self._of_client = of_client
        self._workers = ThreadPoolExecutor(max_streams, thread_name_prefix="detect")
        self._open: set[_Run] = set()
        self._changed = threading.Condition()

    def ListDetectors(  # noqa: N802  the generated code names it
        self, request: pb.ListDetectorsRequest, context: CallContext
    ) -> pb.ListDetectorsResponse:
        """See proto/lanner/v1/detection_service.proto."""
        with self._calls.begin("ListDetectors", context, "read"):
            offers = sorted(self._work.list_detectors(), key=lambda one: one.name)
            return pb.ListDetectorsResponse(detectors=map(self._described, offers))

    def GetDetector(  # noqa: N802  the generated code names it
        self, request: pb.GetDetectorRequest, context: CallContext
    ) -> words.Detector:
        """See proto/lanner/v1/detection_service.proto."""
        with self._calls.begin("GetDetector", context, "read"):
            offer = offered(request.name, self._work.list_detectors(), self._work.release)
            found = self._described(offer)
            if found.problem == "":
                found.properties_schema = json.dumps(self._work.properties(offer.name))
            return found

    def PlanDetection(  # noqa: N802  the generated code names it
        self, request: pb.PlanDetectionRequest, context: CallContext
    ) -> pb.DetectionPlan:
        """See proto/lanner/v1/detection_service.proto."""
        asked = named(request.spec.scene)
        with self._calls.begin("PlanDetection", context, "run", asked=asked) as call:
            return _plan_message(self._work.plan(self._opened_as(request.spec, asked, call)))

    def Detect(  # noqa: N802  the generated code names it
        self, request: pb.DetectRequest, context: CallContext
    ) -> Iterator[pb.DetectResponse]:
        """See proto/lanner/v1/detection_service.proto."""
        run = _Run()

        def over() -> None:
            run.stop()
            with self._changed:
                self._open.discard(run)
                self._changed.notify_all()

        asked = named(request.spec.scene)
        begun = self._calls.begin("Detect", context, "run", asked=asked, over=over, is_stream=True)
        with begun as call:
            run.client = call.client
            self._admit(run)
            yield from self._events(request, run, call)

    def SubmitDetection(  # noqa: N802  the generated code names it
        self, request: pb.SubmitDetectionRequest, context: CallContext
    ) -> operations_pb2.Operation:
        """See proto/lanner/v1/detection_service.proto."""
        asked = named(request.spec.scene)
        with self._calls.begin("SubmitDetection", context, "run", asked=asked) as call:
            call.fields.update(_logged(request.spec))
            job = self._opened_as(request.spec, asked, call)
            self._work.admit(job)
            queue = request.queue_timeout if request.HasField("queue_timeout") else None
            taken = self._jobs.submit(
                request.spec,
                call.client,
                request_id=request.request_id,
                priority=request.priority,
                queue_s=None if queue is None else queue.ToTimedelta().total_seconds(),
                call_id=context.request_id,
            )
            call.fields.update(job=taken.id)
            return operation_of(taken)

    async def Watch(  # noqa: N802  the generated code names it
        self, request: pb.WatchRequest, context: CallContext
    ) -> AsyncIterator[pb.WatchEvent]:
        """See proto/lanner/v1/detection_service.proto."""
        async with self._calls.begin("Watch", context, "read", is_stream=True) as call:
            call.fields.update(job=logged_id(request.name))
            events = self._follower.events(
                id_of(request.name), call.owner, request.cursor, request.previews, context
            )
            async for event in events:
                yield event

    def GetResult(  # noqa: N802  the generated code names it
        self, request: pb.GetResultRequest, context: CallContext
    ) -> Iterator[httpbody_pb2.HttpBody]:
        """See proto/lanner/v1/detection_service.proto."""
        with self._calls.begin("GetResult", context, "read", is_stream=True) as call:
            form = request.format or "geojson"
            path = self._jobs.result_file(id_of(request.name), call.owner, form)
            call.fields.update(job=logged_id(request.name), bytes=path.stat().st_size)
            kind = FORMATS[form]
            with path.open("rb") as file:
                while (part := file.read(_PART_BYTES)) or kind:
                    yield httpbody_pb2.HttpBody(content_type=kind, data=part)
                    kind = ""

    def _described(self, offer: Offered) -> words.Detector:
        found = to_message(offer)
        found.problem = self._calls.private.hide(found.problem)
        return found

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

    def _opened_as(self, spec: words.DetectionSpec, asked: str, call: Call) -> DetectRequest:
        """What a spec asks for; errors of the call name its scene as its caller does from now on.

        Raises:
            LannerError: it cannot be asked for here.
        """
        job = self._checked(spec, call.client)
        call.hide = partial(self._calls.private.hide, opened=job.scene, asked=asked)
        return job

    def _admit(self, run: _Run) -> None:
        with self._changed:
            if len(self._open) >= self._max_streams:
                raise BusyError(
                    "streams",
                    len(self._open),
                    "as many detections are open as this server allows",
                    "try again later",
                )
            mine = sum(one.client == run.client for one in self._open)
            if run.client != ANYONE and mine >= self._of_client:
                raise too_many(mine)
            run.cancel.check()  # `over` came first and will not come again to take it out
            self._open.add(run)

    def _events(
        self, request: pb.DetectRequest, run: _Run, call: Call
    ) -> Iterator[pb.DetectResponse]:
        spec = request.spec
        uri = named(spec.scene)
        call.fields.update(_logged(spec))
        job = self._opened_as(spec, uri, call)
        ticket = self._slots.enter(job.device)
        future = self._workers.submit(self._compute, ticket, job, run)
        future.add_done_callback(partial(_finished, run, call))
        for progress in run.reports:
            yield pb.DetectResponse(progress=progress_message(progress))
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

    def _compute(self, ticket: Ticket, job: DetectRequest, run: _Run) -> _Outcome:
        """Wait for the device and compute; the frame of the result is let go at once."""
        with ticket:
            ticket.wait(run.cancel, lambda: run.reports.put(Progress(QUEUED, 0, 0)))
            started = time.monotonic()
            result = self._work.detect(job, run.cancel, run.reports.put)
            self._calls.metrics.detected(job.detector, result)
            return result.features, result.summary, round(time.monotonic() - started, 3)


def _logged(spec: words.DetectionSpec) -> dict[str, str]:
    """What the log says of a spec."""
    uri = named(spec.scene)
    # An address may hold a password, or a signature that opens it.
    return {"scene": display_name(uri)[:_LOGGED], "detector": spec.detector.name[:_LOGGED]}


def _plan_message(plan: DetectionPlan) -> pb.DetectionPlan:
    found = pb.DetectionPlan(
        tiles=plan.tiles,
        megapixels=plan.megapixels,
        read_bytes=plan.read_bytes,
        memory_bytes=plan.memory_bytes,
        result_bytes=plan.result_bytes,
        notes=plan.notes,
    )
    if plan.seconds is not None:
        found.work_time.FromMilliseconds(round(plan.seconds * 1000))
    return found


def _finished(run: _Run, call: Call, future: Future[_Outcome]) -> None:
    """End the reading of progress; log a failure that no caller is left to hear of."""
    deserted = run.cancel.is_set() and not run.shut_down
    error = None if future.cancelled() else future.exception()
    if deserted and error is not None and not isinstance(error, Cancelled):
        call.log_failure(error)
    run.reports.close()
