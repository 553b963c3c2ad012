"""Names of scenes: a path, or an address of a kind that is let in. Needs no library."""

from __future__ import annotations

import re
from pathlib import Path

from lanner.core.errors import SceneError

REMOTE = {"http://": "/vsicurl/http://", "https://": "/vsicurl/https://", "s3://": "/vsis3/"}
"""URL beginnings and GDAL's own file systems for them."""


def beginning(uri: str) -> str:
    """The beginning of a URL up to its slashes; capitals there say nothing (RFC 3986, 3.1)."""
    scheme, slashes, _ = uri.partition("://")
    return scheme.lower() + slashes


def is_remote(uri: str) -> bool:
    """Whether the scene is read over the network."""
    return beginning(uri) in REMOTE


_HOST = re.compile(r"(\[[^]]*\]|[^:@]*)(:\d*)?")


def display_name(uri: str) -> str:
    """The name for messages: a path as it is; an address without its user, query and fragment.

    Those may hold a password or a signature. A host that could be part of a password, as with an
    unescaped slash in one, is not shown.
    """
    scheme, slashes, rest = uri.partition("://")
    if not slashes:
        return uri
    host, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    host = host.rpartition("@")[2]
    if not _HOST.fullmatch(host):
        return f"{scheme}://..."
    return f"{scheme}://{host}{slash}{path}"


def local_file(uri: str) -> str:
    """The full path of a scene that is no URL, as GDAL takes it.

    Raises:
        SceneError: there is no such file, or its name is no Unicode.
    """
    path = Path(uri)
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "does not exist"
        raise SceneError("scene", uri, problem, "give a raster file or an http(s):// or s3:// URL")
    # Absolute, so that no file name can be taken for a connection string.
    name = str(path.resolve())
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise SceneError(
            "scene",
            uri,
            "has bytes in its name, or its folder's, that are no valid Unicode",
            "rename it",
        ) from error
    return name
