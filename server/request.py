"""From a request on the wire to a job, checked as far as no scene is opened."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Sequence

from lanner.core.errors import (
    Argument,
    ConfigError,
    DeviceNameError,
    GsdError,
    UnknownDetectorError,
)
from lanner.core.job import DetectRequest
from lanner.core.offers import DescribeRelease, Offered
from lanner.v1 import detection_pb2 as pb
from server.scenes import ScenePolicy
from server.uploads import Uploads, id_of
from server.work import no_releases

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d{1,2})?")
_TILE_MIN, _TILE_MAX, _TILE_STEP = 64, 4096, 32


def one_device(asked: str, auto: str | Callable[[], str]) -> str:
    """The one name of a device: it has one line, and one copy of the networks.

    Args:
        asked: by a request.
        auto: what `auto` means here, or what tells it.
    """
    named = asked
    if asked == "auto":
        named = auto if isinstance(auto, str) else auto()
    return "cuda:0" if named == "cuda" else named


def offered(
    name: str, detectors: Sequence[Offered], release: DescribeRelease = no_releases
) -> Offered:
    """The detector of a name, or of `NAME@RELEASE`.

    Args:
        name: as a request has it.
        detectors: on offer.
        release: tells of one release of these.

    Raises:
        UnknownDetectorError: none of that name, or no such release, is on offer.
    """
    known = {offer.name: offer for offer in detectors}
    if name in known:
        return known[name]
    detector, at, _ = name.partition("@")
    if at and detector in known:
        return release(name)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(sorted(known))}"
    raise UnknownDetectorError(Argument("detector"), name, "is not on offer here", hint)


def named(scene: pb.SceneSource) -> str:
    """What its client calls a scene."""
    return scene.upload if scene.WhichOneof("source") == "upload" else scene.uri


def to_job(
    spec: pb.DetectionSpec,
    client: str,
    scenes: ScenePolicy,
    uploads: Uploads,
    detectors: Sequence[Offered],
    release: DescribeRelease = no_releases,
) -> DetectRequest:
    """The job that `spec` of a client asks for.

    Only detectors on offer can be named: a path to a configuration, which the command line
    takes, would let a caller read the server's files.

    Raises:
        LannerError: of the class that fits the field at fault.
    """
    offer = offered(spec.detector.name, detectors, release)
    return DetectRequest(
        scene=_scene(spec.scene, client, scenes, uploads),
        detector=offer.name,
        gsd=_gsd(spec),
        device=_device(spec.device),
        tile=_tile(spec),
        members=_members(spec, offer),
    )


def _scene(scene: pb.SceneSource, client: str, scenes: ScenePolicy, uploads: Uploads) -> str:
    if scene.WhichOneof("source") == "upload":
        return str(uploads.path(id_of(scene.upload), client))
    return scenes.resolve(scene.uri)


def _gsd(spec: pb.DetectionSpec) -> float | None:
    if not spec.HasField("gsd_m"):
        return None
    if not (math.isfinite(spec.gsd_m) and spec.gsd_m > 0):
        raise GsdError(
            Argument("gsd"),
            spec.gsd_m,
            "is no ground sampling",
            "give metres a pixel, above 0",
        )
    return spec.gsd_m


def _device(device: str) -> str:
    return device_name(device or "auto")


def device_name(device: str) -> str:
    """The name of a device, which need not be on this machine.

    Raises:
        DeviceNameError: it is none.
    """
    if not _DEVICE.fullmatch(device):
        raise DeviceNameError(
            Argument("device"),
            device,
            "is no name of a device",
            "give auto, cpu, cuda, cuda:N or mps",
        )
    return device


def _tile(spec: pb.DetectionSpec) -> int | None:
    if not spec.HasField("tile"):
        return None
    if not _TILE_MIN <= spec.tile <= _TILE_MAX or spec.tile % _TILE_STEP:
        raise ConfigError(
            Argument("tile"),
            spec.tile,
            "is no tile side",
            f"give a multiple of {_TILE_STEP} from {_TILE_MIN} to {_TILE_MAX}",
        )
    return spec.tile


def _members(spec: pb.DetectionSpec, offer: Offered) -> tuple[str, ...] | None:
    if not spec.HasField("members"):
        return None
    known = [member.name for member in offer.networks]
    chosen = set(spec.members.names)
    unknown = sorted(chosen - set(known))
    if unknown or not chosen:
        raise ConfigError(
            Argument("members"),
            ", ".join(unknown),
            f"{offer.name} has no such member" if unknown else "names no member",
            f"choose from {', '.join(known)}",
        )
    return tuple(name for name in known if name in chosen)
