"""What health checks are told: of the server, of its services and of each detector."""

from __future__ import annotations

from collections.abc import Iterable

from grpc_health.v1 import health, health_pb2

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

DETECTOR = "detector/"
"""Before the name of a detector, as the service that a health check asks for."""


class Health:
    """The state of everything that can be asked for; for the event loop's thread.

    Attributes:
        servicer: of grpc.health.v1.Health.
        is_ready: whether requests are best sent here.
        is_stopped: whether nothing changes any more.
    """

    def __init__(self) -> None:
        self.servicer = health.aio.HealthServicer()
        self.is_ready = False
        self.is_stopped = False

    async def set(self, names: Iterable[str], detectors: Iterable[tuple[str, bool]]) -> None:
        """Say how services and detectors are.

        Args:
            names: of services; "" is the server.
            detectors: names, and whether each can be run.
        """
        state = SERVING if self.is_ready else NOT_SERVING
        for name in names:
            await self.servicer.set(name, state)
        for name, can_run in detectors:
            await self.servicer.set(DETECTOR + name, state if can_run else NOT_SERVING)

    async def stop(self) -> None:
        """Say NOT_SERVING of everything, for good."""
        self.is_ready, self.is_stopped = False, True
        await self.servicer.enter_graceful_shutdown()
