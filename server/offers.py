"""What a server says about a detector, and how that travels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lanner.config import DetectorConfig
from lanner.v1 import detection_pb2 as pb

_OUTPUTS: dict[Literal["objects", "raster"], pb.DetectorOutput.ValueType] = {
    "objects": pb.DETECTOR_OUTPUT_OBJECTS,
    "raster": pb.DETECTOR_OUTPUT_RASTER,
}


@dataclass(frozen=True)
class MemberOffer:
    """One network: `kind` is its architecture, `weights_sha256` lower-case hexadecimal."""

    name: str
    kind: str
    weights_sha256: str


@dataclass(frozen=True)
class DetectorOffer:
    """A detector as users choose it.

    `gsd` is the working ground sampling in metres a pixel, `gsd_range` the inclusive range of
    scenes it accepts; `steps` are the names of its post-processing steps in order.
    """

    name: str
    release: str
    description: str
    classes: tuple[str, ...]
    gsd: float
    gsd_range: tuple[float, float]
    bands: tuple[str, ...]
    output: Literal["objects", "raster"] | None
    members: tuple[MemberOffer, ...]
    steps: tuple[str, ...]

    @classmethod
    def from_config(cls, config: DetectorConfig, checksums: Mapping[str, str]) -> DetectorOffer:
        """The offer of a configuration; `checksums` maps member name to SHA-256 of its weights."""
        return cls(
            name=config.name,
            release=config.release,
            description=config.description,
            classes=config.classes,
            gsd=config.gsd,
            gsd_range=config.gsd_range,
            bands=config.bands,
            output=config.output,
            members=tuple(
                MemberOffer(m.name, m.kind, checksums.get(m.name, "")) for m in config.members
            ),
            steps=tuple(spec.step for spec in config.chain),
        )

    def to_message(self) -> pb.Detector:
        """The same as it travels."""
        return pb.Detector(
            name=self.name,
            version=self.release,
            description=self.description,
            classes=self.classes,
            gsd_m=self.gsd,
            gsd_range=pb.GsdRange(min_m=self.gsd_range[0], max_m=self.gsd_range[1]),
            bands=self.bands,
            output=_OUTPUTS[self.output] if self.output else pb.DETECTOR_OUTPUT_UNSPECIFIED,
            members=[
                pb.Member(name=m.name, kind=m.kind, weights_sha256=m.weights_sha256)
                for m in self.members
            ],
            steps=self.steps,
        )

    @classmethod
    def from_message(cls, message: pb.Detector) -> DetectorOffer:
        """What `to_message` sent; `output` is None where a newer server names another kind."""
        return cls(
            name=message.name,
            release=message.version,
            description=message.description,
            classes=tuple(message.classes),
            gsd=message.gsd_m,
            gsd_range=(message.gsd_range.min_m, message.gsd_range.max_m),
            bands=tuple(message.bands),
            output=next((name for name, v in _OUTPUTS.items() if v == message.output), None),
            members=tuple(MemberOffer(m.name, m.kind, m.weights_sha256) for m in message.members),
            steps=tuple(message.steps),
        )


ListDetectors = Callable[[], Sequence[DetectorOffer]]
"""What a server is given: the detectors on offer now."""
