"""What is asked of a server, as messages, and what they answer."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence

from google.protobuf.duration_pb2 import Duration

from lanner.client.uploads import Upload
from lanner.core.errors import ConfigError, SceneError
from lanner.core.job import DetectionPlan
from lanner.v1 import detection_pb2 as pb
from lanner.v1 import detection_service_pb2 as service_pb

_MOST = (4 << 20) - 1024
# Bytes of a request: what gRPC servers accept, with room for what is around it.

Scene = str | os.PathLike[str] | Upload
"""What a client may name."""


def spec_of(
    scene: Scene,
    detector: str,
    device: str,
    *,
    gsd: float | None,
    tile: int | None,
    members: str | Sequence[str] | None,
) -> pb.DetectionSpec:
    """A detection as it is asked for.

    Raises:
        ConfigError: something of it cannot be sent.
        SceneError: the scene's name cannot.
    """
    source = _source(scene)
    # A single name is one member, not as many as it has letters.
    names = [members] if isinstance(members, str) else members
    try:
        spec = pb.DetectionSpec(
            scene=source,
            detector=pb.DetectorChoice(name=detector),
            device=device,
            gsd_m=gsd,
            tile=tile,
            members=None if members is None else pb.MemberSelection(names=names),
        )
    except ValueError as error:
        raise ConfigError(
            "request",
            ascii((detector, device, gsd, tile, names)),
            f"cannot be sent ({error})",
            "give names in Unicode and numbers of a usual size",
        ) from error
    if (size := spec.ByteSize()) > _MOST:
        raise ConfigError(
            "request",
            f"{size} bytes",
            f"is larger than the {_MOST} that a server takes",
            "name the scene by its path or address, and members by their names",
        )
    return spec


def submission_of(
    spec: pb.DetectionSpec, request_id: str | None, priority: int, queue_timeout: float | None
) -> service_pb.SubmitDetectionRequest:
    """A detection that goes on without its client; of a new `request_id` where None is given."""
    request = service_pb.SubmitDetectionRequest(
        spec=spec, request_id=request_id or secrets.token_hex(16), priority=priority
    )
    if queue_timeout is not None:
        request.queue_timeout.CopyFrom(duration(queue_timeout))
    return request


def plan_of(found: service_pb.DetectionPlan) -> DetectionPlan:
    """A plan as the server gave it."""
    known = found.HasField("work_time")
    return DetectionPlan(
        found.tiles,
        found.megapixels,
        found.read_bytes,
        found.work_time.ToTimedelta().total_seconds() if known else None,
        found.memory_bytes,
        found.result_bytes if found.HasField("result_bytes") else None,
        tuple(found.notes),
    )


def duration(seconds: float) -> Duration:
    """Seconds as a message."""
    found = Duration()
    found.FromNanoseconds(int(seconds * 1e9))
    return found


def _source(scene: Scene) -> pb.SceneSource:
    if isinstance(scene, Upload):
        return pb.SceneSource(upload=scene.name)
    uri = os.fspath(scene)
    try:
        uri.encode("utf-8")
    except UnicodeEncodeError as error:
        raise SceneError("scene", ascii(uri), "is no valid Unicode", "rename the file") from error
    return pb.SceneSource(uri=uri)
