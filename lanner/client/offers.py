"""Whether a server has a detector, before anything is sent to it."""

from __future__ import annotations

from detectors.releases import split_name
from lanner.client.client import Client
from lanner.core.errors import Argument, UnknownDetectorError
from lanner.core.offers import DetectorOffer


def require_offer(client: Client, detector: str) -> DetectorOffer:
    """What a server says of a detector that it must have.

    Args:
        client: of the server.
        detector: `NAME`, or `NAME@RELEASE`.

    Raises:
        UnknownDetectorError: it has none of that name, or not that release of it.
        LannerError: it cannot be reached, or lets nobody in.
    """
    name, release = split_name(detector)
    offers = {offer.name: offer for offer in client.detectors()}
    if name not in offers:
        raise UnknownDetectorError(
            Argument("detector"),
            detector,
            f"is not on offer by {client.address}",
            f"choose from {', '.join(sorted(offers))}",
        )
    there = offers[name].releases or (offers[name].release,)
    if release is not None and release not in there:
        raise UnknownDetectorError(
            Argument("detector"),
            detector,
            f"is no release that {client.address} has; it has {', '.join(there)}",
            "choose one of these, or have it put there by `lanner models add`",
        )
    return offers[name]
