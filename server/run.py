"""Starting and stopping the server."""

from __future__ import annotations

import errno
import ipaddress
import logging
import queue
import signal
import socket
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from lanner.core.errors import AddressError, Argument, ConfigError
from lanner.core.job import Cancel, DetectFn, DetectRequest
from lanner.core.offers import ListDetectors
from lanner.v1 import detection_pb2 as words
from lanner.v1 import detection_service_pb2 as pb
from lanner.v1 import detection_service_pb2_grpc as pb_grpc
from server.detections import Checked, Detections
from server.jobs.database import Database
from server.jobs.model import Limits
from server.jobs.runner import RunnerOptions
from server.jobs.store import JobStore
from server.log import NAME, configure
from server.operations_service import OperationsService
from server.private import Private, private
from server.request import one_device, to_job
from server.scenes import ScenePolicy
from server.service import DetectionService
from server.slots import Slots
from tiling.relay import allow_hosts

log = logging.getLogger(NAME)

SERVICE = pb.DESCRIPTOR.services_by_name["DetectionService"].full_name

OPERATIONS = operations_pb2.DESCRIPTOR.services_by_name["Operations"].full_name

_STOP_S = 2.0
# What a detection has, once told to stop, to come to its end.
_LOOK_S = 0.5
# How soon a signal is noticed that came at the worst moment.
_News = queue.SimpleQueue["int | Future[None]"]
# Numbers of signals, and a preparation that is over.
_SPARE_THREADS = 8
# So that lists and health checks are answered while every stream is taken.


@dataclass(frozen=True)
class ServeOptions:
    """How to serve.

    `data` is the folder of jobs and their results, which go on after a restart; None: they end with
    the server. `database` is the URL of their database, where None an SQLite file in `data`;
    servers that share it share `data`, too.

    `port` 0 takes a free one. Local scenes lie in `roots`; `allow_remote` admits http(s) and s3
    addresses, of `remote_hosts` alone where those are listed. `per_device` detections
    compute on one device at once, `max_waiting` wait in line, `max_jobs` submitted ones in theirs;
    jobs of a server that is silent for `lease_s` are another's; `max_streams` are open at all. A
    request for the device "auto" computes on `auto_device`, or on what that returns. `grace_s`
    is what running detections get to finish after SIGTERM. A silent peer is asked for a sign of
    life after `keepalive_s` and given up after as long again. `credentials` turn on TLS.
    """

    host: str = "127.0.0.1"
    port: int = 50051
    data: Path | None = None
    database: str | None = None
    roots: tuple[Path, ...] = field(default_factory=lambda: (Path.cwd(),))
    allow_remote: bool = False
    remote_hosts: tuple[str, ...] = ()
    per_device: int = 2
    max_waiting: int = 16
    max_jobs: int = 1000
    lease_s: float = 30.0
    max_streams: int = 64
    auto_device: str | Callable[[], str] = "auto"
    grace_s: float = 10.0
    keepalive_s: float = 10.0
    credentials: grpc.ServerCredentials | None = None


@dataclass(frozen=True)
class _Jobs:
    """The jobs of a server, and what they are kept in."""

    detections: Detections
    database: Database
    temporary: tempfile.TemporaryDirectory[str] | None

    @classmethod
    def open(
        cls,
        options: ServeOptions,
        detect: DetectFn,
        checked: Checked,
        slots: Slots,
        hidden: Private,
    ) -> _Jobs:
        """Those of the folder and the database that the options name.

        Raises:
            ConfigError, ServerError: as of `Database`.
        """
        own = tempfile.TemporaryDirectory(prefix="lanner-jobs-") if options.data is None else None
        folder = Path(own.name) if own is not None else options.data
        assert folder is not None
        database = Database(options.database or f"sqlite:///{folder.absolute()}/jobs.sqlite")
        detections = Detections(
            JobStore(database, Limits(queued=options.max_jobs)),
            folder / "jobs",
            detect,
            checked,
            slots,
            hide=hidden.hide,
            options=RunnerOptions(at_once=options.per_device, lease_s=options.lease_s),
        )
        return cls(detections, database, own)

    def close(self) -> None:
        """Let the database go, and a folder that is nobody's."""
        self.database.close()
        if self.temporary is not None:
            self.temporary.cleanup()


class RunningServer:
    """A started server; `address` is where it listens (host:port)."""

    def __init__(
        self,
        server: grpc.Server,
        service: DetectionService,
        jobs: _Jobs,
        checks: health.HealthServicer,
        address: str,
    ) -> None:
        self.address = address
        self._jobs = jobs
        self._server = server
        self._service = service
        self._checks = checks

    def prepared(self) -> None:
        """Let health say SERVING; after `stop` it stays as it is."""
        for name in ("", SERVICE):
            self._checks.set(name, health_pb2.HealthCheckResponse.SERVING)

    def stop(self, grace_s: float) -> bool:
        """Refuse new work, let running detections finish for `grace_s` seconds, stop the rest.

        Returns:
            Whether every detection came to its own end in time.
        """
        self._checks.enter_graceful_shutdown()
        self._server.stop(grace_s + 2 * _STOP_S)
        with ThreadPoolExecutor(1) as aside:
            drained = aside.submit(self._jobs.detections.drain, grace_s)
            finished = self._service.wait_idle(grace_s)
            drained.result()
        if not finished:
            self._service.shut_down()
            self._service.wait_idle(_STOP_S)
        # What is left now is at most a health watch or a detection deaf to its Cancel.
        self._server.stop(0).wait()
        self._service.close()
        self._jobs.close()
        return finished


def start(
    detect: DetectFn,
    list_detectors: ListDetectors,
    options: ServeOptions | None = None,
    *,
    prepared: bool = True,
) -> RunningServer:
    """Start serving in threads of this process and return at once.

    Args:
        detect: see `server.service.DetectionService`.
        list_detectors: likewise.
        options: how to serve.
        prepared: whether health says SERVING at once, or NOT_SERVING until
            `RunningServer.prepared`; requests are answered all the same.

    Raises:
        ConfigError: a root is no folder, or a remote host is none.
        AddressError: the port is in use, or the host is no address of this machine.
    """
    chosen = options or ServeOptions()
    allow_hosts([host for host in chosen.remote_hosts if not host.startswith("s3://")])
    for root in chosen.roots:
        if not root.is_dir():
            raise ConfigError(Argument("roots"), root, "is not a folder", "name an existing one")
    scenes = ScenePolicy(chosen.roots, chosen.allow_remote, chosen.remote_hosts)
    slots, hidden = Slots(chosen.per_device, chosen.max_waiting), private(chosen.roots)

    def checked(spec: words.DetectionSpec) -> DetectRequest:
        job = to_job(spec, scenes, list_detectors())
        return replace(job, device=one_device(job.device, chosen.auto_device))

    jobs = _Jobs.open(chosen, detect, checked, slots, hidden)
    service = DetectionService(
        detect,
        list_detectors,
        checked,
        slots,
        jobs=jobs.detections,
        private=hidden,
        max_streams=chosen.max_streams,
    )
    threads = ThreadPoolExecutor(chosen.max_streams + _SPARE_THREADS, thread_name_prefix="rpc")
    server = grpc.server(threads, options=_channel_options(chosen.keepalive_s))
    pb_grpc.add_DetectionServiceServicer_to_server(service, server)
    operations_pb2_grpc.add_OperationsServicer_to_server(
        OperationsService(jobs.detections, hidden), server
    )
    checks = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    names = (SERVICE, OPERATIONS, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    port = _bind(server, chosen)
    for name in ("", SERVICE):
        checks.set(name, health_pb2.HealthCheckResponse.NOT_SERVING)
    server.start()
    jobs.detections.start()
    running = RunningServer(server, service, jobs, checks, _join(chosen.host, port))
    if prepared:
        running.prepared()
    return running


def serve(
    detect: DetectFn,
    list_detectors: ListDetectors,
    options: ServeOptions | None = None,
    ready: Callable[[str], None] | None = None,
    prepare: Callable[[Cancel], None] | None = None,
) -> bool:
    """Serve until SIGTERM or SIGINT, then stop gracefully; a second signal ends the process.

    To be called from the main thread.

    Args:
        detect: see `server.service.DetectionService`.
        list_detectors: likewise.
        options: how to serve.
        ready: told the address once it is listened on.
        prepare: what is to be done before health says SERVING; requests are answered meanwhile.
            It looks at its `Cancel`, which is set when a signal comes; if it does not end within
            two seconds it is left behind, and Python waits for its thread at the end.

    Returns:
        Whether every detection came to its own end.

    Raises:
        ConfigError, AddressError: see `start`.
        LannerError: what `prepare` raised.
    """
    configure()
    chosen = options or ServeOptions()
    # SimpleQueue.put may interrupt its own get; Event.set could deadlock in a handler.
    news: _News = queue.SimpleQueue()
    signals = (signal.SIGTERM, signal.SIGINT)
    before = {n: signal.signal(n, lambda number, _: news.put(number)) for n in signals}
    stop = Cancel()
    aside = ThreadPoolExecutor(1, thread_name_prefix="prepare")
    preparing: list[Future[None]] = []
    try:
        running = start(detect, list_detectors, chosen, prepared=prepare is None)
        _announce(running.address, chosen)
        if ready is not None:
            ready(running.address)
        if prepare is not None:
            preparing.append(aside.submit(prepare, stop))
            preparing[0].add_done_callback(news.put)
        failure = _await(news, running)
    finally:
        stop.set()
        aside.shutdown(wait=False)
        for number, handler in before.items():
            signal.signal(number, handler)
    log.info("stopping", extra={"fields": {"event": "stopping", "grace_s": chosen.grace_s}})
    finished = running.stop(chosen.grace_s)
    wait(preparing, _STOP_S)
    log.info("stopped", extra={"fields": {"event": "stopped", "all_finished": finished}})
    if failure is not None:
        raise failure
    return finished


def _await(news: _News, running: RunningServer) -> BaseException | None:
    """Return at a signal, or with what the preparation failed of.

    A signal that comes between the interpreter's last look and its falling asleep wakes nobody:
    it has to wake by itself to run the handler.
    """
    while True:
        try:
            one = news.get(timeout=_LOOK_S)
        except queue.Empty:
            continue
        if not isinstance(one, Future):
            return None
        if (failure := one.exception()) is not None:
            return failure
        running.prepared()
        log.info("prepared", extra={"fields": {"event": "prepared"}})


def _channel_options(keepalive_s: float) -> list[tuple[str, int]]:
    """Settings of gRPC core (https://github.com/grpc/grpc/blob/master/doc/keepalive.md)."""
    period = int(keepalive_s * 1000)
    return [
        # Two servers on one port would share its connections at random.
        ("grpc.so_reuseport", 0),
        # A peer that vanished without closing its connection is found by pings.
        ("grpc.keepalive_time_ms", period),
        ("grpc.keepalive_timeout_ms", period),
        # gRPC 1.85 waits for the answer to a ping by this setting, a minute by default.
        ("grpc.http2.ping_timeout_ms", period),
        ("grpc.http2.max_pings_without_data", 0),
        # Clients may ping just as well while they wait for a slow detection.
        ("grpc.http2.min_ping_interval_without_data_ms", 5000),
    ]


def _bind(server: grpc.Server, options: ServeOptions) -> int:
    address = _join(options.host, options.port)
    try:
        if options.credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, options.credentials)
    except RuntimeError as error:
        raise _refused(options.host, options.port) from error


def _refused(host: str, port: int) -> AddressError:
    """Why an address cannot be listened on, which gRPC does not say: asked of the system again."""
    free = "give another `port`; 0 takes a free one"
    own = "give an address of this machine as `host`, such as 127.0.0.1 or 0.0.0.0"
    try:
        places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        return AddressError(Argument("host"), host, f"is not an address ({error})", own)
    for family, kind, protocol, _, place in places:
        with socket.socket(family, kind, protocol) as probe:
            # As gRPC does: an address that a server has just left is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(place)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    problem = f"is in use on {host} by another program"
                    return AddressError(Argument("port"), port, problem, f"stop that, or {free}")
                if error.errno == errno.EADDRNOTAVAIL:
                    return AddressError(Argument("host"), host, "is not of this machine", own)
                problem = f"cannot be listened on at {host} ({error.strerror})"
                return AddressError(Argument("port"), port, problem, free)
    return AddressError(Argument("port"), port, f"cannot be listened on at {host}", free)


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _announce(address: str, options: ServeOptions) -> None:
    line = {"event": "listening", "address": address, "roots": [str(r) for r in options.roots]}
    log.info("listening", extra={"fields": line})
    if options.credentials is None and not _is_loopback(options.host):
        line = {"event": "open", "address": address, "problem": "anyone who reaches it may use it"}
        log.warning("open", extra={"fields": line})


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
