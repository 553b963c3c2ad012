"""Archives of a release, unpacked into a folder of their own: plain files, bounded in size."""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from detectors.card import FILE as CARD
from lanner.core.errors import WeightsError

MOST_BYTES = 1 << 30
"""Of an archive once it is unpacked; a release of two networks takes some 50 MB."""

MOST_FILES = 1000

_CHUNK = 1 << 16
_GZIP = b"\x1f\x8b"


class _Bounded(io.RawIOBase):
    """Reads a stream, and no more than `MOST_BYTES` of it."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream
        self._left = MOST_BYTES

    def readable(self) -> bool:
        """It is for reading."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes.

        Raises:
            _TooMuchError: there are more than allowed.
        """
        count = self._stream.readinto(buffer)
        self._left -= count
        if self._left < 0:
            raise _TooMuchError
        return count


class _TooMuchError(Exception):
    pass


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack an archive that holds one release.

    Args:
        archive: a .zip, .tar or .tar.gz.
        folder: is made for its files.

    Returns:
        The folder of the release in it: where its card is.

    Raises:
        WeightsError: it is no such archive, is damaged, holds more or other things than plain files
            below one folder, or not one card.
        OSError: it cannot be read, or its files not be written.
    """
    with _explained(archive):
        folder.mkdir()
        if zipfile.is_zipfile(archive):
            _unzip(archive, folder)
        else:
            _untar(archive, folder)
    cards = sorted(folder.rglob(CARD))
    if len(cards) != 1:
        raise WeightsError(
            "release",
            archive,
            f"holds {len(cards)} files {CARD}, not one",
            "give an archive of one release folder",
        )
    return cards[0].parent


def _unzip(archive: Path, folder: Path) -> None:
    left = MOST_BYTES
    with zipfile.ZipFile(archive) as opened:
        members = opened.infolist()
        if len(members) > MOST_FILES:
            raise _TooMuchError
        for member in members:
            if member.is_dir():
                continue
            left -= member.file_size
            if left < 0:
                raise _TooMuchError
            # No more than it says comes out of it. A link is a plain file here, of no use.
            with opened.open(member) as stream:
                _write(stream, _inside(folder, member.filename))


def _untar(archive: Path, folder: Path) -> None:
    with archive.open("rb") as file:
        is_packed = file.read(2) == _GZIP
        file.seek(0)
        bounded = _Bounded(gzip.GzipFile(fileobj=file) if is_packed else file)
        with tarfile.open(fileobj=io.BufferedReader(bounded), mode="r|") as opened:
            for number, member in enumerate(opened):
                if number >= MOST_FILES:
                    raise _TooMuchError
                if member.isdir():
                    continue
                content = opened.extractfile(member) if member.isreg() else None
                if content is None:
                    raise tarfile.TarError(f"{member.name!r} is no plain file")
                _write(content, _inside(folder, member.name))


def _inside(folder: Path, name: str) -> Path:
    """Where a file of an archive goes.

    Raises:
        tarfile.TarError: not into the folder.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.name:
        raise tarfile.TarError(f"{name!r} leads out of its folder")
    return folder / path


def _write(stream: IO[bytes], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        shutil.copyfileobj(stream, file, _CHUNK)


@contextmanager
def _explained(archive: Path) -> Iterator[None]:
    try:
        yield
    except _TooMuchError as error:
        raise WeightsError(
            "release",
            archive,
            f"holds more than {MOST_BYTES >> 30} GiB or {MOST_FILES} files",
            "unpack it yourself where you trust it, and give the folder",
        ) from error
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        gzip.BadGzipFile,
        EOFError,
        FileExistsError,
        IsADirectoryError,
        NotADirectoryError,
        NotImplementedError,
        RuntimeError,
        ValueError,
    ) as error:
        raise WeightsError(
            "release",
            archive,
            f"is no sound archive of a release ({error})",
            "give a release folder, or a .zip or .tar.gz of one",
        ) from error
