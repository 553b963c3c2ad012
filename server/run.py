"""Starting and stopping the server."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import queue
import signal
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
from google.longrunning import operations_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from lanner.core.errors import Argument, ConfigError
from lanner.core.job import Cancel, DetectFn, DetectRequest
from lanner.core.offers import ListDetectors
from lanner.core.version import __version__
from lanner.v1 import detection_pb2 as words
from lanner.v1 import detection_service_pb2 as pb
from lanner.v1 import upload_service_pb2 as uploads_pb
from server.accounts import Guard
from server.address import bound, is_loopback, joined, refused
from server.call import Calls
from server.database.engine import Database, default_url
from server.detections import Checked, Detections
from server.following import Follower
from server.grpc_door import add_services
from server.health import Health
from server.http.app import Door, application
from server.http.guard import LOOPBACK, guarded
from server.http.openapi import document
from server.http.pages import pages
from server.http.rules import rules_of
from server.http.run import HttpServer, TlsFiles
from server.http.uploads import upload_route
from server.jobs.model import Limits
from server.jobs.runner import RunnerOptions
from server.jobs.store import JobStore
from server.log import NAME, configure
from server.loop import LoopThread
from server.methods import methods_of
from server.operations_service import OperationsService
from server.private import Private, private
from server.request import one_device, to_job
from server.retention import Retention, Sweeper
from server.scenes import ScenePolicy
from server.service import DetectionService
from server.slots import Slots
from server.tokens import FileToken, TokenStore
from server.upload_service import UploadService
from server.uploads import UploadLimits, Uploads
from server.work import Work
from tiling.relay import allow_hosts

log = logging.getLogger(NAME)

SERVICES = (
    pb.DESCRIPTOR.services_by_name["DetectionService"],
    operations_pb2.DESCRIPTOR.services_by_name["Operations"],
    uploads_pb.DESCRIPTOR.services_by_name["UploadService"],
)
"""What both doors answer for."""

SERVICE = SERVICES[0].full_name

_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

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

    `port` and `http_port` are those of the two doors; 0 takes a free one, `http_port` None leaves
    the second door shut. Pages of `origins` may ask there. Local scenes lie in `roots`;
    `allow_remote` admits http(s) and s3 addresses, of `remote_hosts` alone where those are listed;
    a host that is not must have a public address, unless `allow_private`.
    `per_device` detections compute on one device at once, `max_waiting` wait in line, `max_jobs`
    submitted ones in theirs;
    jobs of a server that is silent for `lease_s` are another's; `max_streams` are open at all. A
    request for the device "auto" computes on `auto_device`, or on what that returns. `grace_s`
    is what running detections get to finish after SIGTERM. A silent peer is asked for a sign of
    life after `keepalive_s` and given up after as long again. `credentials` turn on TLS, `tls`
    that of the HTTP door. `token` may do everything; where there is one, or where `host` lets
    other machines in, nobody is let in without a token.
    """

    host: str = "127.0.0.1"
    port: int = 50051
    http_port: int | None = None
    origins: tuple[str, ...] = ()
    data: Path | None = None
    database: str | None = None
    roots: tuple[Path, ...] = field(default_factory=lambda: (Path.cwd(),))
    allow_remote: bool = False
    remote_hosts: tuple[str, ...] = ()
    allow_private: bool = False
    per_device: int = 2
    max_waiting: int = 16
    max_jobs: int = 1000
    lease_s: float = 30.0
    max_streams: int = 64
    auto_device: str | Callable[[], str] = "auto"
    grace_s: float = 10.0
    keepalive_s: float = 10.0
    uploads: UploadLimits | None = None
    retention: Retention = field(default_factory=Retention)
    token: str | None = field(default=None, repr=False)
    credentials: grpc.ServerCredentials | None = None
    tls: TlsFiles | None = None


@dataclass(frozen=True)
class OpenJobs:
    """The jobs of a server, and what they are kept in."""

    detections: Detections
    uploads: Uploads
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
    ) -> OpenJobs:
        """Those of the folder and the database that the options name.

        Raises:
            ConfigError, ServerError: as of `Database`.
        """
        own = tempfile.TemporaryDirectory(prefix="lanner-jobs-") if options.data is None else None
        folder = Path(own.name) if own is not None else options.data
        assert folder is not None
        database = Database(options.database or default_url(folder))
        detections = Detections(
            JobStore(database, Limits(queued=options.max_jobs)),
            folder / "jobs",
            detect,
            checked,
            slots,
            hide=hidden.hide,
            options=RunnerOptions(at_once=options.per_device, lease_s=options.lease_s),
        )
        return cls(detections, Uploads(folder / "uploads", options.uploads), database, own)

    def close(self) -> None:
        """Let the database go, and a folder that is nobody's."""
        self.database.close()
        if self.temporary is not None:
            self.temporary.cleanup()


class RunningServer:
    """A started server.

    Attributes:
        address: where its gRPC door listens (host:port).
        http_address: where the other one does; None: there is none.
    """

    def __init__(self, parts: _Parts, address: str, http_address: str | None) -> None:
        self.address = address
        self.http_address = http_address
        self._parts = parts

    def prepared(self) -> None:
        """Let health say SERVING; after `stop` it stays as it is."""
        if not self._parts.health.is_stopped:
            self._parts.loop.run(self._parts.set_health(True))

    def stop(self, grace_s: float) -> bool:
        """Refuse new work, let running detections finish for `grace_s` seconds, stop the rest.

        Returns:
            Whether every detection came to its own end in time.
        """
        parts = self._parts
        parts.loop.run(parts.health.stop())
        stopping = parts.loop.submit(parts.server.stop(grace_s + 2 * _STOP_S))
        with ThreadPoolExecutor(1) as aside:
            drained = aside.submit(parts.jobs.detections.drain, grace_s)
            finished = parts.service.wait_idle(grace_s)
            drained.result()
        if not finished:
            parts.service.shut_down()
            parts.service.wait_idle(_STOP_S)
        # What is left now is at most one who follows, or a detection deaf to its Cancel.
        parts.loop.run(parts.server.stop(0))
        stopping.result()
        if parts.http is not None:
            parts.loop.run(parts.http.stop())
        parts.sweeper.stop()
        parts.service.close()
        parts.loop.close()
        parts.threads.shutdown(wait=False, cancel_futures=True)
        parts.jobs.close()
        allow_hosts(())
        return finished


@dataclass(frozen=True)
class _Parts:
    """What a server is made of."""

    loop: LoopThread
    threads: ThreadPoolExecutor
    server: grpc.aio.Server
    service: DetectionService
    jobs: OpenJobs
    health: Health
    list_detectors: ListDetectors
    http: HttpServer | None
    sweeper: Sweeper

    async def set_health(self, is_ready: bool) -> None:
        self.health.is_ready = is_ready
        offers = await asyncio.to_thread(self.list_detectors)
        await self.health.set(
            ("", *(one.full_name for one in SERVICES)),
            [(one.name, not one.problem) for one in offers],
        )


def start(
    work: Work, options: ServeOptions | None = None, *, prepared: bool = True
) -> RunningServer:
    """Start serving in threads of this process and return at once.

    Args:
        work: what is served.
        options: how to serve.
        prepared: whether health says SERVING at once, or NOT_SERVING until
            `RunningServer.prepared`; requests are answered all the same.

    Raises:
        ConfigError: a root is no folder, or a remote host is none.
        AddressError: the port is in use, or the host is no address of this machine.
    """
    chosen = options or ServeOptions()
    allow_hosts(
        [host for host in chosen.remote_hosts if not host.startswith("s3://")],
        only_public=not chosen.allow_private,
    )
    for root in chosen.roots:
        if not root.is_dir():
            raise ConfigError(Argument("roots"), root, "is not a folder", "name an existing one")
    scenes = ScenePolicy(chosen.roots, chosen.allow_remote, chosen.remote_hosts)
    slots, hidden = Slots(chosen.per_device, chosen.max_waiting), private(chosen.roots)

    def checked(spec: words.DetectionSpec, client: str) -> DetectRequest:
        job = to_job(spec, client, scenes, jobs.uploads, work.list_detectors())
        return replace(job, device=one_device(job.device, chosen.auto_device))

    threads = ThreadPoolExecutor(chosen.max_streams + _SPARE_THREADS, thread_name_prefix="rpc")
    jobs = OpenJobs.open(chosen, work.detect, checked, slots, hidden)
    calls = Calls(hidden, _guard(chosen, jobs.database))
    follower = Follower(jobs.detections, threads)
    service = DetectionService(
        work,
        checked,
        slots,
        calls=calls,
        jobs=jobs.detections,
        follower=follower,
        max_streams=chosen.max_streams,
    )
    operations = OperationsService(jobs.detections, follower, calls)
    uploads = UploadService(jobs.uploads, calls, threads)
    methods = methods_of(zip(SERVICES, (service, operations, uploads), strict=True))
    health = Health()

    async def opened() -> tuple[grpc.aio.Server, int, HttpServer | None]:
        server = grpc.aio.server(options=_channel_options(chosen.keepalive_s))
        add_services(server, SERVICES, methods, threads)
        health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
        names = (*(one.full_name for one in SERVICES), _HEALTH, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        port = _bind(server, chosen)
        http = None
        if chosen.http_port is not None:
            door = Door(
                rules := rules_of(SERVICES),
                methods,
                threads,
                (
                    upload_route(uploads, calls, threads),
                    *pages(document(rules, __version__), lambda: health.is_ready),
                ),
            )
            hosts = LOOPBACK if is_loopback(chosen.host) else None
            app = guarded(application(door), hosts, chosen.origins)
            http = HttpServer(app, bound(chosen.host, chosen.http_port, "http_port"), chosen.tls)
            await http.start()
        await server.start()
        return server, port, http

    loop = LoopThread()
    try:
        server, port, http = loop.run(opened())
    except BaseException:
        loop.close()
        jobs.close()
        raise
    sweeper = Sweeper(chosen.retention, jobs.detections, jobs.uploads)
    offers = work.list_detectors
    parts = _Parts(loop, threads, server, service, jobs, health, offers, http, sweeper)
    loop.run(parts.set_health(prepared))
    jobs.detections.start()
    sweeper.start()
    return RunningServer(
        parts,
        joined(chosen.host, port),
        None if http is None else joined(chosen.host, http.port),
    )


def _guard(options: ServeOptions, database: Database) -> Guard:
    """Beyond this machine nobody is let in without a token; on it, unless one is asked for."""
    store = TokenStore(database)
    if options.token is None:
        return Guard(store, is_open=is_loopback(options.host))
    digest = hashlib.sha256(options.token.encode()).hexdigest()
    return Guard(FileToken(digest, store), is_open=False)


def serve(
    work: Work,
    options: ServeOptions | None = None,
    ready: Callable[[RunningServer], None] | None = None,
    prepare: Callable[[Cancel], None] | None = None,
) -> bool:
    """Serve until SIGTERM or SIGINT, then stop gracefully; a second signal ends the process.

    To be called from the main thread.

    Args:
        work: what is served.
        options: how to serve.
        ready: given the server once it listens.
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
        running = start(work, chosen, prepared=prepare is None)
        _announce(running, chosen)
        if ready is not None:
            ready(running)
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


def _bind(server: grpc.aio.Server, options: ServeOptions) -> int:
    address = joined(options.host, options.port)
    try:
        if options.credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, options.credentials)
    except RuntimeError as error:
        raise refused(options.host, options.port) from error


def _announce(running: RunningServer, options: ServeOptions) -> None:
    line: dict[str, Any] = {"event": "listening", "address": running.address}
    if running.http_address is not None:
        line["http"] = running.http_address
    line["roots"] = [str(root) for root in options.roots]
    log.info("listening", extra={"fields": line})
    if options.credentials is None and not is_loopback(options.host):
        line = {
            "event": "unencrypted",
            "address": running.address,
            "problem": "tokens and scenes can be read on the way: serve with TLS, or behind what "
            "brings it",
        }
        log.warning("unencrypted", extra={"fields": line})
