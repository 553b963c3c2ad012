"""The remote side of the public face: a server's detectors, asked from Python."""

from lanner.client.async_client import AsyncClient
from lanner.client.client import Client

__all__ = ["AsyncClient", "Client"]
