"""What a server says about its detectors, and how that travels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from lanner.v1 import detection_pb2 as pb

_OUTPUTS = {"objects": pb.DETECTOR_OUTPUT_OBJECTS, "raster": pb.DETECTOR_OUTPUT_RASTER}


class Network(Protocol):
    """What the server reads of one member of a detector; see `NetworkOffer`."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def weights_sha256(self) -> str: ...  # noqa: D102


class Offered(Protocol):
    """What the server reads of a detector; see `DetectorOffer`. The pipeline's own facts fit."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def release(self) -> str: ...  # noqa: D102
    @property
    def description(self) -> str: ...  # noqa: D102
    @property
    def classes(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def output(self) -> str: ...  # noqa: D102
    @property
    def gsd(self) -> float: ...  # noqa: D102
    @property
    def gsd_range(self) -> tuple[float, float]: ...  # noqa: D102
    @property
    def bands(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def steps(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def networks(self) -> Sequence[Network]: ...  # noqa: D102
    @property
    def problem(self) -> str | None: ...  # noqa: D102
    @property
    def releases(self) -> Sequence[str]: ...  # noqa: D102


ListDetectors = Callable[[], Sequence[Offered]]
"""What a server is given: the detectors on offer now, each at its default release."""

DescribeRelease = Callable[[str], Offered]
"""And what tells of one release, by `NAME@RELEASE`; it raises UnknownDetectorError for others."""


@dataclass(frozen=True)
class NetworkOffer:
    """One network: `kind` is its architecture, `weights_sha256` lower-case hexadecimal."""

    name: str
    kind: str
    weights_sha256: str


@dataclass(frozen=True)
class DetectorOffer:
    """A detector as a client sees it.

    `gsd` is the working ground sampling in metres a pixel, `gsd_range` the inclusive range of
    scenes it accepts; `output` is "objects", "raster" or, from a later release, ""; `steps`
    are the names of its post-processing steps in order; `problem` says why it cannot run on
    its server, where it cannot; `releases` are those that are there, the newest first, of which
    `release` is the default one, or the one asked for.
    """

    name: str
    release: str
    description: str
    classes: tuple[str, ...]
    output: str
    gsd: float
    gsd_range: tuple[float, float]
    bands: tuple[str, ...]
    steps: tuple[str, ...]
    networks: tuple[NetworkOffer, ...]
    problem: str | None = None
    releases: tuple[str, ...] = ()


def to_message(offer: Offered) -> pb.Detector:
    """A detector as it travels."""
    low, high = offer.gsd_range
    return pb.Detector(
        name=offer.name,
        version=offer.release,
        description=offer.description,
        classes=offer.classes,
        gsd_m=offer.gsd,
        gsd_range=pb.GsdRange(min_m=low, max_m=high),
        members=[
            pb.Member(name=one.name, kind=one.kind, weights_sha256=one.weights_sha256)
            for one in offer.networks
        ],
        steps=offer.steps,
        bands=offer.bands,
        output=_OUTPUTS.get(offer.output, pb.DETECTOR_OUTPUT_UNSPECIFIED),
        problem=offer.problem or "",
        releases=offer.releases,
    )


def from_message(message: pb.Detector) -> DetectorOffer:
    """What `to_message` sent."""
    return DetectorOffer(
        name=message.name,
        release=message.version,
        description=message.description,
        classes=tuple(message.classes),
        output=next((name for name, v in _OUTPUTS.items() if v == message.output), ""),
        gsd=message.gsd_m,
        gsd_range=(message.gsd_range.min_m, message.gsd_range.max_m),
        bands=tuple(message.bands),
        steps=tuple(message.steps),
        networks=tuple(NetworkOffer(m.name, m.kind, m.weights_sha256) for m in message.members),
        problem=message.problem or None,
        releases=tuple(message.releases),
    )
