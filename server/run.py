"""Starting and stopping a server."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from lanner.core.offers import ListDetectors
from server.health import Health
from server.listeners import Listeners, open_listeners
from server.loop import LoopThread
from server.options import ServeOptions
from server.services import SERVICES, Services, open_services
from server.work import Work
from tiling.limits import limit_scenes
from tiling.names import keep_inside
from tiling.relay import allow_hosts

STOP_S = 2.0
"""What a detection has, once told to stop, to come to its end."""


class RunningServer:
    """A started server.

    Attributes:
        address: where it listens for gRPC (host:port).
        http_address: where it listens for HTTP; None: it does not.
        metrics_address: where Prometheus may ask; None: nowhere.
    """

    def __init__(
        self,
        services: Services,
        listeners: Listeners,
        health: Health,
        loop: LoopThread,
        list_detectors: ListDetectors,
    ) -> None:
        self.address = listeners.address
        self.http_address = listeners.http_address
        self.metrics_address = listeners.metrics_address
        self._services = services
        self._listeners = listeners
        self._health = health
        self._loop = loop
        self._list_detectors = list_detectors

    def prepared(self) -> None:
        """Let health say SERVING; after `stop` it stays as it is."""
        if not self._health.is_stopped:
            self._loop.run(self._set_health(True))

    def begin(self, is_ready: bool) -> None:
        """Begin to work on jobs; health says SERVING, or NOT_SERVING until `prepared`."""
        self._loop.run(self._set_health(is_ready))
        self._services.detections.start()
        self._services.sweeper.start()

    def stop(self, grace_s: float) -> bool:
        """Refuse new work, let running detections finish for `grace_s` seconds, stop the rest.

        Returns:
            Whether every detection came to its own end in time.
        """
        services = self._services
        self._loop.run(self._health.stop())
        # gRPC refuses new calls by itself; its connections and those of HTTP may be open still.
        stopping = self._loop.submit(self._listeners.server.stop(grace_s + 2 * STOP_S))
        services.calls.draining.set()
        with ThreadPoolExecutor(1) as aside:
            drained = aside.submit(services.detections.drain, grace_s)
            finished = services.detection.wait_idle(grace_s)
            drained.result()
        if not finished:
            services.detection.shut_down()
            services.detection.wait_idle(STOP_S)
        # What is left now is at most one who follows, or a detection deaf to its Cancel.
        self._loop.run(self._listeners.close())
        stopping.result()
        services.sweeper.stop()
        self._loop.close()
        services.close()
        _unlimited()
        return finished

    async def _set_health(self, is_ready: bool) -> None:
        self._health.is_ready = is_ready
        offers = await asyncio.to_thread(self._list_detectors)
        await self._health.set(
            ("", *(one.full_name for one in SERVICES)),
            [(one.name, not one.problem) for one in offers],
        )


def _unlimited() -> None:
    """Scenes of this process are its own again."""
    allow_hosts(())
    limit_scenes(None)
    keep_inside(())


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
        ConfigError: a root is no folder, a remote host is none, or the database is none.
        AddressError: a port is in use, or the host is no address of this machine.
        ServerError: the database cannot be reached.
    """
    chosen = options or ServeOptions()
    allow_hosts(
        [host for host in chosen.remote_hosts if not host.startswith("s3://")],
        only_public=not chosen.allow_private,
    )
    services, health, loop = open_services(work, chosen), Health(), LoopThread()
    limit_scenes(chosen.scenes)
    keep_inside(services.folders)
    try:
        listeners = loop.run(open_listeners(services, health, chosen))
    except BaseException:
        loop.close()
        services.close()
        _unlimited()
        raise
    running = RunningServer(services, listeners, health, loop, work.list_detectors)
    running.begin(prepared)
    return running
