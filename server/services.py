"""Everything behind the listeners: the services, and what they stand on."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from google.longrunning import operations_pb2

from lanner.core.errors import Argument, ConfigError
from lanner.core.job import DetectRequest
from lanner.v1 import detection_pb2 as words
from lanner.v1 import detection_service_pb2, upload_service_pb2
from server.accounts import Guard
from server.address import is_loopback
from server.call import Calls
from server.database.engine import Database, default_url
from server.detections import Detections
from server.following import Follower
from server.jobs.model import Limits
from server.jobs.runner import RunnerOptions
from server.jobs.store import JobStore
from server.methods import Method, methods_of
from server.metrics import Metrics
from server.operations_service import OperationsService
from server.options import ServeOptions
from server.private import private
from server.request import one_device, to_job
from server.retention import Sweeper
from server.scenes import ScenePolicy
from server.service import DetectionService
from server.slots import Slots
from server.streams import ClientStreams
from server.tokens import FileToken, TokenStore
from server.upload_service import UploadService
from server.uploads import Uploads
from server.work import Work

SERVICES = (
    detection_service_pb2.DESCRIPTOR.services_by_name["DetectionService"],
    operations_pb2.DESCRIPTOR.services_by_name["Operations"],
    upload_service_pb2.DESCRIPTOR.services_by_name["UploadService"],
)
"""What gRPC and HTTP both answer for."""

SERVICE = SERVICES[0].full_name

_SPARE_THREADS = 8
"""So that lists and health checks are answered while every stream is taken."""


@dataclass(frozen=True)
class Services:
    """The services of one server.

    Attributes:
        methods: their handlers, by full name.
        detection: the one that answers for detections.
        upload: the one that takes scenes in.
        detections: jobs.
        calls: makes the calls of all of them.
        metrics: told of everything.
        threads: run handlers that block.
        sweeper: forgets what is over.
        database: where jobs and tokens are kept.
        folders: where local scenes lie, sent ones included.
        temporary: a folder of theirs that ends with the server; None: theirs stays.
    """

    methods: Mapping[str, Method]
    detection: DetectionService
    upload: UploadService
    detections: Detections
    calls: Calls
    metrics: Metrics
    threads: ThreadPoolExecutor
    sweeper: Sweeper
    database: Database
    folders: tuple[Path, ...]
    temporary: tempfile.TemporaryDirectory[str] | None

    def close(self) -> None:
        """Let everything go."""
        self.detection.close()
        self.threads.shutdown(wait=False, cancel_futures=True)
        self.database.close()
        if self.temporary is not None:
            self.temporary.cleanup()


def open_services(work: Work, options: ServeOptions) -> Services:
    """The services; nothing of them runs yet.

    Raises:
        ConfigError: a root is no folder, or the database is none.
        ServerError: the database cannot be reached.
    """
    for root in options.roots:
        if not root.is_dir():
            raise ConfigError(Argument("roots"), root, "is not a folder", "name an existing one")
    scenes = ScenePolicy(options.roots, options.allow_remote, options.remote_hosts)
    slots, hidden, metrics = (
        Slots(options.per_device, options.max_waiting),
        private(options.roots),
        Metrics(),
    )

    def checked(spec: words.DetectionSpec, client: str) -> DetectRequest:
        job = to_job(spec, client, scenes, uploads, work.list_detectors(), work.release)
        return replace(job, device=one_device(job.device, options.auto_device))

    own = tempfile.TemporaryDirectory(prefix="lanner-jobs-") if options.data is None else None
    folder = options.data if own is None else Path(own.name)
    assert folder is not None
    uploads = Uploads(folder / "uploads", options.uploads)
    database = Database(options.database or default_url(folder))
    store = JobStore(database, Limits(queued=options.max_jobs))
    metrics.watch_jobs(store.counts)
    detections = Detections(
        store,
        folder / "jobs",
        work.detect,
        checked,
        slots,
        metrics=metrics,
        hide=hidden.hide,
        options=RunnerOptions(at_once=options.per_device, lease_s=options.lease_s),
    )
    threads = ThreadPoolExecutor(options.max_streams + _SPARE_THREADS, thread_name_prefix="rpc")
    calls = Calls(
        hidden, _guard(options, database), metrics, ClientStreams(options.max_client_streams)
    )
    follower = Follower(detections, threads)
    detection = DetectionService(
        work,
        checked,
        slots,
        calls=calls,
        jobs=detections,
        follower=follower,
        max_streams=options.max_streams,
        of_client=options.max_client_detections,
    )
    operations = OperationsService(detections, follower, calls)
    upload = UploadService(uploads, calls, threads)
    return Services(
        methods_of(zip(SERVICES, (detection, operations, upload), strict=True)),
        detection,
        upload,
        detections,
        calls,
        metrics,
        threads,
        Sweeper(options.retention, detections, uploads),
        database,
        (*options.roots, folder / "uploads"),
        own,
    )


def _guard(options: ServeOptions, database: Database) -> Guard:
    """Beyond this machine nobody is let in without a token; on it, unless one is asked for."""
    store = TokenStore(database)
    if options.token is None:
        return Guard(store, is_open=is_loopback(options.host))
    digest = hashlib.sha256(options.token.encode()).hexdigest()
    return Guard(FileToken(digest, store), is_open=False)
