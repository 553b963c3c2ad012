"""Where a server listens: for gRPC, for HTTP, and for Prometheus."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from lanner.core.version import __version__
from server.address import bound, is_loopback, joined, refused
from server.grpc_handlers import add_services
from server.health import Health
from server.http.app import Api, application
from server.http.guard import LOOPBACK, guarded
from server.http.openapi import document
from server.http.pages import pages
from server.http.rules import rules_of
from server.http.run import HttpServer
from server.http.uploads import OPERATIONS, upload_route
from server.options import ServeOptions
from server.services import SERVICES, Services

_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name


@dataclass(frozen=True)
class Listeners:
    """Open listeners and their addresses (host:port); for the event loop's thread."""

    server: grpc.aio.Server
    address: str
    http: HttpServer | None
    http_address: str | None
    scraped: HttpServer | None
    metrics_address: str | None

    async def close(self) -> None:
        """Cut off what is left."""
        await self.server.stop(0)
        for one in (self.http, self.scraped):
            if one is not None:
                await one.stop()


async def open_listeners(services: Services, health: Health, options: ServeOptions) -> Listeners:
    """Listen.

    Raises:
        AddressError: a port is in use, or the host is no address of this machine.
    """
    server = grpc.aio.server(options=_channel_options(options.keepalive_s))
    add_services(server, SERVICES, services.methods, services.threads)
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
    names = (*(one.full_name for one in SERVICES), _HEALTH, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    address = joined(options.host, _bind(server, options))
    http = http_address = scraped = metrics_address = None
    if options.http_port is not None:
        http = _http(services, health, options)
        await http.start()
        http_address = joined(options.host, http.port)
    if options.metrics_port is not None:
        place = bound(options.metrics_host, options.metrics_port, "metrics_port")
        scraped = HttpServer(services.metrics.page(), place, None)
        await scraped.start()
        metrics_address = joined(options.metrics_host, scraped.port)
    await server.start()
    return Listeners(server, address, http, http_address, scraped, metrics_address)


def _http(services: Services, health: Health, options: ServeOptions) -> HttpServer:
    rules = rules_of(SERVICES)
    api = Api(
        rules,
        services.methods,
        services.threads,
        (
            upload_route(services.upload, services.calls, services.threads),
            *pages(document(rules, __version__, OPERATIONS), lambda: health.is_ready),
        ),
    )
    assert options.http_port is not None
    hosts = LOOPBACK if is_loopback(options.host) else None
    app = guarded(application(api), hosts, options.origins)
    return HttpServer(app, bound(options.host, options.http_port, "http_port"), options.tls)


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
