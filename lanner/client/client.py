"""Lanner from Python, on this machine or another: `lanner.Client`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc

from lanner.client.calls import Calls
from lanner.client.collecting import Collector
from lanner.client.connection import Connection
from lanner.client.messages import Scene, plan_of, spec_of, submission_of
from lanner.client.operation import Operation
from lanner.client.uploads import Sending, Upload
from lanner.core.errors import Cancelled, LannerError
from lanner.core.job import Cancel, DetectionPlan, Progress
from lanner.core.offers import DetectorOffer, from_message
from lanner.inference.detections import Detections
from lanner.v1 import detection_service_pb2 as service_pb

_WATCH_S = 0.05
# How soon a raised `Cancel` reaches the server.
_ANEW = "send the request again; it begins anew"


class Client:
    """A connection to one server; threads may share it.

    Use it as a context manager, or call `close`. The connection is made when first needed and
    again after it was lost; a detection that was running then is not repeated. A server on this
    machine is spoken to directly; to others the way leads through the proxy that the environment
    names (grpc_proxy, https_proxy or http_proxy, but for no_grpc_proxy or no_proxy).

    Args:
        address: host:port.
        timeout: seconds that `detectors` may take.
        keepalive_s: a silent server is asked for a sign of life after this, and given up
            after as long again; at least 5, or the server takes offence.
        patience: seconds for which calls about submitted detections are repeated while the server
            is away.
        credentials: for a server behind TLS, such as `grpc.ssl_channel_credentials()`.
        token: for a server that asks for one.
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
        self._connection = Connection(
            address, timeout=timeout, keepalive_s=keepalive_s, patience=patience, token=token
        )
        options = self._connection.options
        self._channel = (
            grpc.insecure_channel(address, options)
            if credentials is None
            else grpc.secure_channel(address, credentials, options)
        )
        self._calls = Calls(self._channel, self._connection)
        self._lock = threading.Lock()
        self._flights: set[_Flight] = set()

    def detectors(self) -> tuple[DetectorOffer, ...]:
        """The detectors on offer, by name.

        Raises:
            LannerError: as the server raised it, or `ServerError` where it cannot be reached.
        """
        answer = self._calls.list_detectors()
        return tuple(from_message(one) for one in answer.detectors)

    def detect(
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
        cancel: Cancel | None = None,
    ) -> Detections:
        """Run one detection on the server and return when it is done.

        Args:
            scene: path on the server, an address it may open, or what `upload` gave.
            detector: name out of `detectors()`, or `NAME@RELEASE` out of its `releases`.
            gsd: ground sampling in metres, in place of what the scene says; all lengths follow
                it, coordinates stay the file's.
            device: "auto", "cpu", "cuda", "cuda:N" or "mps".
            tile: side of the read tile in detector pixels.
            members: ensemble members to run, a single one by its name; None runs all.
            on_progress: called in this thread as the work goes on, with the stage "queued"
                first where the device is taken; what it raises cancels the detection.
            timeout: seconds for all of it, waiting in line included; None is no limit.
            cancel: set it from another thread to stop.

        Raises:
            LannerError: the class that the server raised, in the same words; `Cancelled`;
                `BusyError` where too many wait; `ServerError` where the server cannot be
                reached, goes away, or does not finish within `timeout`.
        """
        spec = spec_of(scene, detector, device, gsd=gsd, tile=tile, members=members)
        flight = _Flight()
        with self._errors(timeout, flight), self._cancellable(flight, cancel):
            call = self._calls.detect(service_pb.DetectRequest(spec=spec), timeout)
            flight.begin(call)
            return _collected(call, on_progress or _ignore, self.address)

    def submit(
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
    ) -> Operation:
        """Have one detection done that goes on without this client, and return at once.

        Args:
            scene: as of `detect`, and so `detector` to `members`.
            detector: name out of `detectors()`, or `NAME@RELEASE` out of its `releases`.
            gsd: see `detect`.
            device: see `detect`.
            tile: see `detect`.
            members: see `detect`.
            request_id: the same one again, also from another process, is the same operation; a
                new one where None.
            priority: operations of a higher one have their turn earlier, -100 to 100.
            queue_timeout: seconds that it may wait for its turn; then it has failed with
                `DeadlineError`.

        Raises:
            LannerError: as of `detect`, what can be told before the work begins.
        """
        spec = spec_of(scene, detector, device, gsd=gsd, tile=tile, members=members)
        request = submission_of(spec, request_id, priority, queue_timeout)
        return Operation(self._calls, self._calls.submit(request))

    def plan(
        self,
        scene: Scene,
        detector: str,
        *,
        gsd: float | None = None,
        device: str = "auto",
        tile: int | None = None,
        members: str | Sequence[str] | None = None,
    ) -> DetectionPlan:
        """Say what a detection would take, without running it.

        Arguments and errors are those of `detect`.
        """
        spec = spec_of(scene, detector, device, gsd=gsd, tile=tile, members=members)
        return plan_of(self._calls.plan(service_pb.PlanDetectionRequest(spec=spec)))

    def upload(
        self,
        path: str | os.PathLike[str],
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Upload:
        """Send a scene to a server that cannot reach it; `detect`, `submit` and `plan` take it.

        Args:
            path: of the file.
            on_progress: called in another thread with the bytes that were sent.

        Raises:
            SceneError: the file cannot be read, or was not sent whole.
            LannerError: as the server raised it.
        """
        return self._calls.upload(Sending(Path(path), on_progress or _ignore))

    def has_upload(self, upload: Upload) -> bool:
        """Whether all bytes of a scene that was sent are still there.

        Raises:
            UnknownUploadError: the server has forgotten it.
            ServerError: the server cannot be reached.
        """
        return self._calls.get_upload(upload.name).complete

    def delete_upload(self, upload: Upload) -> None:
        """Have the server forget a scene that was sent, and its bytes.

        Raises:
            UnknownUploadError: it is forgotten already.
            ServerError: the server cannot be reached.
        """
        self._calls.delete_upload(upload.name)

    def operation(self, name: str) -> Operation:
        """A submitted detection by its name.

        Raises:
            UnknownOperationError: the server has none of that name.
            ServerError: it cannot be reached.
        """
        return Operation(self._calls, self._calls.get_operation(name))

    def operations(self) -> Iterator[Operation]:
        """Submitted detections, the oldest first.

        Raises:
            ServerError: the server cannot be reached.
        """
        for message in self._calls.operations():
            yield Operation(self._calls, message)

    def cancel(self) -> None:
        """Stop every `detect` of this client; each raises `Cancelled` in its own thread."""
        with self._lock:
            flights = list(self._flights)
        for flight in flights:
            flight.stop()

    def close(self) -> None:
        """Close the connection; what still runs is cancelled."""
        self._connection.closed = True
        self.cancel()
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @contextmanager
    def _errors(self, timeout: float | None, flight: _Flight) -> Iterator[None]:
        """Raise Lanner's errors for gRPC's, and `Cancelled` for a flight that we ended."""
        try:
            with self._connection.errors(timeout):
                yield
        except LannerError as error:
            ours = flight.stopped or self._connection.closed
            if ours and isinstance(error.__cause__, grpc.RpcError):
                raise Cancelled(_ANEW) from error
            raise

    @contextmanager
    def _cancellable(self, flight: _Flight, cancel: Cancel | None) -> Iterator[None]:
        """Let `cancel()` and `cancel` end the call, and end it however the block is left.

        The flight is known before its call begins: the server may be at work before we are told.
        """
        over = threading.Event()

        def watch(flag: Cancel) -> None:
            while not over.wait(_WATCH_S):
                if flag.is_set():
                    flight.stop()
                    return

        with self._lock:
            self._flights.add(flight)
        if cancel is not None:
            threading.Thread(target=watch, args=(cancel,), daemon=True).start()
        try:
            yield
        finally:
            over.set()
            with self._lock:
                self._flights.discard(flight)
            flight.end()


class _Flight:
    """A detection under way; `stopped` tells a cancel of ours from one on the other side."""

    def __init__(self) -> None:
        self.call: grpc.Call | None = None
        self.stopped = False

    def begin(self, call: grpc.Call) -> None:
        """The call is on its way; it ends at once where it was stopped before."""
        self.call = call
        if self.stopped:
            call.cancel()

    def stop(self) -> None:
        """End the call, or keep it from beginning."""
        self.stopped = True
        self.end()

    def end(self) -> None:
        """Cancel the call; this does nothing to one that is complete."""
        if self.call is not None:
            self.call.cancel()


def _ignore(progress: Progress) -> None:
    """For callers who do not follow the progress."""


def _collected(
    events: Iterable[service_pb.DetectResponse],
    on_progress: Callable[[Progress], None],
    address: str,
) -> Detections:
    """Put the stream of a server together.

    Raises:
        ServerError: it ended before its summary, or features are missing.
    """
    collector = Collector()
    for event in events:
        if (progress := collector.take(event)) is not None:
            on_progress(progress)
    return collector.result(address)
