"""The remote side of the public face: a server's detectors, asked from Python."""

from lanner.client.client import Client

__all__ = ["Client"]
