"""Scenes that go to the server."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lanner.core.errors import Argument, SceneError, UploadError
from lanner.core.job import Progress
from lanner.v1 import upload_service_pb2 as pb

PART = 1 << 20
"""Bytes of the file in one message."""

_SCENE = Argument("scene")


@dataclass(frozen=True)
class Upload:
    """A scene that was sent to a server: `name` is the server's for it, `uploads/` and an id."""

    name: str
    size: int


@dataclass
class Sending:
    """A file on its way to a server.

    Attributes:
        path: of the file.
        tell: told of the bytes that are on their way.
        name: of the upload, once there is one.
        size: bytes of the file, once it was looked at.
        offset: from where on the next call sends it.
        failure: what ended the messages of a call early; gRPC would log it and say nothing.
    """

    path: Path
    tell: Callable[[Progress], None] = lambda _: None
    name: str = ""
    size: int = 0
    offset: int = 0
    failure: Exception | None = field(default=None, repr=False)

    def announced(self) -> pb.CreateUploadRequest:
        """What is said of the file beforehand; reads all of it for its checksum.

        Raises:
            SceneError: it cannot be read.
        """
        digest = hashlib.sha256()
        try:
            self.size = self.path.stat().st_size
            with self.path.open("rb") as file:
                while part := file.read(PART):
                    digest.update(part)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        return pb.CreateUploadRequest(
            size=self.size, sha256=digest.hexdigest(), file_name=self.path.name[:255]
        )

    def parts(self) -> Iterator[pb.WriteUploadRequest]:
        """The messages of one call, from `offset` on."""
        at = self.offset
        try:
            yield pb.WriteUploadRequest(name=self.name, offset=at)
            with self.path.open("rb") as file:
                file.seek(at)
                while data := file.read(PART):
                    yield pb.WriteUploadRequest(name=self.name, offset=at, data=data)
                    at += len(data)
                    self.tell(Progress("upload", at, self.size))
        except OSError as error:
            self.failure = _unreadable(self.path, error)
        except Exception as error:  # of `tell`, which a thread of gRPC's calls
            self.failure = error

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raise what an error of the call means for the file."""
        try:
            yield
        except UploadError as error:
            raise SceneError(
                _SCENE, self.path, f"was not sent whole ({error.problem})", "send it again"
            ) from error

    def raise_failure(self) -> None:
        """Raise what ended the messages of the last call early, if anything did."""
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure

    def sent(self, found: pb.Upload) -> Upload:
        """The upload, once it is whole.

        Raises:
            SceneError: the file has become shorter.
        """
        if not found.complete:
            raise SceneError(
                _SCENE, self.path, f"ended after {found.offset} bytes", "send it again"
            )
        return Upload(found.name, self.size)


def _unreadable(path: Path, error: OSError) -> SceneError:
    return SceneError(_SCENE, path, f"cannot be read ({error.strerror})", "name a readable file")
