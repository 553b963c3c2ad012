"""Scenes that go to the server."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lanner.client.calls import Calls
from lanner.core.errors import Argument, SceneError, UploadError
from lanner.core.job import Progress
from lanner.v1 import upload_service_pb2 as pb

PART = 1 << 20
"""Bytes of the file in one message."""


@dataclass(frozen=True)
class Upload:
    """A scene that was sent to a server: `name` is the server's for it, `uploads/` and an id."""

    name: str
    size: int


def send(
    server: Calls, path: Path, on_progress: Callable[[Progress], None] = lambda _: None
) -> Upload:
    """Send a file; what breaks off goes on where it was.

    Raises:
        SceneError: the file cannot be read, or changes meanwhile.
        LannerError: as the server raised it.
    """
    try:
        size, digest = path.stat().st_size, hashlib.sha256()
        with path.open("rb") as file:
            while part := file.read(PART):
                digest.update(part)
    except OSError as error:
        raise SceneError(
            Argument("scene"), path, f"cannot be read ({error.strerror})", "name a readable file"
        ) from error
    asked = pb.CreateUploadRequest(size=size, sha256=digest.hexdigest(), file_name=path.name[:255])
    name = server.create_upload(asked).name

    def parts(offset: int) -> Iterator[pb.WriteUploadRequest]:
        yield pb.WriteUploadRequest(name=name, offset=offset)
        with path.open("rb") as file:
            file.seek(offset)
            while data := file.read(PART):
                yield pb.WriteUploadRequest(name=name, offset=offset, data=data)
                offset += len(data)
                on_progress(Progress("upload", offset, size))

    try:
        server.write_upload(name, parts)
    except UploadError as error:
        raise SceneError(
            Argument("scene"), path, f"was not sent whole ({error.problem})", "send it again"
        ) from error
    return Upload(name, size)
