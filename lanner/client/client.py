"""Lanner from Python, on this machine or another: `lanner.Client`."""

from __future__ import annotations

import json
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import grpc

from lanner.client.calls import Calls
from lanner.client.operation import Operation
from lanner.client.proxy import Proxy, is_loopback, proxy_of
from lanner.client.token import with_token
from lanner.client.uploads import Upload, send
from lanner.core.errors import (
    BusyError,
    Cancelled,
    ConfigError,
    LannerError,
    SceneError,
    ServerError,
)
from lanner.core.grpc_errors import decode
from lanner.core.job import Cancel, DetectionPlan, Progress
from lanner.core.offers import DetectorOffer, from_message
from lanner.inference.detections import Detections
from lanner.v1 import detection_pb2 as pb
from lanner.v1 import detection_service_pb2 as service_pb
from lanner.v1 import detection_service_pb2_grpc as pb_grpc

_WATCH_S = 0.05
# How soon a raised `Cancel` reaches the server.
_MOST = (4 << 20) - 1024
# Bytes of a request: what gRPC servers accept, with room for what is around it.
_ANEW = "send the request again; it begins anew"


Scene = str | os.PathLike[str] | Upload
"""What a client may name."""


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
        period = int(keepalive_s * 1000)
        options = [
            ("grpc.keepalive_time_ms", period),
            ("grpc.keepalive_timeout_ms", period),
            ("grpc.http2.ping_timeout_ms", period),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.enable_http_proxy", int(not is_loopback(address))),
        ]
        self.address = address
        self._proxy = proxy_of(address, os.environ)
        self._timeout = timeout
        self._channel = (
            grpc.insecure_channel(address, options)
            if credentials is None
            else grpc.secure_channel(address, credentials, options)
        )
        if token is not None:
            self._channel = with_token(self._channel, token)
        self._stub = pb_grpc.DetectionServiceStub(self._channel)
        self._calls = Calls(self._channel, lambda: self._errors(timeout), timeout, patience)
        self._lock = threading.Lock()
        self._flights: set[_Flight] = set()
        self._closed = False

    def detectors(self) -> tuple[DetectorOffer, ...]:
        """The detectors on offer, by name.

        Raises:
            LannerError: as the server raised it, or `ServerError` where it cannot be reached.
        """
        with self._errors(self._timeout):
            answer = self._stub.ListDetectors(
                service_pb.ListDetectorsRequest(), timeout=self._timeout
            )
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
        spec = _spec(scene, detector, device, gsd=gsd, tile=tile, members=members)
        flight = _Flight()
        with self._errors(timeout, flight), self._cancellable(flight, cancel):
            call = self._stub.Detect(service_pb.DetectRequest(spec=spec), timeout=timeout)
            flight.begin(call)
            return _collect(call, on_progress or _ignore, self.address)

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
        spec = _spec(scene, detector, device, gsd=gsd, tile=tile, members=members)
        request = service_pb.SubmitDetectionRequest(
            spec=spec, request_id=request_id or secrets.token_hex(16), priority=priority
        )
        if queue_timeout is not None:
            request.queue_timeout.FromNanoseconds(int(queue_timeout * 1e9))
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
        spec = _spec(scene, detector, device, gsd=gsd, tile=tile, members=members)
        found = self._calls.plan(service_pb.PlanDetectionRequest(spec=spec))
        known = found.HasField("work_time")
        return DetectionPlan(
            found.tiles,
            found.megapixels,
            found.read_bytes,
            found.work_time.ToTimedelta().total_seconds() if known else None,
            found.memory_bytes,
            found.result_bytes if found.HasField("result_bytes") else None,
            tuple(found.notes),
        )

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
        return send(self._calls, Path(path), on_progress or _ignore)

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
        self._closed = True
        self.cancel()
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @contextmanager
    def _errors(self, timeout: float | None, flight: _Flight | None = None) -> Iterator[None]:
        """Raise Lanner's errors for gRPC's."""
        if self._closed:
            raise ServerError("client", self.address, "is closed", "make another lanner.Client")
        try:
            yield
        except grpc.RpcError as error:
            if flight is not None and (flight.stopped or self._closed):
                raise Cancelled(_ANEW) from error
            raise _translate(error, self.address, timeout, self._proxy) from error

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


def _spec(
    scene: Scene,
    detector: str,
    device: str,
    *,
    gsd: float | None,
    tile: int | None,
    members: str | Sequence[str] | None,
) -> pb.DetectionSpec:
    """The request as it travels."""
    source = _source(scene)
    # A single name is one member, not as many as it has letters.
    names = [members] if isinstance(members, str) else members
    try:
        spec = pb.DetectionSpec(
            scene=source,
            detector=pb.DetectorChoice(name=detector),
            device=device,
            gsd_m=gsd,
            tile=tile,
            members=None if members is None else pb.MemberSelection(names=names),
        )
    except ValueError as error:
        raise ConfigError(
            "request",
            ascii((detector, device, gsd, tile, names)),
            f"cannot be sent ({error})",
            "give names in Unicode and numbers of a usual size",
        ) from error
    if (size := spec.ByteSize()) > _MOST:
        raise ConfigError(
            "request",
            f"{size} bytes",
            f"is larger than the {_MOST} that a server takes",
            "name the scene by its path or address, and members by their names",
        )
    return spec


def _source(scene: Scene) -> pb.SceneSource:
    if isinstance(scene, Upload):
        return pb.SceneSource(upload=scene.name)
    uri = os.fspath(scene)
    try:
        uri.encode("utf-8")
    except UnicodeEncodeError as error:
        raise SceneError("scene", ascii(uri), "is no valid Unicode", "rename the file") from error
    return pb.SceneSource(uri=uri)


def _ignore(progress: Progress) -> None:
    """For callers who do not follow the progress."""


def _collect(
    events: Iterable[service_pb.DetectResponse],
    on_progress: Callable[[Progress], None],
    address: str,
) -> Detections:
    """Put the stream together.

    Raises:
        ServerError: it ended before its summary, or features are missing.
    """
    features: list[str] = []
    parts: list[bytes] = []
    summary: pb.Summary | None = None
    for event in events:  # to the very end: only then is the status of the call known
        kind = event.WhichOneof("event")
        if kind == "progress":
            progress = event.progress
            on_progress(Progress(progress.stage, progress.done, progress.total))
        elif kind == "features":
            features.extend(one.geojson for one in event.features.features)
        elif kind == "chunk":
            parts.append(event.chunk.part)
            if not event.chunk.more:
                features.append(b"".join(parts).decode("utf-8"))
                parts = []
        elif kind == "summary":
            summary = event.summary
    if summary is not None and summary.feature_count == len(features):
        return Detections(tuple(features), json.loads(summary.json))
    raise ServerError(
        "server",
        address,
        f"sent an incomplete result ({len(features)} features)",
        "send the request again; if it stays so, bring client and server to one release",
    )


def _translate(
    error: grpc.RpcError, address: str, timeout: float | None, proxy: Proxy | None
) -> LannerError:
    """The error that the server raised, or what happened on the way to it."""
    call = cast("grpc.Call", error)  # every RpcError that a stub raises is one
    lanner_error = decode(call.trailing_metadata() or ())
    if lanner_error is not None:
        return lanner_error
    code, details = call.code(), call.details()
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return ServerError("timeout", timeout, "passed before the answer came", "allow more time")
    # A server that shuts down answers a call that comes in between with CANCELLED.
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        if proxy is not None:
            return ServerError(
                "server",
                address,
                f"cannot be reached or went away, by way of the proxy {proxy.address} that "
                f"{proxy.variable} names ({details})",
                "check the proxy and the address, or name the server's host in no_proxy",
            )
        return ServerError(
            "server",
            address,
            f"cannot be reached or went away ({details})",
            "start it with `lanner serve`, check the address, and send the request again",
        )
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return ServerError(
            "server", address, "does not speak lanner.v1", "check the address, or upgrade it"
        )
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return BusyError("server", address, f"is out of resources ({details})", "try again later")
    return ServerError(
        "server", address, f"failed with {code.name} ({details})", "look into the server's log"
    )
