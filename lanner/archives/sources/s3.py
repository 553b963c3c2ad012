"""Objects of S3 buckets: listed and read as GDAL, which opens the scenes, would reach them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanner.archives.scenes import SceneRef
from lanner.archives.sources.endings import RASTERS, is_hidden, is_raster, stem
from lanner.archives.sources.entries import Entries, Note, Search
from lanner.archives.sources.unread import UnreadError

if TYPE_CHECKING:
    from pyarrow.fs import S3FileSystem

CONNECT_S = 15
_YES = ("YES", "TRUE", "ON", "1")
_SECRETS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_DENIED = ("ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "EXPIRED_TOKEN")
_CREDENTIALS = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or "
    "AWS_NO_SIGN_REQUEST=YES where all may read"
)


@dataclass(frozen=True)
class Access:
    """How buckets are reached.

    Attributes:
        anonymous: whether requests are not signed.
        endpoint: host and port of another server than AWS's.
        scheme: how that is spoken to, http or https.
        region: where buckets are; None to find out.
        virtual: whether buckets are parts of the host's name on that server.
    """

    anonymous: bool
    endpoint: str | None
    scheme: str
    region: str | None
    virtual: bool

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Access:
        """From the variables that GDAL reads, and AWS's own for another server."""
        endpoint = environment.get("AWS_S3_ENDPOINT") or environment.get("AWS_ENDPOINT_URL") or ""
        scheme, slashes, host = endpoint.rpartition("://")
        if not slashes:
            secure = environment.get("AWS_HTTPS", "YES").upper() in _YES
            scheme = "https" if secure else "http"
        return cls(
            anonymous=environment.get("AWS_NO_SIGN_REQUEST", "").upper() in _YES,
            endpoint=host.rstrip("/") or None,
            scheme=scheme.lower(),
            region=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION"),
            virtual=environment.get("AWS_VIRTUAL_HOSTING", "").upper() in _YES,
        )

    def has_credentials(self, environment: Mapping[str, str]) -> bool:
        """Whether there may be any: in a variable, a file or what a machine of AWS's is given."""
        if any(environment.get(name) for name in _SECRETS):
            return True
        folder = Path(environment.get("HOME", "~")).expanduser() / ".aws"
        files = (
            environment.get("AWS_SHARED_CREDENTIALS_FILE") or folder / "credentials",
            environment.get("AWS_CONFIG_FILE") or folder / "config",
        )
        if any(Path(file).is_file() for file in files):
            return True
        return environment.get("AWS_EC2_METADATA_DISABLED", "").upper() not in _YES


def bucket_scenes(source: str, search: Search) -> Entries:
    """The rasters below a prefix of a bucket.

    Raises:
        UnreadError: there are none, or it cannot be listed.
    """
    files = _connected(source)
    path = _path(source)
    found = False
    for one in _below(files, path.rstrip("/"), source, search):
        found = True
        uri = f"s3://{one}"
        yield SceneRef(uri, stem(uri))
    if not found:
        remedy = f"correct the prefix; rasters are {', '.join(RASTERS)}"
        raise UnreadError(source, "holds no rasters", remedy)
    if os.environ.get("AWS_ENDPOINT_URL") and not os.environ.get("AWS_S3_ENDPOINT"):
        yield Note(
            "AWS_ENDPOINT_URL was used to list the bucket. Scenes are opened by GDAL, which reads "
            "AWS_S3_ENDPOINT (host and port), and AWS_HTTPS=NO for plain http: set those."
        )


def read_object(source: str, most: int) -> bytes:
    """The bytes of an object.

    Raises:
        UnreadError: it cannot be read, or has more than `most` bytes.
    """
    files = _connected(source)
    try:
        with files.open_input_stream(_path(source)) as stream:
            data: bytes = stream.read(most + 1)
    except OSError as error:
        raise _refused(source, error) from error
    if len(data) > most:
        raise UnreadError(source, f"has more than {most >> 20} MiB", "give a smaller one")
    return data


def _path(source: str) -> str:
    """Bucket and key, as the library has them."""
    path = source.partition("://")[2]
    if not path.partition("/")[0]:
        raise UnreadError(source, "names no bucket", "give s3://BUCKET/PREFIX")
    return path


def _connected(source: str) -> S3FileSystem:
    access = Access.of(os.environ)
    if not access.anonymous and not access.has_credentials(os.environ):
        raise UnreadError(source, "needs credentials, and there are none", _CREDENTIALS)
    secrets = tuple(os.environ.get(name) for name in _SECRETS)
    try:
        return _file_system(access, _path(source).partition("/")[0], secrets)
    except OSError as error:
        raise _refused(source, error) from error


@lru_cache(maxsize=16)
def _file_system(access: Access, bucket: str, secrets: tuple[str | None, ...]) -> S3FileSystem:
    """What reads a bucket; making one takes longer than reading an item.

    Args:
        access: how it is reached.
        bucket: its name, by which its region is found where none is said.
        secrets: what the environment holds, so that another one is not used in its place.

    Raises:
        OSError: the bucket is not there or cannot be reached.
    """
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem, resolve_s3_region

    region = access.region
    if region is None and access.endpoint is None:
        region = resolve_s3_region(bucket)
    options: dict[str, Any] = {}
    if access.endpoint is not None:
        options = {"endpoint_override": access.endpoint, "scheme": access.scheme}
        if access.virtual:
            options["force_virtual_addressing"] = True
    return S3FileSystem(
        anonymous=access.anonymous,
        region=region or "us-east-1",
        connect_timeout=CONNECT_S,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=3),
        **options,
    )


def _below(files: S3FileSystem, prefix: str, source: str, search: Search) -> Iterator[str]:
    """Bucket and key of every raster below a prefix, in the order of their names."""
    from pyarrow.fs import FileSelector, FileType

    waiting, first = [prefix], True
    while waiting:
        search.cancel.check()
        place = waiting.pop()
        beginning = ""
        try:
            try:
                inside = files.get_file_info(FileSelector(place))
            except FileNotFoundError:
                # A prefix need not end at a slash.
                if not first or "/" not in place:
                    raise
                folder, _, beginning = place.rpartition("/")
                inside = files.get_file_info(FileSelector(folder))
        except OSError as error:
            raise _refused(source, error) from error
        first = False
        named = sorted((one.base_name, one.path, one.type) for one in inside)
        named = [one for one in named if one[0].startswith(beginning) and not is_hidden(one[0])]
        yield from (path for name, path, kind in named if kind == FileType.File and is_raster(name))
        waiting += [path for _, path, kind in reversed(named) if kind == FileType.Directory]


def _refused(source: str, error: OSError) -> UnreadError:
    """What the library says, in our words: its own repeat addresses and ids of requests."""
    if isinstance(error, FileNotFoundError):
        return UnreadError(source, "does not exist", "correct the bucket or the prefix")
    found = re.search(r"AWS Error (\w+)", str(error))
    code = found[1] if found else type(error).__name__
    if code in _DENIED or "HTTP status 403" in str(error):
        return UnreadError(source, f"may not be read ({code})", _CREDENTIALS)
    if code == "NO_SUCH_BUCKET" or "not found" in str(error).lower():
        return UnreadError(source, "names a bucket that does not exist", "correct it")
    return UnreadError(
        source,
        f"cannot be reached ({code})",
        "check AWS_S3_ENDPOINT, AWS_REGION and the network, and run it again",
        later=True,
        reached=False,
    )
