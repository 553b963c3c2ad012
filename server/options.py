"""How to serve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from server.http.run import TlsFiles
from server.retention import Retention
from server.settings import Settings
from server.uploads import UploadLimits
from tiling.limits import SceneLimits


@dataclass(frozen=True)
class ServeOptions:
    """How to serve; what operators set has the defaults of `Settings`.

    Attributes:
        host: address to listen on. Where it lets other machines in, nobody is let in without a
            token.
        port: for gRPC; 0 takes a free one.
        http_port: for HTTP; 0 takes a free one; None: it does not listen.
        origins: whose pages may ask over HTTP.
        metrics_port: where Prometheus asks, without a token; None: nowhere.
        metrics_host: likewise.
        data: folder of jobs, results and uploads, which stay after a restart; None: they end with
            the server.
        database: its URL; None: an SQLite file in `data`. Servers that share it share `data`, too.
        roots: folders in which local scenes lie.
        allow_remote: whether http(s) and s3 addresses are read.
        remote_hosts: from which alone, where any are listed.
        scenes: how large one may be; None: of any size. It holds for all of this process.
        allow_private: whether a host that is not listed may have an address that is not public.
        per_device: detections that compute on one device at once.
        max_waiting: detections that wait in line beside their callers.
        max_jobs: submitted ones that wait in theirs.
        lease_s: jobs of a server that is silent for so long are another's.
        max_streams: detections with their callers, open at all.
        max_client_detections: those of one client, where clients are told apart by tokens.
        max_client_streams: calls of one client that stream, detections included; likewise.
        auto_device: what a request for the device "auto" computes on, or what tells it.
        grace_s: what running detections get to finish after SIGTERM.
        keepalive_s: a silent peer is asked for a sign of life after this, and given up after as
            long again.
        uploads: how much is taken in.
        retention: how long what clients leave is kept.
        token: may do everything; where there is one nobody is let in without a token.
        credentials: TLS of gRPC.
        tls: the same of HTTP.
    """

    host: str = Settings.host
    port: int = Settings.port
    http_port: int | None = Settings.http_port
    origins: tuple[str, ...] = ()
    metrics_port: int | None = Settings.metrics_port
    metrics_host: str = Settings.metrics_host
    data: Path | None = None
    database: str | None = None
    roots: tuple[Path, ...] = field(default_factory=lambda: (Path.cwd(),))
    allow_remote: bool = Settings.allow_remote
    remote_hosts: tuple[str, ...] = ()
    scenes: SceneLimits | None = field(default_factory=SceneLimits)
    allow_private: bool = Settings.allow_private
    per_device: int = Settings.per_device
    max_waiting: int = Settings.max_waiting
    max_jobs: int = Settings.max_jobs
    lease_s: float = Settings.lease
    max_streams: int = Settings.max_streams
    max_client_detections: int = Settings.max_client_detections
    max_client_streams: int = Settings.max_client_streams
    auto_device: str | Callable[[], str] = Settings.device
    grace_s: float = Settings.grace
    keepalive_s: float = Settings.keepalive
    uploads: UploadLimits | None = None
    retention: Retention = field(default_factory=Retention)
    token: str | None = field(default=None, repr=False)
    credentials: grpc.ServerCredentials | None = None
    tls: TlsFiles | None = None
