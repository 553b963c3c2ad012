"""Scenes that clients send: taken in piece by piece, kept for a while.

An upload is a folder: what was announced, the bytes so far, and the file once it is whole. The
number of bytes that are there is that of the file on the disk, so that nothing that was received
is lost with a connection or a server.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from lanner.core.errors import (
    Argument,
    BusyError,
    ConfigError,
    OutputError,
    UnknownUploadError,
    UploadError,
)
from server.settings import Settings

PREFIX = "uploads/"
"""Before an id, in names."""

_FACTS, _BYTES, _WHOLE = "upload.json", "bytes", "file"
_ID = re.compile(r"[0-9a-f]{32}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_NAME = Argument("name")
_SPARE_BYTES = 1 << 30
"""Of the disk that uploads leave to others."""
_CHUNK = 1 << 20


@dataclass(frozen=True)
class UploadLimits:
    """How much is taken in.

    Attributes:
        size: bytes of one file.
        of_client: bytes announced by one client, of uploads that are kept.
        kept_s: seconds that an upload is kept after its last use.
    """

    size: int = int(Settings.max_upload_gb * 1e9)
    of_client: int = 200 << 30
    kept_s: float = Settings.keep_uploads * 3600


@dataclass(frozen=True)
class Upload:
    """An upload as it stands. Times are seconds since 1970, UTC."""

    id: str
    client: str
    size: int
    sha256: str
    file_name: str
    created: float
    offset: int
    used: float
    complete: bool

    @property
    def name(self) -> str:
        """As clients call it."""
        return PREFIX + self.id


@dataclass(frozen=True)
class _Facts:
    """What was announced."""

    client: str
    size: int
    sha256: str
    file_name: str
    created: float


class Uploads:
    """Uploads below a folder, which servers of one database share. Threads share it, too.

    Args:
        folder: made when the first upload begins.
        limits: how much is taken in.
    """

    def __init__(self, folder: Path, limits: UploadLimits | None = None) -> None:
        self._folder = folder
        self.limits = limits or UploadLimits()

    def create(self, client: str, size: int, sha256: str = "", file_name: str = "") -> Upload:
        """Begin one.

        Raises:
            ConfigError: no such size, checksum or name.
            BusyError: the client has as much here as it may.
            OutputError: the disk has no room for it.
        """
        if not 0 < size <= self.limits.size:
            raise ConfigError(
                "size", size, "is no size that is taken in", f"send 1 to {self.limits.size} bytes"
            )
        if sha256 and not _SHA256.fullmatch(sha256):
            raise ConfigError(
                "sha256", sha256[:80], "is no SHA-256", "give 64 lower-case hexadecimal digits"
            )
        if len(file_name) > 255:
            raise ConfigError("file_name", file_name[:80], "is too long", "give up to 255")
        kept = sum(one.size for one in self.all() if one.client == client)
        if kept + size > self.limits.of_client:
            raise BusyError(
                "size",
                size,
                f"is too much beside the {kept} bytes of this client that are here",
                "delete uploads that are not needed any more",
            )
        upload = secrets.token_hex(16)
        with _writing():
            self._folder.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(self._folder).free < size + _SPARE_BYTES:
                raise OutputError("size", size, "is more than the server has room for", "wait")
            (self._folder / upload).mkdir()
            facts = _Facts(client, size, sha256, file_name, time.time())
            (self._folder / upload / _BYTES).touch()
            beside = self._folder / upload / f"{_FACTS}.new"
            beside.write_text(json.dumps(asdict(facts)), encoding="utf-8")
            beside.replace(self._folder / upload / _FACTS)
        return self.get(upload, client)

    def get(self, upload: str, client: str | None) -> Upload:
        """One of a client's; with None of anybody's.

        Raises:
            UnknownUploadError: it has none of that id.
        """
        found = self._read(upload)
        if found is None or client not in (None, found.client):
            raise _unknown(upload)
        return found

    def all(self) -> Iterator[Upload]:
        """Everybody's."""
        for folder in self._folder.iterdir() if self._folder.is_dir() else ():
            if (found := self._read(folder.name)) is not None:
                yield found

    def delete(self, upload: str, client: str | None) -> None:
        """Forget one.

        Raises:
            UnknownUploadError: there is none.
        """
        self.get(upload, client)
        shutil.rmtree(self._folder / upload, ignore_errors=True)

    def path(self, upload: str, client: str | None) -> Path:
        """The file of one that is complete; it counts as used.

        Raises:
            UnknownUploadError: there is none.
            UploadError: bytes are missing.
        """
        # A server may have ended between its last byte and its name.
        found = self.finish(upload, client)
        if not found.complete:
            raise UploadError(
                Argument("upload"),
                found.name,
                f"has {found.offset} of its {found.size} bytes",
                "send the others first",
            )
        with suppress(OSError):
            os.utime(self._folder / upload / _FACTS)
        return self._whole(found)

    @contextmanager
    def writer(self, upload: str, client: str | None, offset: int) -> Iterator[UploadWriter]:
        """Takes bytes in from an offset on; `finish` is for the end.

        Raises:
            UnknownUploadError: there is none.
            UploadError: the bytes there are others, or someone else sends some.
        """
        found = self.get(upload, client)
        if found.complete:
            _require(found, offset)
            yield UploadWriter(found, None)
            return
        with self._locked(found) as file:
            _require(self.get(upload, client), offset)
            file.seek(offset)
            yield UploadWriter(found, file)

    def finish(self, upload: str, client: str | None) -> Upload:
        """An upload, complete if all of its bytes are there; reads all of them where a checksum
        was announced.

        Raises:
            UnknownUploadError: there is none.
            UploadError: someone else sends some, or they are not those announced.
        """
        found = self.get(upload, client)
        if found.complete or found.offset < found.size:
            return found
        with self._locked(found):
            self._complete(found)
        return self.get(upload, client)

    @contextmanager
    def _locked(self, found: Upload) -> Iterator[BinaryIO]:
        """The bytes so far, for one call at a time."""
        with _writing(), (self._folder / found.id / _BYTES).open("r+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UploadError(
                    _NAME,
                    found.name,
                    "is being written by another call",
                    "wait for it to end, then ask how many bytes are there",
                ) from error
            yield file

    def expire(self, now: float) -> int:
        """Forget what nobody has used for as long as uploads are kept; how many those were."""
        late = [one for one in self.all() if one.used + self.limits.kept_s < now]
        for one in late:
            shutil.rmtree(self._folder / one.id, ignore_errors=True)
        return len(late)

    def _complete(self, found: Upload) -> None:
        folder = self._folder / found.id
        if found.sha256:
            digest = hashlib.sha256()
            with (folder / _BYTES).open("rb") as file:
                while part := file.read(_CHUNK):
                    digest.update(part)
            if digest.hexdigest() != found.sha256:
                os.truncate(folder / _BYTES, 0)
                raise UploadError(
                    Argument("sha256"),
                    digest.hexdigest(),
                    "is the checksum of what was received, and not the one announced",
                    "send all bytes again, from offset 0",
                )
        whole = self._whole(found)
        whole.parent.mkdir(exist_ok=True)
        os.replace(folder / _BYTES, whole)

    def _whole(self, found: Upload) -> Path:
        """Its file: in a folder of its own, so that nothing that a client sent lies beside it."""
        name = _UNSAFE.sub("_", Path(found.file_name).name).lstrip(".")[-100:] or "scene.tif"
        return self._folder / found.id / _WHOLE / name

    def _read(self, upload: str) -> Upload | None:
        if not _ID.fullmatch(upload):
            return None
        folder = self._folder / upload
        try:
            facts = _Facts(**json.loads((folder / _FACTS).read_text(encoding="utf-8")))
            used = (folder / _FACTS).stat().st_mtime
            try:
                part = (folder / _BYTES).stat()
            except FileNotFoundError:  # it is complete
                return Upload(upload, **asdict(facts), offset=facts.size, used=used, complete=True)
        except (OSError, ValueError, TypeError):
            return None
        used = max(used, part.st_mtime)
        return Upload(upload, **asdict(facts), offset=part.st_size, used=used, complete=False)


class UploadWriter:
    """Takes the bytes of one call in. `offset` is that of the next one."""

    def __init__(self, upload: Upload, file: BinaryIO | None) -> None:
        self._upload = upload
        self._file = file
        self.offset = upload.offset if file is None else file.tell()

    def write(self, data: bytes) -> None:
        """Add bytes.

        Raises:
            UploadError: they are more than was announced.
            OutputError: the disk is full.
        """
        if self.offset + len(data) > self._upload.size:
            raise UploadError(
                Argument("data"),
                self.offset + len(data),
                f"bytes are more than the {self._upload.size} announced",
                "begin a new upload of the right size",
            )
        if data and self._file is not None:
            self._file.write(data)
            # What is said to be there is what another call would find.
            self._file.flush()
            self.offset += len(data)


def id_of(name: str) -> str:
    """The id that a name means.

    Raises:
        ConfigError: it is none.
    """
    if not name.startswith(PREFIX):
        raise ConfigError(_NAME, name[:200], "is no name of an upload", f"give {PREFIX} and an id")
    return name.removeprefix(PREFIX)


def _require(found: Upload, offset: int) -> None:
    if offset != found.offset:
        raise UploadError(
            Argument("offset"),
            offset,
            f"is not where the bytes end that are there: {found.offset}",
            f"go on from {found.offset}",
        )


def _unknown(upload: str) -> UnknownUploadError:
    return UnknownUploadError(
        _NAME, f"{PREFIX}{upload[:64]}", "is no upload here", "begin a new one; they are forgotten"
    )


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise UnknownUploadError(
            _NAME, "the upload", "was forgotten meanwhile", "begin a new one"
        ) from error
    except OSError as error:
        raise OutputError(
            "upload", "the folder of uploads", f"cannot be written ({error.strerror})", "try later"
        ) from error
